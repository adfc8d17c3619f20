//! What an ingesting worker writes. Everything carries its attempt number, so that a worker that was overtaken (it
//! stalled, and another took the job) changes nothing any more.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::super::{chunk::Draft, embedding::store as vectors, language};
use crate::support::{
    Result,
    ids::{DocumentId, PassageId},
};

/// What became of something that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept<T = ()> {
    /// It is kept.
    Done(T),
    /// It is not: somebody else has the document now, or it is gone.
    Overtaken,
    /// It is not: documents are searched by another embedding model by now, whose vectors it needs.
    AnotherModel,
}

/// A worker's hold on a document.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Claim {
    id: Uuid,
    attempt: i32,
    /// The file's name.
    pub file_name: String,
    /// Its media type.
    pub media_type: String,
    /// Whether all passages are stored already, so that only vectors are missing.
    pub is_read: bool,
}

/// Takes hold of a document; whoever held it before has lost it. `None` when there is nothing to do.
pub(super) async fn claim(pool: &PgPool, id: DocumentId) -> Result<Option<Claim>> {
    Ok(sqlx::query_as(
        "UPDATE documents
         SET attempt = attempt + 1, error = NULL,
             status = CASE status WHEN 'embedding' THEN status ELSE 'reading' END
         WHERE id = $1 AND status IN ('queued', 'reading', 'embedding')
         RETURNING id, attempt, file_name, media_type, status = 'embedding' AS is_read",
    )
    .bind(id.0)
    .fetch_optional(pool)
    .await?)
}

impl Claim {
    /// The document.
    pub(super) fn document(&self) -> DocumentId {
        DocumentId(self.id)
    }

    /// Locks the document for the rest of the transaction. `false` when the claim is lost.
    async fn hold(&self, connection: &mut PgConnection) -> Result<bool> {
        let held: Option<i32> =
            sqlx::query_scalar("SELECT attempt FROM documents WHERE id = $1 AND attempt = $2 FOR UPDATE")
                .bind(self.id)
                .bind(self.attempt)
                .fetch_optional(connection)
                .await?;
        Ok(held.is_some())
    }

