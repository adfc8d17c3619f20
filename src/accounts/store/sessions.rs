//! The rows of `control.sessions`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::{
    accounts::{Role, User},
    support::{
        Result,
        ids::{SessionId, TenantId, UserId},
    },
    tenants::Tenant,
    vault::TokenHash,
};

/// A session that begins.
pub(in crate::accounts) struct NewRow<'a> {
    pub(in crate::accounts) id: SessionId,
    pub(in crate::accounts) token: TokenHash,
    pub(in crate::accounts) previous: Option<TokenHash>,
    pub(in crate::accounts) user: UserId,
    pub(in crate::accounts) tenant: &'a TenantId,
    pub(in crate::accounts) now: DateTime<Utc>,
    pub(in crate::accounts) idle_since: DateTime<Utc>,
    pub(in crate::accounts) expires_at: DateTime<Utc>,
    pub(in crate::accounts) address: Option<String>,
    pub(in crate::accounts) user_agent: Option<&'a str>,
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

/// A session that has not ended, and who it is.
pub(in crate::accounts) struct Found {
    pub(in crate::accounts) session: SessionId,
    pub(in crate::accounts) last_seen: DateTime<Utc>,
    pub(in crate::accounts) user: User,
    pub(in crate::accounts) tenant: Tenant,
    pub(in crate::accounts) role: Role,
}

/// Adds a session, and removes the one before it in the same browser and all that have run out.
pub(in crate::accounts) async fn insert_session(control: &PgPool, row: &NewRow<'_>) -> Result<()> {
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
pub(in crate::accounts) async fn session(
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
pub(in crate::accounts) async fn touch(control: &PgPool, session: SessionId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query("UPDATE sessions SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2")
        .bind(session.0)
        .bind(now)
        .execute(control)
        .await?;
    Ok(())
}

/// Whose session it was and in which organisation, if there was one.
pub(in crate::accounts) async fn delete_session(
    control: &PgPool,
    session: SessionId,
) -> Result<Option<(UserId, TenantId)>> {
    let row: Option<(Uuid, String)> = sqlx::query_as("DELETE FROM sessions WHERE id = $1 RETURNING user_id, tenant_id")
        .bind(session.0)
        .fetch_optional(control)
        .await?;
    row.map(|(user, tenant)| Ok((UserId(user), tenant.parse()?))).transpose()
}
