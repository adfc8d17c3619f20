//! The rows of `control.sessions`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, PgPool, types::Json};
use uuid::Uuid;

use crate::{
    accounts::{Organisation, Role, User},
    support::{
        Result,
        ids::{SessionId, TenantId, UserId},
    },
    tenants::{Slug, Tenant},
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
    pub(in crate::accounts) remembered: bool,
    pub(in crate::accounts) address: Option<String>,
    pub(in crate::accounts) user_agent: Option<&'a str>,
}

#[derive(FromRow)]
struct SessionRow {
    session: Uuid,
    last_seen_at: DateTime<Utc>,
    renew: bool,
    elsewhere: Option<Json<Vec<Organisation>>>,
    user_id: Uuid,
    email: String,
    user_name: String,
    is_operator: bool,
    role: String,
    tenant: String,
    slug: String,
    tenant_name: String,
    tenant_created_at: DateTime<Utc>,
    must_enrol: bool,
}

/// A session that has not ended, and who it is.
pub(in crate::accounts) struct Found {
    pub(in crate::accounts) session: SessionId,
    pub(in crate::accounts) last_seen: DateTime<Utc>,
    pub(in crate::accounts) user: User,
    pub(in crate::accounts) tenant: Tenant,
    pub(in crate::accounts) role: Role,
    /// The session's rights have changed: it needs a new token.
    pub(in crate::accounts) renew: bool,
    /// The other organisations that it could move to, by name.
    pub(in crate::accounts) elsewhere: Vec<Organisation>,
    pub(in crate::accounts) must_enrol: bool,
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
         ), seen AS (
             UPDATE memberships SET last_seen_at = $6 WHERE user_id = $4 AND tenant_id = $5
         )
         INSERT INTO sessions
             (id, token_hash, user_id, tenant_id, created_at, last_seen_at, expires_at, remembered, address, user_agent)
         VALUES ($1, $2, $4, $5, $6, $6, $8, $9, $10, $11)",
    )
    .bind(row.id.0)
    .bind(row.token.as_bytes())
    .bind(row.previous.as_ref().map(TokenHash::as_bytes))
    .bind(row.user.0)
    .bind(row.tenant.as_str())
    .bind(row.now)
    .bind(row.idle_since)
    .bind(row.expires_at)
    .bind(row.remembered)
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
        "SELECT s.id AS session, s.last_seen_at, s.renew, u.id AS user_id, u.email, u.name AS user_name, u.is_operator,
                m.role, t.id AS tenant, t.slug, t.name AS tenant_name, t.created_at AS tenant_created_at,
                (SELECT jsonb_agg(jsonb_build_object('slug', o.slug, 'name', o.name) ORDER BY lower(o.name), o.slug)
                 FROM memberships om JOIN tenants o ON o.id = om.tenant_id
                 WHERE om.user_id = u.id AND om.tenant_id <> t.id AND om.suspended_at IS NULL AND o.state = 'active'
                ) AS elsewhere,
                (t.requires_second_factor AND s.identity_id IS NULL AND NOT EXISTS (
                     SELECT FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL)
                ) AS must_enrol
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
        let elsewhere = row.elsewhere.map(|Json(elsewhere)| elsewhere).unwrap_or_default();
        Ok(Found {
            session,
            last_seen: row.last_seen_at,
            user,
            tenant,
            role,
            renew: row.renew,
            elsewhere,
            must_enrol: row.must_enrol,
        })
    })
    .transpose()
}

/// Notes that a session is in use, and with it the person in their organisation.
pub(in crate::accounts) async fn touch(control: &PgPool, session: SessionId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "WITH seen AS (
             UPDATE sessions SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2 RETURNING user_id, tenant_id
         )
         UPDATE memberships m SET last_seen_at = $2 FROM seen
         WHERE m.user_id = seen.user_id AND m.tenant_id = seen.tenant_id",
    )
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

/// A session as its owner sees it.
#[derive(FromRow)]
pub(in crate::accounts) struct OwnRow {
    pub(in crate::accounts) id: Uuid,
    pub(in crate::accounts) organisation: String,
    pub(in crate::accounts) created_at: DateTime<Utc>,
    pub(in crate::accounts) last_seen_at: DateTime<Utc>,
    pub(in crate::accounts) expires_at: DateTime<Utc>,
    pub(in crate::accounts) address: Option<String>,
    pub(in crate::accounts) user_agent: Option<String>,
}

