//! Tools for models that know nothing of tools: they are described in the prompt, called in tags, and what they find is
//! handed back as text. And a call that was meant but cannot be read is asked for once more, held to a JSON Schema.
//!
//! This is for models that are large enough to follow it; small ones get their passages without asking.

use serde_json::{Value, json};

use super::{
    chat::{ChatRequest, Message, Speaker, ToolCall, ToolSpec},
    names,
};

/// How calls are written. The tags are those of Hermes and Qwen, which many models have seen.
const PROTOCOL: &str = "# Tools\n\nYou can use the tools below. To use one, write a call and nothing after it:\n\
    <tool_call>{\"name\": \"the tool\", \"arguments\": {…}}</tool_call>\n\
    Its arguments must fit the tool's JSON Schema. Several calls may follow each other, each in tags of its own. What \
    the tools found is then given to you between <tool_response> and </tool_response>; answer with it, or call again.\n";

/// Room for a call that is written once more.
const AGAIN: u32 = 1024;

/// The same request as text alone: its tools are described, calls and results are written out.
pub(super) fn as_text(request: &ChatRequest) -> ChatRequest {
    let mut messages: Vec<Message> = Vec::new();
    for message in &request.messages {
        let (speaker, text) = match message.speaker {
            Speaker::Assistant if !message.tool_calls.is_empty() => (Speaker::Assistant, with_calls(message)),
            Speaker::Tool => (Speaker::User, result(message)),
            speaker => (speaker, message.text.clone()),
        };
        // Templates want the two sides to take turns.
        match messages.last_mut().filter(|last| last.speaker == speaker && message.speaker == Speaker::Tool) {
            Some(last) => last.text = format!("{}\n{text}", last.text),
            None => messages.push(Message::new(speaker, text)),
        }
    }
    let instructions = format!("{PROTOCOL}\n{}", request.tools.iter().map(described).collect::<Vec<_>>().join("\n"));
    match messages.iter_mut().rev().find(|message| message.speaker == Speaker::System) {
        Some(system) => system.text = format!("{}\n\n{instructions}", system.text),
        None => messages.insert(0, Message::new(Speaker::System, instructions)),
    }
    ChatRequest { messages, tools: Vec::new(), ..request.clone() }
}

fn described(tool: &ToolSpec) -> String {
    let name = names::on_the_wire(&tool.name);
    json!({ "name": name, "description": tool.description, "parameters": tool.parameters }).to_string()
}

fn with_calls(message: &Message) -> String {
    let calls = message.tool_calls.iter().map(|call| {
        let call = json!({ "name": names::on_the_wire(&call.name), "arguments": call.arguments });
        format!("<tool_call>{call}</tool_call>")
    });
    let text = (!message.text.is_empty()).then(|| message.text.clone());
    text.into_iter().chain(calls).collect::<Vec<_>>().join("\n")
}

fn result(message: &Message) -> String {
    format!("<tool_response>\n{}\n</tool_response>", message.text)
}

/// Asks for a call that was written as `broken` once more, as JSON that fits a schema.
pub(super) fn again(request: &ChatRequest, broken: &str) -> ChatRequest {
    let mut messages = as_text(request).messages;
    messages.push(Message::new(Speaker::Assistant, broken));
    messages.push(Message::new(
        Speaker::User,
        "That call of a tool could not be read. Write the same call again as JSON, with the tool's name and its arguments.",
    ));
    let calls: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| {
            json!({
                "type": "object",
                "properties": { "name": { "const": names::on_the_wire(&tool.name) }, "arguments": tool.parameters },
                "required": ["name", "arguments"],
            })
        })
        .collect();
    let schema = if let [only] = calls.as_slice() { only.clone() } else { json!({ "anyOf": calls }) };
    ChatRequest { messages, tools: Vec::new(), max_tokens: Some(AGAIN), temperature: Some(0.0), schema: Some(schema) }
}

/// The call in the answer to [`again`].
pub(super) fn read_again(answer: &str, tools: &[ToolSpec]) -> Option<ToolCall> {
    let answer: Value = serde_json::from_str(answer.trim()).ok()?;
    let name = names::restored(answer["name"].as_str()?, tools)?;
    let arguments = names::arguments(answer.get("arguments")?.clone());
    let id = crate::support::ids::CallId::generate().to_string();
    arguments.is_object().then_some(ToolCall { id, name, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ChatRequest {
        let call =
            ToolCall { id: "a".to_owned(), name: "knowledge.search".to_owned(), arguments: json!({ "query": "x" }) };
        ChatRequest {
            messages: vec![
                Message::new(Speaker::System, "Be brief."),
                Message::new(Speaker::User, "How long?"),
                Message { tool_calls: vec![call.clone(), call], ..Message::new(Speaker::Assistant, "") },
                Message::new(Speaker::Tool, "one"),
                Message::new(Speaker::Tool, "two"),
            ],
            tools: vec![ToolSpec {
                name: "knowledge.search".to_owned(),
                description: "Finds.".to_owned(),
                parameters: json!({ "type": "object" }),
            }],
            ..ChatRequest::default()
        }
    }

    #[test]
    fn tools_calls_and_results_become_text_and_the_sides_take_turns() {
        let text = as_text(&request());
        assert!(text.tools.is_empty() && text.messages.iter().all(|message| message.tool_calls.is_empty()));
        let speakers: Vec<Speaker> = text.messages.iter().map(|message| message.speaker).collect();
        assert_eq!(speakers, [Speaker::System, Speaker::User, Speaker::Assistant, Speaker::User]);
        assert!(
            text.messages[0].text.starts_with("Be brief.")
                && text.messages[0].text.contains("\"name\":\"knowledge_search\"")
        );
        assert_eq!(text.messages[2].text.matches("<tool_call>").count(), 2);
        assert!(text.messages[3].text.contains("one") && text.messages[3].text.contains("two"));
    }

    #[test]
    fn a_call_is_asked_for_again_under_a_schema_and_read() {
        let again = again(&request(), "<tool_call>{\"name\": \"knowl");
        assert_eq!(
            again.schema.map(|schema| schema["properties"]["name"]["const"].clone()),
            Some(json!("knowledge_search"))
        );
        let tools = request().tools;
        let call =
            read_again("{\"name\": \"knowledge_search\", \"arguments\": {\"query\": \"x\"}}", &tools).expect("a call");
        assert_eq!((call.name.as_str(), call.arguments), ("knowledge.search", json!({ "query": "x" })));
        assert!(read_again("{\"name\": \"rm\", \"arguments\": {}}", &tools).is_none());
        assert!(read_again("no", &tools).is_none());
    }
}
