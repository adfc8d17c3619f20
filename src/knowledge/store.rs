//! The knowledge base's only SQL. Everything an ingesting worker writes carries its attempt number, so that a
//! worker that was overtaken (it stalled, and another took the job) changes nothing any more.

use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::{Document, Hit, Passage, Status, chunk::Draft};
use crate::{
    audit::Actor,
    db::violates,
    support::{
        Error, Result,
        ids::{DocumentId, PassageId},
    },
};

/// Bytes of one row of an original.
pub(super) const PART_BYTES: usize = 1 << 20;

macro_rules! documents {
    ($tail:literal) => {
        concat!(
            "SELECT id, file_name, media_type, bytes, sha256, status, error, done, total, pages, created_at, ready_at ",
            "FROM documents ",
            $tail
        )
    };
}

#[derive(FromRow)]
struct DocumentRow {
    id: Uuid,
    file_name: String,
    media_type: String,
    bytes: i64,
    sha256: Vec<u8>,
    status: String,
    error: Option<String>,
    done: i32,
    total: i32,
    pages: Option<i32>,
    created_at: DateTime<Utc>,
    ready_at: Option<DateTime<Utc>>,
}

impl TryFrom<DocumentRow> for Document {
    type Error = Error;

    fn try_from(row: DocumentRow) -> Result<Self> {
        Ok(Self {
            id: DocumentId(row.id),
            title: row.file_name,
            media_type: row.media_type,
            bytes: row.bytes,
            sha256: hex::encode(row.sha256),
            status: Status::from_name(&row.status)?,
            error: row.error,
            progress: (row.done, row.total),
            passages: row.total,
            pages: row.pages,
            created_at: row.created_at,
            ready_at: row.ready_at,
        })
    }
}

#[derive(FromRow)]
struct PassageRow {
    id: Uuid,
    document_id: Uuid,
    ordinal: i32,
    locator: String,
    text: String,
}

impl From<PassageRow> for Passage {
    fn from(row: PassageRow) -> Self {
        Self {
            id: PassageId(row.id),
            document: DocumentId(row.document_id),
            ordinal: row.ordinal,
            locator: row.locator,
            text: row.text,
        }
    }
}

/// A document that is about to be stored.
pub(super) struct NewDocument<'a> {
    pub id: DocumentId,
    pub file_name: &'a str,
    pub media_type: &'a str,
    pub sha256: &'a [u8],
    pub bytes: &'a [u8],
    pub by: &'a Actor,
    pub at: DateTime<Utc>,
}

/// Stores a document and its original. `false` when the same bytes are there already.
pub(super) async fn insert(pool: &PgPool, new: &NewDocument<'_>) -> Result<bool> {
    let by = serde_json::to_value(new.by).map_err(Error::internal)?;
    let mut transaction = pool.begin().await?;
    let inserted = sqlx::query(
        "INSERT INTO documents (id, file_name, media_type, bytes, sha256, status, added_by, created_at)
         VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7)",
    )
    .bind(new.id.0)
    .bind(new.file_name)
    .bind(new.media_type)
    .bind(i64::try_from(new.bytes.len()).unwrap_or(i64::MAX))
    .bind(new.sha256)
    .bind(by)
    .bind(new.at)
    .execute(&mut *transaction)
    .await;
    match inserted {
        Err(error) if violates(&error, "documents_sha256_key") => return Ok(false),
        other => other?,
    };
    for (part, bytes) in (0_i32..).zip(new.bytes.chunks(PART_BYTES)) {
        sqlx::query("INSERT INTO document_contents (document_id, part, bytes) VALUES ($1, $2, $3)")
            .bind(new.id.0)
            .bind(part)
            .bind(bytes)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// All documents, the newest first.
pub(super) async fn documents(pool: &PgPool) -> Result<Vec<Document>> {
    let rows: Vec<DocumentRow> =
        sqlx::query_as(documents!("ORDER BY created_at DESC, id DESC")).fetch_all(pool).await?;
    rows.into_iter().map(Document::try_from).collect()
}

/// One document.
pub(super) async fn document(pool: &PgPool, id: DocumentId) -> Result<Option<Document>> {
    let row: Option<DocumentRow> = sqlx::query_as(documents!("WHERE id = $1")).bind(id.0).fetch_optional(pool).await?;
    row.map(Document::try_from).transpose()
}

/// The document with these bytes.
pub(super) async fn document_of_content(pool: &PgPool, sha256: &[u8]) -> Result<Option<Document>> {
    let row: Option<DocumentRow> =
        sqlx::query_as(documents!("WHERE sha256 = $1")).bind(sha256).fetch_optional(pool).await?;
    row.map(Document::try_from).transpose()
}

/// Documents that a worker has still to finish.
pub(super) async fn unfinished(pool: &PgPool) -> Result<Vec<DocumentId>> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM documents WHERE status NOT IN ('ready', 'failed') ORDER BY created_at")
            .fetch_all(pool)
            .await?;
    Ok(ids.into_iter().map(DocumentId).collect())
}