    /// Removes what an earlier attempt at reading left.
    pub(super) async fn start_reading(&self, pool: &PgPool) -> Result<bool> {
        let mut transaction = pool.begin().await?;
        if !self.hold(&mut transaction).await? {
            return Ok(false);
        }
        sqlx::query("DELETE FROM passages WHERE document_id = $1").bind(self.id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Stores passages, searched in the language with the text-search configuration `language` and word for word.
    pub(super) async fn add_passages(&self, pool: &PgPool, drafts: &[Draft], language: &str) -> Result<bool> {
        let ids: Vec<Uuid> = drafts.iter().map(|_| PassageId::generate().0).collect();
        let ordinals: Vec<i32> = drafts.iter().map(|draft| draft.ordinal).collect();
        let column = |field: fn(&Draft) -> &String| drafts.iter().map(|draft| field(draft).clone()).collect::<Vec<_>>();
        let pages: Vec<Option<i32>> =
            drafts.iter().map(|draft| draft.page.and_then(|page| i32::try_from(page).ok())).collect();
        let plain: Vec<String> =
            drafts.iter().map(|draft| language::plain(&format!("{}\n{}", draft.context, draft.text))).collect();
        let mut transaction = pool.begin().await?;
        if !self.hold(&mut transaction).await? {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO passages (id, document_id, ordinal, locator, page, context, text, searchable)
             SELECT id, $1, ordinal, locator, page, context, text,
                    setweight(to_tsvector($7::regconfig, context), 'B') || to_tsvector($7::regconfig, text)
                        || to_tsvector('simple', plain)
             FROM unnest($2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[], $8::text[], $9::integer[])
                  AS drafts (id, ordinal, locator, context, text, plain, page)",
        )
        .bind(self.id)
        .bind(ids)
        .bind(ordinals)
        .bind(column(|draft| &draft.locator))
        .bind(column(|draft| &draft.context))
        .bind(column(|draft| &draft.text))
        .bind(language)
        .bind(plain)
        .bind(pages)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The file has been read to its end.
    pub(super) async fn finish_reading(
        &self,
        pool: &PgPool,
        total: i32,
        pages: Option<u32>,
        language: &str,
    ) -> Result<bool> {
        let updated = sqlx::query(
            "UPDATE documents SET status = 'embedding', total = $3, done = 0, pages = $4, language = $5
             WHERE id = $1 AND attempt = $2",
        )
        .bind(self.id)
        .bind(self.attempt)
        .bind(total)
        .bind(pages.and_then(|pages| i32::try_from(pages).ok()))
        .bind(language)
        .execute(pool)
        .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Gives passages the vectors that the model has made of the same texts before, where it is the active one.
    pub(super) async fn reuse_vectors(&self, pool: &PgPool, model: &str) -> Result<bool> {
        let mut transaction = pool.begin().await?;
        if !self.hold(&mut transaction).await? {
            return Ok(false);
        }
        if vectors::is_active(&mut transaction, model).await? {
            vectors::reuse(&mut transaction, self.id, model).await?;
            sqlx::query(
                "UPDATE documents
                 SET done = (SELECT count(*) FROM passage_vectors WHERE document_id = $1 AND model = $2) WHERE id = $1",
            )
            .bind(self.id)
            .bind(model)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The next passages, beginning with the ordinal `from`, that lack this model's vector.
    pub(super) async fn without_vector(
        &self,
        pool: &PgPool,
        model: &str,
        from: i32,
        at_most: i64,
    ) -> Result<Vec<vectors::Missing>> {
        vectors::without_vector(pool, self.id, model, from, at_most).await
    }

    /// Stores vectors and the progress that they mean, unless another model is the active one by now.
    pub(super) async fn add_vectors(
        &self,
        pool: &PgPool,
        model: &str,
        ids: &[Uuid],
        made: &[Vec<f32>],
    ) -> Result<Kept> {
        let mut transaction = pool.begin().await?;
        if !self.hold(&mut transaction).await? {
            return Ok(Kept::Overtaken);
        }
        if !vectors::is_active(&mut transaction, model).await? {
            return Ok(Kept::AnotherModel);
        }
        let added = vectors::insert(&mut transaction, model, ids, made).await?;
        sqlx::query("UPDATE documents SET done = done + $2 WHERE id = $1")
            .bind(self.id)
            .bind(i32::try_from(added).unwrap_or(i32::MAX))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Kept::Done(()))
    }

    /// Shows the document to searches, and takes the versions of it that are older out of them, in one step. A document
    /// that a newer one overtook on the way is kept as an older version itself. `model` is the one whose vectors it has.
    pub(super) async fn finish(&self, pool: &PgPool, model: &str, at: DateTime<Utc>) -> Result<Kept<Outcome>> {
        let mut transaction = pool.begin().await?;
        // Versions of one document end one after the other; so do all documents of a collection, for a moment.
        sqlx::query(
            "SELECT FROM collections JOIN documents ON documents.collection_id = collections.id
             WHERE documents.id = $1 FOR NO KEY UPDATE OF collections",
        )
        .bind(self.id)
        .execute(&mut *transaction)
        .await?;
        if !self.hold(&mut transaction).await? {
            return Ok(Kept::Overtaken);
        }
        if !vectors::is_active(&mut transaction, model).await? {
            return Ok(Kept::AnotherModel);
        }
        let others: Vec<Other> = sqlx::query_as(
            "SELECT other.id, other.series, other.version, other.status = 'ready' AS is_ready,
                    other.status IN ('failed', 'cancelled') AS is_dud,
                    (other.uploaded_at, other.id) > (own.uploaded_at, own.id) AS is_newer
             FROM documents AS own
             JOIN documents AS other USING (collection_id, folder, file_name)
             WHERE own.id = $1 AND other.id <> own.id
               AND other.status IN ('ready', 'superseded', 'failed', 'cancelled')",
        )
        .bind(self.id)
        .fetch_all(&mut *transaction)
        .await?;
        let last = others.iter().filter(|other| !other.is_dud).max_by_key(|other| other.version);
        let overtaken = others.iter().any(|other| other.is_newer && other.is_ready);
        let version = last.map_or(1, |other| other.version + 1);
        let series = last.map_or(self.id, |other| other.series);
        sqlx::query(
            "UPDATE documents
             SET status = CASE WHEN $5 THEN 'superseded' ELSE 'ready' END, superseded_at = CASE WHEN $5 THEN $2 END,
                 error = NULL, done = total, ready_at = $2, series = $3, version = $4
             WHERE id = $1",
        )
        .bind(self.id)
        .bind(at)
        .bind(series)
        .bind(version)
        .bind(overtaken)
        .execute(&mut *transaction)
        .await?;
        let older = |other: &&Other| !other.is_newer;
        let replaced: Vec<Uuid> =
            others.iter().filter(older).filter(|other| other.is_ready).map(|other| other.id).collect();
        // What could not be read under this name before has been put right by this.
        let duds = others.iter().filter(older).filter(|other| other.is_dud).map(|other| other.id);
        let gone: Vec<Uuid> = if overtaken { vec![self.id] } else { replaced.iter().copied().chain(duds).collect() };
        sqlx::query("UPDATE documents SET status = 'superseded', superseded_at = $2, series = $3 WHERE id = ANY($1)")
            .bind(&gone)
            .bind(at)
            .bind(series)
            .execute(&mut *transaction)
            .await?;
        // Nobody searches them; their passages stay, to be opened by who cited them.
        sqlx::query("DELETE FROM passage_vectors WHERE document_id = ANY($1)")
            .bind(&gone)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Kept::Done(Outcome { version, replaced: replaced.into_iter().map(DocumentId).collect() }))
    }

    /// Says what the next attempt waits for.
    pub(super) async fn note(&self, pool: &PgPool, what: &str) -> Result<()> {
        sqlx::query("UPDATE documents SET error = $3 WHERE id = $1 AND attempt = $2")
            .bind(self.id)
            .bind(self.attempt)
            .bind(what)
            .execute(pool)
            .await?;
        Ok(())
    }

    /// Gives the document up, with the reason. What was read of it goes.
    pub(super) async fn fail(&self, pool: &PgPool, reason: &str) -> Result<bool> {
        let mut transaction = pool.begin().await?;
        if !self.hold(&mut transaction).await? {
            return Ok(false);
        }
        sqlx::query("UPDATE documents SET status = 'failed', error = $2, done = 0, total = 0 WHERE id = $1")
            .bind(self.id)
            .bind(reason)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM passages WHERE document_id = $1").bind(self.id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// What came of the last step.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Which version of its document it is.
    pub version: i32,
    /// The versions that it took the place of.
    pub replaced: Vec<DocumentId>,
}

/// Another version of the same document.
#[derive(FromRow)]
struct Other {
    id: Uuid,
    series: Uuid,
    version: i32,
    is_ready: bool,
    /// It failed or was cancelled.
    is_dud: bool,
    is_newer: bool,
}
