//! The pages of the staff: who the agents are, and the editor of one. They work without script.

mod api;
mod diff;
mod import;
mod view;

use std::time::Duration;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use futures::StreamExt;
use serde::Deserialize;

pub use api::{
    StaffApi, change_agent, create_agent, list_agent_versions, list_agents, restore_agent, set_agent_state,
    show_agent_as_json,
};
use diff::Line;
pub use import::{import_agent, import_by_form, show_import};
use view::{Card, Choice, Edited, Tried, VersionView};

use super::{Draft, Member, Reason};
use crate::{
    accounts::{Permission, http::InTenant},
    agents::{
        Agents, Ask, RunEvent, Thread, markdown,
        memory::{Memory, Subject},
        soul::Soul,
    },
    http::{
        self,
        context::RequestContext,
        error::{form_refused, in_sentences, is_of_the_server},
        extract::{Form, Path, Query},
        frame::{Frame, Section},
    },
    support::{Error, Kind, Result, clock::SharedClock},
};

/// How long the page waits for the answer to a test question; shorter than the deadline of a request.
const PATIENCE: Duration = Duration::from_secs(50);

/// What the handlers of the staff need.
#[derive(Clone)]
pub struct StaffState {
    /// The agents, whose staff it is.
    pub agents: Agents,
    /// Where what an imported agent remembers is kept.
    pub memory: Memory,
    /// The time.
    pub clock: SharedClock,
}

/// All agents.
#[derive(Template)]
#[template(path = "agents.html", config = "web/askama.toml")]
struct AgentsPage {
    frame: Frame,
    cards: Vec<Card>,
    may_edit: bool,
}

/// One agent, or one that is being added.
#[derive(Template)]
#[template(path = "agent.html", config = "web/askama.toml")]
struct AgentPage {
    frame: Frame,
    /// Nothing for one that is being added.
    card: Option<Card>,
    may_edit: bool,
    form: Edited,
    hues: Vec<Choice>,
    tools: Vec<Choice>,
    /// The profile as HTML, as it is in the form.
    preview: String,
    /// Whether the form was sent to be looked at.
    previewed: bool,
    tried: Option<Tried>,
    versions: Vec<VersionView>,
    /// What the chosen version changed, or what somebody else changed meanwhile.
    compared: Option<Compared>,
    error: Option<String>,
}

/// Two texts beside each other.
struct Compared {
    title: String,
    lines: Vec<Line>,
    /// The version that can be made to hold again.
    restore: Option<u32>,
}

/// `?version=3`
#[derive(Debug, Default, Deserialize)]
pub struct Shown {
    version: Option<u32>,
}

/// `GET /agents`
pub async fn show_agents(
    State(state): State<StaffState>,
    context: RequestContext,
    tenant: InTenant,
) -> Result<Response> {
    let members = state.agents.staff().members(&tenant.db).await?;
    http::page(&AgentsPage {
        frame: tenant.signed_in.frame(&context, "Agents", Section::Agents),
        cards: members.iter().map(Card::of).collect(),
        may_edit: tenant.signed_in.may(Permission::AgentsManage),
    })
}

/// `GET /agents/new`
pub async fn show_new_agent(
    State(state): State<StaffState>,
    context: RequestContext,
    tenant: InTenant,
) -> Result<Response> {
    let form = Edited::of(&Draft { soul: view::BEGINNING.to_owned(), hue: 120, ..Draft::default() }, 0);
    http::page(&editor(&state, &context, &tenant, None, form).await?)
}

