//! The SQL of files that arrive in pieces.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::Arrived;
use crate::support::{
    Result,
    ids::{CollectionId, UploadId, UserId},
};

/// A file that is about to come.
pub(super) struct NewUpload<'a> {
    pub id: UploadId,
    pub user: UserId,
    pub collection: CollectionId,
    pub file_name: &'a str,
    pub bytes: i64,
    pub at: DateTime<Utc>,
}

/// A file that is under way.
pub(super) struct UnderWay {
    pub arrived: Arrived,
    pub file_name: String,
    pub collection: CollectionId,
}

#[derive(FromRow)]
struct Row {
    received: i64,
    bytes: i64,
    file_name: String,
    collection_id: Uuid,
}

/// Makes room, unless the person has `most` files under way.
pub(super) async fn insert(pool: &PgPool, new: &NewUpload<'_>, most: i64) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO uploads (id, user_id, collection_id, file_name, bytes, touched_at)
         SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT count(*) FROM uploads WHERE user_id = $2) < $7",
    )
    .bind(new.id.0)
    .bind(new.user.0)
    .bind(new.collection.0)
    .bind(new.file_name)
    .bind(new.bytes)
    .bind(new.at)
    .bind(most)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A person's file.
pub(super) async fn find(pool: &PgPool, user: UserId, id: UploadId) -> Result<Option<UnderWay>> {
    let row: Option<Row> =
        sqlx::query_as("SELECT received, bytes, file_name, collection_id FROM uploads WHERE id = $1 AND user_id = $2")
            .bind(id.0)
            .bind(user.0)
            .fetch_optional(pool)
            .await?;
    Ok(row.map(|row| UnderWay {
        arrived: Arrived { received: row.received, bytes: row.bytes },
        file_name: row.file_name,
        collection: CollectionId(row.collection_id),
    }))
}

/// Stores what begins at `position`. `false` when the file has come to another place meanwhile.
pub(super) async fn append(
    pool: &PgPool,
    id: UploadId,
    position: i64,
    part: &[u8],
    now: DateTime<Utc>,
) -> Result<bool> {
    let mut transaction = pool.begin().await?;
    let moved =
        sqlx::query("UPDATE uploads SET received = received + $3, touched_at = $4 WHERE id = $1 AND received = $2")
            .bind(id.0)
            .bind(position)
            .bind(i64::try_from(part.len()).unwrap_or(i64::MAX))
            .bind(now)
            .execute(&mut *transaction)
            .await?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("INSERT INTO upload_parts (upload_id, position, bytes) VALUES ($1, $2, $3)")
        .bind(id.0)
        .bind(position)
        .bind(part)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// All that has come.
pub(super) async fn content(pool: &PgPool, id: UploadId, bytes: i64) -> Result<Vec<u8>> {
    let mut parts =
        sqlx::query_scalar::<_, Vec<u8>>("SELECT bytes FROM upload_parts WHERE upload_id = $1 ORDER BY position")
            .bind(id.0)
            .fetch(pool);
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
    while let Some(part) = parts.try_next().await? {
        content.extend(part);
    }
    Ok(content)
}

/// Removes a file and what has come of it.
pub(super) async fn delete(pool: &PgPool, id: UploadId) -> Result<()> {
    sqlx::query("DELETE FROM uploads WHERE id = $1").bind(id.0).execute(pool).await?;
    Ok(())
}

/// Removes the files of which nothing has come since.
pub(super) async fn delete_untouched_since(pool: &PgPool, moment: DateTime<Utc>) -> Result<u64> {
    let deleted = sqlx::query("DELETE FROM uploads WHERE touched_at < $1").bind(moment).execute(pool).await?;
    Ok(deleted.rows_affected())
}
