//! A request as messages have it: instructions apart, the two sides taking turns, results of tools among what the user says.

use serde_json::{Value, json};

use crate::models::{
    chat::{ChatRequest, Message, Speaker},
    names,
    wire::{Endpoint, Remembered, complains_about, schema_in_words},
};

/// `max_tokens` has to be said.
const ANSWER: u32 = 4096;
/// What thinking may take; the least that is allowed is 1024.
const THINKING: u32 = 4096;

pub(super) fn body(endpoint: &Endpoint, request: &ChatRequest, thoughts: &Remembered) -> Value {
    let most = request.max_tokens.unwrap_or(ANSWER);
    let (messages, thoughts_are_whole) = messages(&request.messages, thoughts);
    let mut body = json!({ "model": endpoint.model, "max_tokens": most, "messages": messages, "stream": true });
    let of_system = request.messages.iter().filter(|message| message.speaker == Speaker::System);
    let system: Vec<&str> = of_system.map(|message| message.text.as_str()).filter(|text| !text.is_empty()).collect();
    if !system.is_empty() {
        body["system"] = json!(system.join("\n\n"));
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({ "name": names::on_the_wire(&tool.name), "description": tool.description, "input_schema": tool.parameters })
        });
        body["tools"] = tools.collect();
    }
    if endpoint.capabilities.thinking && thoughts_are_whole {
        // Thinking counts towards `max_tokens`, and allows no temperature.
        body["thinking"] = json!({ "type": "enabled", "budget_tokens": THINKING });
        body["max_tokens"] = json!(most.saturating_add(THINKING));
    } else if let Some(temperature) = request.temperature {
        body["temperature"] = json!(temperature.clamp(0.0, 1.0));
    }
    if let Some(schema) = &request.schema {
        let mut schema = schema.clone();
        close(&mut schema);
        body["output_config"] = json!({ "format": { "type": "json_schema", "schema": schema } });
        if !endpoint.capabilities.structured {
            into_words(&mut body);
        }
    }
    body
}

/// Leaves out the field that the model does not know: older ones have no `output_config`, newer ones no temperature.
pub(super) fn relax(body: &mut Value, words: &str) -> bool {
    let Some(fields) = body.as_object_mut() else { return false };
    for field in ["temperature", "thinking"] {
        if complains_about(words, field) && fields.remove(field).is_some() {
            return true;
        }
    }
    let about_format = ["output_config", "output_format", "structured output", "schema"];
    about_format.iter().any(|word| words.contains(word)) && into_words(body)
}

fn into_words(body: &mut Value) -> bool {
    let Some(config) = body.as_object_mut().and_then(|fields| fields.remove("output_config")) else { return false };
    let words = schema_in_words(&config["format"]["schema"]);
    body["system"] = match body["system"].as_str() {
        Some(system) => json!(format!("{system}\n\n{words}")),
        None => json!(words),
    };
    true
}

/// The conversation; and whether every message with calls has the thoughts that it began with, without which a
/// conversation cannot go on thinking.
fn messages(conversation: &[Message], thoughts: &Remembered) -> (Vec<Value>, bool) {
    let (mut turns, mut whole): (Vec<Value>, bool) = (Vec::new(), true);
    for message in conversation {
        let (role, blocks) = match message.speaker {
            Speaker::System => continue,
            Speaker::User => ("user", vec![text(&message.text)]),
            Speaker::Tool => ("user", vec![Some(result(message))]),
            Speaker::Assistant => ("assistant", assistant(message, thoughts, &mut whole)),
        };
        let blocks: Vec<Value> = blocks.into_iter().flatten().collect();
        if blocks.is_empty() {
            continue;
        }
        match turns.last_mut().filter(|turn| turn["role"] == role).and_then(|turn| turn["content"].as_array_mut()) {
            Some(content) => content.extend(blocks),
            None => turns.push(json!({ "role": role, "content": blocks })),
        }
    }
    // The user begins, always.
    if turns.first().is_none_or(|turn| turn["role"] != "user") {
        turns.insert(
            0,
            json!({ "role": "user", "content": [{ "type": "text", "text": "(The conversation goes on.)" }] }),
        );
    }
    (turns, whole)
}

fn assistant(message: &Message, thoughts: &Remembered, whole: &mut bool) -> Vec<Option<Value>> {
    let mut blocks = Vec::new();
    if let Some(first) = message.tool_calls.first() {
        match thoughts.get(&first.id) {
            Some(Value::Array(kept)) => blocks.extend(kept.into_iter().map(Some)),
            _ => *whole = false,
        }
    }
    blocks.push(text(&message.text));
    blocks.extend(message.tool_calls.iter().map(|call| {
        let input =
            if call.arguments.is_object() { call.arguments.clone() } else { json!({ "arguments": call.arguments }) };
        Some(json!({ "type": "tool_use", "id": id(&call.id), "name": names::on_the_wire(&call.name), "input": input }))
    }));
    blocks
}

/// A text of nothing but blanks is refused.
fn text(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }))
}

fn result(message: &Message) -> Value {
    let call = id(message.tool_call_id.as_deref().unwrap_or_default());
    json!({ "type": "tool_result", "tool_use_id": call, "content": message.text })
}

/// Ids of another provider may have signs that are not allowed here.
fn id(id: &str) -> String {
    let allowed = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-');
    id.chars().map(|sign| if allowed(sign) { sign } else { '_' }).collect()
}

/// Every object has to say that it allows nothing else.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let is_object = object.get("type").is_some_and(|kind| kind == "object");
            if is_object {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}
