//! The rows of `control.tenants`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};

use super::{Slug, Tenant};
use crate::{
    db::violates,
    support::{Error, Result, ids::TenantId},
};

#[derive(FromRow)]
struct Row {
    id: String,
    slug: String,
    name: String,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Tenant {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self { id: row.id.parse()?, slug: row.slug.parse()?, name: row.name, created_at: row.created_at })
    }
}

/// Takes the slug; the schema comes next.
pub(super) async fn insert_creating(control: &PgPool, tenant: &Tenant) -> Result<()> {
    sqlx::query("INSERT INTO tenants (id, slug, name, state, created_at) VALUES ($1, $2, $3, 'creating', $4)")
        .bind(tenant.id.as_str())
        .bind(tenant.slug.as_str())
        .bind(&tenant.name)
        .bind(tenant.created_at)
        .execute(control)
        .await
        .map_err(|error| {
            if violates(&error, "tenants_slug_key") {
                Error::conflict(format!("there is already an organisation \"{}\"", tenant.slug))
            } else {
                error.into()
            }
        })?;
    Ok(())
}

/// Lists a tenant whose schema is complete.
pub(super) async fn activate(control: &PgPool, id: &TenantId) -> Result<()> {
    let changed = sqlx::query("UPDATE tenants SET state = 'active' WHERE id = $1")
        .bind(id.as_str())
        .execute(control)
        .await?
        .rows_affected();
    if changed == 1 { Ok(()) } else { Err(Error::not_found("the tenant")) }
}

/// Tenants whose schema was begun and not finished.
pub(super) async fn creating(control: &PgPool) -> Result<Vec<TenantId>> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM tenants WHERE state = 'creating' ORDER BY created_at, id")
            .fetch_all(control)
            .await?;
    ids.into_iter().map(|id| id.parse()).collect()
}

/// All tenants that are complete, by slug.
pub(super) async fn list(control: &PgPool) -> Result<Vec<Tenant>> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT id, slug, name, created_at FROM tenants WHERE state = 'active' ORDER BY slug")
            .fetch_all(control)
            .await?;
    rows.into_iter().map(Tenant::try_from).collect()
}

/// The tenant of a slug, if it is complete.
pub(super) async fn by_slug(control: &PgPool, slug: &Slug) -> Result<Option<Tenant>> {
    let row: Option<Row> =
        sqlx::query_as("SELECT id, slug, name, created_at FROM tenants WHERE slug = $1 AND state = 'active'")
            .bind(slug.as_str())
            .fetch_optional(control)
            .await?;
    row.map(Tenant::try_from).transpose()
}

/// The tenant of an id, if it is complete.
pub(super) async fn by_id(control: &PgPool, id: &TenantId) -> Result<Option<Tenant>> {
    let row: Option<Row> =
        sqlx::query_as("SELECT id, slug, name, created_at FROM tenants WHERE id = $1 AND state = 'active'")
            .bind(id.as_str())
            .fetch_optional(control)
            .await?;
    row.map(Tenant::try_from).transpose()
}
