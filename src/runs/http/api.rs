//! The audit log for programs.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::RunsState;
use crate::{
    accounts::http::InTenant,
    audit::{self, Entry, Verification},
    http::extract::{Path, Query},
    runs::search::Search,
    support::{Error, Result, ids::RunId},
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(list_entries, list_run, verify_log, export_entries),
    tags((name = "audit", description = "What was done, by whom, with what result"))
)]
pub struct AuditApi;

/// Entries, the newest first.
#[derive(Serialize, ToSchema)]
pub struct Entries {
    entries: Vec<Entry>,
    /// Give this as `below` for older ones; null at the end. A page may have fewer entries than asked for and yet not be
    /// the last when words are looked for.
    older: Option<i64>,
}

/// What a walk along the whole log found.
#[derive(Serialize, ToSchema)]
pub struct Verified {
    intact: bool,
    #[serde(flatten)]
    found: Verification,
}

/// `?run=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Export {
    /// Only this run's entries, whose links to one another lie in the rest of the log.
    run: Option<RunId>,
}

/// Find entries
#[utoipa::path(
    get,
    path = "/api/audit/entries",
    tag = "audit",
    params(Search),
    responses((status = 200, body = Entries))
)]
pub async fn list_entries(
    State(state): State<RunsState>,
    tenant: InTenant,
    Query(search): Query<Search>,
) -> Result<Json<Entries>> {
    let people = state.runs.names(&tenant.signed_in.tenant.id, &[]).await?;
    let found = audit::find(&tenant.db, &search.filter(&people)?, search.below()?, search.limit()?).await?;
    Ok(Json(Entries { entries: found.entries, older: found.older }))
}

/// Everything that happened in a run
///
/// In the order in which it happened: the question, searches, calls of models and tools, the answer.
#[utoipa::path(
    get,
    path = "/api/audit/runs/{run}",
    tag = "audit",
    params(("run" = RunId, Path, description = "The run, as an answer names it")),
    responses((status = 200, body = Vec<Entry>))
)]
pub async fn list_run(tenant: InTenant, Path(run): Path<RunId>) -> Result<Json<Vec<Entry>>> {
    let entries = audit::of_run(&tenant.db, run).await?;
    if entries.is_empty() { Err(Error::not_found("the run")) } else { Ok(Json(entries)) }
}

/// Check the whole log
///
/// Walks along the chain from its beginning, or from the checkpoint, to the head that is kept outside the database. That
/// somebody did is itself an entry.
#[utoipa::path(post, path = "/api/audit/verify", tag = "audit", responses((status = 200, body = Verified)))]
pub async fn verify_log(State(state): State<RunsState>, tenant: InTenant) -> Result<Json<Verified>> {
    let found = state.runs.verify(&tenant.db, tenant.signed_in.actor()).await?;
    Ok(Json(Verified { intact: found.broken.is_none(), found }))
}

/// Take a copy of the log
///
/// Lines of JSON that anybody can check with other tools; `src/audit/export.rs` describes them. That somebody did is
/// itself an entry.
#[utoipa::path(
    get,
    path = "/api/audit/export",
    tag = "audit",
    params(Export),
    responses((status = 200, content_type = "application/x-ndjson", body = String))
)]
pub async fn export_entries(
    State(state): State<RunsState>,
    tenant: InTenant,
    Query(wanted): Query<Export>,
) -> Result<Response> {
    let by = tenant.signed_in.actor();
    let slug = &tenant.signed_in.tenant.slug;
    let (name, body) = match wanted.run {
        Some(run) => {
            let text = audit::export_run(&tenant.db, run).await?;
            (format!("{slug}-run-{run}.ndjson"), Body::from(text))
        }
        None => (format!("{slug}-audit.ndjson"), Body::from_stream(audit::export(&tenant.db))),
    };
    state.runs.note_export(&tenant.db, by, wanted.run).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, body).into_response())
}
