//! The rows of `control.password_resets`.

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::users::UserRow;
use crate::{
    accounts::User,
    support::{Result, ids::UserId},
    vault::TokenHash,
};

/// Stores a link's hash in the place of the one before, and forgets all that have run out.
pub(in crate::accounts) async fn replace(
    control: &PgPool,
    user: UserId,
    token: &TokenHash,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO password_resets (user_id, token_hash, expires_at) VALUES ($1, $2, $3)
         ON CONFLICT (user_id) DO UPDATE SET token_hash = $2, expires_at = $3",
    )
    .bind(user.0)
    .bind(token.as_bytes())
    .bind(expires_at)
    .execute(control)
    .await?;
    Ok(())
}

/// Whose link it is, while it is good.
pub(in crate::accounts) async fn user(control: &PgPool, token: &TokenHash, now: DateTime<Utc>) -> Result<Option<User>> {
    let row: Option<UserRow> = sqlx::query_as(
        "SELECT u.id, u.email, u.name, u.is_operator FROM password_resets r JOIN users u ON u.id = r.user_id
         WHERE r.token_hash = $1 AND r.expires_at > $2 AND u.suspended_at IS NULL",
    )
    .bind(token.as_bytes())
    .bind(now)
    .fetch_optional(control)
    .await?;
    row.map(User::try_from).transpose()
}

/// Uses a link up; whose it was. Of several who try at once one succeeds.
pub(in crate::accounts) async fn take(
    transaction: &mut Transaction<'static, Postgres>,
    token: &TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<UserId>> {
    let user: Option<Uuid> = sqlx::query_scalar(
        "DELETE FROM password_resets r USING users u
         WHERE r.token_hash = $1 AND r.expires_at > $2 AND u.id = r.user_id AND u.suspended_at IS NULL
         RETURNING r.user_id",
    )
    .bind(token.as_bytes())
    .bind(now)
    .fetch_optional(&mut **transaction)
    .await?;
    Ok(user.map(UserId))
}

/// Makes the link of somebody useless.
pub(in crate::accounts) async fn delete_of(
    transaction: &mut Transaction<'static, Postgres>,
    user: UserId,
) -> Result<()> {
    sqlx::query("DELETE FROM password_resets WHERE user_id = $1").bind(user.0).execute(&mut **transaction).await?;
    Ok(())
}
