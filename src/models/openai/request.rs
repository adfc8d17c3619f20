//! A request as chat completions have it.

use serde_json::{Map, Value, json};

use crate::models::{
    chat::{ChatRequest, Message, Speaker, ToolCall, ToolSpec},
    names,
    wire::{Endpoint, complains_about, schema_in_words},
};

pub(super) fn body(endpoint: &Endpoint, request: &ChatRequest) -> Value {
    let mut body = json!({
        "model": endpoint.model,
        "messages": request.messages.iter().map(message).collect::<Vec<_>>(),
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    if let Some(most) = request.max_tokens {
        // OpenAI's own newer models refuse `max_tokens`, and most of the others know nothing else.
        let openai = endpoint.base.host_str() == Some("api.openai.com");
        body[if openai { "max_completion_tokens" } else { "max_tokens" }] = json!(most);
    }
    if let Some(temperature) = request.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(schema) = &request.schema {
        body["response_format"] = json!({
            "type": "json_schema",
            "json_schema": { "name": "answer", "schema": schema, "strict": fits_strict(schema) },
        });
        if !endpoint.capabilities.structured {
            into_words(&mut body);
        }
    }
    body
}

/// Leaves out or renames the field that the provider complains about.
pub(super) fn relax(body: &mut Value, words: &str) -> bool {
    let Some(fields) = body.as_object_mut() else { return false };
    for (one, other) in [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")] {
        // OpenAI names both: "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        let named = words.find(one).is_some_and(|at| words.find(other).is_none_or(|place| at < place));
        if named && complains_about(words, one) && fields.contains_key(one) {
            let most = fields.remove(one).unwrap_or_default();
            fields.insert(other.to_owned(), most);
            return true;
        }
    }
    for field in ["temperature", "stream_options"] {
        if complains_about(words, field) && fields.remove(field).is_some() {
            return true;
        }
    }
    let about_format = ["response_format", "json_schema", "structured output"].iter().any(|word| words.contains(word));
    about_format && into_words(body)
}

/// The schema as words of the prompt, in place of `response_format`.
fn into_words(body: &mut Value) -> bool {
    let Some(format) = body.as_object_mut().and_then(|fields| fields.remove("response_format")) else { return false };
    if let Some(messages) = body["messages"].as_array_mut() {
        let instruction = json!({ "role": "system", "content": schema_in_words(&format["json_schema"]["schema"]) });
        let after_system = messages.iter().take_while(|message| message["role"] == "system").count();
        messages.insert(after_system, instruction);
    }
    true
}

fn message(message: &Message) -> Value {
    match message.speaker {
        Speaker::System => json!({ "role": "system", "content": message.text }),
        Speaker::User => json!({ "role": "user", "content": message.text }),
        Speaker::Tool => json!({
            "role": "tool",
            "tool_call_id": message.tool_call_id.as_deref().unwrap_or_default(),
            "content": message.text,
        }),
        Speaker::Assistant if message.tool_calls.is_empty() => json!({ "role": "assistant", "content": message.text }),
        Speaker::Assistant => json!({
            "role": "assistant",
            "content": (!message.text.is_empty()).then_some(&message.text),
            "tool_calls": message.tool_calls.iter().map(call).collect::<Vec<_>>(),
        }),
    }
}

fn call(call: &ToolCall) -> Value {
    let arguments = match &call.arguments {
        Value::String(text) => text.clone(),
        arguments => arguments.to_string(),
    };
    json!({
        "id": call.id,
        "type": "function",
        "function": { "name": names::on_the_wire(&call.name), "arguments": arguments },
    })
}

fn tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": names::on_the_wire(&tool.name),
            "description": tool.description,
            "parameters": tool.parameters,
        },
    })
}

/// Whether a schema is of the kind that `strict` wants: every object closed, and all of its fields required.
fn fits_strict(schema: &Value) -> bool {
    let closed = |object: &Map<String, Value>| {
        let required = object.get("required").and_then(Value::as_array).map_or(0, Vec::len);
        let properties = object.get("properties").and_then(Value::as_object).map_or(0, Map::len);
        object.get("additionalProperties") == Some(&Value::Bool(false)) && required == properties
    };
    match schema {
        Value::Object(object) => {
            let is_object =
                object.get("type").is_some_and(|kind| kind == "object") || object.contains_key("properties");
            (!is_object || closed(object)) && object.values().all(fits_strict)
        }
        Value::Array(values) => values.iter().all(fits_strict),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_is_asked_for_only_where_the_schema_allows_it() {
        let closed = json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false });
        assert!(fits_strict(&closed));
        let within = json!({ "type": "object", "properties": { "a": { "type": "object", "properties": { "b": {} } } }, "required": ["a"], "additionalProperties": false });
        assert!(!fits_strict(&within));
        assert!(!fits_strict(&json!({ "type": "object", "properties": {} })));
    }

    #[test]
    fn a_field_that_is_refused_is_left_out_or_renamed_and_nothing_else_is() {
        let mut body = json!({ "messages": [{ "role": "system", "content": "s" }, { "role": "user", "content": "u" }], "max_tokens": 5, "temperature": 0.0, "stream_options": {}, "response_format": { "json_schema": { "schema": { "type": "object" } } } });
        assert!(!relax(&mut body, "messages: field required"));
        assert!(relax(
            &mut body,
            "unsupported parameter: 'max_tokens' is not supported with this model. use 'max_completion_tokens' instead."
        ));
        assert_eq!((body.get("max_tokens"), &body["max_completion_tokens"]), (None, &json!(5)));
        assert!(relax(&mut body, "unsupported value: 'temperature' does not support 0.0 with this model"));
        assert!(relax(&mut body, "stream_options: extra inputs are not permitted"));
        assert!(relax(&mut body, "this response_format type is unavailable now"));
        assert_eq!(
            (body.get("temperature"), body.get("stream_options"), body.get("response_format")),
            (None, None, None)
        );
        assert_eq!((&body["messages"][1]["role"], &body["messages"][2]["role"]), (&json!("system"), &json!("user")));
    }
}
