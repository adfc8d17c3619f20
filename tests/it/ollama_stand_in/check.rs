//! What Ollama expects of a chat, and what we expect of ourselves: a context that holds the prompt.

use axum::http::{HeaderMap, header::CONTENT_TYPE};
use serde_json::Value;

/// Fields of `api.ChatRequest`.
const FIELDS: [&str; 13] = [
    "model",
    "messages",
    "stream",
    "format",
    "keep_alive",
    "tools",
    "options",
    "think",
    "truncate",
    "shift",
    "logprobs",
    "top_logprobs",
    "template",
];

/// What is wrong with a chat.
pub(super) fn chat(headers: &HeaderMap, request: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if headers.get(CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
        wrong.push("the content type is not application/json".to_owned());
    }
    for field in request.as_object().into_iter().flat_map(|object| object.keys()) {
        if !FIELDS.contains(&field.as_str()) {
            wrong.push(format!("a chat has no field `{field}`"));
        }
    }
    if request["model"].as_str().is_none_or(str::is_empty) {
        wrong.push("model is required".to_owned());
    }
    if request["stream"] != Value::Bool(true) && request["format"].is_null() {
        wrong.push("`stream` is not true".to_owned());
    }
    if !request["think"].is_null() {
        wrong.push("`think` is sent, which models that cannot think refuse".to_owned());
    }
    if request["truncate"] != Value::Bool(false) {
        wrong.push("`truncate` is not false: Ollama would cut a long prompt silently".to_owned());
    }
    if request["options"]["num_ctx"].as_u64().is_none_or(|context| context < 512) {
        wrong.push("`options.num_ctx` is not set".to_owned());
    }
    messages(request["messages"].as_array().map_or(&[], Vec::as_slice), &mut wrong);
    for tool in request["tools"].as_array().into_iter().flatten() {
        wrong.extend(tool_problem(tool));
    }
    wrong
}

/// A prompt that does not fit into `num_ctx`, or a `num_ctx` that the model does not have.
pub(super) fn fits(request: &Value, context_length: u32) -> Option<String> {
    let context = request["options"]["num_ctx"].as_u64()?;
    let bytes = request["messages"].to_string().len() + request["tools"].to_string().len();
    let at_least = u64::try_from(bytes / 6).ok()?;
    if context > u64::from(context_length) {
        return Some(format!("`num_ctx` is {context}, the model reads {context_length}"));
    }
    (at_least > context).then(|| format!("a prompt of {bytes} bytes does not fit into {context} tokens"))
}

fn messages(messages: &[Value], wrong: &mut Vec<String>) {
    if messages.is_empty() {
        wrong.push("there are no messages".to_owned());
    }
    let mut called: Vec<String> = Vec::new();
    for message in messages {
        if !message["content"].is_string() {
            wrong.push(format!("a message without content: {message}"));
        }
        match message["role"].as_str() {
            Some("system" | "user") => {}
            Some("assistant") => {
                let calls = message["tool_calls"].as_array().into_iter().flatten();
                for call in calls {
                    if !call["function"]["arguments"].is_object() {
                        wrong.push(format!("arguments are not an object: {call}"));
                    }
                    called.push(call["function"]["name"].as_str().unwrap_or_default().to_owned());
                }
            }
            Some("tool") => {
                let name = message["tool_name"].as_str().unwrap_or_default();
                if !called.iter().any(|called| called == name) {
                    wrong.push(format!("the result of a tool `{name}` that was not called"));
                }
            }
            role => wrong.push(format!("a message of {role:?}")),
        }
    }
}

fn tool_problem(tool: &Value) -> Option<String> {
    let function = &tool["function"];
    let name = function["name"].as_str().unwrap_or_default();
    let name_fits = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if tool["type"] != "function" {
        Some(format!("a tool that is no function: {tool}"))
    } else if !name_fits {
        Some(format!("a tool's name that not every model understands: `{name}`"))
    } else if function["parameters"]["type"] != "object" || !function["parameters"]["properties"].is_object() {
        Some(format!("the parameters of `{name}` are no object"))
    } else {
        None
    }
}
