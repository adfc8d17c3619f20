//! The boardroom as JSON and as a stream of events.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{BoardroomState, as_file};
use crate::{
    accounts::http::InTenant,
    boardroom::{Call, Meeting, MeetingEvent, MeetingSummary, markdown},
    http::{extract, sse},
    support::{Result, ids::MeetingId},
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(
        list_meetings, call_meeting, show_meeting_as_json, watch_meeting, stop_meeting, share_meeting, delete_meeting,
        export_meeting
    ),
    components(schemas(MeetingEvent)),
    tags((name = "boardroom", description = "Questions to several agents at once"))
)]
pub struct BoardroomApi;

/// A meeting as a program calls it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Called {
    #[schema(min_length = 1, max_length = 4000)]
    question: String,
    /// The members' ids.
    #[schema(min_items = 2, max_items = 7)]
    agents: Vec<String>,
    /// Which of them writes the outcome.
    chair: String,
    /// Whether everybody in the organisation may read it; not unless told.
    #[serde(default)]
    shared: bool,
}

/// A meeting that has been called.
#[derive(Serialize, ToSchema)]
pub struct Calling {
    meeting: MeetingId,
}

/// Whether everybody in the organisation may read it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sharing {
    shared: bool,
}

/// One's own meetings and those that are shared.
#[derive(Serialize, ToSchema)]
pub struct Meetings {
    meetings: Vec<MeetingSummary>,
}

/// One of the events that a meeting tells.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the stream")]
struct BoardroomEvent {
    /// The `type` of the event: `said`, `contributed`, `ended`.
    event: String,
    /// The event as JSON: a `MeetingEvent`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// List meetings
#[utoipa::path(get, path = "/api/boardroom", tag = "boardroom", responses((status = 200, body = Meetings)))]
pub async fn list_meetings(State(state): State<BoardroomState>, tenant: InTenant) -> Result<Json<Meetings>> {
    let meetings = state.boardroom.meetings(&tenant.db, Some(tenant.signed_in.user.id)).await?;
    Ok(Json(Meetings { meetings }))
}

/// Call a meeting
///
/// It is held in the background, through restarts of the server too.
#[utoipa::path(
    post,
    path = "/api/boardroom",
    tag = "boardroom",
    request_body = Called,
    responses((status = 201, body = Calling))
)]
pub async fn call_meeting(
    State(state): State<BoardroomState>,
    tenant: InTenant,
    extract::Json(body): extract::Json<Called>,
) -> Result<(StatusCode, Json<Calling>)> {
    let Called { question, agents, chair, shared } = body;
    let call = Call { question, agents, chair, shared, user: Some(tenant.signed_in.user.id) };
    let meeting = state.boardroom.call(&tenant.db, call).await?;
    Ok((StatusCode::CREATED, Json(Calling { meeting })))
}

/// Show a meeting
#[utoipa::path(
    get,
    path = "/api/boardroom/{meeting}",
    tag = "boardroom",
    params(("meeting" = MeetingId, Path)),
    responses((status = 200, body = Meeting))
)]
pub async fn show_meeting_as_json(
    State(state): State<BoardroomState>,
    tenant: InTenant,
    extract::Path(id): extract::Path<MeetingId>,
) -> Result<Json<Meeting>> {
    Ok(Json(state.boardroom.meeting(&tenant.db, Some(tenant.signed_in.user.id), id).await?))
}

/// Watch a meeting
///
/// What is being said at this moment, then what comes. What is complete is told by `contributed` and read from the meeting.
/// After `ended` nothing more comes: the meeting is over, or waits.
#[utoipa::path(
    get,
    path = "/api/boardroom/{meeting}/events",
    tag = "boardroom",
    params(("meeting" = MeetingId, Path)),
    responses((status = 200, content_type = "text/event-stream", body = BoardroomEvent))
)]
pub async fn watch_meeting(
    State(state): State<BoardroomState>,
    tenant: InTenant,
    extract::Path(id): extract::Path<MeetingId>,
) -> Result<Response> {
    Ok(sse::events(state.boardroom.watch(&tenant.db, Some(tenant.signed_in.user.id), id).await?))
}

/// Stop a meeting
///
/// What was said until then is kept. 409 when it is over already.
#[utoipa::path(
    post,
    path = "/api/boardroom/{meeting}/stop",
    tag = "boardroom",
    params(("meeting" = MeetingId, Path)),
    responses((status = 204, description = "It is stopped"))
)]
pub async fn stop_meeting(
    State(state): State<BoardroomState>,
    tenant: InTenant,
    extract::Path(id): extract::Path<MeetingId>,
) -> Result<StatusCode> {
    state.boardroom.stop(&tenant.db, Some(tenant.signed_in.user.id), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Share a meeting
#[utoipa::path(
    post,
    path = "/api/boardroom/{meeting}/share",
    tag = "boardroom",
    params(("meeting" = MeetingId, Path)),
    request_body = Sharing,
    responses((status = 204, description = "It is so now"))
)]
pub async fn share_meeting(
    State(state): State<BoardroomState>,
    tenant: InTenant,
    extract::Path(id): extract::Path<MeetingId>,
    extract::Json(body): extract::Json<Sharing>,
) -> Result<StatusCode> {
    state.boardroom.share(&tenant.db, Some(tenant.signed_in.user.id), id, body.shared).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a meeting
#[utoipa::path(
    delete,
    path = "/api/boardroom/{meeting}",
    tag = "boardroom",
    params(("meeting" = MeetingId, Path)),
    responses((status = 204, description = "It is gone"))
)]
pub async fn delete_meeting(
    State(state): State<BoardroomState>,
    tenant: InTenant,
    extract::Path(id): extract::Path<MeetingId>,
) -> Result<StatusCode> {
    state.boardroom.delete(&tenant.db, Some(tenant.signed_in.user.id), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Export a meeting
///
/// The record as Markdown, with all sources.
#[utoipa::path(
    get,
    path = "/api/boardroom/{meeting}/export",
    tag = "boardroom",
    params(("meeting" = MeetingId, Path)),
    responses((status = 200, content_type = "text/markdown", body = String))
)]
pub async fn export_meeting(
    State(state): State<BoardroomState>,
    tenant: InTenant,
    extract::Path(id): extract::Path<MeetingId>,
) -> Result<Response> {
    let meeting = state.boardroom.meeting(&tenant.db, Some(tenant.signed_in.user.id), id).await?;
    Ok(as_file(id, markdown(&meeting)))
}
