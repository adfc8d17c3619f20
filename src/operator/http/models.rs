//! `/operator/models`: routes, targets, what the Ollama servers keep; fetching a model, stopping that, removing one.
//! Plain forms; with script, progress comes by itself.

use askama::Template;
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::{
    accounts::SignedIn,
    http::{
        context::RequestContext,
        error::{form_refused, in_sentences, is_of_the_server},
        extract::{self, Form},
        format,
        frame::{Frame, Section},
        page, sse,
    },
    models::catalogue::{Catalogue, Overview, Pull, RouteRow, StoredModel, TargetRow},
    support::{Result, clock::SharedClock},
};

/// What the handlers need.
#[derive(Clone)]
pub struct ModelsState {
    /// What they show and do.
    pub catalogue: Catalogue,
    /// The time.
    pub clock: SharedClock,
}

/// Everything about models.
#[derive(Template)]
#[template(path = "models.html", config = "web/askama.toml")]
struct ModelsPage {
    frame: Frame,
    routes: Vec<RouteRow>,
    targets: Vec<TargetView>,
    servers: Vec<ServerView>,
    pulls: Vec<PullView>,
    /// Whether something is being fetched.
    busy: bool,
    error: Option<String>,
    wanted: String,
}

struct TargetView {
    row: TargetRow,
    class: &'static str,
    state: String,
    context: String,
    abilities: String,
    price: String,
}

struct ServerView {
    name: String,
    address: String,
    problem: Option<String>,
    models: Vec<StoredView>,
}

struct StoredView {
    name: String,
    size: String,
    facts: String,
    loaded: Option<String>,
}

struct PullView {
    id: u64,
    model: String,
    server: String,
    class: &'static str,
    state: String,
    running: bool,
    percent: u64,
    told: String,
    error: Option<String>,
    since: String,
}

/// The form for a pull.
#[derive(Deserialize)]
pub struct PullForm {
    server: String,
    model: String,
}

/// The form that stops one.
#[derive(Deserialize)]
pub struct StopForm {
    id: u64,
}

/// The form that removes a model.
#[derive(Deserialize)]
pub struct DeleteForm {
    server: String,
    model: String,
    confirm: String,
}

/// `GET /operator/models`
pub async fn show_models(
    State(state): State<ModelsState>,
    context: RequestContext,
    signed_in: SignedIn,
) -> Result<Response> {
    page(&models_page(&state, &context, &signed_in).await)
}

/// `POST /operator/models/pull`
pub async fn pull_model_by_form(
    State(state): State<ModelsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<PullForm>,
) -> Result<Response> {
    let done = state.catalogue.pull(&form.server, &form.model, &signed_in.actor()).map(drop);
    answer(&state, &context, &signed_in, done, form.model).await
}

/// `POST /operator/models/stop`
pub async fn stop_pull_by_form(
    State(state): State<ModelsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<StopForm>,
) -> Result<Response> {
    let done = state.catalogue.stop_pull(form.id);
    answer(&state, &context, &signed_in, done, String::new()).await
}

/// `POST /operator/models/delete`
pub async fn delete_model_by_form(
    State(state): State<ModelsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<DeleteForm>,
) -> Result<Response> {
    let done = state.catalogue.delete(&form.server, &form.model, &form.confirm, &signed_in.actor()).await;
    answer(&state, &context, &signed_in, done, String::new()).await
}

/// `GET /operator/models/progress`: an event for each change, until nothing is being fetched any more.
pub async fn watch_pulls(State(state): State<ModelsState>) -> Response {
    let events = futures::StreamExt::map(state.catalogue.watch(), |pulls| {
        let views: Vec<_> = pulls.iter().map(Progress::from).collect();
        Watched { kind: "pulls", pulls: views }
    });
    sse::events(events)
}

#[derive(Serialize)]
struct Watched {
    #[serde(rename = "type")]
    kind: &'static str,
    pulls: Vec<Progress>,
}

/// What a page shows of a pull while it goes on.
#[derive(Serialize)]
struct Progress {
    id: u64,
    running: bool,
    percent: u64,
    told: String,
}

impl From<&Pull> for Progress {
    fn from(pull: &Pull) -> Self {
        Self { id: pull.id, running: pull.is_running(), percent: pull.percent(), told: told(pull) }
    }
}

/// Back to the page; or the page with what was wrong.
async fn answer(
    state: &ModelsState,
    context: &RequestContext,
    signed_in: &SignedIn,
    done: Result<()>,
    wanted: String,
) -> Result<Response> {
    match done {
        Ok(()) => Ok(Redirect::to("/operator/models").into_response()),
        Err(error) if is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let shown = models_page(state, context, signed_in).await;
            let shown = ModelsPage { error: Some(in_sentences(&error)), wanted, ..shown };
            Ok(form_refused(&error, page(&shown)?))
        }
    }
}

