//! A request as `generateContent` has it: instructions apart, `user` and `model` taking turns, and with each call what its
//! model gave with it.

use serde_json::{Map, Value, json};

use crate::models::{
    chat::{ChatRequest, Message, Speaker, ToolCall},
    names,
    wire::{Endpoint, Remembered, complains_about, schema_in_words},
};

/// "Thought signatures": what stands for a signature that there is none of, so that a conversation can go on that was
/// begun by another model or before a restart.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

pub(super) fn body(endpoint: &Endpoint, request: &ChatRequest, calls: &Remembered) -> Value {
    let wants_signatures = !["gemini-1", "gemini-2", "gemma"].iter().any(|old| endpoint.model.contains(old));
    let mut body = json!({ "contents": contents(&request.messages, calls, wants_signatures) });
    let of_system = request.messages.iter().filter(|message| message.speaker == Speaker::System);
    let system: Vec<Value> = of_system.map(|message| json!({ "text": message.text })).collect();
    if !system.is_empty() {
        body["systemInstruction"] = json!({ "parts": system });
    }
    if !request.tools.is_empty() {
        let declared = request.tools.iter().map(|tool| {
            json!({ "name": names::on_the_wire(&tool.name), "description": tool.description, "parametersJsonSchema": tool.parameters })
        });
        body["tools"] = json!([{ "functionDeclarations": declared.collect::<Vec<_>>() }]);
    }
    let mut generation = Map::new();
    if let Some(most) = request.max_tokens {
        generation.insert("maxOutputTokens".to_owned(), json!(most));
    }
    if let Some(temperature) = request.temperature {
        generation.insert("temperature".to_owned(), json!(temperature));
    }
    if endpoint.capabilities.thinking {
        generation.insert("thinkingConfig".to_owned(), json!({ "includeThoughts": true }));
    }
    if let Some(schema) = &request.schema {
        generation.insert("responseMimeType".to_owned(), json!("application/json"));
        generation.insert("responseJsonSchema".to_owned(), schema.clone());
    }
    body["generationConfig"] = Value::Object(generation);
    if !endpoint.capabilities.structured {
        into_words(&mut body);
    }
    body
}

/// Leaves out what the model does not know: some do not think, some have no schema, or none beside tools.
pub(super) fn relax(body: &mut Value, words: &str) -> bool {
    let thinks = complains_about(words, "think");
    if thinks
        && body["generationConfig"].as_object_mut().is_some_and(|fields| fields.remove("thinkingConfig").is_some())
    {
        return true;
    }
    let about_format = ["responsejsonschema", "response_json_schema", "response mime type", "schema", "json mode"];
    about_format.iter().any(|word| words.contains(word)) && into_words(body)
}

fn into_words(body: &mut Value) -> bool {
    let Some(generation) = body["generationConfig"].as_object_mut() else { return false };
    let Some(schema) = generation.remove("responseJsonSchema") else { return false };
    generation.remove("responseMimeType");
    let words = json!({ "text": schema_in_words(&schema) });
    match body["systemInstruction"]["parts"].as_array_mut() {
        Some(parts) => parts.push(words),
        None => body["systemInstruction"] = json!({ "parts": [words] }),
    }
    true
}

fn contents(conversation: &[Message], calls: &Remembered, wants_signatures: bool) -> Vec<Value> {
    let mut turns: Vec<Value> = Vec::new();
    for message in conversation {
        let (role, parts) = match message.speaker {
            Speaker::System => continue,
            Speaker::User => ("user", vec![json!({ "text": message.text })]),
            Speaker::Tool => ("user", vec![result(message, calls)]),
            Speaker::Assistant => ("model", model(message, calls, wants_signatures)),
        };
        if parts.is_empty() {
            continue;
        }
        match turns.last_mut().filter(|turn| turn["role"] == role).and_then(|turn| turn["parts"].as_array_mut()) {
            Some(before) => before.extend(parts),
            None => turns.push(json!({ "role": role, "parts": parts })),
        }
    }
    turns
}

fn model(message: &Message, calls: &Remembered, wants_signatures: bool) -> Vec<Value> {
    let mut parts = Vec::new();
    if !message.text.is_empty() {
        parts.push(json!({ "text": message.text }));
    }
    for (place, call) in message.tool_calls.iter().enumerate() {
        parts.push(function_call(call, calls.get(&call.id), wants_signatures && place == 0));
    }
    parts
}

/// Of several calls at once the first alone has a signature.
fn function_call(call: &ToolCall, kept: Option<Value>, needs_signature: bool) -> Value {
    let arguments =
        if call.arguments.is_object() { call.arguments.clone() } else { json!({ "arguments": call.arguments }) };
    let mut part = json!({ "functionCall": { "name": names::on_the_wire(&call.name), "args": arguments } });
    let kept = kept.unwrap_or_default();
    if kept["given"] == true {
        part["functionCall"]["id"] = json!(call.id);
    }
    match kept["signature"].as_str() {
        Some(signature) => part["thoughtSignature"] = json!(signature),
        None if needs_signature => part["thoughtSignature"] = json!(NO_SIGNATURE),
        None => {}
    }
    part
}

fn result(message: &Message, calls: &Remembered) -> Value {
    // The answer of a function is an object.
    let answer: Value = serde_json::from_str(&message.text).unwrap_or_default();
    let answer = if answer.is_object() { answer } else { json!({ "result": message.text }) };
    let name = names::on_the_wire(message.tool_name.as_deref().unwrap_or_default());
    let mut response = json!({ "name": name, "response": answer });
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    if calls.get(id).is_some_and(|kept| kept["given"] == true) {
        response["id"] = json!(id);
    }
    json!({ "functionResponse": response })
}
