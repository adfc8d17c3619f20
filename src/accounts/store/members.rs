//! The rows of `control.memberships`.

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};

use crate::{
    accounts::{Role, User},
    db::violates,
    support::{Error, Result},
    tenants::Tenant,
};

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
