//! `/v1/chat/completions`.
//!
//! Format: <https://platform.openai.com/docs/api-reference/chat>.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream::iter};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    DeveloperState, Waiting, ask, failed, refusal,
    stream::{self, Written},
};
use crate::{
    accounts::http::InTenant,
    agents::{Answer, ProgramCall, RunEvent},
    developer::{
        Problem,
        annotations::Annotation,
        conversation::{exchange, message},
        offer::Offer,
    },
    http::{
        context::RequestContext,
        error::in_sentences,
        extract,
        openai::{self, Particulars},
        sse,
    },
};

/// A conversation that an agent is to go on with. Fields that are not listed are not looked at.
#[derive(Deserialize, ToSchema)]
pub struct CompletionRequest {
    /// The agent: `atlas` or `agent:atlas`.
    model: String,
    /// What was said until now, of the roles system, developer, user, assistant and tool; text only.
    #[schema(value_type = Vec<Object>)]
    messages: Vec<Value>,
    /// Whether the answer comes in pieces.
    stream: Option<bool>,
    /// `include_usage`: a last piece says how many tokens there were.
    #[schema(value_type = Option<Object>)]
    stream_options: Option<Value>,
    /// The most tokens of the answer; the agent's own bound holds, too.
    max_tokens: Option<u32>,
    /// The same by its newer name.
    max_completion_tokens: Option<u32>,
    /// From 0 to 2.
    temperature: Option<f32>,
    /// `text`, `json_object`, or `json_schema` with the schema of an object.
    #[schema(value_type = Option<Object>)]
    response_format: Option<Value>,
    /// The program's own functions, which the agent may call beside its own tools.
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Vec<Value>>,
    /// `auto`, `none`, `required`, or one of them.
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Value>,
    /// Whether several may be called at once.
    parallel_tool_calls: Option<bool>,
    /// 1: there is one answer.
    n: Option<u32>,
    /// `text`
    modalities: Option<Vec<String>>,
    /// Not taken: agents write.
    #[schema(value_type = Option<Object>)]
    audio: Option<Value>,
    /// Not taken.
    logprobs: Option<bool>,
    /// Not taken: functions became tools.
    #[schema(value_type = Option<Object>)]
    functions: Option<Value>,
}

/// Ask an agent as OpenAI's clients do
///
/// The answer carries marks `[1]`; what they mean is in its `annotations`. The agent calls its own tools by itself; a call
/// of one of the program's functions ends the answer with `tool_calls`. Closing the connection stops the run. With
/// `stream`, pieces come as `chat.completion.chunk` and `[DONE]` at the end.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "openai",
    request_body = CompletionRequest,
    responses((
        status = 200,
        description = "A `chat.completion`, or a stream of its pieces",
        content((Object = "application/json"), (String = "text/event-stream"))
    ))
)]
pub async fn complete_chat(
    State(state): State<DeveloperState>,
    context: RequestContext,
    tenant: InTenant,
    extract::Json(body): extract::Json<CompletionRequest>,
) -> Result<Response, Problem> {
    check(&body)?;
    let said = body.messages.iter().map(message).collect::<Result<Vec<_>, _>>()?;
    let offer = Offer {
        tools: body.tools.as_deref().unwrap_or_default(),
        tool_choice: body.tool_choice.as_ref(),
        parallel: body.parallel_tool_calls,
        format: body.response_format.as_ref(),
        temperature: body.temperature,
        max_tokens: (body.max_completion_tokens.map(|most| (most, "max_completion_tokens")))
            .or(body.max_tokens.map(|most| (most, "max_tokens"))),
    };
    let waiting = ask(&state, &tenant, &body.model, exchange(said, "messages")?, &offer, None).await?;
    let head =
        Head { id: format!("chatcmpl-{}", waiting.run.id), created: state.clock.now().timestamp(), model: body.model };
    if body.stream == Some(true) {
        let usage = body.stream_options.is_some_and(|options| options["include_usage"] == true);
        return Ok(pieces(waiting, head, usage, &context));
    }
    let structured = waiting.structured;
    let answer = waiting.answer().await?;
    let refused = if structured && answer.calls.is_empty() { refusal(&answer) } else { None };
    let annotations = stream::annotations(&answer, &context);
    let mut message = json!({
        "role": "assistant",
        "content": (refused.is_none() && !answer.answer.is_empty()).then_some(&answer.answer),
        "refusal": refused,
        "annotations": annotations.iter().map(annotated).collect::<Vec<_>>(),
    });
    if !answer.calls.is_empty() {
        message["tool_calls"] = answer.calls.iter().map(called).collect();
    }
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": reason(&answer)});
    let mut completion = head.with("chat.completion", &json!([choice]));
    completion["usage"] = usage_of(&answer);
    Ok(Json(completion).into_response())
}

