//! The SQL of watched folders.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Refused, Seen};
use crate::support::{Result, ids::CollectionId};

/// A file as it was seen at the last look.
pub(super) struct Known {
    pub seen: Seen,
    /// Whether it was taken, or refused for good, as it was then.
    pub settled: bool,
}

/// What was seen in a collection's folder, by path.
pub(super) async fn known(pool: &PgPool, collection: CollectionId) -> Result<HashMap<String, Known>> {
    let rows: Vec<(String, i64, DateTime<Utc>, bool)> =
        sqlx::query_as("SELECT path, bytes, modified_at, settled FROM watched_files WHERE collection_id = $1")
            .bind(collection.0)
            .fetch_all(pool)
            .await?;
    let known = rows.into_iter().map(|(path, bytes, modified_at, settled)| {
        let seen = Seen { bytes, modified_at };
        (path, Known { seen, settled })
    });
    Ok(known.collect())
}

/// Notes a file that is new or has changed, to be taken at the next look if it stands still.
pub(super) async fn note(pool: &PgPool, collection: CollectionId, path: &str, seen: Seen) -> Result<()> {
    sqlx::query(
        "INSERT INTO watched_files (collection_id, path, bytes, modified_at, settled)
         VALUES ($1, $2, $3, $4, false)
         ON CONFLICT (collection_id, path)
         DO UPDATE SET bytes = excluded.bytes, modified_at = excluded.modified_at, settled = false",
    )
    .bind(collection.0)
    .bind(path)
    .bind(seen.bytes)
    .bind(seen.modified_at)
    .execute(pool)
    .await?;
    Ok(())
}

/// A file was taken as it was seen, or refused.
pub(super) async fn settle(
    pool: &PgPool,
    collection: CollectionId,
    path: &str,
    seen: Seen,
    refusal: Option<String>,
) -> Result<()> {
    sqlx::query(
        "UPDATE watched_files SET settled = true, refusal = $5
         WHERE collection_id = $1 AND path = $2 AND bytes = $3 AND modified_at = $4",
    )
    .bind(collection.0)
    .bind(path)
    .bind(seen.bytes)
    .bind(seen.modified_at)
    .bind(refusal)
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets files that are not in the folder any more; their documents stay.
pub(super) async fn forget(pool: &PgPool, collection: CollectionId, paths: &[&str]) -> Result<()> {
    if !paths.is_empty() {
        sqlx::query("DELETE FROM watched_files WHERE collection_id = $1 AND path = ANY($2)")
            .bind(collection.0)
            .bind(paths)
            .execute(pool)
            .await?;
    }
    Ok(())
}

/// Files that were refused, by path.
pub(super) async fn refused(pool: &PgPool, collection: CollectionId) -> Result<Vec<Refused>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT path, refusal FROM watched_files WHERE collection_id = $1 AND refusal IS NOT NULL ORDER BY path LIMIT 100",
    )
    .bind(collection.0)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|(path, reason)| Refused { path, reason }).collect())
}
