//! Tools' names and calls' ids on their way to a provider and back. Dots are not allowed everywhere (OpenAI's
//! format forbids them, Ollama passes them on but cuts them for some models), so `knowledge.search` travels
//! as `knowledge_search`.

use serde_json::Value;

use super::chat::ToolSpec;

/// The name as providers see it.
pub(super) fn on_the_wire(name: &str) -> String {
    name.replace('.', "_")
}

/// The offered tool that a model means by `name`; none if it made the name up.
pub(super) fn restored(name: &str, tools: &[ToolSpec]) -> Option<String> {
    let name = name.trim();
    // gpt-oss and others print the namespace of their own format in front.
    let name = name.strip_prefix("functions.").unwrap_or(name);
    tools.iter().find(|tool| tool.name == name || on_the_wire(&tool.name) == name).map(|tool| tool.name.clone())
}

/// Some models give the arguments as a string of JSON.
pub(super) fn arguments(arguments: Value) -> Value {
    match &arguments {
        Value::String(text) => serde_json::from_str(text).unwrap_or(arguments),
        _ => arguments,
    }
}
