//! The SQL of documents on their way in.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    audit::Actor,
    knowledge::{
        collections::{Reader, store::readable},
        document::Status,
    },
    support::{
        Error, Result,
        ids::{CollectionId, DocumentId},
    },
};

/// Bytes of one row of an original.
pub(super) const PART_BYTES: usize = 1 << 20;

/// A document that is about to be stored.
pub(super) struct NewDocument<'a> {
    pub id: DocumentId,
    pub collection: CollectionId,
    pub folder: &'a str,
    pub file_name: &'a str,
    pub media_type: &'a str,
    pub sha256: &'a [u8],
    pub bytes: &'a [u8],
    pub by: &'a Actor,
    pub at: DateTime<Utc>,
}

/// A document that the collection had before.
pub(super) struct Known {
    pub id: DocumentId,
    /// How far it has come.
    pub status: Status,
    /// It had failed or was stopped, and waits again.
    pub again: bool,
}

/// Stores a document and, unless it is there already, its original. Where the collection has it, gives which it is.
pub(super) async fn insert(pool: &PgPool, new: &NewDocument<'_>) -> Result<Option<Known>> {
    let bytes = i64::try_from(new.bytes.len()).unwrap_or(i64::MAX);
    let mut transaction = pool.begin().await?;
    keep_original(&mut transaction, new, bytes).await?;
    // Whether a version takes another's place is decided by one at a time.
    sqlx::query("SELECT FROM collections WHERE id = $1 FOR NO KEY UPDATE")
        .bind(new.collection.0)
        .execute(&mut *transaction)
        .await?;
    let known = known(&mut transaction, new).await?;
    if known.is_none() {
        let by = serde_json::to_value(new.by).map_err(Error::internal)?;
        sqlx::query(
            "INSERT INTO documents (id, collection_id, folder, file_name, series, media_type, bytes, sha256, status,
                                    added_by, created_at, uploaded_at)
             VALUES ($1, $2, $3, $4, $1, $5, $6, $7, 'queued', $8, $9, $9)",
        )
        .bind(new.id.0)
        .bind(new.collection.0)
        .bind(new.folder)
        .bind(new.file_name)
        .bind(new.media_type)
        .bind(bytes)
        .bind(new.sha256)
        .bind(by)
        .bind(new.at)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(known)
}

async fn keep_original(connection: &mut PgConnection, new: &NewDocument<'_>, bytes: i64) -> Result<()> {
    // Takes the original's row even where it is known, so that nobody removes it meanwhile.
    let is_new: bool = sqlx::query_scalar(
        "INSERT INTO originals (sha256, bytes) VALUES ($1, $2) ON CONFLICT (sha256) DO UPDATE SET bytes = excluded.bytes
         RETURNING NOT EXISTS (SELECT FROM original_parts WHERE original_parts.sha256 = $1)",
    )
    .bind(new.sha256)
    .bind(bytes)
    .fetch_one(&mut *connection)
    .await?;
    if is_new {
        for (part, bytes) in (0_i32..).zip(new.bytes.chunks(PART_BYTES)) {
            sqlx::query("INSERT INTO original_parts (sha256, part, bytes) VALUES ($1, $2, $3)")
                .bind(new.sha256)
                .bind(part)
                .bind(bytes)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// The document that these bytes are already: under their name, or, where nothing else has it, under another. Under
/// their own name they have been given now; what failed before waits again.
async fn known(connection: &mut PgConnection, new: &NewDocument<'_>) -> Result<Option<Known>> {
    let known: Option<(Uuid, bool)> = sqlx::query_as(
        "SELECT id, (folder, file_name) = ($3, $4) AS is_same_name
         FROM documents
         WHERE collection_id = $1 AND sha256 = $2 AND status <> 'superseded'
           AND ((folder, file_name) = ($3, $4)
                OR NOT EXISTS (SELECT FROM documents AS other
                               WHERE other.collection_id = $1 AND (other.folder, other.file_name) = ($3, $4)
                                 AND other.status <> 'superseded'))
         ORDER BY is_same_name DESC, uploaded_at DESC LIMIT 1",
    )
    .bind(new.collection.0)
    .bind(new.sha256)
    .bind(new.folder)
    .bind(new.file_name)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((id, is_same_name)) = known else { return Ok(None) };
    let (status, again): (String, bool) = sqlx::query_as(
        "UPDATE documents
         SET uploaded_at = CASE WHEN $2 THEN greatest(uploaded_at, $3) ELSE uploaded_at END,
             status = CASE WHEN is_dud THEN 'queued' ELSE status END, error = CASE WHEN NOT is_dud THEN error END,
             attempt = attempt + is_dud::integer
         FROM (SELECT status IN ('failed', 'cancelled') AS is_dud FROM documents WHERE id = $1 FOR UPDATE) AS before
         WHERE id = $1
         RETURNING status, is_dud",
    )
    .bind(id)
    .bind(is_same_name)
    .bind(new.at)
    .fetch_one(connection)
    .await?;
    Ok(Some(Known { id: DocumentId(id), status: Status::from_name(&status)?, again }))
}

/// Documents that a worker has still to finish.
pub(super) async fn unfinished(pool: &PgPool) -> Result<Vec<DocumentId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM documents WHERE status IN ('queued', 'reading', 'embedding') ORDER BY created_at",
    )
    .fetch_all(pool)
    .await?;
    Ok(ids.into_iter().map(DocumentId).collect())
}

/// Queues a document anew that failed or was cancelled. `false` when it is neither.
pub(super) async fn retry(pool: &PgPool, id: DocumentId) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE documents SET status = 'queued', error = NULL, done = 0, total = 0, attempt = attempt + 1
         WHERE id = $1 AND status IN ('failed', 'cancelled')",
    )
    .bind(id.0)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Queues all documents anew that failed and that the reader may see, and gives their ids.
pub(super) async fn retry_failed(
    pool: &PgPool,
    reader: &Reader,
    collection: Option<CollectionId>,
) -> Result<Vec<DocumentId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(concat!(
        "UPDATE documents SET status = 'queued', error = NULL, done = 0, total = 0, attempt = attempt + 1
         WHERE status = 'failed' AND ($3::uuid IS NULL OR collection_id = $3) AND collection_id IN (",
        readable!("$1", "$2"),
        ") RETURNING id"
    ))
    .bind(reader.roles())
    .bind(reader.agent())
    .bind(collection.map(|id| id.0))
    .fetch_all(pool)
    .await?;
    Ok(ids.into_iter().map(DocumentId).collect())
}

/// Stops a document that is on its way; whoever works on it has lost it. `false` when it is not on its way.
pub(super) async fn cancel(pool: &PgPool, id: DocumentId) -> Result<bool> {
    let mut transaction = pool.begin().await?;
    let cancelled = sqlx::query(
        "UPDATE documents SET status = 'cancelled', error = NULL, done = 0, total = 0, attempt = attempt + 1
         WHERE id = $1 AND status IN ('queued', 'reading', 'embedding')",
    )
    .bind(id.0)
    .execute(&mut *transaction)
    .await?;
    if cancelled.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("DELETE FROM passages WHERE document_id = $1").bind(id.0).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(true)
}