/// The sessions of somebody that have not ended, the last used first.
pub(in crate::accounts) async fn of_user(
    control: &PgPool,
    user: UserId,
    now: DateTime<Utc>,
    idle_since: DateTime<Utc>,
) -> Result<Vec<OwnRow>> {
    let rows = sqlx::query_as(
        "SELECT s.id, t.name AS organisation, s.created_at, s.last_seen_at, s.expires_at, s.address, s.user_agent
         FROM sessions s JOIN tenants t ON t.id = s.tenant_id
         WHERE s.user_id = $1 AND s.expires_at > $2 AND s.last_seen_at > $3
         ORDER BY s.last_seen_at DESC, s.id DESC",
    )
    .bind(user.0)
    .bind(now)
    .bind(idle_since)
    .fetch_all(control)
    .await?;
    Ok(rows)
}

/// Ends a session of this very person; in which organisation it was, if there was one.
pub(in crate::accounts) async fn delete_own(
    control: &PgPool,
    user: UserId,
    session: SessionId,
) -> Result<Option<TenantId>> {
    let tenant: Option<String> =
        sqlx::query_scalar("DELETE FROM sessions WHERE id = $1 AND user_id = $2 RETURNING tenant_id")
            .bind(session.0)
            .bind(user.0)
            .fetch_optional(control)
            .await?;
    tenant.map(|tenant| tenant.parse()).transpose()
}

/// Ends all sessions of somebody but one; which, and in which organisations.
pub(in crate::accounts) async fn delete_others(
    executor: impl PgExecutor<'_>,
    user: UserId,
    except: Option<SessionId>,
) -> Result<Vec<(SessionId, TenantId)>> {
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("DELETE FROM sessions WHERE user_id = $1 AND id IS DISTINCT FROM $2 RETURNING id, tenant_id")
            .bind(user.0)
            .bind(except.map(|session| session.0))
            .fetch_all(executor)
            .await?;
    rows.into_iter().map(|(session, tenant)| Ok((SessionId(session), tenant.parse()?))).collect()
}

/// Where a session has moved to.
pub(in crate::accounts) struct Moved {
    pub(in crate::accounts) tenant: TenantId,
    pub(in crate::accounts) expires_at: DateTime<Utc>,
    pub(in crate::accounts) remembered: bool,
}

/// Moves a session to an organisation that its person may work in, under a new token.
pub(in crate::accounts) async fn switch(
    control: &PgPool,
    session: SessionId,
    slug: &Slug,
    token: &TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<Moved>> {
    let row: Option<(String, DateTime<Utc>, bool)> = sqlx::query_as(
        "UPDATE sessions s SET tenant_id = t.id, token_hash = $3, renew = false, last_seen_at = $4
         FROM memberships m JOIN tenants t ON t.id = m.tenant_id
         WHERE s.id = $1 AND m.user_id = s.user_id AND m.suspended_at IS NULL AND t.slug = $2 AND t.state = 'active'
         RETURNING t.id, s.expires_at, s.remembered",
    )
    .bind(session.0)
    .bind(slug.as_str())
    .bind(token.as_bytes())
    .bind(now)
    .fetch_optional(control)
    .await?;
    row.map(|(tenant, expires_at, remembered)| Ok(Moved { tenant: tenant.parse()?, expires_at, remembered }))
        .transpose()
}

/// Gives a session that needs it a new token in the place of `old`; until when it lasts, and whether the browser keeps it.
pub(in crate::accounts) async fn renew(
    control: &PgPool,
    session: SessionId,
    old: &TokenHash,
    new: &TokenHash,
) -> Result<Option<(DateTime<Utc>, bool)>> {
    Ok(sqlx::query_as(
        "UPDATE sessions SET token_hash = $3, renew = false WHERE id = $1 AND token_hash = $2 AND renew
         RETURNING expires_at, remembered",
    )
    .bind(session.0)
    .bind(old.as_bytes())
    .bind(new.as_bytes())
    .fetch_optional(control)
    .await?)
}

/// Gives a session a new token; until when it lasts, and whether the browser keeps it.
pub(in crate::accounts) async fn replace_token(
    executor: impl PgExecutor<'_>,
    session: SessionId,
    new: &TokenHash,
) -> Result<Option<(DateTime<Utc>, bool)>> {
    Ok(sqlx::query_as(
        "UPDATE sessions SET token_hash = $2, renew = false WHERE id = $1 RETURNING expires_at, remembered",
    )
    .bind(session.0)
    .bind(new.as_bytes())
    .fetch_optional(executor)
    .await?)
}