async fn models_page(state: &ModelsState, context: &RequestContext, signed_in: &SignedIn) -> ModelsPage {
    let Overview { routes, targets, servers, pulls } = state.catalogue.overview().await;
    let now = state.clock.now();
    let servers = servers.into_iter().map(|server| ServerView {
        name: server.name,
        address: server.address,
        problem: server.problem,
        models: server.models.iter().map(StoredView::from).collect(),
    });
    let pulls = pulls.iter().rev().map(|pull| PullView {
        id: pull.id,
        model: pull.model.clone(),
        server: pull.server.clone(),
        class: match pull.state.as_str() {
            "running" => "busy",
            "done" => "ready",
            "failed" => "failed",
            _ => "",
        },
        state: match pull.state.as_str() {
            "running" => "Fetching",
            "done" => "There",
            "failed" => "Failed",
            _ => "Stopped",
        }
        .to_owned(),
        running: pull.is_running(),
        percent: pull.percent(),
        told: told(pull),
        error: pull.error.clone(),
        since: format::ago(now, pull.started_at),
    });
    let pulls: Vec<_> = pulls.collect();
    ModelsPage {
        frame: signed_in.frame(context, "Models", Section::Models),
        routes,
        targets: targets.into_iter().map(TargetView::from).collect(),
        servers: servers.collect(),
        busy: pulls.iter().any(|pull| pull.running),
        pulls,
        error: None,
        wanted: String::new(),
    }
}

/// `1.2 GB of 2.0 GB · pulling dde5aa3fc5ff`
fn told(pull: &Pull) -> String {
    let (completed, total) = pull.bytes();
    let size = |bytes: u64| format::size(i64::try_from(bytes).unwrap_or(i64::MAX));
    match (total, pull.is_running()) {
        (0, true) => pull.status.clone(),
        (0, false) => String::new(),
        (_, true) => format!("{} of {} · {}", size(completed), size(total), pull.status),
        (_, false) if completed >= total => size(total),
        (_, false) => format!("{} of {}", size(completed), size(total)),
    }
}

impl From<TargetRow> for TargetView {
    fn from(row: TargetRow) -> Self {
        let (class, state) = match (row.state.as_str(), row.cooling_seconds) {
            ("ok", _) => ("ready", "Ready".to_owned()),
            ("cooling", Some(seconds)) => ("busy", format!("Left alone for {seconds} s")),
            _ => ("failed", "Missing".to_owned()),
        };
        let context = row.context_tokens.map_or_else(String::new, |tokens| format::grouped(i64::from(tokens)));
        Self { class, state, context, abilities: row.abilities.join(", "), price: row.price(), row }
    }
}

impl From<&StoredModel> for StoredView {
    fn from(model: &StoredModel) -> Self {
        let size = |bytes: u64| format::size(i64::try_from(bytes).unwrap_or(i64::MAX));
        let facts = [&model.family, &model.parameters, &model.quantization];
        let facts: Vec<&str> = facts.into_iter().map(String::as_str).filter(|fact| !fact.is_empty()).collect();
        Self {
            name: model.name.clone(),
            size: size(model.bytes),
            facts: facts.join(" · "),
            loaded: model.loaded_bytes.map(size),
        }
    }
}

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(list_models, pull_model, stop_pull, delete_model),
    tags((name = "models", description = "Models of the appliance, for its operators"))
)]
pub struct ModelsApi;

/// Which model, on which server.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PullBody {
    /// `ollama`, or the name of a provider of that kind.
    server: String,
    /// Its name in Ollama's library: `llama3.2`.
    model: String,
}

/// Which pull.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopBody {
    /// Its number.
    id: u64,
}

/// Which model is removed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteModelBody {
    /// `ollama`, or the name of a provider of that kind.
    server: String,
    /// Its name.
    model: String,
    /// Its name once more.
    confirm: String,
}

/// List routes, targets, models and pulls
#[utoipa::path(get, path = "/api/operator/models", tag = "models", responses((status = 200, body = Overview)))]
pub async fn list_models(State(state): State<ModelsState>) -> Json<Overview> {
    Json(state.catalogue.overview().await)
}

/// Have a server fetch a model
///
/// It goes on in the background; a pull of the same model that goes on already is handed back.
#[utoipa::path(post, path = "/api/operator/models/pull", tag = "models", request_body = PullBody, responses((status = 202, body = Pull)))]
pub async fn pull_model(
    State(state): State<ModelsState>,
    signed_in: SignedIn,
    extract::Json(body): extract::Json<PullBody>,
) -> Result<(StatusCode, Json<Pull>)> {
    let pull = state.catalogue.pull(&body.server, &body.model, &signed_in.actor())?;
    Ok((StatusCode::ACCEPTED, Json(pull)))
}

/// Stop a pull
///
/// What has been fetched is kept by the server; the next pull goes on there.
#[utoipa::path(post, path = "/api/operator/models/stop", tag = "models", request_body = StopBody, responses((status = 204)))]
pub async fn stop_pull(
    State(state): State<ModelsState>,
    extract::Json(body): extract::Json<StopBody>,
) -> Result<StatusCode> {
    state.catalogue.stop_pull(body.id)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove a model from a server's disk
#[utoipa::path(post, path = "/api/operator/models/delete", tag = "models", request_body = DeleteModelBody, responses((status = 204)))]
pub async fn delete_model(
    State(state): State<ModelsState>,
    signed_in: SignedIn,
    extract::Json(body): extract::Json<DeleteModelBody>,
) -> Result<StatusCode> {
    state.catalogue.delete(&body.server, &body.model, &body.confirm, &signed_in.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
