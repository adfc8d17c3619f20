//! Meetings, from the command line.

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, open};
use crate::{
    app::wiring::App,
    boardroom::{Call, markdown},
    support::{Error, ids::MeetingId},
};

/// A meeting that is to be held.
#[derive(Deserialize)]
pub(super) struct Called {
    question: String,
    agents: Vec<String>,
    chair: String,
}

/// `POST /tenants/{slug}/boardroom`: calls a meeting and streams what happens, one JSON object a line, the first with its id.
pub(super) async fn call(
    State(app): State<App>,
    Path(slug): Path<String>,
    Json(called): Json<Called>,
) -> Answer<Response> {
    let db = open(&app, &slug).await?;
    let Called { question, agents, chair } = called;
    let meeting = app.boardroom.call(&db, Call { question, agents, chair, shared: true, user: None }).await?;
    let events = app.boardroom.watch(&db, None, meeting).await?;
    let events = events.map(|event| serde_json::to_value(event).unwrap_or_default());
    let first = stream::iter([json!({ "type": "called", "meeting": meeting })]);
    let lines = first.chain(events).map(|event| Ok::<_, std::convert::Infallible>(format!("{event}\n")));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// `GET /tenants/{slug}/boardroom/{meeting}`: the meeting, and its record as Markdown.
pub(super) async fn show(State(app): State<App>, Path((slug, meeting)): Path<(String, String)>) -> Answer<Json<Value>> {
    let db = open(&app, &slug).await?;
    let id: MeetingId = meeting.parse()?;
    let meeting = app.boardroom.any_meeting(&db, id).await?;
    let markdown = markdown(&meeting);
    Ok(Json(json!({ "meeting": serde_json::to_value(&meeting).map_err(Error::internal)?, "markdown": markdown })))
}
