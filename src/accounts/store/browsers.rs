//! The rows of `control.known_browsers`.

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};

use crate::{
    accounts::EmailAddress,
    support::{Result, ids::UserId},
    vault::TokenHash,
};

/// Whether the person of an address has signed in with a browser since `oldest`.
pub(in crate::accounts) async fn is_known(
    control: &PgPool,
    email: &EmailAddress,
    token: &TokenHash,
    oldest: DateTime<Utc>,
) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM known_browsers b JOIN users u ON u.id = b.user_id
                        WHERE b.token_hash = $2 AND b.last_used_at > $3 AND lower(u.email) = lower($1))",
    )
    .bind(email.as_str())
    .bind(token.as_bytes())
    .bind(oldest)
    .fetch_one(control)
    .await?)
}

/// Whether we have given this token to a browser.
pub(in crate::accounts) async fn exists(control: &PgPool, token: &TokenHash) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM known_browsers WHERE token_hash = $1)")
        .bind(token.as_bytes())
        .fetch_one(control)
        .await?)
}

/// Notes that somebody has signed in with a browser; forgets their browsers that were last used before `oldest`, and
/// all but the `most` used last.
pub(in crate::accounts) async fn insert(
    control: &PgPool,
    user: UserId,
    token: &TokenHash,
    now: DateTime<Utc>,
    oldest: DateTime<Utc>,
    most: i64,
) -> Result<()> {
    sqlx::query(
        "WITH forgotten AS (
             DELETE FROM known_browsers WHERE user_id = $1 AND token_hash <> $2 AND (last_used_at <= $4 OR token_hash IN (
                 SELECT token_hash FROM known_browsers WHERE user_id = $1 AND token_hash <> $2
                 ORDER BY last_used_at DESC OFFSET $5 - 1
             ))
         )
         INSERT INTO known_browsers (user_id, token_hash, last_used_at) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, token_hash) DO UPDATE SET last_used_at = $3",
    )
    .bind(user.0)
    .bind(token.as_bytes())
    .bind(now)
    .bind(oldest)
    .bind(most)
    .execute(control)
    .await?;
    Ok(())
}

/// Forgets all browsers of somebody, but the one of `except`.
pub(in crate::accounts) async fn forget(
    transaction: &mut Transaction<'static, Postgres>,
    user: UserId,
    except: Option<&TokenHash>,
) -> Result<()> {
    sqlx::query("DELETE FROM known_browsers WHERE user_id = $1 AND token_hash IS DISTINCT FROM $2")
        .bind(user.0)
        .bind(except.map(TokenHash::as_bytes))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
