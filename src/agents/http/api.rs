//! The chat as JSON and as a stream of events.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{ChatState, start};
use crate::{
    accounts::http::InTenant,
    agents::{ConversationSummary, RunEvent},
    http::{extract, sse},
    support::{
        Error, Result,
        ids::{ConversationId, RunId},
    },
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(ask, cancel_run, watch_run, list_conversations, delete_conversation),
    components(schemas(RunEvent)),
    tags((name = "chat", description = "Questions to agents, and their answers"))
)]
pub struct ChatApi;

/// A question as a program sends it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    #[schema(min_length = 1, max_length = 8000)]
    question: String,
    /// Goes on with this one; a new one otherwise.
    conversation: Option<ConversationId>,
    /// `luna`. Unless told, whom the conversation began with; in a new one `atlas`.
    agent: Option<String>,
}

/// One of the events that a run tells.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the stream")]
struct ChatEvent {
    /// The `type` of the event: `started`, `text`, `finished`, …
    event: String,
    /// The event as JSON: a `RunEvent`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// One's own conversations, the newest first.
#[derive(Serialize, ToSchema)]
pub struct Conversations {
    conversations: Vec<ConversationSummary>,
}

/// Ask an agent
///
/// Answers the events of the run as they come, each named by its `type`. The run goes on when the connection is closed;
/// `GET /api/chat/runs/{run}/events` comes back to it.
#[utoipa::path(
    post,
    path = "/api/chat",
    tag = "chat",
    request_body = Asked,
    responses((status = 200, content_type = "text/event-stream", body = ChatEvent))
)]
pub async fn ask(
    State(state): State<ChatState>,
    tenant: InTenant,
    extract::Json(body): extract::Json<Asked>,
) -> Result<Response> {
    let run = start(&state, &tenant, body.agent, body.question, body.conversation).await?;
    Ok(sse::events(run.events))
}

/// Stop a run
///
/// 404 when there is no such run of one's own, or no longer.
#[utoipa::path(
    post,
    path = "/api/chat/runs/{run}/cancel",
    tag = "chat",
    params(("run" = RunId, Path)),
    responses((status = 204, description = "It is being stopped"))
)]
pub async fn cancel_run(
    State(state): State<ChatState>,
    tenant: InTenant,
    extract::Path(run): extract::Path<RunId>,
) -> Result<StatusCode> {
    let stopped = state.agents.cancel(&tenant.db, Some(tenant.signed_in.user.id), run).await?;
    if stopped { Ok(StatusCode::NO_CONTENT) } else { Err(Error::not_found("the run")) }
}

/// Read along with a run
///
/// Everything that it has told until now, then what comes. 404 when there is no such run of one's own, or it is over.
#[utoipa::path(
    get,
    path = "/api/chat/runs/{run}/events",
    tag = "chat",
    params(("run" = RunId, Path)),
    responses((status = 200, content_type = "text/event-stream", body = ChatEvent))
)]
pub async fn watch_run(
    State(state): State<ChatState>,
    tenant: InTenant,
    extract::Path(run): extract::Path<RunId>,
) -> Result<Response> {
    Ok(sse::events(state.agents.watch(&tenant.db, tenant.signed_in.user.id, run).await?))
}

/// List conversations
#[utoipa::path(get, path = "/api/chat/conversations", tag = "chat", responses((status = 200, body = Conversations)))]
pub async fn list_conversations(State(state): State<ChatState>, tenant: InTenant) -> Result<Json<Conversations>> {
    let conversations = state.agents.conversations(&tenant.db, tenant.signed_in.user.id).await?;
    Ok(Json(Conversations { conversations }))
}

/// Delete a conversation
///
/// With its messages and whatever was remembered from it. The audit log keeps what it has of its runs.
#[utoipa::path(
    delete,
    path = "/api/chat/conversations/{conversation}",
    tag = "chat",
    params(("conversation" = ConversationId, Path)),
    responses((status = 204, description = "It is deleted"))
)]
pub async fn delete_conversation(
    State(state): State<ChatState>,
    tenant: InTenant,
    extract::Path(id): extract::Path<ConversationId>,
) -> Result<StatusCode> {
    state.agents.delete_conversation(&tenant.db, tenant.signed_in.user.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
