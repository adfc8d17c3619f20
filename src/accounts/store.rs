//! The rows of `control.users`, `memberships`, `sessions` and `setup_tokens`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::{EmailAddress, Role, User};
use crate::{
    db::violates,
    support::{
        Error, Result,
        ids::{SessionId, TenantId, UserId},
    },
    tenants::Tenant,
    vault::TokenHash,
};

/// What is needed to let somebody in.
pub(super) struct Credentials {
    pub(super) user: UserId,
    pub(super) password_hash: String,
    /// The organisation that they have belonged to for longest.
    pub(super) tenant: Option<TenantId>,
}

/// A session that begins.
pub(super) struct NewRow<'a> {
    pub(super) id: SessionId,
    pub(super) token: TokenHash,
    pub(super) previous: Option<TokenHash>,
    pub(super) user: UserId,
    pub(super) tenant: &'a TenantId,
    pub(super) now: DateTime<Utc>,
    pub(super) idle_since: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) address: Option<String>,
    pub(super) user_agent: Option<&'a str>,
}

#[derive(FromRow)]
struct SessionRow {
    session: Uuid,
    last_seen_at: DateTime<Utc>,
    user_id: Uuid,
    email: String,
    user_name: String,
    is_operator: bool,
    role: String,
    tenant: String,
    slug: String,
    tenant_name: String,
    tenant_created_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct UserRow {
    id: Uuid,
    email: String,
    name: String,
    is_operator: bool,
}

/// A session that has not ended, and who it is.
pub(super) struct Found {
    pub(super) session: SessionId,
    pub(super) last_seen: DateTime<Utc>,
    pub(super) user: User,
    pub(super) tenant: Tenant,
    pub(super) role: Role,
}

/// A transaction on the control schema.
pub(super) async fn begin(control: &PgPool) -> Result<Transaction<'static, Postgres>> {
    Ok(control.begin().await?)
}

/// Makes what the transaction did permanent; one that is dropped instead undoes it.
pub(super) async fn commit(transaction: Transaction<'static, Postgres>) -> Result<()> {
    Ok(transaction.commit().await?)
}

/// Whether anybody has an account.
pub(super) async fn any_user(control: &PgPool) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM users)").fetch_one(control).await?)
}

