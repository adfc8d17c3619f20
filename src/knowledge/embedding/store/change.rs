//! The SQL of moving a tenant from one embedding model to another.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::{
    super::{Progress, Reembedding, Status},
    embedded_text, insert, reused_vectors, text_hash,
};
use crate::{
    audit::Actor,
    support::{Error, Result, ids::ReembeddingId},
};

#[derive(FromRow)]
struct ReembeddingRow {
    id: Uuid,
    model: String,
    previous: String,
    status: String,
    reason: Option<String>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    done: i32,
    total: i32,
    going_since: Option<DateTime<Utc>>,
    going_from: i32,
}

impl TryFrom<ReembeddingRow> for Reembedding {
    type Error = Error;

    fn try_from(row: ReembeddingRow) -> Result<Self> {
        Ok(Self {
            id: ReembeddingId(row.id),
            model: row.model,
            previous: row.previous,
            status: Status::from_name(&row.status)?,
            reason: row.reason,
            started_at: row.started_at,
            ended_at: row.ended_at,
            progress: Progress {
                done: row.done,
                total: row.total,
                going_since: row.going_since,
                going_from: row.going_from,
            },
        })
    }
}

/// The last change of the model, finished or not.
pub(in crate::knowledge::embedding) async fn latest(pool: &PgPool) -> Result<Option<Reembedding>> {
    let row: Option<ReembeddingRow> = sqlx::query_as(
        "SELECT id, model, previous, status, reason, started_at, ended_at, done, total, going_since, going_from
         FROM reembeddings ORDER BY status IN ('running', 'waiting') DESC, started_at DESC, id DESC LIMIT 1",
    )
    .fetch_optional(pool)
    .await?;
    row.map(Reembedding::try_from).transpose()
}

/// A change of the model that is to begin.
pub(in crate::knowledge::embedding) struct NewReembedding<'a> {
    pub id: ReembeddingId,
    pub model: &'a str,
    /// What people have chosen from now on; null to follow the configuration.
    pub chosen: Option<&'a str>,
    pub by: &'a Actor,
    pub at: DateTime<Utc>,
    /// Whether it takes the place of one that is not finished.
    pub replace: bool,
}

/// What came of the attempt to begin.
pub(in crate::knowledge::embedding) enum Begun {
    /// It is on its way.
    Now,
    /// The model is the active one already.
    Active,
    /// Another change is not finished: to this model.
    Busy(String),
}