/// The original, part by part.
pub(super) fn original(pool: &PgPool, id: DocumentId) -> impl Stream<Item = Result<Vec<u8>>> + use<> {
    let pool = pool.clone();
    futures::stream::unfold((pool, 0_i32), move |(pool, part)| async move {
        let next: std::result::Result<Option<Vec<u8>>, sqlx::Error> =
            sqlx::query_scalar("SELECT bytes FROM document_contents WHERE document_id = $1 AND part = $2")
                .bind(id.0)
                .bind(part)
                .fetch_optional(&pool)
                .await;
        next.transpose().map(|bytes| (bytes, (pool, part + 1)))
    })
    .map_err(Error::from)
}

/// Queues a failed document anew. `false` when it is not failed.
pub(super) async fn retry(pool: &PgPool, id: DocumentId) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE documents SET status = 'queued', error = NULL, done = 0, total = 0, attempt = attempt + 1
         WHERE id = $1 AND status = 'failed'",
    )
    .bind(id.0)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a document with everything that came of it. `None` when there is none.
pub(super) async fn delete(pool: &PgPool, id: DocumentId) -> Result<Option<String>> {
    Ok(sqlx::query_scalar("DELETE FROM documents WHERE id = $1 RETURNING file_name")
        .bind(id.0)
        .fetch_optional(pool)
        .await?)
}

/// A document's passages in order.
pub(super) async fn passages(pool: &PgPool, document: DocumentId, from: i32, to: i32) -> Result<Vec<Passage>> {
    let rows: Vec<PassageRow> = sqlx::query_as(
        "SELECT id, document_id, ordinal, locator, text FROM passages
         WHERE document_id = $1 AND ordinal BETWEEN $2 AND $3 ORDER BY ordinal",
    )
    .bind(document.0)
    .bind(from)
    .bind(to)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(Passage::from).collect())
}

