//! Tenants, as the operator at the command line sees them.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, App};
use crate::tenants::{Slug, Tenant};

pub(super) async fn list_tenants(State(app): State<App>) -> Answer {
    let tenants = app.tenants.list().await?;
    Ok(Json(tenants.iter().map(tenant_json).collect()))
}

#[derive(Deserialize)]
pub(super) struct NewTenant {
    slug: String,
    name: String,
}

pub(super) async fn create_tenant(State(app): State<App>, Json(new): Json<NewTenant>) -> Answer {
    let slug: Slug = new.slug.parse()?;
    let tenant = app.tenants.create(&slug, &new.name).await?;
    Ok(Json(tenant_json(&tenant)))
}

fn tenant_json(tenant: &Tenant) -> Value {
    json!({ "slug": tenant.slug, "name": tenant.name, "id": tenant.id, "created_at": tenant.created_at })
}