/// What every object of an answer begins with.
struct Head {
    id: String,
    created: i64,
    model: String,
}

impl Head {
    fn with(&self, object: &str, choices: &Value) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices,
            "system_fingerprint": null,
        })
    }

    fn piece(&self, delta: &Value, finish_reason: Option<&str>) -> String {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        self.with("chat.completion.chunk", &json!([choice])).to_string()
    }
}

fn pieces(waiting: Waiting, head: Head, usage: bool, context: &RequestContext) -> Response {
    let Waiting { run, lane, structured } = waiting;
    let mut written = Written::nothing(context);
    let lines = run.events.flat_map(move |event| {
        let _held = &lane;
        written.take(&event);
        iter(lines(event, &head, structured, usage, &written))
    });
    sse::data(lines)
}

fn lines(event: RunEvent, head: &Head, structured: bool, usage: bool, written: &Written) -> Vec<String> {
    match event {
        RunEvent::Started { .. } => vec![head.piece(&json!({"role": "assistant", "content": ""}), None)],
        RunEvent::Text { text } if !structured => vec![head.piece(&json!({"content": text}), None)],
        RunEvent::Finished(answer) => last_lines(&answer, head, structured, usage, written),
        RunEvent::Failed { message, remedy } => {
            let error = failed(message, remedy);
            let envelope = openai::envelope(error.kind(), in_sentences(&error), &Particulars::default());
            vec![json!(envelope).to_string()]
        }
        _ => Vec::new(),
    }
}

fn last_lines(answer: &Answer, head: &Head, structured: bool, usage: bool, written: &Written) -> Vec<String> {
    let mut lines = Vec::new();
    if structured && answer.calls.is_empty() {
        // What does not fit is never sent, so nothing is sent before it is whole.
        lines.push(match refusal(answer) {
            Some(refusal) => head.piece(&json!({"refusal": refusal}), None),
            None => head.piece(&json!({"content": answer.answer}), None),
        });
    }
    for (index, call) in answer.calls.iter().enumerate() {
        let mut call = called(call);
        call["index"] = json!(index);
        lines.push(head.piece(&json!({"tool_calls": [call]}), None));
    }
    let annotations = if structured { Vec::new() } else { written.annotations(answer) };
    if !annotations.is_empty() {
        let annotations: Vec<_> = annotations.iter().map(annotated).collect();
        lines.push(head.piece(&json!({"annotations": annotations}), None));
    }
    lines.push(head.piece(&json!({}), Some(reason(answer))));
    if usage {
        let mut piece = head.with("chat.completion.chunk", &json!([]));
        piece["usage"] = usage_of(answer);
        lines.push(piece.to_string());
    }
    lines.push("[DONE]".to_owned());
    lines
}

fn check(body: &CompletionRequest) -> Result<(), Problem> {
    if body.n.is_some_and(|n| n != 1) {
        return Err(Problem::unsupported("n", "an agent gives one answer: n must be 1"));
    }
    let writes = body.modalities.as_ref().is_none_or(|wanted| wanted.iter().all(|wanted| wanted == "text"));
    if !writes || body.audio.as_ref().is_some_and(|audio| !audio.is_null()) {
        return Err(Problem::unsupported("modalities", "agents write: there is no sound here"));
    }
    if body.logprobs == Some(true) {
        return Err(Problem::unsupported("logprobs", "probabilities of tokens are not told"));
    }
    if body.functions.as_ref().is_some_and(|functions| !functions.is_null()) {
        return Err(Problem::unsupported("functions", "functions became tools: send `tools`"));
    }
    Ok(())
}

fn reason(answer: &Answer) -> &'static str {
    match answer {
        answer if !answer.calls.is_empty() => "tool_calls",
        answer if answer.cut => "length",
        _ => "stop",
    }
}

fn called(call: &ProgramCall) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments.to_string()});
    json!({"id": call.id, "type": "function", "function": function})
}

fn annotated(annotation: &Annotation) -> Value {
    json!({"type": "url_citation", "url_citation": annotation})
}

fn usage_of(answer: &Answer) -> Value {
    let (prompt, completion) = (answer.prompt_tokens, answer.completion_tokens);
    json!({
        "prompt_tokens": prompt, "completion_tokens": completion,
        "total_tokens": prompt.saturating_add(completion),
    })
}
