//! Reads calls of tools out of what a model printed, whatever the dress.

use serde_json::{Map, Value};

use super::{dress::Dress, tolerant};
use crate::{
    models::{
        chat::{ToolCall, ToolSpec},
        names,
    },
    support::ids::CallId,
};

/// Signs and tags round calls that say nothing.
const ORNAMENTS: [&str; 26] = [
    "<tool_call>",
    "</tool_call>",
    "<tool_calls>",
    "</tool_calls>",
    "<function_call>",
    "</function_call>",
    "<tools>",
    "</tools>",
    "<|tool_call_start|>",
    "<|tool_call_end|>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁end｜>",
    "[TOOL_CALLS]",
    "<|python_tag|>",
    "<|tool_call|>",
    "<|/tool_call|>",
    "functools",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|im_end|>",
    "</s>",
    "Action:",
    "```",
];

/// What may stand between a tool's name and its arguments.
const BETWEEN: [&str; 9] =
    ["[ARGS]", "[CALL_ID]", "Action Input:", "arguments:", "Arguments:", "<｜tool▁sep｜>", "```json", "```", ":"];

/// DeepSeek's separator of the name and what stands before or after it.
const DEEPSEEK: &str = "<｜tool▁sep｜>";

/// The most calls in one answer.
const MOST_CALLS: usize = 64;

/// What a text in a dress turns out to be.
#[derive(Debug)]
pub(super) enum Reading {
    /// Calls of offered tools.
    Calls(Vec<ToolCall>),
    /// A call of an offered tool was meant, and cannot be read.
    Broken,
    /// Something else.
    Text,
}

/// Reads `text`, which begins and ends as `dress` says.
pub(super) fn read(text: &str, dress: Dress, tools: &[ToolSpec]) -> Reading {
    let inside = undressed(text);
    let calls = if inside.contains("<function=") {
        functions(inside, tools)
    } else if dress == Dress::Pythonic {
        pythonic(inside, tools)
    } else {
        objects(inside, tools)
    };
    if let Some(calls) = calls.or_else(|| by_name(inside, dress, tools)).filter(|calls| !calls.is_empty()) {
        return Reading::Calls(calls);
    }
    let named = tools.iter().any(|tool| text.contains(&tool.name) || text.contains(&names::on_the_wire(&tool.name)));
    let looks_like_one = dress.is_meant()
        || ["\"name\"", "'name'", "name:", "arguments", "parameters"].iter().any(|word| text.contains(word));
    // JSON that can be read and is no call is an answer in JSON.
    if named && looks_like_one && (dress.is_meant() || tolerant::value(inside).is_none()) {
        Reading::Broken
    } else {
        Reading::Text
    }
}

/// Without what is round the calls.
fn undressed(text: &str) -> &str {
    let mut inside = text.trim();
    loop {
        let before = inside.len();
        for ornament in ORNAMENTS {
            inside = inside.strip_prefix(ornament).unwrap_or(inside).trim_start();
            inside = inside.strip_suffix(ornament).unwrap_or(inside).trim_end();
        }
        // The language of a fence.
        let of_language = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '+' | '-');
        let language = inside.find(|sign| !of_language(sign)).unwrap_or(0);
        if text.contains("```") && inside[language..].trim_start().starts_with(['{', '[', '<']) {
            inside = inside[language..].trim_start();
        }
        if inside.len() == before {
            return inside;
        }
    }
}

/// One object after another, or lists of them: all have to be calls.
fn objects(text: &str, tools: &[ToolSpec]) -> Option<Vec<ToolCall>> {
    let mut calls = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|sign: char| sign.is_whitespace() || matches!(sign, ',' | ';'));
        for ornament in ORNAMENTS {
            rest = rest.strip_prefix(ornament).unwrap_or(rest).trim_start();
        }
        if rest.is_empty() {
            return Some(calls);
        }
        if !rest.starts_with(['{', '[']) || calls.len() >= MOST_CALLS {
            return None;
        }
        let (value, length) = tolerant::value(rest)?;
        collect(&value, tools, &mut calls)?;
        rest = &rest[length..];
    }
}

fn collect(value: &Value, tools: &[ToolSpec], calls: &mut Vec<ToolCall>) -> Option<()> {
    if let Some(list) = value.as_array().or_else(|| value.get("tool_calls")?.as_array()) {
        return list.iter().try_for_each(|value| collect(value, tools, calls));
    }
    calls.push(call(value, tools)?);
    Some(())
}

fn call(value: &Value, tools: &[ToolSpec]) -> Option<ToolCall> {
    let value = value.get("function").filter(|inner| inner.is_object()).unwrap_or(value);
    let object = value.as_object()?;
    let name =
        ["name", "tool_name", "tool", "function", "action"].iter().find_map(|field| object.get(*field)?.as_str());
    let Some(name) = name else {
        // {"knowledge_search": {"query": …}}
        let (name, arguments) = object.iter().next().filter(|_| object.len() == 1)?;
        return arguments.is_object().then(|| made(names::restored(name, tools)?, arguments.clone()).into())?;
    };
    let arguments = ["arguments", "parameters", "args", "input", "action_input", "tool_input"];
    let arguments = arguments.iter().find_map(|field| object.get(*field)).cloned();
    Some(made(names::restored(name, tools)?, arguments.unwrap_or_else(|| Map::new().into())))
}

