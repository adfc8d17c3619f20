//! Reads a tool call out of what a model printed.

use serde_json::{Map, Value};

use crate::{
    models::{
        chat::{ToolCall, ToolSpec},
        names,
    },
    support::ids::CallId,
};

/// The calls in `text`, which may stand in a fence, in a list, or in the wrapping of a provider's format.
/// Empty when it is anything else than calls of the offered tools.
pub(super) fn parse(text: &str, tools: &[ToolSpec]) -> Vec<ToolCall> {
    let Some(value) = first_json(unfenced(text.trim())) else { return Vec::new() };
    let candidates = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    let calls: Vec<ToolCall> = candidates.iter().filter_map(|candidate| call(candidate, tools)).collect();
    if calls.len() == candidates.len() { calls } else { Vec::new() }
}

/// Whether `text`, the beginning of an answer, may still become a call.
pub(super) fn may_be_whole_call(text: &str) -> bool {
    let text = text.trim_start();
    let Some(after_ticks) = text.strip_prefix("```") else {
        return "```".starts_with(text) || may_be_calls(text);
    };
    // "```", "```js", "```json": the language is not finished before its line is.
    let Some((language, inside)) = after_ticks.split_once('\n') else { return "json".starts_with(after_ticks.trim()) };
    matches!(language.trim(), "" | "json") && may_be_calls(inside)
}

/// An object or a list of objects, as far as it can be seen. An answer may begin with the citation `[1]`.
fn may_be_calls(text: &str) -> bool {
    let mut signs = text.chars().filter(|sign| !sign.is_whitespace());
    let second = match signs.next() {
        None => return true,
        Some('{') => '"',
        Some('[') => '{',
        Some(_) => return false,
    };
    signs.next().is_none_or(|sign| sign == second)
}

fn unfenced(text: &str) -> &str {
    let Some(inside) = text.strip_prefix("```") else { return text };
    let inside = inside.strip_prefix("json").unwrap_or(inside);
    inside.strip_suffix("```").unwrap_or(inside)
}

/// The JSON value at the start, provided that only blanks follow it.
fn first_json(text: &str) -> Option<Value> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values.next()?.ok()?;
    text[values.byte_offset()..].trim().is_empty().then_some(value)
}

fn call(value: &Value, tools: &[ToolSpec]) -> Option<ToolCall> {
    let value = value.get("function").filter(|inner| inner.is_object()).unwrap_or(value);
    let name = names::restored(value.get("name")?.as_str()?, tools)?;
    let arguments = value
        .get("arguments")
        .or_else(|| value.get("parameters"))
        .cloned()
        .unwrap_or_else(|| Value::Object(Map::default()));
    Some(ToolCall { id: CallId::generate().to_string(), name, arguments: names::arguments(arguments) })
}