/// One passage.
pub(super) async fn passage(pool: &PgPool, id: PassageId) -> Result<Option<Passage>> {
    let row: Option<PassageRow> =
        sqlx::query_as("SELECT id, document_id, ordinal, locator, text FROM passages WHERE id = $1")
            .bind(id.0)
            .fetch_optional(pool)
            .await?;
    Ok(row.map(Passage::from))
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
         WHERE id = $1 AND status NOT IN ('ready', 'failed')
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

    /// Stores passages.
    pub(super) async fn add_passages(&self, pool: &PgPool, drafts: &[Draft]) -> Result<bool> {
        let ids: Vec<Uuid> = drafts.iter().map(|_| PassageId::generate().0).collect();
        let ordinals: Vec<i32> = drafts.iter().map(|draft| draft.ordinal).collect();
        let column = |field: fn(&Draft) -> &String| drafts.iter().map(|draft| field(draft).clone()).collect::<Vec<_>>();
        let mut transaction = pool.begin().await?;
        if !self.hold(&mut transaction).await? {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO passages (id, document_id, ordinal, locator, context, text, searchable)
             SELECT id, $1, ordinal, locator, context, text,
                    setweight(to_tsvector('english', context), 'B') || to_tsvector('english', text)
             FROM unnest($2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[])
                  AS drafts (id, ordinal, locator, context, text)",
        )
        .bind(self.id)
        .bind(ids)
        .bind(ordinals)
        .bind(column(|draft| &draft.locator))
        .bind(column(|draft| &draft.context))
        .bind(column(|draft| &draft.text))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The file has been read to its end.
    pub(super) async fn finish_reading(&self, pool: &PgPool, total: i32, pages: Option<u32>) -> Result<bool> {
        let updated = sqlx::query(
            "UPDATE documents SET status = 'embedding', total = $3, done = 0, pages = $4 WHERE id = $1 AND attempt = $2",
        )
        .bind(self.id)
        .bind(self.attempt)
        .bind(total)
        .bind(pages.and_then(|pages| i32::try_from(pages).ok()))
        .execute(pool)
        .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// The next passages that lack this model's vector: id, and context and text as the model is to read them.
    pub(super) async fn without_vector(&self, pool: &PgPool, model: &str, at_most: i64) -> Result<Vec<(Uuid, String)>> {
        Ok(sqlx::query_as(
            "SELECT passages.id, passages.context || E'\\n\\n' || passages.text
             FROM passages
             WHERE passages.document_id = $1
               AND NOT EXISTS (SELECT FROM passage_vectors AS vectors
                               WHERE vectors.passage_id = passages.id AND vectors.model = $2)
             ORDER BY passages.ordinal LIMIT $3",
        )
        .bind(self.id)
        .bind(model)
        .bind(at_most)
        .fetch_all(pool)
        .await?)
    }

    /// Stores vectors and the progress that they mean.
    pub(super) async fn add_vectors(
        &self,
        pool: &PgPool,
        model: &str,
        ids: &[Uuid],
        vectors: &[Vec<f32>],
    ) -> Result<bool> {
        let dimensions = vectors.first().map_or(0, Vec::len);
        let texts: Vec<String> = vectors.iter().map(|vector| vector_text(vector)).collect();
        let mut transaction = pool.begin().await?;
        if !self.hold(&mut transaction).await? {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO passage_vectors (passage_id, model, document_id, dimensions, embedding)
             SELECT id, $1, $2, $3, vector::extensions.halfvec
             FROM unnest($4::uuid[], $5::text[]) AS vectors (id, vector)
             ON CONFLICT DO NOTHING",
        )
        .bind(model)
        .bind(self.id)
        .bind(i16::try_from(dimensions).map_err(Error::internal)?)
        .bind(ids)
        .bind(texts)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE documents SET done = (SELECT count(*) FROM passage_vectors WHERE document_id = $1 AND model = $2)
             WHERE id = $1",
        )
        .bind(self.id)
        .bind(model)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Shows the document to searches, and takes away the one of the same name that it replaces, in one step.
    /// Gives the documents that went, or `None` when the claim is lost.
    pub(super) async fn finish(&self, pool: &PgPool, at: DateTime<Utc>) -> Result<Option<Vec<DocumentId>>> {
        let mut transaction = pool.begin().await?;
        if !self.hold(&mut transaction).await? {
            return Ok(None);
        }
        sqlx::query("UPDATE documents SET status = 'ready', error = NULL, done = total, ready_at = $2 WHERE id = $1")
            .bind(self.id)
            .bind(at)
            .execute(&mut *transaction)
            .await?;
        let replaced: Vec<Uuid> = sqlx::query_scalar(
            "DELETE FROM documents AS old USING documents AS new
             WHERE new.id = $1 AND old.file_name = new.file_name AND old.id <> new.id
               AND (old.created_at, old.id) < (new.created_at, new.id)
             RETURNING old.id",
        )
        .bind(self.id)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(replaced.into_iter().map(DocumentId).collect()))
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

/// A search of both kinds.
pub(super) struct Search<'a> {
    pub question: &'a str,
    /// Absent when no vector could be had; then words alone decide.
    pub vector: Option<&'a [f32]>,
    pub model: &'a str,
    pub dimensions: usize,
    pub limit: i64,
}

#[derive(FromRow)]
struct HitRow {
    #[sqlx(flatten)]
    passage: PassageRow,
    title: String,
    score: f32,
}

/// The best passages of ready documents, best first.
pub(super) async fn search(pool: &PgPool, search: &Search<'_>) -> Result<Vec<Hit>> {
    // The number of dimensions must stand in the text, for the index to be recognised.
    let sql = include_str!("sql/search.sql").replace("{d}", &search.dimensions.to_string());
    let mut transaction = pool.begin().await?;
    // Recall .98 at 100,000 passages; the scan goes on when hits are filtered out.
    sqlx::raw_sql("SET LOCAL hnsw.ef_search = 100; SET LOCAL hnsw.iterative_scan = strict_order")
        .execute(&mut *transaction)
        .await?;
    let rows: Vec<HitRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(search.vector.map(vector_text))
        .bind(search.question)
        .bind(search.model)
        .bind(search.limit)
        .fetch_all(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(rows.into_iter().map(|row| Hit { passage: row.passage.into(), title: row.title, score: row.score }).collect())
}

/// pgvector's way to write a vector: `[1,0.5]`.
fn vector_text(vector: &[f32]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(vector.len() * 12 + 2);
    for number in vector {
        text.push(if text.is_empty() { '[' } else { ',' });
        // Writing to a String cannot fail.
        let _ = write!(text, "{number}");
    }
    text.push(']');
    text
}