fn made(name: String, arguments: Value) -> ToolCall {
    ToolCall { id: CallId::generate().to_string(), name, arguments: names::arguments(arguments) }
}

/// `<function=name>{…}</function>`, or with `<parameter=key>value</parameter>` in it.
fn functions(text: &str, tools: &[ToolSpec]) -> Option<Vec<ToolCall>> {
    let mut calls = Vec::new();
    for part in text.split("<function=").skip(1).take(MOST_CALLS) {
        let (name, body) = part.split_once('>')?;
        let name = names::restored(name.trim_matches(['"', '\'', ' ']), tools)?;
        let body = body.split("</function>").next()?.trim();
        let arguments = if body.contains("<parameter=") {
            parameters(body, tools.iter().find(|tool| tool.name == name)?)?
        } else if body.is_empty() {
            Map::new().into()
        } else {
            tolerant::value(body)?.0
        };
        calls.push(made(name, arguments));
    }
    Some(calls)
}

fn parameters(body: &str, tool: &ToolSpec) -> Option<Value> {
    let mut arguments = Map::new();
    for part in body.split("<parameter=").skip(1) {
        let (key, value) = part.split_once('>')?;
        let value = value.split("</parameter>").next()?.trim();
        let is_text = tool.parameters["properties"][key]["type"] == "string";
        let read = if is_text { None } else { tolerant::value(value).filter(|(_, length)| *length == value.len()) };
        arguments.insert(key.to_owned(), read.map_or_else(|| Value::String(value.to_owned()), |(value, _)| value));
    }
    Some(arguments.into())
}

/// `[name(key="value"), other(key=3)]`
fn pythonic(text: &str, tools: &[ToolSpec]) -> Option<Vec<ToolCall>> {
    let mut rest = text.strip_prefix('[')?.strip_suffix(']')?;
    let mut calls = Vec::new();
    loop {
        rest = rest.trim_start_matches(|sign: char| sign.is_whitespace() || sign == ',');
        if rest.is_empty() {
            return Some(calls);
        }
        let (name, after) = rest.split_once('(')?;
        let name = names::restored(name, tools)?;
        // The same as an object, with other brackets.
        let end = closing(after)?;
        let (arguments, _) = tolerant::value(&format!("{{{}}}", &after[..end]))?;
        calls.push(made(name, arguments));
        rest = &after[end + 1..];
    }
}

/// Where the bracket closes that was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0_usize);
    for (at, sign) in text.char_indices() {
        match (quote, sign) {
            (Some(open), sign) if sign == open => quote = None,
            (None, '"' | '\'') => quote = Some(sign),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')') if depth == 0 => return Some(at),
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (Some(_) | None, _) => {}
        }
    }
    None
}

/// `name[ARGS]{…}`, `name` and `Action Input: {…}`, `function<｜tool▁sep｜>name` and a fence: a name, and an object after it.
fn by_name(text: &str, dress: Dress, tools: &[ToolSpec]) -> Option<Vec<ToolCall>> {
    if !dress.is_meant() {
        return None;
    }
    if text.contains(DEEPSEEK) {
        return deepseek(text, tools);
    }
    let mut calls = Vec::new();
    let mut rest = text;
    while !rest.trim().is_empty() && calls.len() < MOST_CALLS {
        let is_name = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | '-' | '.');
        let start = rest.find(is_name)?;
        let length = rest[start..].find(|sign| !is_name(sign)).unwrap_or(rest.len() - start);
        let (word, after) = (&rest[start..start + length], &rest[start + length..]);
        let name = names::restored(word, tools)?;
        let mut inside = after.trim_start();
        while let Some(shorter) = BETWEEN.iter().find_map(|between| inside.strip_prefix(between)) {
            inside = shorter.trim_start();
        }
        if !inside.starts_with('{') {
            return None;
        }
        let (arguments, length) = tolerant::value(inside)?;
        calls.push(made(name, arguments));
        rest = inside[length..].trim_start_matches(['`', '\n', ' ', ',', ';']);
        for ornament in ORNAMENTS {
            rest = rest.strip_prefix(ornament).unwrap_or(rest);
        }
    }
    Some(calls)
}

/// `function<｜tool▁sep｜>name` and a fence (V3, R1), or `name<｜tool▁sep｜>{…}` (V3.1).
fn deepseek(text: &str, tools: &[ToolSpec]) -> Option<Vec<ToolCall>> {
    let parts: Vec<&str> = text.split(DEEPSEEK).take(MOST_CALLS).collect();
    let calls = parts.windows(2).map(|pair| {
        let (before, after) = (pair[0].rsplit(['>', '\n']).next()?, pair[1]);
        let start = after.find('{')?;
        let name = if start == 0 { before } else { after[..start].lines().next()? };
        Some(made(names::restored(name, tools)?, tolerant::value(&after[start..])?.0))
    });
    calls.collect()
}
