//! The rows of `control.setup_tokens`.

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};

use crate::{support::Result, vault::TokenHash};

/// Stores a set-up token's hash, and forgets those that are too old to be used.
pub(in crate::accounts) async fn insert_setup_token(
    control: &PgPool,
    token: &TokenHash,
    now: DateTime<Utc>,
    oldest: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "WITH old AS (DELETE FROM setup_tokens WHERE created_at <= $3)
         INSERT INTO setup_tokens (token_hash, created_at) VALUES ($1, $2)",
    )
    .bind(token.as_bytes())
    .bind(now)
    .bind(oldest)
    .execute(control)
    .await?;
    Ok(())
}

/// Whether a set-up token is known and not older than `oldest`.
pub(in crate::accounts) async fn is_setup_token(
    control: &PgPool,
    token: &TokenHash,
    oldest: DateTime<Utc>,
) -> Result<bool> {
    let found =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM setup_tokens WHERE token_hash = $1 AND created_at > $2)")
            .bind(token.as_bytes())
            .bind(oldest)
            .fetch_one(control)
            .await?;
    Ok(found)
}

/// Removes all set-up tokens; their hashes.
pub(in crate::accounts) async fn delete_setup_tokens(
    transaction: &mut Transaction<'static, Postgres>,
) -> Result<Vec<Vec<u8>>> {
    let hashes =
        sqlx::query_scalar("DELETE FROM setup_tokens RETURNING token_hash").fetch_all(&mut **transaction).await?;
    Ok(hashes)
}
