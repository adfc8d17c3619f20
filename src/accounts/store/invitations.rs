//! The rows of `control.invitations`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::{
    accounts::{Invitation, Invited, Role},
    support::{
        Error, Result,
        ids::{InvitationId, TenantId, UserId},
    },
    tenants::Tenant,
    vault::TokenHash,
};

#[derive(FromRow)]
struct Row {
    id: Uuid,
    email: String,
    role: String,
    invited_by: Option<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl TryFrom<Row> for Invitation {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: InvitationId(row.id),
            email: row.email.parse()?,
            role: row.role.parse()?,
            invited_by: row.invited_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}

#[derive(FromRow)]
struct InvitedRow {
    #[sqlx(flatten)]
    invitation: Row,
    tenant: String,
    slug: String,
    tenant_name: String,
    tenant_created_at: DateTime<Utc>,
    has_account: bool,
}

/// Stores an invitation in the place of an earlier one of the same person.
pub(in crate::accounts) async fn replace(
    control: &PgPool,
    tenant: &TenantId,
    invitation: &Invitation,
    inviter: Option<UserId>,
    token: &TokenHash,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO invitations (id, token_hash, tenant_id, email, role, invited_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (tenant_id, lower(email)) DO UPDATE
         SET id = $1, token_hash = $2, email = $4, role = $5, invited_by = $6, created_at = $7, expires_at = $8",
    )
    .bind(invitation.id.0)
    .bind(token.as_bytes())
    .bind(tenant.as_str())
    .bind(invitation.email.as_str())
    .bind(invitation.role.name())
    .bind(inviter.map(|user| user.0))
    .bind(invitation.created_at)
    .bind(invitation.expires_at)
    .execute(control)
    .await?;
    Ok(())
}

/// Those of an organisation that have not run out, the newest first.
pub(in crate::accounts) async fn list(
    control: &PgPool,
    tenant: &TenantId,
    now: DateTime<Utc>,
) -> Result<Vec<Invitation>> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT i.id, i.email, i.role, u.name AS invited_by, i.created_at, i.expires_at
         FROM invitations i LEFT JOIN users u ON u.id = i.invited_by
         WHERE i.tenant_id = $1 AND i.expires_at > $2 ORDER BY i.created_at DESC, i.id DESC",
    )
    .bind(tenant.as_str())
    .bind(now)
    .fetch_all(control)
    .await?;
    rows.into_iter().map(Invitation::try_from).collect()
}

/// The one of a link, while it is good.
pub(in crate::accounts) async fn by_token(
    control: &PgPool,
    token: &TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<Invited>> {
    let row: Option<InvitedRow> = sqlx::query_as(
        "SELECT i.id, i.email, i.role, u.name AS invited_by, i.created_at, i.expires_at,
                t.id AS tenant, t.slug, t.name AS tenant_name, t.created_at AS tenant_created_at,
                EXISTS (SELECT FROM users a WHERE lower(a.email) = lower(i.email)) AS has_account
         FROM invitations i JOIN tenants t ON t.id = i.tenant_id LEFT JOIN users u ON u.id = i.invited_by
         WHERE i.token_hash = $1 AND i.expires_at > $2 AND t.state = 'active'",
    )
    .bind(token.as_bytes())
    .bind(now)
    .fetch_optional(control)
    .await?;
    row.map(|row| {
        let tenant = Tenant {
            id: row.tenant.parse()?,
            slug: row.slug.parse()?,
            name: row.tenant_name,
            created_at: row.tenant_created_at,
        };
        Ok(Invited { invitation: row.invitation.try_into()?, tenant, has_account: row.has_account })
    })
    .transpose()
}

/// Uses an invitation up; false when it is not good any more. Of several who try at once one succeeds.
pub(in crate::accounts) async fn take(
    transaction: &mut Transaction<'static, Postgres>,
    id: InvitationId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let taken = sqlx::query("DELETE FROM invitations WHERE id = $1 AND expires_at > $2")
        .bind(id.0)
        .bind(now)
        .execute(&mut **transaction)
        .await?
        .rows_affected();
    Ok(taken == 1)
}

/// Removes one of an organisation; false when there is none.
pub(in crate::accounts) async fn delete(control: &PgPool, tenant: &TenantId, id: InvitationId) -> Result<bool> {
    let deleted = sqlx::query("DELETE FROM invitations WHERE id = $1 AND tenant_id = $2")
        .bind(id.0)
        .bind(tenant.as_str())
        .execute(control)
        .await?
        .rows_affected();
    Ok(deleted == 1)
}

/// Removes those that somebody has made for these roles.
pub(in crate::accounts) async fn revoke_those_of(
    transaction: &mut Transaction<'static, Postgres>,
    tenant: &TenantId,
    user: UserId,
    roles: &[Role],
) -> Result<()> {
    let roles: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    sqlx::query("DELETE FROM invitations WHERE tenant_id = $1 AND invited_by = $2 AND role = ANY ($3)")
        .bind(tenant.as_str())
        .bind(user.0)
        .bind(roles)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
