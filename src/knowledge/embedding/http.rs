//! Which embedding model documents are searched by: the page under the settings, which works without script, and its API.

use askama::Template;
use axum::{
    Json,
    extract::State as Held,
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{Progress, Reembedding, State, Status};
use crate::{
    accounts::http::InTenant,
    audit::Actor,
    http::{
        self,
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::{self, Form},
        format,
        frame::{Frame, Section},
    },
    knowledge::http::KnowledgeState,
    support::{Kind, Result},
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(show_embedding_as_json, change_embedding, cancel_reembedding),
    tags((name = "embedding", description = "The model that makes vectors of passages and questions, and changing it"))
)]
pub struct EmbeddingApi;

/// How the organisation stands with its embedding model.
#[derive(Serialize, ToSchema)]
pub struct EmbeddingState {
    /// The model that documents are searched by.
    active: String,
    /// Since when.
    since: DateTime<Utc>,
    /// What the configuration wants.
    configured: String,
    /// What was chosen for this organisation; null while it follows the configuration.
    chosen: Option<String>,
    /// Why the active model cannot be asked, so that documents are searched by words alone.
    problem: Option<String>,
    /// What can be chosen.
    offered: Vec<String>,
    /// The last change, finished or not.
    change: Option<Change>,
}

/// A change of the embedding model.
#[derive(Serialize, ToSchema)]
#[schema(as = EmbeddingChange)]
pub struct Change {
    /// The model that is moved to.
    model: String,
    /// The model before it.
    previous: String,
    status: Status,
    /// What it waits for, or why it failed.
    reason: Option<String>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    /// Passages that have the new vectors.
    done: i32,
    /// Of so many.
    total: i32,
    /// How long the rest takes at the present pace, in seconds; null while that cannot be told.
    seconds_left: Option<i64>,
}

/// Which model.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEmbedding {
    /// One of those offered; null to follow the configuration.
    #[schema(max_length = 300)]
    model: Option<String>,
}

impl EmbeddingState {
    /// As people and programs see it.
    pub fn of(state: State, now: DateTime<Utc>) -> Self {
        let change = state.change.map(|change| {
            let seconds_left = change.progress.left(now).filter(|_| change.status.is_unfinished());
            Change {
                seconds_left: seconds_left.map(|left| left.num_seconds()),
                model: change.model,
                previous: change.previous,
                status: change.status,
                reason: change.reason,
                started_at: change.started_at,
                ended_at: change.ended_at,
                done: change.progress.done,
                total: change.progress.total,
            }
        });
        Self {
            active: state.active,
            since: state.since,
            configured: state.configured,
            chosen: state.chosen,
            problem: state.problem,
            offered: state.offered,
            change,
        }
    }
}

/// The page.
#[derive(Template)]
#[template(path = "embedding.html", config = "web/askama.toml")]
struct EmbeddingPage {
    frame: Frame,
    tab: &'static str,
    active: String,
    since: String,
    /// Why it is this one; empty while it is about to be another.
    why: &'static str,
    /// Whether the organisation follows the configuration.
    follows: bool,
    problem: Option<String>,
    going: Option<Going>,
    /// The last change, where it has ended: a sentence, and whether it is a bad one.
    ended: Option<(String, bool)>,
    choices: Vec<(String, String)>,
    error: Option<String>,
}

/// A change that goes on.
struct Going {
    model: String,
    done: i32,
    total: i32,
    /// `1,204 of 9,000 passages`
    told: String,
    /// `about 4 minutes left`
    left: String,
    /// What it waits for.
    waits: Option<String>,
}

/// What a form sends.
#[derive(Deserialize)]
pub struct EmbeddingForm {
    /// The model; empty to follow the configuration.
    #[serde(default)]
    model: String,
    /// Not empty to stop the change that goes on.
    #[serde(default)]
    cancel: String,
}

/// `GET /settings/embedding`
pub async fn show_embedding(
    Held(state): Held<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
) -> Result<Response> {
    http::page(&page(&state, &context, &tenant, None).await?)
}

/// `POST /settings/embedding`: begins a change, or stops it.
pub async fn change_embedding_by_form(
    Held(state): Held<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
    Form(form): Form<EmbeddingForm>,
) -> Result<Response> {
    let (embedding, by) = (state.knowledge.embedding(), Actor::User { id: tenant.signed_in.user.id });
    let changed = if form.cancel.is_empty() {
        let model = Some(form.model.as_str()).filter(|model| !model.is_empty());
        embedding.choose(&tenant.db, model, by).await
    } else {
        embedding.cancel(&tenant.db, by).await
    };
    match changed {
        Ok(_) => Ok(Redirect::to("/settings/embedding").into_response()),
        Err(error) if context.wants_json() || matches!(error.kind(), Kind::Internal | Kind::Unavailable) => Err(error),
        Err(error) => {
            let shown = page(&state, &context, &tenant, Some(in_sentences(&error))).await?;
            Ok(form_refused(&error, http::page(&shown)?))
        }
    }
}

