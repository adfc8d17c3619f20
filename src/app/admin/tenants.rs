//! Tenants, as the operator at the command line sees them.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, App, no_tenant};
use crate::{
    audit::Actor,
    support::{Error, Result, ids::TenantId},
    tenants::{Record, Renaming, Slug},
};

/// Tenants read at once.
const PAGE: usize = 500;

/// Entries of the operators' record that are shown with a tenant.
const DEEDS: usize = 50;

/// The table whose rows `aegis tenant show` counts.
const DOCUMENTS: &str = "documents";

/// `GET /tenants`
pub(super) async fn list_tenants(State(app): State<App>) -> Answer {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = app.tenants.records(&after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.tenant.slug.to_string();
        all.extend(page.iter().map(record_json));
    }
    Ok(Json(all.into()))
}

/// A tenant to be created.
#[derive(Deserialize)]
pub(super) struct NewTenant {
    slug: String,
    name: String,
}

/// `POST /tenants`
pub(super) async fn create_tenant(State(app): State<App>, Json(new): Json<NewTenant>) -> Answer {
    let slug: Slug = new.slug.parse()?;
    let tenant = app.tenants.create_by(&slug, &new.name, &Actor::Operator).await?;
    Ok(Json(record_json(&app.tenants.record(&tenant.id).await?)))
}

/// `GET /tenants/{slug}`
pub(super) async fn show_tenant(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let record = find(&app, &slug).await?;
    let id = &record.tenant.id;
    let figures =
        app.databases.figures(std::slice::from_ref(id), DOCUMENTS).await?.into_iter().next().unwrap_or_default();
    let refused = app.databases.refused().into_iter().find(|(refused, _)| refused == id).map(|(_, why)| why);
    let mut shown = record_json(&record);
    shown["bytes"] = json!(figures.bytes);
    shown["documents"] = json!(figures.rows);
    shown["last_activity"] = json!(figures.last_activity);
    shown["problem"] = json!(refused);
    shown["history"] = json!(app.tenants.deeds(Some(id), DEEDS).await?);
    Ok(Json(shown))
}

/// What a tenant is called from now on.
#[derive(Deserialize)]
pub(super) struct NewNames {
    name: Option<String>,
    slug: Option<String>,
}

/// `POST /tenants/{slug}/rename`
pub(super) async fn rename_tenant(
    State(app): State<App>,
    Path(slug): Path<String>,
    Json(new): Json<NewNames>,
) -> Answer {
    let id = find(&app, &slug).await?.tenant.id;
    let renaming = Renaming { name: new.name, slug: new.slug.map(|slug| slug.parse()).transpose()? };
    Ok(Json(record_json(&app.tenants.rename(&id, renaming, &Actor::Operator).await?)))
}

/// Why a tenant is suspended.
#[derive(Deserialize)]
pub(super) struct Reason {
    reason: String,
}

/// `POST /tenants/{slug}/suspend`
pub(super) async fn suspend_tenant(
    State(app): State<App>,
    Path(slug): Path<String>,
    Json(why): Json<Reason>,
) -> Answer {
    let id = find(&app, &slug).await?.tenant.id;
    Ok(Json(record_json(&app.tenants.suspend(&id, &why.reason, &Actor::Operator).await?)))
}

/// `POST /tenants/{slug}/resume`
pub(super) async fn resume_tenant(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let id = find(&app, &slug).await?.tenant.id;
    Ok(Json(record_json(&app.tenants.resume(&id, &Actor::Operator).await?)))
}

/// How a tenant is deleted.
#[derive(Deserialize)]
pub(super) struct Deletion {
    confirm: String,
    #[serde(default)]
    now: bool,
}

/// `DELETE /tenants/{slug}`
pub(super) async fn delete_tenant(
    State(app): State<App>,
    Path(slug): Path<String>,
    Query(deletion): Query<Deletion>,
) -> Answer {
    let record = find(&app, &slug).await?;
    let id: TenantId = record.tenant.id.clone();
    let left = app.tenants.delete(&id, &deletion.confirm, deletion.now, &Actor::Operator).await?;
    Ok(Json(left.as_ref().map_or_else(|| json!({ "slug": record.tenant.slug, "name": record.tenant.name, "id": id, "state": "gone", "created_at": record.tenant.created_at, "members": 0 }), record_json)))
}

/// `POST /tenants/{slug}/undelete`
pub(super) async fn undelete_tenant(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let id = find(&app, &slug).await?.tenant.id;
    Ok(Json(record_json(&app.tenants.undelete(&id, &Actor::Operator).await?)))
}

/// The tenant of a slug, whatever its state.
async fn find(app: &App, slug: &str) -> Result<Record> {
    let slug: Slug = slug.parse()?;
    app.tenants.record_by_slug(&slug).await?.ok_or_else(|| no_tenant(&slug))
}

fn record_json(record: &Record) -> Value {
    serde_json::to_value(record).unwrap_or_else(|error| json!({ "error": Error::internal(error).to_string() }))
}
