//! Names alone.

use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{
    Result,
    ids::{TenantId, UserId},
};

/// The members of a tenant, and some others, by name.
pub(in crate::accounts) async fn names(
    control: &PgPool,
    tenant: &TenantId,
    others: &[UserId],
) -> Result<Vec<(UserId, String)>> {
    let others: Vec<Uuid> = others.iter().map(|user| user.0).collect();
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "SELECT id, name FROM users
         WHERE id = ANY($2) OR id IN (SELECT user_id FROM memberships WHERE tenant_id = $1) ORDER BY lower(name), id",
    )
    .bind(tenant.as_str())
    .bind(others)
    .fetch_all(control)
    .await?;
    Ok(rows.into_iter().map(|(id, name)| (UserId(id), name)).collect())
}