/// `POST /agents/new`
pub async fn add_agent_by_form(
    State(state): State<StaffState>,
    context: RequestContext,
    tenant: InTenant,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response> {
    let form = Edited::read(fields);
    if form.wish != "save" {
        return wished(&state, &context, &tenant, None, form).await;
    }
    let draft = form.draft();
    let reason = if form.imported { Reason::Imported } else { Reason::Created };
    let added = state.agents.staff().add(&tenant.db, &draft.id(), &draft, reason, tenant.signed_in.actor()).await;
    match added {
        Ok(member) => {
            let id = &member.profile.info.id;
            remember(&state, &tenant, id, &form.memory, &form.about_you).await?;
            Ok(Redirect::to(&format!("/agents/{id}")).into_response())
        }
        Err(error) => refused(&state, &context, &tenant, None, form, error).await,
    }
}

/// `GET /agents/{agent}`
pub async fn show_agent(
    State(state): State<StaffState>,
    context: RequestContext,
    tenant: InTenant,
    Path(id): Path<String>,
    Query(shown): Query<Shown>,
) -> Result<Response> {
    let member = state.agents.staff().member(&tenant.db, &id).await?;
    let form = Edited::of(&Draft::of(&member.profile), member.profile.version);
    let mut page = editor(&state, &context, &tenant, Some(&member), form).await?;
    if let Some(version) = shown.version {
        let versions = state.agents.staff().versions(&tenant.db, &id).await?;
        let place = versions.iter().position(|known| known.version == version);
        let place = place.ok_or_else(|| Error::not_found("the version"))?;
        let before = versions.get(place + 1).map_or("", |before| before.soul.as_str());
        page.compared = Some(Compared {
            title: format!("What version {version} changed in the profile"),
            lines: diff::lines(before, &versions[place].soul),
            restore: (version != member.profile.version).then_some(version),
        });
    }
    http::page(&page)
}

/// `POST /agents/{agent}`: saves the form, shows what it would look like, or tries it with a question.
pub async fn change_agent_by_form(
    State(state): State<StaffState>,
    context: RequestContext,
    tenant: InTenant,
    Path(id): Path<String>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response> {
    let form = Edited::read(fields);
    let staff = state.agents.staff();
    let member = staff.member(&tenant.db, &id).await?;
    if form.wish != "save" {
        return wished(&state, &context, &tenant, Some(&member), form).await;
    }
    let by = tenant.signed_in.actor();
    match staff.change(&tenant.db, &id, form.version, &form.draft(), Reason::Changed, by).await {
        Ok(_) => Ok(Redirect::to(&format!("/agents/{id}")).into_response()),
        Err(error) => refused(&state, &context, &tenant, Some(&member), form, error).await,
    }
}

/// A version that is to hold again.
#[derive(Debug, Deserialize)]
pub struct Restored {
    base: u32,
    version: u32,
}

/// `POST /agents/{agent}/restore`
pub async fn restore_agent_by_form(
    State(state): State<StaffState>,
    tenant: InTenant,
    Path(id): Path<String>,
    Form(form): Form<Restored>,
) -> Result<Response> {
    let by = tenant.signed_in.actor();
    state.agents.staff().restore(&tenant.db, &id, form.base, form.version, by).await?;
    Ok(Redirect::to(&format!("/agents/{id}")).into_response())
}

/// Whether an agent can be asked.
#[derive(Debug, Deserialize)]
pub struct Switched {
    enabled: bool,
}

/// `POST /agents/{agent}/state`
pub async fn set_agent_state_by_form(
    State(state): State<StaffState>,
    tenant: InTenant,
    Path(id): Path<String>,
    Form(form): Form<Switched>,
) -> Result<Response> {
    state.agents.staff().set_enabled(&tenant.db, &id, form.enabled, tenant.signed_in.actor()).await?;
    Ok(Redirect::to(&format!("/agents/{id}")).into_response())
}

/// What came with a workspace, as memories: of the agent, and of whoever brought it.
async fn remember(state: &StaffState, tenant: &InTenant, id: &str, memory: &str, about_you: &str) -> Result<()> {
    let own = (Subject::Agent(id.to_owned()), memory);
    for (subject, text) in [own, (Subject::Person(tenant.signed_in.user.id), about_you)] {
        if !text.trim().is_empty() {
            state.memory.import(&tenant.db, &subject, text, tenant.signed_in.actor()).await?;
        }
    }
    Ok(())
}

async fn editor(
    state: &StaffState,
    context: &RequestContext,
    tenant: &InTenant,
    member: Option<&Member>,
    form: Edited,
) -> Result<AgentPage> {
    let new = if form.imported { "Imported agent" } else { "New agent" };
    let title = member.map_or(new, |member| member.profile.info.name.as_str());
    let versions = match member {
        Some(member) => state.agents.staff().versions(&tenant.db, &member.profile.info.id).await?,
        None => Vec::new(),
    };
    let now = state.clock.now();
    Ok(AgentPage {
        frame: tenant.signed_in.frame(context, title, Section::Agents),
        card: member.map(Card::of),
        may_edit: tenant.signed_in.may(Permission::AgentsManage),
        hues: view::hues(form.hue),
        tools: view::tools(&state.agents.own_tools(), &form.tools),
        preview: markdown::render(&form.soul, &[]),
        previewed: false,
        tried: None,
        versions: versions.into_iter().map(|version| VersionView::of(version, now)).collect(),
        compared: None,
        error: None,
        form,
    })
}

/// The form again, with what it was sent for.
async fn wished(
    state: &StaffState,
    context: &RequestContext,
    tenant: &InTenant,
    member: Option<&Member>,
    form: Edited,
) -> Result<Response> {
    let tried = match member {
        Some(member) if form.wish == "try" => Some(attempt(state, tenant, &member.profile.info.id, &form).await),
        _ => None,
    };
    let mut page = editor(state, context, tenant, member, form).await?;
    page.previewed = tried.is_none();
    page.tried = tried;
    http::page(&page)
}

/// Asks the agent a question with the profile as it is in the form. Nothing is kept but the audit log's entries.
async fn attempt(state: &StaffState, tenant: &InTenant, id: &str, form: &Edited) -> Tried {
    let ask = Ask {
        thread: Thread::Apart { history: Vec::new() },
        soul: Some(Soul::new(&form.soul)),
        ..Ask::new(id, form.question.clone(), tenant.signed_in.actor())
    };
    let answer = async {
        let run = state.agents.ask(&tenant.db, ask).await?;
        let last = run.events.filter(|event| {
            let last = matches!(event, RunEvent::Finished(_) | RunEvent::Failed { .. });
            std::future::ready(last)
        });
        let mut last = std::pin::pin!(last);
        match last.next().await {
            Some(RunEvent::Finished(answer)) => Ok(answer),
            Some(RunEvent::Failed { message, .. }) => Err(Error::unavailable(message)),
            _ => Err(Error::unavailable("the answer did not come")),
        }
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => {
            let by = if answer.quoting { "quotation".to_owned() } else { answer.model };
            Tried { html: answer.html, by, problem: None }
        }
        Ok(Err(error)) => Tried { html: String::new(), by: String::new(), problem: Some(in_sentences(&error)) },
        Err(_) => {
            let problem = Some("The answer took too long. Ask something shorter.".to_owned());
            Tried { html: String::new(), by: String::new(), problem }
        }
    }
}

/// The form again, with everything that was written. After a conflict it shows what the other one made of it.
async fn refused(
    state: &StaffState,
    context: &RequestContext,
    tenant: &InTenant,
    member: Option<&Member>,
    mut form: Edited,
    error: Error,
) -> Result<Response> {
    if is_of_the_server(error.kind()) {
        return Err(error);
    }
    let newest = match member {
        Some(member) => Some(state.agents.staff().member(&tenant.db, &member.profile.info.id).await?),
        None => None,
    };
    let mut compared = None;
    if let Some(newest) =
        newest.as_ref().filter(|newest| error.kind() == Kind::Conflict && newest.profile.version != form.version)
    {
        compared = Some(Compared {
            title: format!("From version {} to what you wrote", newest.profile.version),
            lines: diff::lines(newest.profile.soul.text(), &form.soul),
            restore: None,
        });
        // Who has seen the difference and saves again means it.
        form.version = newest.profile.version;
    }
    let mut page = editor(state, context, tenant, newest.as_ref(), form).await?;
    page.error = Some(in_sentences(&error));
    page.compared = compared;
    Ok(form_refused(&error, http::page(&page)?))
}
