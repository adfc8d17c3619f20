//! The rows of `control.memberships`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::{
    accounts::{EmailAddress, Member, Role, User},
    db::violates,
    support::{
        Error, Result,
        ids::{TenantId, UserId},
    },
    tenants::Tenant,
};

#[derive(FromRow)]
struct MemberRow {
    user_id: Uuid,
    email: String,
    name: String,
    role: String,
    created_at: DateTime<Utc>,
    last_seen_at: Option<DateTime<Utc>>,
    suspended_at: Option<DateTime<Utc>>,
    second_factor: bool,
}

/// A membership that nobody else can change before the transaction ends.
pub(in crate::accounts) struct Locked {
    pub(in crate::accounts) user: UserId,
    pub(in crate::accounts) role: Role,
    /// Neither the membership nor the account is suspended.
    pub(in crate::accounts) active: bool,
}

/// Makes somebody a member of an organisation; `Conflict` when they are one already.
pub(in crate::accounts) async fn insert_membership(
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

/// All members of an organisation, or one, by name.
pub(in crate::accounts) async fn list(
    control: &PgPool,
    tenant: &TenantId,
    user: Option<UserId>,
) -> Result<Vec<Member>> {
    let rows: Vec<MemberRow> = sqlx::query_as(
        "SELECT u.id AS user_id, u.email, u.name, m.role, m.created_at, m.last_seen_at,
                coalesce(u.suspended_at, m.suspended_at) AS suspended_at,
                EXISTS (SELECT FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL)
                    AS second_factor
         FROM memberships m JOIN users u ON u.id = m.user_id
         WHERE m.tenant_id = $1 AND ($2::uuid IS NULL OR m.user_id = $2)
         ORDER BY lower(u.name), lower(u.email)",
    )
    .bind(tenant.as_str())
    .bind(user.map(|user| user.0))
    .fetch_all(control)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Member {
                user: UserId(row.user_id),
                email: row.email.parse()?,
                name: row.name,
                role: row.role.parse()?,
                since: row.created_at,
                last_seen_at: row.last_seen_at,
                suspended_at: row.suspended_at,
                second_factor: Some(row.second_factor),
            })
        })
        .collect()
}

/// The role of an active member.
pub(in crate::accounts) async fn role_of(control: &PgPool, tenant: &TenantId, user: UserId) -> Result<Option<Role>> {
    let role: Option<String> = sqlx::query_scalar(
        "SELECT m.role FROM memberships m JOIN users u ON u.id = m.user_id
         WHERE m.tenant_id = $1 AND m.user_id = $2 AND m.suspended_at IS NULL AND u.suspended_at IS NULL",
    )
    .bind(tenant.as_str())
    .bind(user.0)
    .fetch_optional(control)
    .await?;
    role.map(|role| role.parse()).transpose()
}

/// Whether the person of an address belongs to an organisation, suspended or not.
pub(in crate::accounts) async fn is_member(control: &PgPool, tenant: &TenantId, email: &EmailAddress) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM memberships m JOIN users u ON u.id = m.user_id
                        WHERE m.tenant_id = $1 AND lower(u.email) = lower($2))",
    )
    .bind(tenant.as_str())
    .bind(email.as_str())
    .fetch_one(control)
    .await?)
}

/// Locks the owners of an organisation, a member, and whoever wants to change them, in an order that is always the same.
/// Whoever comes second waits here and then sees what the first has made of them.
pub(in crate::accounts) async fn lock(
    transaction: &mut Transaction<'static, Postgres>,
    tenant: &TenantId,
    user: UserId,
    actor: Option<UserId>,
) -> Result<Vec<Locked>> {
    let rows: Vec<(Uuid, String, bool)> = sqlx::query_as(
        "SELECT m.user_id, m.role, m.suspended_at IS NULL AND u.suspended_at IS NULL
         FROM memberships m JOIN users u ON u.id = m.user_id
         WHERE m.tenant_id = $1 AND (m.role = 'owner' OR m.user_id = $2 OR m.user_id = $3)
         ORDER BY m.user_id
         FOR UPDATE OF m",
    )
    .bind(tenant.as_str())
    .bind(user.0)
    .bind(actor.map(|actor| actor.0))
    .fetch_all(&mut **transaction)
    .await?;
    rows.into_iter()
        .map(|(user, role, active)| Ok(Locked { user: UserId(user), role: role.parse()?, active }))
        .collect()
}

/// Gives a member another role; their sessions there get new tokens.
pub(in crate::accounts) async fn set_role(
    transaction: &mut Transaction<'static, Postgres>,
    tenant: &TenantId,
    user: UserId,
    role: Role,
) -> Result<()> {
    sqlx::query(
        "WITH renewed AS (UPDATE sessions SET renew = true WHERE tenant_id = $1 AND user_id = $2)
         UPDATE memberships SET role = $3 WHERE tenant_id = $1 AND user_id = $2",
    )
    .bind(tenant.as_str())
    .bind(user.0)
    .bind(role.name())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Keeps a member out; their sessions there end.
pub(in crate::accounts) async fn suspend(
    transaction: &mut Transaction<'static, Postgres>,
    tenant: &TenantId,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "WITH ended AS (DELETE FROM sessions WHERE tenant_id = $1 AND user_id = $2)
         UPDATE memberships SET suspended_at = coalesce(suspended_at, $3) WHERE tenant_id = $1 AND user_id = $2",
    )
    .bind(tenant.as_str())
    .bind(user.0)
    .bind(now)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Lets a member in again.
pub(in crate::accounts) async fn resume(
    transaction: &mut Transaction<'static, Postgres>,
    tenant: &TenantId,
    user: UserId,
) -> Result<()> {
    sqlx::query("UPDATE memberships SET suspended_at = NULL WHERE tenant_id = $1 AND user_id = $2")
        .bind(tenant.as_str())
        .bind(user.0)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Ends a membership, and with it all sessions and API tokens in the organisation.
pub(in crate::accounts) async fn delete(
    transaction: &mut Transaction<'static, Postgres>,
    tenant: &TenantId,
    user: UserId,
) -> Result<()> {
    sqlx::query("DELETE FROM memberships WHERE tenant_id = $1 AND user_id = $2")
        .bind(tenant.as_str())
        .bind(user.0)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