/// Adds a user; `false` when the address has an account already.
pub(super) async fn insert_user(
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
pub(super) async fn user_by_email(
    transaction: &mut Transaction<'static, Postgres>,
    email: &EmailAddress,
) -> Result<User> {
    let row: UserRow = sqlx::query_as("SELECT id, email, name, is_operator FROM users WHERE lower(email) = lower($1)")
        .bind(email.as_str())
        .fetch_optional(&mut **transaction)
        .await?
        .ok_or_else(|| Error::not_found("the user"))?;
    Ok(User { id: UserId(row.id), email: row.email.parse()?, name: row.name, operator: row.is_operator })
}

/// Makes somebody a member of an organisation; `Conflict` when they are one already.
pub(super) async fn insert_membership(
    transaction: &mut Transaction<'static, Postgres>,
    user: &User,
    tenant: &Tenant,
    role: Role,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("INSERT INTO memberships (user_id, tenant_id, role, created_at) VALUES ($1, $2, $3, $4)")
        .bind(user.id.0)
        .bind(tenant.id.as_str())
        .bind(role.name())
        .bind(now)
        .execute(&mut **transaction)
        .await
        .map_err(|error| {
            if violates(&error, "memberships_pkey") {
                Error::conflict(format!("{} belongs to {} already", user.email, tenant.slug))
            } else {
                error.into()
            }
        })?;
    Ok(())
}

/// What a sign-in is checked against; `None` for an unknown address.
pub(super) async fn credentials(control: &PgPool, email: &EmailAddress) -> Result<Option<Credentials>> {
    let row: Option<(Uuid, String, Option<String>)> = sqlx::query_as(
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

/// Adds a session, and removes the one before it in the same browser and all that have run out.
pub(super) async fn insert_session(control: &PgPool, row: &NewRow<'_>) -> Result<()> {
    sqlx::query(
        "WITH ended AS (
             DELETE FROM sessions WHERE id IN (
                 SELECT id FROM sessions
                 WHERE token_hash = $3 OR expires_at <= $6 OR last_seen_at <= $7
                 FOR UPDATE SKIP LOCKED
             )
         )
         INSERT INTO sessions
             (id, token_hash, user_id, tenant_id, created_at, last_seen_at, expires_at, address, user_agent)
         VALUES ($1, $2, $4, $5, $6, $6, $8, $9, $10)",
    )
    .bind(row.id.0)
    .bind(row.token.as_bytes())
    .bind(row.previous.as_ref().map(TokenHash::as_bytes))
    .bind(row.user.0)
    .bind(row.tenant.as_str())
    .bind(row.now)
    .bind(row.idle_since)
    .bind(row.expires_at)
    .bind(row.address.as_deref())
    .bind(row.user_agent)
    .execute(control)
    .await?;
    Ok(())
}

/// Session, person, role and organisation at once.
pub(super) async fn session(
    control: &PgPool,
    token: &TokenHash,
    now: DateTime<Utc>,
    idle_since: DateTime<Utc>,
) -> Result<Option<Found>> {
    let row: Option<SessionRow> = sqlx::query_as(
        "SELECT s.id AS session, s.last_seen_at, u.id AS user_id, u.email, u.name AS user_name, u.is_operator, m.role,
                t.id AS tenant, t.slug, t.name AS tenant_name, t.created_at AS tenant_created_at
         FROM sessions s
         JOIN users u ON u.id = s.user_id
         JOIN memberships m ON m.user_id = s.user_id AND m.tenant_id = s.tenant_id
         JOIN tenants t ON t.id = s.tenant_id
         WHERE s.token_hash = $1 AND s.expires_at > $2 AND s.last_seen_at > $3 AND t.state = 'active'
           AND u.suspended_at IS NULL AND m.suspended_at IS NULL",
    )
    .bind(token.as_bytes())
    .bind(now)
    .bind(idle_since)
    .fetch_optional(control)
    .await?;
    row.map(|row| {
        let tenant = Tenant {
            id: row.tenant.parse()?,
            slug: row.slug.parse()?,
            name: row.tenant_name,
            created_at: row.tenant_created_at,
        };
        let user =
            User { id: UserId(row.user_id), email: row.email.parse()?, name: row.user_name, operator: row.is_operator };
        let (session, role) = (SessionId(row.session), row.role.parse()?);
        Ok(Found { session, last_seen: row.last_seen_at, user, tenant, role })
    })
    .transpose()
}

/// Notes that a session is in use.
pub(super) async fn touch(control: &PgPool, session: SessionId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query("UPDATE sessions SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2")
        .bind(session.0)
        .bind(now)
        .execute(control)
        .await?;
    Ok(())
}

/// Whose session it was and in which organisation, if there was one.
pub(super) async fn delete_session(control: &PgPool, session: SessionId) -> Result<Option<(UserId, TenantId)>> {
    let row: Option<(Uuid, String)> = sqlx::query_as("DELETE FROM sessions WHERE id = $1 RETURNING user_id, tenant_id")
        .bind(session.0)
        .fetch_optional(control)
        .await?;
    row.map(|(user, tenant)| Ok((UserId(user), tenant.parse()?))).transpose()
}

/// Stores a set-up token's hash, and forgets those that are too old to be used.
pub(super) async fn insert_setup_token(
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
pub(super) async fn is_setup_token(control: &PgPool, token: &TokenHash, oldest: DateTime<Utc>) -> Result<bool> {
    let found =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM setup_tokens WHERE token_hash = $1 AND created_at > $2)")
            .bind(token.as_bytes())
            .bind(oldest)
            .fetch_one(control)
            .await?;
    Ok(found)
}

/// Removes all set-up tokens; their hashes.
pub(super) async fn delete_setup_tokens(transaction: &mut Transaction<'static, Postgres>) -> Result<Vec<Vec<u8>>> {
    let hashes =
        sqlx::query_scalar("DELETE FROM setup_tokens RETURNING token_hash").fetch_all(&mut **transaction).await?;
    Ok(hashes)
}