/// Begins to change the model.
pub(in crate::knowledge::embedding) async fn begin(pool: &PgPool, new: &NewReembedding<'_>) -> Result<Begun> {
    let by = serde_json::to_value(new.by).map_err(Error::internal)?;
    let mut transaction = pool.begin().await?;
    let active: String =
        sqlx::query_scalar("SELECT active FROM embedding_model FOR UPDATE").fetch_one(&mut *transaction).await?;
    let unfinished: Option<String> =
        sqlx::query_scalar("SELECT model FROM reembeddings WHERE status IN ('running', 'waiting') FOR UPDATE")
            .fetch_optional(&mut *transaction)
            .await?;
    if let Some(other) = unfinished {
        if !new.replace || other == new.model {
            return Ok(Begun::Busy(other));
        }
        sqlx::query(
            "UPDATE reembeddings SET status = 'cancelled', ended_at = $1, attempt = attempt + 1
             WHERE status IN ('running', 'waiting')",
        )
        .bind(new.at)
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query("UPDATE embedding_model SET chosen = $1, untidy = true")
        .bind(new.chosen)
        .execute(&mut *transaction)
        .await?;
    let begun = if active == new.model {
        Begun::Active
    } else {
        sqlx::query(
            "INSERT INTO reembeddings (id, model, previous, status, started_by, started_at)
             VALUES ($1, $2, $3, 'running', $4, $5)",
        )
        .bind(new.id.0)
        .bind(new.model)
        .bind(active)
        .bind(by)
        .bind(new.at)
        .execute(&mut *transaction)
        .await?;
        Begun::Now
    };
    transaction.commit().await?;
    Ok(begun)
}

/// Ends the change that is not finished, and keeps the active model, whatever the configuration says. Gives the model that
/// it was to.
pub(in crate::knowledge::embedding) async fn cancel(pool: &PgPool, at: DateTime<Utc>) -> Result<Option<String>> {
    let mut transaction = pool.begin().await?;
    // First, as everywhere, so that nobody waits for somebody who waits for them.
    sqlx::query("SELECT FROM embedding_model FOR UPDATE").execute(&mut *transaction).await?;
    let model: Option<String> = sqlx::query_scalar(
        "UPDATE reembeddings SET status = 'cancelled', ended_at = $1, attempt = attempt + 1
         WHERE status IN ('running', 'waiting') RETURNING model",
    )
    .bind(at)
    .fetch_optional(&mut *transaction)
    .await?;
    if model.is_some() {
        sqlx::query("UPDATE embedding_model SET chosen = active, untidy = true").execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(model)
}

/// Forgets since when the work has been going: the time in which nobody did it tells nothing about its pace.
pub(in crate::knowledge::embedding) async fn paused(pool: &PgPool) -> Result<()> {
    sqlx::query("UPDATE reembeddings SET going_since = NULL WHERE status IN ('running', 'waiting')")
        .execute(pool)
        .await?;
    Ok(())
}

/// A worker's hold on a change of the model.
#[derive(Debug, Clone, FromRow)]
pub(in crate::knowledge::embedding) struct Claim {
    pub id: Uuid,
    pub attempt: i32,
    pub model: String,
    pub previous: String,
}

/// Takes hold of the change that is not finished, and counts how far it is.
pub(in crate::knowledge::embedding) async fn claim(pool: &PgPool) -> Result<Option<Claim>> {
    Ok(sqlx::query_as(
        "UPDATE reembeddings
         SET attempt = attempt + 1,
             total = (SELECT count(*) FROM passages JOIN documents ON documents.id = passages.document_id
                      WHERE documents.status IN ('embedding', 'ready')),
             done = (SELECT count(*) FROM passage_vectors WHERE passage_vectors.model = reembeddings.model)
         WHERE status IN ('running', 'waiting')
         RETURNING id, attempt, model, previous",
    )
    .fetch_optional(pool)
    .await?)
}

impl Claim {
    /// The next passages, by their ids after `after`, that lack the new model's vector.
    pub(in crate::knowledge::embedding) async fn next(
        &self,
        pool: &PgPool,
        after: Uuid,
        at_most: i64,
    ) -> Result<Vec<(Uuid, String)>> {
        Ok(sqlx::query_as(concat!(
            "SELECT passages.id, ",
            embedded_text!(),
            " FROM passages JOIN documents ON documents.id = passages.document_id
             WHERE documents.status IN ('embedding', 'ready') AND passages.id > $2
               AND NOT EXISTS (SELECT FROM passage_vectors AS vectors
                               WHERE vectors.passage_id = passages.id AND vectors.model = $1)
             ORDER BY passages.id LIMIT $3"
        ))
        .bind(&self.model)
        .bind(after)
        .bind(at_most)
        .fetch_all(pool)
        .await?)
    }

    /// Locks the change for the rest of the transaction. `false` when the claim is lost.
    async fn hold(&self, connection: &mut PgConnection) -> Result<bool> {
        let held: Option<i32> = sqlx::query_scalar(
            "SELECT attempt FROM reembeddings
             WHERE id = $1 AND attempt = $2 AND status IN ('running', 'waiting') FOR UPDATE",
        )
        .bind(self.id)
        .bind(self.attempt)
        .fetch_optional(connection)
        .await?;
        Ok(held.is_some())
    }

    /// Stores vectors and the progress that they mean. `false` when the claim is lost.
    pub(in crate::knowledge::embedding) async fn add(
        &self,
        pool: &PgPool,
        ids: &[Uuid],
        vectors: &[Vec<f32>],
        at: DateTime<Utc>,
    ) -> Result<bool> {
        let mut transaction = pool.begin().await?;
        if !self.hold(&mut transaction).await? {
            return Ok(false);
        }
        hold_documents(&mut transaction, ids).await?;
        let added = insert(&mut transaction, &self.model, ids, vectors).await?;
        self.count(&mut transaction, added, at).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Gives passages the vectors that the new model has made of the same texts already, and says which. `None` when the
    /// claim is lost.
    pub(in crate::knowledge::embedding) async fn reuse(
        &self,
        pool: &PgPool,
        ids: &[Uuid],
        at: DateTime<Utc>,
    ) -> Result<Option<Vec<Uuid>>> {
        let mut transaction = pool.begin().await?;
        if !self.hold(&mut transaction).await? {
            return Ok(None);
        }
        hold_documents(&mut transaction, ids).await?;
        let reused: Vec<Uuid> =
            sqlx::query_scalar(reused_vectors!("$1", "passages.id = ANY ($2)", " RETURNING passage_id"))
                .bind(&self.model)
                .bind(ids)
                .fetch_all(&mut *transaction)
                .await?;
        if !reused.is_empty() {
            self.count(&mut transaction, reused.len() as u64, at).await?;
        }
        transaction.commit().await?;
        Ok(Some(reused))
    }

    async fn count(&self, connection: &mut PgConnection, added: u64, at: DateTime<Utc>) -> Result<()> {
        sqlx::query(
            "UPDATE reembeddings
             SET done = done + $2, total = greatest(total, done + $2), status = 'running', reason = NULL,
                 going_from = CASE WHEN status = 'waiting' OR going_since IS NULL THEN done + $2 ELSE going_from END,
                 going_since = CASE WHEN status = 'waiting' OR going_since IS NULL THEN $3 ELSE going_since END
             WHERE id = $1",
        )
        .bind(self.id)
        .bind(i32::try_from(added).unwrap_or(i32::MAX))
        .bind(at)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Says what the next attempt waits for.
    pub(in crate::knowledge::embedding) async fn wait(&self, pool: &PgPool, reason: &str) -> Result<()> {
        sqlx::query(
            "UPDATE reembeddings SET status = 'waiting', reason = $3
             WHERE id = $1 AND attempt = $2 AND status IN ('running', 'waiting')",
        )
        .bind(self.id)
        .bind(self.attempt)
        .bind(reason)
        .execute(pool)
        .await?;
        Ok(())
    }

    /// Gives the change up. `false` when the claim is lost.
    pub(in crate::knowledge::embedding) async fn fail(
        &self,
        pool: &PgPool,
        reason: &str,
        at: DateTime<Utc>,
    ) -> Result<bool> {
        let mut transaction = pool.begin().await?;
        sqlx::query("UPDATE embedding_model SET untidy = true").execute(&mut *transaction).await?;
        if !self.hold(&mut transaction).await? {
            return Ok(false);
        }
        sqlx::query("UPDATE reembeddings SET status = 'failed', reason = $2, ended_at = $3 WHERE id = $1")
            .bind(self.id)
            .bind(reason)
            .bind(at)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Searches ask for the new model's vectors from now on, if every passage that can be found has one.
    pub(in crate::knowledge::embedding) async fn switch(&self, pool: &PgPool, at: DateTime<Utc>) -> Result<Switch> {
        let mut transaction = pool.begin().await?;
        // Whoever makes a document searchable holds this too: those who came before are seen below, those who come after
        // see the new model.
        sqlx::query("SELECT FROM embedding_model FOR UPDATE").execute(&mut *transaction).await?;
        if !self.hold(&mut transaction).await? {
            return Ok(Switch::Overtaken);
        }
        let missing: bool = sqlx::query_scalar(
            "SELECT EXISTS (
                 SELECT FROM passages JOIN documents ON documents.id = passages.document_id
                 WHERE documents.status = 'ready'
                   AND NOT EXISTS (SELECT FROM passage_vectors AS vectors
                                   WHERE vectors.passage_id = passages.id AND vectors.model = $1))",
        )
        .bind(&self.model)
        .fetch_one(&mut *transaction)
        .await?;
        if missing {
            return Ok(Switch::NotYet);
        }
        sqlx::query("UPDATE reembeddings SET status = 'done', reason = NULL, ended_at = $2 WHERE id = $1")
            .bind(self.id)
            .bind(at)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE embedding_model SET active = $1, since = $2, untidy = true")
            .bind(&self.model)
            .bind(at)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Switch::Done)
    }
}

/// Locks the documents of passages, before the passages themselves are, as whoever deletes a document does.
async fn hold_documents(connection: &mut PgConnection, passages: &[Uuid]) -> Result<()> {
    sqlx::query(
        "SELECT FROM documents WHERE id IN (SELECT document_id FROM passages WHERE id = ANY ($1))
         ORDER BY id FOR KEY SHARE",
    )
    .bind(passages)
    .execute(connection)
    .await?;
    Ok(())
}

/// What came of the attempt to switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::knowledge::embedding) enum Switch {
    /// The new model is the active one.
    Done,
    /// Documents came meanwhile.
    NotYet,
    /// Somebody else does the work, or it was cancelled.
    Overtaken,
}
