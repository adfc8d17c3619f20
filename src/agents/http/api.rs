//! The chat as JSON and as a stream of events.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{AGENT, ChatState, start};
use crate::{
    accounts::http::InTenant,
    http::{extract, sse},
    support::{
        Error, Result,
        ids::{ConversationId, RunId},
    },
};

/// A question as a program sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    question: String,
    conversation: Option<ConversationId>,
    agent: Option<String>,
}

/// `POST /api/chat`: the events of the run, as they come. Closing the connection stops the run.
pub async fn ask(
    State(state): State<ChatState>,
    tenant: InTenant,
    extract::Json(body): extract::Json<Asked>,
) -> Result<Response> {
    let agent = body.agent.as_deref().unwrap_or(AGENT);
    let run = start(&state, &tenant, agent, body.question, body.conversation).await?;
    Ok(sse::events(run.events))
}

/// `POST /api/chat/runs/{run}/cancel`: 404 when there is no such run, or no longer.
pub async fn cancel_run(
    State(state): State<ChatState>,
    tenant: InTenant,
    extract::Path(run): extract::Path<RunId>,
) -> Result<Response> {
    let stopped = state.agents.cancel(&tenant.db, Some(tenant.signed_in.user.id), run);
    if stopped { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(Error::not_found("the run")) }
}

/// `GET /api/chat/conversations`
pub async fn list_conversations(State(state): State<ChatState>, tenant: InTenant) -> Result<Response> {
    let conversations = state.agents.conversations(&tenant.db, tenant.signed_in.user.id).await?;
    Ok(Json(json!({ "conversations": conversations })).into_response())
}
