//! Audit logs, as the operator at the command line reads them.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, App, find_tenant, open};
use crate::{
    audit,
    support::{Error, Result, ids::RunId},
};

pub(super) async fn verify_audit(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let db = open(&app, &slug).await?;
    let found = audit::verify(&db).await?;
    Ok(Json(described(&found)?))
}

fn described(found: &audit::Verification) -> Result<Value> {
    let mut described = serde_json::to_value(found).map_err(Error::internal)?;
    described["intact"] = json!(found.broken.is_none());
    Ok(described)
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
