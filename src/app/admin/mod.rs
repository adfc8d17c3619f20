//! What the admin socket answers: the command line's side of every use case, as JSON.
//!
//! The socket is 0600 in the data directory, so whoever can open it may do everything; each action is still
//! written to the tenant's audit log, as the operator's.

mod agents;
mod audit;
mod boardroom;
mod embedding;
mod knowledge;
mod models;
mod people;
mod secrets;
mod tenants;
mod tokens;
mod usage;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde_json::{Value, json};

use super::{doctor, routes, wiring::App};
use crate::{
    db::TenantDb,
    egress::Allowed,
    http::error::{kind_name, status_of},
    support::{Error, Result},
    tenants::{Slug, Tenant},
};

/// Every route of the admin socket.
pub fn router(app: App) -> Router {
    let largest = usize::try_from(app.config.knowledge.max_file_mib << 20).unwrap_or(usize::MAX);
    Router::new()
        .route("/tenants", get(tenants::list_tenants).post(tenants::create_tenant))
        .route("/tenants/{slug}", get(tenants::show_tenant).delete(tenants::delete_tenant))
        .route("/tenants/{slug}/rename", post(tenants::rename_tenant))
        .route("/tenants/{slug}/suspend", post(tenants::suspend_tenant))
        .route("/tenants/{slug}/resume", post(tenants::resume_tenant))
        .route("/tenants/{slug}/undelete", post(tenants::undelete_tenant))
        .route("/users", get(people::list_people).post(people::create_user))
        .route("/users/{email}", get(people::show_person).delete(people::remove_person))
        .route("/users/{email}/reset", post(people::reset))
        .route("/users/{email}/operator", post(people::set_operator))
        .route("/users/{email}/second-factor", delete(people::remove_second_factor))
        .route("/users/{email}/suspended", post(people::set_suspended))
        .route("/invitations", post(people::invite))
        .route("/tenants/{slug}/knowledge/documents", get(knowledge::list_documents).post(knowledge::add_document))
        .route(
            "/tenants/{slug}/knowledge/documents/{id}",
            get(knowledge::show_document).delete(knowledge::remove_document),
        )
        .route("/tenants/{slug}/knowledge/documents/{id}/cancel", post(knowledge::cancel_document))
        .route("/tenants/{slug}/knowledge/documents/{id}/retry", post(knowledge::retry_document))
        .route("/tenants/{slug}/knowledge/retry", post(knowledge::retry_failed))
        .route("/tenants/{slug}/knowledge/search", get(knowledge::search))
        .route("/tenants/{slug}/embedding", get(embedding::show_embedding).post(embedding::change_embedding))
        .route("/tenants/{slug}/embedding/cancel", post(embedding::cancel_reembedding))
        .route("/tenants/{slug}/ask", post(knowledge::ask))
        .route("/tenants/{slug}/agents", get(agents::list_agents).post(agents::import_agent))
        .route("/tenants/{slug}/agents/{agent}", get(agents::show_agent))
        .route("/tenants/{slug}/boardroom", post(boardroom::call))
        .route("/tenants/{slug}/boardroom/{meeting}", get(boardroom::show))
        .route("/models", get(models::list_models))
        .route("/models/test", post(models::test_model))
        .route("/models/pull", post(models::pull_model))
        .route("/audit/verify", get(audit::verify_all))
        .route("/audit/logs/{log}/verify", get(audit::verify_log))
        .route("/audit/logs/{log}/entries", get(audit::list_entries))
        .route("/audit/logs/{log}/export", get(audit::export_log))
        .route("/audit/logs/{log}/prune", post(audit::prune_log))
        .route("/tenants/{slug}/tokens", get(tokens::list_tokens).post(tokens::create_token))
        .route("/tenants/{slug}/tokens/{id}", delete(tokens::revoke_token))
        .route("/audit/runs/{run}", get(audit::show_run))
        .route("/audit/runs/{run}/replay", post(audit::replay_run))
        .route("/tenants/{slug}/secrets", get(secrets::list_secrets).post(secrets::set_secret))
        .route("/tenants/{slug}/secrets/{name}", delete(secrets::delete_secret))
        .route("/tenants/{slug}/key/rotate", post(secrets::rotate_tenant_key))
        .route("/tenants/{slug}/usage", get(usage::show_usage))
        .route("/tenants/{slug}/budget", post(usage::set_budget))
        .route("/key", get(secrets::show_key))
        .route("/key/rotate", post(secrets::rotate_appliance_key))
        .route("/key/protect", post(secrets::protect_key))
        .route("/key/unprotect", post(secrets::unprotect_key))
        .route("/doctor", get(examine))
        .route("/routes", get(list_routes))
        .route("/egress", get(list_allowed))
        // One byte more than allowed reaches the use case, whose refusal names the limit.
        .layer(DefaultBodyLimit::max(largest + 1))
        .with_state(app)
}

type Answer<T = Json<Value>> = std::result::Result<T, Refused>;

/// An error as the operator sees it: with its causes, which nobody else is shown.
struct Refused(Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let mut message = error.message().to_owned();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            message = format!("{message}: {inner}");
            cause = inner.source();
        }
        let envelope = json!({
            "error": { "kind": kind_name(error.kind()), "message": message, "remedy": error.remedy_text() }
        });
        (status_of(error.kind()), Json(envelope)).into_response()
    }
}

async fn examine(State(app): State<App>) -> Answer {
    Ok(Json(serde_json::to_value(doctor::examine(&app).await).map_err(Error::internal)?))
}

/// Every route of the web server, with who may use it.
async fn list_routes(State(app): State<App>) -> Json<Value> {
    let row = |route: &super::table::Declared| json!({ "method": route.method.as_str(), "path": route.path, "access": route.access.to_string() });
    Json(routes::declared(&app).iter().map(row).collect())
}

/// What the appliance may reach, and by which setting.
async fn list_allowed(State(app): State<App>) -> Json<Vec<Allowed>> {
    Json(app.egress.allowed())
}

async fn find_tenant(app: &App, slug: &str) -> Result<Tenant> {
    let slug: Slug = slug.parse()?;
    match app.tenants.by_slug(&slug).await? {
        Some(tenant) => Ok(tenant),
        None => Err(match app.tenants.record_by_slug(&slug).await? {
            Some(record) => Error::conflict(format!("the tenant {slug} is {}", record.state))
                .remedy(format!("`aegis tenant show {slug}` tells more")),
            None => no_tenant(&slug),
        }),
    }
}

fn no_tenant(slug: &Slug) -> Error {
    Error::not_found(&format!("the tenant {slug}")).remedy("`aegis tenant list` shows those that there are")
}

async fn open(app: &App, slug: &str) -> Result<TenantDb> {
    let tenant = find_tenant(app, slug).await?;
    app.tenants.open(&tenant).await
}
