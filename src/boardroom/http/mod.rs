//! The boardroom's pages, which work without script, and its API.

mod api;
mod view;

use askama::Template;
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

pub use api::{
    BoardroomApi, call_meeting, delete_meeting, export_meeting, list_meetings, share_meeting, show_meeting_as_json,
    stop_meeting, watch_meeting,
};
use view::{Listed, Shown};

use super::{Boardroom, Call, MEMBERS, Member};
use crate::{
    accounts::{Permission, http::InTenant},
    http::{
        self,
        context::RequestContext,
        extract::{Form, Path},
        frame::{Frame, Section},
    },
    support::{Error, Kind, Result, clock::SharedClock, ids::MeetingId},
};

/// What the handlers of the boardroom need.
#[derive(Clone)]
pub struct BoardroomState {
    /// The use cases.
    pub boardroom: Boardroom,
    /// The time.
    pub clock: SharedClock,
}

#[derive(Template)]
#[template(path = "boardroom.html", config = "web/askama.toml")]
struct BoardroomPage {
    frame: Frame,
    meetings: Vec<Listed>,
    agents: Vec<Member>,
    /// Whether there are agents enough for a meeting.
    enough: bool,
    may_call: bool,
    form: Filled,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "meeting.html", config = "web/askama.toml")]
struct MeetingPage {
    frame: Frame,
    meeting: Shown,
    may_change: bool,
}

#[derive(Template)]
#[template(path = "meeting_print.html", config = "web/askama.toml")]
struct PrintPage {
    frame: Frame,
    meeting: Shown,
}

/// The form as it was sent.
#[derive(Default, Deserialize)]
pub struct Filled {
    #[serde(default)]
    question: String,
    /// The ids, one for each box that is ticked, joined by commas; see [`call_by_form`].
    #[serde(default)]
    agents: String,
    #[serde(default)]
    chair: String,
    #[serde(default)]
    shared: bool,
}

impl Filled {
    fn picks(&self, agent: &Member) -> bool {
        self.agents.split(',').any(|id| id == agent.id)
    }
}

/// `GET /boardroom`
pub async fn show_boardroom(
    State(state): State<BoardroomState>,
    context: RequestContext,
    tenant: InTenant,
) -> Result<Response> {
    list(&state, &context, &tenant, None, Filled::default()).await
}

async fn list(
    state: &BoardroomState,
    context: &RequestContext,
    tenant: &InTenant,
    error: Option<Error>,
    form: Filled,
) -> Result<Response> {
    let meetings = state.boardroom.meetings(&tenant.db, Some(tenant.signed_in.user.id)).await?;
    let agents = state.boardroom.agents(&tenant.db).await?;
    let status = error.as_ref().map(|error| http::error::status_of(error.kind()));
    let page = http::page(&BoardroomPage {
        frame: tenant.signed_in.frame(context, "Boardroom", Section::Boardroom),
        meetings: view::list(meetings, state.clock.now()),
        enough: agents.len() >= *MEMBERS.start(),
        agents,
        may_call: tenant.signed_in.may(Permission::ChatWrite),
        form,
        error: error.map(|error| error.to_string()),
    })?;
    Ok(match status {
        Some(status) => (status, page).into_response(),
        None => page,
    })
}

/// `POST /boardroom`
pub async fn call_by_form(
    State(state): State<BoardroomState>,
    context: RequestContext,
    tenant: InTenant,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response> {
    let all =
        |name: &str| fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect::<Vec<_>>();
    let first = |name: &str| all(name).into_iter().next().unwrap_or_default();
    let agents = all("agent");
    let filled = Filled {
        question: first("question"),
        agents: agents.join(","),
        chair: first("chair"),
        shared: !all("shared").is_empty(),
    };
    let call = Call {
        question: filled.question.clone(),
        agents,
        chair: filled.chair.clone(),
        shared: filled.shared,
        user: Some(tenant.signed_in.user.id),
    };
    match state.boardroom.call(&tenant.db, call).await {
        Ok(id) => Ok(Redirect::to(&format!("/boardroom/{id}")).into_response()),
        Err(error) if matches!(error.kind(), Kind::Internal | Kind::Unavailable) => Err(error),
        Err(error) => list(&state, &context, &tenant, Some(error), filled).await,
    }
}

async fn shown(state: &BoardroomState, tenant: &InTenant, id: MeetingId) -> Result<Shown> {
    let user = Some(tenant.signed_in.user.id);
    let meeting = state.boardroom.meeting(&tenant.db, user, id).await?;
    let said = |round, agent: &str| state.boardroom.said(&tenant.db, id, round, agent);
    Ok(view::meeting(&meeting, user, state.clock.now(), said))
}

/// `GET /boardroom/{meeting}`
pub async fn show_meeting(
    State(state): State<BoardroomState>,
    context: RequestContext,
    tenant: InTenant,
    Path(id): Path<MeetingId>,
) -> Result<Response> {
    let meeting = shown(&state, &tenant, id).await?;
    let may_change = meeting.own && tenant.signed_in.may(Permission::ChatWrite);
    let frame = tenant.signed_in.frame(&context, &meeting.question, Section::Boardroom);
    http::page(&MeetingPage { frame, meeting, may_change })
}

/// `GET /boardroom/{meeting}/print`: the record alone, for paper or a PDF.
pub async fn print_meeting(
    State(state): State<BoardroomState>,
    context: RequestContext,
    tenant: InTenant,
    Path(id): Path<MeetingId>,
) -> Result<Response> {
    let meeting = Shown { paper: true, ..shown(&state, &tenant, id).await? };
    let frame = tenant.signed_in.frame(&context, &meeting.question, Section::Boardroom);
    http::page(&PrintPage { frame, meeting })
}

/// `POST /boardroom/{meeting}/stop`
pub async fn stop_by_form(
    State(state): State<BoardroomState>,
    tenant: InTenant,
    Path(id): Path<MeetingId>,
) -> Result<Redirect> {
    match state.boardroom.stop(&tenant.db, Some(tenant.signed_in.user.id), id).await {
        // It ended in the moment in which it was to be stopped: the page shows how.
        Err(error) if error.kind() == Kind::Conflict => {}
        stopped => stopped?,
    }
    Ok(Redirect::to(&format!("/boardroom/{id}")))
}

/// Whether everybody may read it.
#[derive(Deserialize)]
pub struct Sharing {
    shared: bool,
}

/// `POST /boardroom/{meeting}/share`
pub async fn share_by_form(
    State(state): State<BoardroomState>,
    tenant: InTenant,
    Path(id): Path<MeetingId>,
    Form(sharing): Form<Sharing>,
) -> Result<Redirect> {
    state.boardroom.share(&tenant.db, Some(tenant.signed_in.user.id), id, sharing.shared).await?;
    Ok(Redirect::to(&format!("/boardroom/{id}")))
}

/// `POST /boardroom/{meeting}/delete`
pub async fn delete_by_form(
    State(state): State<BoardroomState>,
    tenant: InTenant,
    Path(id): Path<MeetingId>,
) -> Result<Redirect> {
    state.boardroom.delete(&tenant.db, Some(tenant.signed_in.user.id), id).await?;
    Ok(Redirect::to("/boardroom"))
}

/// The record as a file.
fn as_file(id: MeetingId, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/markdown; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"meeting-{id}.md\"")),
    ];
    (headers, text).into_response()
}