/// Show the embedding model
///
/// The one that documents are searched by, what else can be chosen, and how far a change is.
#[utoipa::path(get, path = "/api/embedding", tag = "embedding", responses((status = 200, body = EmbeddingState)))]
pub async fn show_embedding_as_json(
    Held(state): Held<KnowledgeState>,
    tenant: InTenant,
) -> Result<Json<EmbeddingState>> {
    let shown = state.knowledge.embedding().state(&tenant.db).await?;
    Ok(Json(EmbeddingState::of(shown, state.clock.now())))
}

/// Change the embedding model
///
/// New vectors are made in the background, and documents are searched by the old ones until those are complete.
#[utoipa::path(
    post,
    path = "/api/embedding",
    tag = "embedding",
    request_body = NewEmbedding,
    responses((status = 200, body = EmbeddingState))
)]
pub async fn change_embedding(
    Held(state): Held<KnowledgeState>,
    tenant: InTenant,
    extract::Json(body): extract::Json<NewEmbedding>,
) -> Result<Json<EmbeddingState>> {
    let by = Actor::User { id: tenant.signed_in.user.id };
    let changed = state.knowledge.embedding().choose(&tenant.db, body.model.as_deref(), by).await?;
    Ok(Json(EmbeddingState::of(changed, state.clock.now())))
}

/// Stop a change
///
/// The model that documents are searched by stays.
#[utoipa::path(
    post,
    path = "/api/embedding/cancel",
    tag = "embedding",
    responses((status = 200, body = EmbeddingState))
)]
pub async fn cancel_reembedding(Held(state): Held<KnowledgeState>, tenant: InTenant) -> Result<Json<EmbeddingState>> {
    let by = Actor::User { id: tenant.signed_in.user.id };
    let changed = state.knowledge.embedding().cancel(&tenant.db, by).await?;
    Ok(Json(EmbeddingState::of(changed, state.clock.now())))
}

async fn page(
    state: &KnowledgeState,
    context: &RequestContext,
    tenant: &InTenant,
    error: Option<String>,
) -> Result<EmbeddingPage> {
    let now = state.clock.now();
    let shown = state.knowledge.embedding().state(&tenant.db).await?;
    let usual = format!("as the appliance is set: {}", shown.configured);
    let mut choices = vec![(String::new(), usual)];
    choices.extend(
        shown.offered.iter().filter(|&name| *name != shown.configured).map(|name| (name.clone(), name.clone())),
    );
    let (going, ended) = match shown.change {
        Some(change) if change.status.is_unfinished() => (Some(going(change, now)), None),
        Some(change) => (None, Some(ended(&change, now))),
        None => (None, None),
    };
    let why = match &shown.chosen {
        Some(chosen) if *chosen == shown.active => "chosen here",
        None if shown.configured == shown.active => "as the appliance is set",
        _ => "",
    };
    Ok(EmbeddingPage {
        frame: tenant.signed_in.frame(context, "Settings", Section::Settings),
        tab: "embedding",
        active: shown.active,
        since: format::ago(now, shown.since),
        why,
        follows: shown.chosen.is_none(),
        problem: shown.problem,
        going,
        ended,
        choices,
        error,
    })
}

fn going(change: Reembedding, now: DateTime<Utc>) -> Going {
    let Progress { done, total, .. } = change.progress;
    let left = change.progress.left(now).filter(|_| change.status == Status::Running);
    Going {
        model: change.model,
        told: format!("{} of {}", format::grouped(done.into()), format::count(total.into(), "passage")),
        left: left.map(|left| about(left.num_seconds())).unwrap_or_default(),
        done,
        total: total.max(1),
        waits: change.reason,
    }
}

fn ended(change: &Reembedding, now: DateTime<Utc>) -> (String, bool) {
    let (to, when) = (&change.model, format::ago(now, change.ended_at.unwrap_or(change.started_at)));
    match change.status {
        Status::Cancelled => (format!("The change to {to} was stopped {when}; {} stayed.", change.previous), false),
        Status::Failed => {
            let why = change.reason.as_deref().unwrap_or("the reason is not known");
            (format!("The change to {to} was given up {when}: {why}. {} stayed.", change.previous), true)
        }
        _ => (format!("Documents were moved from {} {when}.", change.previous), false),
    }
}

/// A time that nobody should take to the second.
fn about(seconds: i64) -> String {
    match seconds {
        ..60 => "less than a minute left".to_owned(),
        60..5400 => format!("about {} left", format::count((seconds + 30) / 60, "minute")),
        _ => format!("about {} left", format::count((seconds + 1800) / 3600, "hour")),
    }
}

#[cfg(test)]
mod tests {
    use super::about;

    #[test]
    fn an_estimate_is_told_as_one() {
        assert_eq!(about(3), "less than a minute left");
        assert_eq!(about(60), "about 1 minute left");
        assert_eq!(about(150), "about 3 minutes left");
        assert_eq!(about(7200), "about 2 hours left");
    }
}
