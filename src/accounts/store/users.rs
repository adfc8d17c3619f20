//! The rows of `control.users`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::{
    accounts::{EmailAddress, User},
    support::{
        Error, Result,
        ids::{TenantId, UserId},
    },
};

/// What is needed to let somebody in.
pub(in crate::accounts) struct Credentials {
    pub(in crate::accounts) user: UserId,
    /// `None`: whoever came through somebody else's sign-in page and has chosen none.
    pub(in crate::accounts) password_hash: Option<String>,
    /// The organisation that they have belonged to for longest.
    pub(in crate::accounts) tenant: Option<TenantId>,
}

/// A person's row.
#[derive(FromRow)]
pub(super) struct UserRow {
    id: Uuid,
    email: String,
    name: String,
    is_operator: bool,
}

impl TryFrom<UserRow> for User {
    type Error = Error;

    fn try_from(row: UserRow) -> Result<Self> {
        Ok(Self { id: UserId(row.id), email: row.email.parse()?, name: row.name, operator: row.is_operator })
    }
}

/// Whether anybody has an account.
pub(in crate::accounts) async fn any_user(control: &PgPool) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM users)").fetch_one(control).await?)
}

/// Adds a user; `false` when the address has an account already.
pub(in crate::accounts) async fn insert_user(
    transaction: &mut Transaction<'static, Postgres>,
    user: &User,
    password_hash: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let added = sqlx::query(
        "INSERT INTO users (id, email, name, password_hash, created_at, is_operator) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (lower(email)) DO NOTHING",
    )
    .bind(user.id.0)
    .bind(user.email.as_str())
    .bind(&user.name)
    .bind(password_hash)
    .bind(now)
    .bind(user.operator)
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    Ok(added == 1)
}

/// The account of an address.
pub(in crate::accounts) async fn user_by_email(
    transaction: &mut Transaction<'static, Postgres>,
    email: &EmailAddress,
) -> Result<User> {
    let row: UserRow = sqlx::query_as("SELECT id, email, name, is_operator FROM users WHERE lower(email) = lower($1)")
        .bind(email.as_str())
        .fetch_optional(&mut **transaction)
        .await?
        .ok_or_else(|| Error::not_found("the user"))?;
    row.try_into()
}

/// What a sign-in is checked against; `None` for an unknown address.
pub(in crate::accounts) async fn credentials(control: &PgPool, email: &EmailAddress) -> Result<Option<Credentials>> {
    let row: Option<(Uuid, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT u.id, u.password_hash, t.id
         FROM users u
         LEFT JOIN memberships m ON m.user_id = u.id AND m.suspended_at IS NULL
         LEFT JOIN tenants t ON t.id = m.tenant_id AND t.state = 'active'
         WHERE lower(u.email) = lower($1) AND u.suspended_at IS NULL
         ORDER BY t.id IS NULL, m.created_at, t.id
         LIMIT 1",
    )
    .bind(email.as_str())
    .fetch_optional(control)
    .await?;
    row.map(|(user, password_hash, tenant)| {
        let tenant = tenant.map(|id| id.parse()).transpose()?;
        Ok(Credentials { user: UserId(user), password_hash, tenant })
    })
    .transpose()
}

/// The hash of somebody's password, if they have one.
pub(in crate::accounts) async fn password_hash(control: &PgPool, user: UserId) -> Result<Option<String>> {
    let hash: Option<Option<String>> = sqlx::query_scalar("SELECT password_hash FROM users WHERE id = $1")
        .bind(user.0)
        .fetch_optional(control)
        .await?;
    Ok(hash.flatten())
}

/// Gives somebody another password. Sign-ins that were begun with the one before come to nothing.
pub(in crate::accounts) async fn set_password(
    transaction: &mut Transaction<'static, Postgres>,
    user: UserId,
    password_hash: &str,
) -> Result<()> {
    sqlx::query(
        "WITH over AS (DELETE FROM pending_sign_ins WHERE user_id = $1)
         UPDATE users SET password_hash = $2 WHERE id = $1",
    )
    .bind(user.0)
    .bind(password_hash)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Calls somebody something else.
pub(in crate::accounts) async fn set_name(control: &PgPool, user: UserId, name: &str) -> Result<()> {
    sqlx::query("UPDATE users SET name = $2 WHERE id = $1").bind(user.0).bind(name).execute(control).await?;
    Ok(())
}
