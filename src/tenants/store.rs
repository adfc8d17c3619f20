//! The rows of `control.tenants`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};

use super::{Record, Slug, State, Tenant};
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

#[derive(FromRow)]
struct RecordRow {
    #[sqlx(flatten)]
    tenant: Row,
    state: String,
    suspended_at: Option<DateTime<Utc>>,
    suspended_reason: Option<String>,
    delete_after: Option<DateTime<Utc>>,
    members: i64,
}

impl TryFrom<Row> for Tenant {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self { id: row.id.parse()?, slug: row.slug.parse()?, name: row.name, created_at: row.created_at })
    }
}

impl TryFrom<RecordRow> for Record {
    type Error = Error;

    fn try_from(row: RecordRow) -> Result<Self> {
        let RecordRow { tenant, state, suspended_at, suspended_reason, delete_after, members } = row;
        let (tenant, state) = (tenant.try_into()?, state.parse()?);
        Ok(Self { tenant, state, suspended_at, suspended_reason, delete_after, members })
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
        .map_err(|error| slug_taken(error, &tenant.slug))?;
    Ok(())
}

/// Lists a tenant whose schema is complete.
pub(super) async fn activate(control: &PgPool, id: &TenantId) -> Result<()> {
    let changed = sqlx::query("UPDATE tenants SET state = 'active' WHERE id = $1 AND state = 'creating'")
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

/// All tenants that are in service, by slug.
pub(super) async fn list(control: &PgPool) -> Result<Vec<Tenant>> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT id, slug, name, created_at FROM tenants WHERE state = 'active' ORDER BY slug")
            .fetch_all(control)
            .await?;
    rows.into_iter().map(Tenant::try_from).collect()
}

/// The tenant of a slug, if it is in service.
pub(super) async fn by_slug(control: &PgPool, slug: &Slug) -> Result<Option<Tenant>> {
    let row: Option<Row> =
        sqlx::query_as("SELECT id, slug, name, created_at FROM tenants WHERE slug = $1 AND state = 'active'")
            .bind(slug.as_str())
            .fetch_optional(control)
            .await?;
    row.map(Tenant::try_from).transpose()
}

/// The tenant of an id, if it is in service.
pub(super) async fn by_id(control: &PgPool, id: &TenantId) -> Result<Option<Tenant>> {
    let row: Option<Row> =
        sqlx::query_as("SELECT id, slug, name, created_at FROM tenants WHERE id = $1 AND state = 'active'")
            .bind(id.as_str())
            .fetch_optional(control)
            .await?;
    row.map(Tenant::try_from).transpose()
}

/// The tenant of an id, whatever its state.
pub(super) async fn record(control: &PgPool, id: &TenantId) -> Result<Option<Record>> {
    let row: Option<RecordRow> = sqlx::query_as(
        "SELECT id, slug, name, created_at, state, suspended_at, suspended_reason, delete_after,
                (SELECT count(*) FROM memberships m WHERE m.tenant_id = t.id) AS members
         FROM tenants t WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(control)
    .await?;
    row.map(Record::try_from).transpose()
}

/// The tenant of a slug, whatever its state.
pub(super) async fn record_by_slug(control: &PgPool, slug: &Slug) -> Result<Option<Record>> {
    let row: Option<RecordRow> = sqlx::query_as(
        "SELECT id, slug, name, created_at, state, suspended_at, suspended_reason, delete_after,
                (SELECT count(*) FROM memberships m WHERE m.tenant_id = t.id) AS members
         FROM tenants t WHERE slug = $1",
    )
    .bind(slug.as_str())
    .fetch_optional(control)
    .await?;
    row.map(Record::try_from).transpose()
}

/// Tenants in any state whose slug follows `after`, by slug, `limit` at most.
pub(super) async fn records(control: &PgPool, after: &str, limit: i64) -> Result<Vec<Record>> {
    let rows: Vec<RecordRow> = sqlx::query_as(
        "SELECT id, slug, name, created_at, state, suspended_at, suspended_reason, delete_after,
                (SELECT count(*) FROM memberships m WHERE m.tenant_id = t.id) AS members
         FROM tenants t WHERE slug > $1 ORDER BY slug LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(control)
    .await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// Tenants that are not in service, by slug.
pub(super) async fn records_away(control: &PgPool) -> Result<Vec<Record>> {
    let rows: Vec<RecordRow> = sqlx::query_as(
        "SELECT id, slug, name, created_at, state, suspended_at, suspended_reason, delete_after,
                (SELECT count(*) FROM memberships m WHERE m.tenant_id = t.id) AS members
         FROM tenants t WHERE state <> 'active' ORDER BY slug",
    )
    .fetch_all(control)
    .await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// How many tenants there are, by state.
pub(super) async fn counts(control: &PgPool) -> Result<HashMap<State, i64>> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT state, count(*) FROM tenants GROUP BY state").fetch_all(control).await?;
    rows.into_iter().map(|(state, count)| Ok((state.parse()?, count))).collect()
}

/// A tenant's state; `None` when it is gone.
pub(super) async fn state(control: &PgPool, id: &TenantId) -> Result<Option<State>> {
    let state: Option<String> =
        sqlx::query_scalar("SELECT state FROM tenants WHERE id = $1").bind(id.as_str()).fetch_optional(control).await?;
    state.map(|state| state.parse()).transpose()
}

/// All tenants that are not in service.
pub(super) async fn away(control: &PgPool) -> Result<HashMap<TenantId, State>> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT id, state FROM tenants WHERE state <> 'active'").fetch_all(control).await?;
    rows.into_iter().map(|(id, state)| Ok((id.parse()?, state.parse()?))).collect()
}

/// Changes both names.
pub(super) async fn rename(control: &PgPool, id: &TenantId, name: &str, slug: &Slug) -> Result<()> {
    sqlx::query("UPDATE tenants SET name = $2, slug = $3 WHERE id = $1")
        .bind(id.as_str())
        .bind(name)
        .bind(slug.as_str())
        .execute(control)
        .await
        .map_err(|error| slug_taken(error, slug))?;
    Ok(())
}

/// From `active` to `suspended`; false when it is not active.
pub(super) async fn suspend(control: &PgPool, id: &TenantId, reason: &str, now: DateTime<Utc>) -> Result<bool> {
    let changed = sqlx::query(
        "UPDATE tenants SET state = 'suspended', suspended_at = $2, suspended_reason = NULLIF($3, '')
         WHERE id = $1 AND state = 'active'",
    )
    .bind(id.as_str())
    .bind(now)
    .bind(reason)
    .execute(control)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// From `suspended` to `active`; false when it is not suspended.
pub(super) async fn resume(control: &PgPool, id: &TenantId) -> Result<bool> {
    let changed = sqlx::query(
        "UPDATE tenants SET state = 'active', suspended_at = NULL, suspended_reason = NULL
         WHERE id = $1 AND state = 'suspended'",
    )
    .bind(id.as_str())
    .execute(control)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// To `deleting`; false when its removal has begun, or it is not complete.
pub(super) async fn delete(control: &PgPool, id: &TenantId, after: DateTime<Utc>) -> Result<bool> {
    let changed = sqlx::query(
        "UPDATE tenants SET state = 'deleting', delete_after = $2
         WHERE id = $1 AND state IN ('active', 'suspended', 'deleting')",
    )
    .bind(id.as_str())
    .bind(after)
    .execute(control)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// From `deleting` to what it was; false when its removal has begun.
pub(super) async fn undelete(control: &PgPool, id: &TenantId) -> Result<bool> {
    let changed = sqlx::query(
        "UPDATE tenants SET delete_after = NULL,
                            state = CASE WHEN suspended_at IS NULL THEN 'active' ELSE 'suspended' END
         WHERE id = $1 AND state = 'deleting'",
    )
    .bind(id.as_str())
    .execute(control)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Tenants whose removal is due, or has begun.
pub(super) async fn due(control: &PgPool, now: DateTime<Utc>) -> Result<Vec<TenantId>> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM tenants WHERE state = 'removing' OR (state = 'deleting' AND delete_after <= $1) ORDER BY id",
    )
    .bind(now)
    .fetch_all(control)
    .await?;
    ids.into_iter().map(|id| id.parse()).collect()
}

/// From `deleting` to `removing`, if it is due; true when the removal is to go on.
pub(super) async fn begin_removal(control: &PgPool, id: &TenantId, now: DateTime<Utc>) -> Result<bool> {
    let changed = sqlx::query(
        "UPDATE tenants SET state = 'removing'
         WHERE id = $1 AND (state = 'removing' OR (state = 'deleting' AND delete_after <= $2))",
    )
    .bind(id.as_str())
    .bind(now)
    .execute(control)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// The row goes, and with it whatever refers to it; false when somebody else was first.
pub(super) async fn finish_removal(control: &PgPool, id: &TenantId) -> Result<bool> {
    let removed = sqlx::query("DELETE FROM tenants WHERE id = $1 AND state = 'removing'")
        .bind(id.as_str())
        .execute(control)
        .await?;
    Ok(removed.rows_affected() == 1)
}

fn slug_taken(error: sqlx::Error, slug: &Slug) -> Error {
    if violates(&error, "tenants_slug_key") {
        Error::conflict(format!("there is already an organisation \"{slug}\""))
    } else {
        error.into()
    }
}
