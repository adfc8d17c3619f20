//! Audit logs, as the operator at the command line reads them.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, App, find_tenant, open};
use crate::{
    audit,
    support::{Error, ids::RunId},
};

pub(super) async fn verify_audit(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let db = open(&app, &slug).await?;
    let found = audit::verify(&db).await?;
    let intact = found.broken.is_none();
    Ok(Json(json!({ "intact": intact, "entries": found.entries, "head": found.head, "broken": found.broken })))
}

#[derive(Deserialize)]
pub(super) struct OfTenant {
    tenant: Option<String>,
}

pub(super) async fn show_run(State(app): State<App>, Path(run): Path<RunId>, Query(of): Query<OfTenant>) -> Answer {
    let tenants = match of.tenant {
        Some(slug) => vec![find_tenant(&app, &slug).await?],
        None => app.tenants.list().await?,
    };
    for tenant in tenants {
        let db = app.tenants.open(&tenant).await?;
        let entries = audit::of_run(&db, run).await?;
        if !entries.is_empty() {
            return Ok(Json(serde_json::to_value(&entries).map_err(Error::internal)?));
        }
    }
    Err(Error::not_found("the run").into())
}
