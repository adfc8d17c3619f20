//! The page of what agents remember, which works without script, and its API.

mod api;
mod view;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

pub use api::{MemoryApi, add_memory, change_memory, confirm_memory, forget_everything, forget_memory, list_memories};
use view::Note;

use super::{FactKind, Memory, Subject, Viewer};
use crate::{
    accounts::{Permission, SignedIn, http::InTenant},
    agents::{Agents, soul::AgentInfo},
    audit::Actor,
    http::{
        self,
        context::RequestContext,
        error::{form_refused, in_sentences, is_of_the_server},
        extract::{Form, Path, Query},
        frame::{Frame, Section},
    },
    support::{Error, Kind, Result, clock::SharedClock, ids::MemoryId},
};

/// What the handlers of memory need.
#[derive(Clone)]
pub struct MemoryState {
    /// The use cases.
    pub memory: Memory,
    /// For names.
    pub agents: Agents,
    /// The time.
    pub clock: SharedClock,
}

/// What is remembered, as far as it concerns whoever looks.
#[derive(Template)]
#[template(path = "memory.html", config = "web/askama.toml")]
struct MemoryPage {
    frame: Frame,
    query: String,
    mine: Vec<Note>,
    /// Of agents and the organisation.
    shared: Vec<Note>,
    /// How much of it waits for them.
    waiting: usize,
    manages: bool,
    agents: Vec<AgentInfo>,
    /// What was written and not taken.
    draft: Draft,
    error: Option<String>,
}

/// `?q=tea`
#[derive(Debug, Default, Deserialize)]
pub struct Search {
    #[serde(default)]
    q: String,
}

/// What a form adds.
#[derive(Debug, Default, Deserialize)]
pub struct Draft {
    text: String,
    #[serde(default)]
    kind: FactKind,
    /// `me`, `organisation`, or an agent's id after `agent:`.
    #[serde(default)]
    about: String,
}

/// What a form does with one.
#[derive(Debug, Deserialize)]
pub struct Changed {
    /// `save`, `confirm` or `forget`.
    wish: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    kind: FactKind,
}

/// `GET /memory`
pub async fn show_memory(
    State(state): State<MemoryState>,
    context: RequestContext,
    tenant: InTenant,
    Query(search): Query<Search>,
) -> Result<Response> {
    http::page(&page(&state, &context, &tenant, search.q).await?)
}

/// `POST /memory`
pub async fn add_memory_by_form(
    State(state): State<MemoryState>,
    context: RequestContext,
    tenant: InTenant,
    Form(draft): Form<Draft>,
) -> Result<Response> {
    let added = async {
        let subject = subject(&state, &tenant, &draft.about).await?;
        state.memory.add(&tenant.db, viewer(&tenant.signed_in), subject, draft.text.clone(), draft.kind).await
    };
    match added.await {
        Ok(_) => Ok(Redirect::to("/memory").into_response()),
        Err(error) => refused(&state, &context, &tenant, draft, error).await,
    }
}

/// `POST /memory/{memory}`
pub async fn change_memory_by_form(
    State(state): State<MemoryState>,
    context: RequestContext,
    tenant: InTenant,
    Path(id): Path<MemoryId>,
    Form(form): Form<Changed>,
) -> Result<Response> {
    let viewer = viewer(&tenant.signed_in);
    let done = match form.wish.as_str() {
        "save" => state.memory.change(&tenant.db, viewer, id, &form.text, form.kind).await.map(drop),
        "confirm" => state.memory.confirm(&tenant.db, viewer, id).await.map(drop),
        "forget" => state.memory.forget(&tenant.db, viewer, id).await,
        _ => Err(Error::invalid("Nothing was asked for").remedy("Save, confirm or forget it")),
    };
    match done {
        Ok(()) => Ok(Redirect::to("/memory").into_response()),
        Err(error) => refused(&state, &context, &tenant, Draft::default(), error).await,
    }
}

/// `POST /memory/forget-everything`: what is remembered of oneself.
pub async fn forget_everything_by_form(State(state): State<MemoryState>, tenant: InTenant) -> Result<Response> {
    let user = tenant.signed_in.user.id;
    state.memory.forget_person(&tenant.db, user, Actor::User { id: user }).await?;
    Ok(Redirect::to("/memory").into_response())
}

fn viewer(signed_in: &SignedIn) -> Viewer {
    Viewer { user: signed_in.user.id, manages: signed_in.may(Permission::AgentsManage) }
}

/// Whose something shall be, as a form or a program says it.
async fn subject(state: &MemoryState, tenant: &InTenant, about: &str) -> Result<Subject> {
    match about.split_once(':') {
        None if about.is_empty() || about == "me" => Ok(Subject::Person(tenant.signed_in.user.id)),
        None if about == "organisation" => Ok(Subject::Organisation),
        Some(("agent", agent)) => {
            let staff = state.agents.staff().members(&tenant.db).await?;
            let known = staff.iter().any(|member| member.profile.info.id == agent);
            known.then(|| Subject::Agent(agent.to_owned())).ok_or_else(|| Error::not_found("the agent"))
        }
        _ => {
            Err(Error::invalid("It is not said whom it is about")
                .remedy("Say `me`, `organisation` or `agent:` and its id"))
        }
    }
}

async fn page(state: &MemoryState, context: &RequestContext, tenant: &InTenant, query: String) -> Result<MemoryPage> {
    let viewer = viewer(&tenant.signed_in);
    let staff = state.agents.staff().members(&tenant.db).await?;
    let agents: Vec<AgentInfo> = staff.into_iter().map(|member| member.profile.info).collect();
    let facts = state.memory.list(&tenant.db, viewer, &query).await?;
    let audits = tenant.signed_in.may(Permission::AuditRead);
    let now = state.clock.now();
    let notes: Vec<Note> = facts.into_iter().map(|fact| Note::of(fact, viewer, audits, &agents, now)).collect();
    let waiting = notes.iter().filter(|note| note.waits.is_some() && note.may_change).count();
    let (mine, shared) = notes.into_iter().partition(|note| note.mine);
    Ok(MemoryPage {
        frame: tenant.signed_in.frame(context, "Memory", Section::Memory),
        query,
        mine,
        shared,
        waiting,
        manages: viewer.manages,
        agents,
        draft: Draft::default(),
        error: None,
    })
}

/// The page again, with what was written and why it was not taken.
async fn refused(
    state: &MemoryState,
    context: &RequestContext,
    tenant: &InTenant,
    draft: Draft,
    error: Error,
) -> Result<Response> {
    if is_of_the_server(error.kind()) || context.wants_json() || error.kind() == Kind::NotFound {
        return Err(error);
    }
    let mut page = page(state, context, tenant, String::new()).await?;
    (page.draft, page.error) = (draft, Some(in_sentences(&error)));
    Ok(form_refused(&error, http::page(&page)?))
}
