//! `/v1/responses`.
//!
//! A response with a single question is kept as a conversation of whoever asked, and `previous_response_id` goes on with
//! it. One that brings its own history or tools, or says `store: false`, is kept nowhere but in the audit log.
//!
//! Format: <https://platform.openai.com/docs/api-reference/responses>.

mod answer;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream::iter};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{DeveloperState, ask, refusal, stream};
use crate::{
    accounts::http::InTenant,
    agents::{Author, Thread},
    developer::{
        Problem,
        conversation::{Said, exchange, item},
        offer::Offer,
    },
    http::{context::RequestContext, extract, sse},
    models::chat::{Message, Speaker},
    support::ids::{ConversationId, RunId},
};
use answer::{Head, Teller};

/// What an agent is asked. Fields that are not listed are not looked at.
#[derive(Deserialize, ToSchema)]
pub struct ResponseRequest {
    /// The agent: `atlas` or `agent:atlas`.
    model: String,
    /// A question, or a list of items: messages of text, function calls and their outputs.
    #[schema(value_type = Object)]
    input: Value,
    /// What the agent is told beside its SOUL.
    instructions: Option<String>,
    /// Whether the answer comes in pieces.
    stream: Option<bool>,
    /// Whether it is kept as a conversation; yes unless told.
    store: Option<bool>,
    /// The newest response of the conversation that goes on.
    previous_response_id: Option<String>,
    /// The program's own functions.
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Vec<Value>>,
    /// `auto`, `none`, `required`, or one of them.
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Value>,
    /// Whether several may be called at once.
    parallel_tool_calls: Option<bool>,
    /// `format`: `text`, `json_object`, or `json_schema` with the schema of an object.
    #[schema(value_type = Option<Object>)]
    text: Option<Value>,
    /// The most tokens of the answer; the agent's own bound holds, too.
    max_output_tokens: Option<u32>,
    /// From 0 to 2.
    temperature: Option<f32>,
    /// Not taken: whoever asks waits.
    background: Option<bool>,
}

/// Ask an agent by the Responses API
///
/// The answer carries marks `[1]`; what they mean is in the `annotations` of its text. Closing the connection stops the run.
/// With `stream`, events come from `response.created` to `response.completed`.
#[utoipa::path(
    post,
    path = "/v1/responses",
    tag = "openai",
    request_body = ResponseRequest,
    responses((
        status = 200,
        description = "A `response`, or the events of one",
        content((Object = "application/json"), (String = "text/event-stream"))
    ))
)]
pub async fn create_response(
    State(state): State<DeveloperState>,
    context: RequestContext,
    tenant: InTenant,
    extract::Json(body): extract::Json<ResponseRequest>,
) -> Result<Response, Problem> {
    if body.background == Some(true) {
        return Err(Problem::unsupported("background", "whoever asks waits for the answer here"));
    }
    let mut said: Vec<Said> = body.instructions.iter().cloned().map(Said::Instructions).collect();
    said.extend(items(&body.input)?);
    let mut exchange = exchange(said, "input")?;
    let tools = body.tools.as_deref().unwrap_or_default();
    let alone = exchange.history.is_empty() && exchange.turns.is_empty() && tools.is_empty();
    let stored = body.store != Some(false) && alone;
    let thread = match &body.previous_response_id {
        None if stored => Thread::New,
        None => Thread::Apart { history: exchange.history.split_off(0) },
        Some(previous) => {
            let (conversation, mut history) = conversation(&state, &tenant, previous).await?;
            if stored {
                Thread::Of(conversation)
            } else {
                history.append(&mut exchange.history);
                Thread::Apart { history }
            }
        }
    };
    let offer = Offer {
        tools,
        tool_choice: body.tool_choice.as_ref(),
        parallel: body.parallel_tool_calls,
        format: body.text.as_ref().and_then(|text| text.get("format")),
        temperature: body.temperature,
        max_tokens: body.max_output_tokens.map(|most| (most, "max_output_tokens")),
    };
    let waiting = ask(&state, &tenant, &body.model, exchange, &offer, Some(thread)).await?;
    let head = Head {
        id: id(waiting.run.conversation, waiting.run.id),
        created_at: state.clock.now().timestamp(),
        model: body.model,
        instructions: body.instructions,
        previous_response_id: body.previous_response_id,
        stored,
        tools: body.tools.unwrap_or_default(),
        tool_choice: body.tool_choice.unwrap_or_else(|| json!("auto")),
        parallel: body.parallel_tool_calls != Some(false),
        format: body.text.and_then(|text| text.get("format").cloned()).unwrap_or_else(|| json!({"type": "text"})),
        max_output_tokens: body.max_output_tokens,
        temperature: body.temperature,
    };
    if body.stream == Some(true) {
        let (events, lane) = (waiting.run.events, waiting.lane);
        let mut teller = Teller::new(head, waiting.structured, &context);
        let events = events.flat_map(move |event| {
            let _held = &lane;
            iter(teller.tell(event))
        });
        return Ok(sse::events(events));
    }
    let structured = waiting.structured;
    let answer = waiting.answer().await?;
    let refused = if structured && answer.calls.is_empty() { refusal(&answer) } else { None };
    let annotations = stream::annotations(&answer, &context);
    let output = answer::output(&head.id, &answer.answer, refused.as_deref(), &annotations, &answer.calls);
    Ok(Json(head.finished(&answer, &output)).into_response())
}

/// The items of an input.
fn items(input: &Value) -> Result<Vec<Said>, Problem> {
    match input {
        Value::String(text) => Ok(vec![Said::User(text.clone())]),
        Value::Array(items) => {
            let said = items.iter().map(item).collect::<Result<Vec<_>, _>>()?;
            Ok(said.into_iter().flatten().collect())
        }
        _ => Err(Problem::of("input", "`input` must be a text, or a list of items")),
    }
}

/// A response's name: the conversation that it is kept in, if it is, and its run.
fn id(conversation: Option<ConversationId>, run: RunId) -> String {
    let conversation = conversation.map(|id| id.0.simple().to_string()).unwrap_or_default();
    format!("resp_{conversation}{}", run.0.simple())
}

/// The conversation that ends with the response of this name, and what was said in it.
async fn conversation(
    state: &DeveloperState,
    tenant: &InTenant,
    response: &str,
) -> Result<(ConversationId, Vec<Message>), Problem> {
    let wrong = |message: &str| Problem {
        code: Some("previous_response_not_found"),
        ..Problem::of("previous_response_id", message)
    };
    let none = || wrong("there is no such response that was kept; send what was said before as items of the input");
    let ids = response.strip_prefix("resp_").and_then(|ids| ids.split_at_checked(32)).ok_or_else(none)?;
    let (Ok(conversation), Ok(run)) = (Uuid::try_parse(ids.0), Uuid::try_parse(ids.1)) else { return Err(none()) };
    let id = ConversationId(conversation);
    let known = state.agents.conversation(&tenant.db, tenant.signed_in.user.id, id).await?.ok_or_else(none)?;
    match known.messages.iter().rev().find(|message| message.author == Author::Agent) {
        Some(last) if last.run == RunId(run) => {}
        _ if known.messages.iter().any(|message| message.run == RunId(run)) => {
            return Err(wrong("the conversation went on since: only its newest response can be gone on with"));
        }
        _ => return Err(none()),
    }
    let history = known.messages.iter().map(|message| {
        let speaker = if message.author == Author::User { Speaker::User } else { Speaker::Assistant };
        Message::new(speaker, message.text.clone())
    });
    Ok((id, history.collect()))
}
