//! A list of messages, as OpenAI's clients send a conversation, becomes what an agent is asked: the last question, what
//! was said before, what happened since by the program's own tools, and what the agent is told beside its SOUL.

use serde_json::{Value, json};

use super::Problem;
use crate::models::chat::{Message, Speaker, ToolCall};

/// A message, whichever API it came by.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// What the agent is told.
    Instructions(String),
    /// What a person says.
    User(String),
    /// What the agent said, and which of the program's tools it called.
    Assistant(String, Vec<ToolCall>),
    /// What a tool gave back, with the call that it answers.
    Tool(String, String),
}

/// What an agent is asked.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Exchange {
    pub(super) instructions: Option<String>,
    /// Question and answer in turn.
    pub(super) history: Vec<Message>,
    pub(super) question: String,
    /// Calls of the program's tools since the question, and their results.
    pub(super) turns: Vec<Message>,
}

/// Reads a message of `/v1/chat/completions`.
pub(super) fn message(value: &Value) -> Result<Said, Problem> {
    let wrong = |message: &str| Problem::of("messages", message);
    let text = content(value.get("content").unwrap_or(&Value::Null), "messages")?;
    match value["role"].as_str() {
        Some("system" | "developer") => Ok(Said::Instructions(text)),
        Some("user") => Ok(Said::User(text)),
        Some("assistant") => {
            let calls = value.get("tool_calls").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let calls = calls.iter().map(|call| {
                let function = &call["function"];
                called(&call["id"], &function["name"], &function["arguments"])
                    .ok_or_else(|| wrong("a tool call needs an id, and a function with a name"))
            });
            Ok(Said::Assistant(text, calls.collect::<Result<_, _>>()?))
        }
        Some("tool") => {
            let call =
                value["tool_call_id"].as_str().ok_or_else(|| wrong("a tool's message needs its tool_call_id"))?;
            Ok(Said::Tool(call.to_owned(), text))
        }
        Some("function") => Err(wrong("functions became tools: send `tools`, and messages of the role `tool`")),
        _ => Err(wrong("a message needs a role: system, developer, user, assistant or tool")),
    }
}

/// Reads an item of the input of `/v1/responses`. Nothing is said by what a model thought.
pub(super) fn item(value: &Value) -> Result<Option<Said>, Problem> {
    let wrong = |message: &str| Problem::of("input", message);
    match value.get("type").and_then(Value::as_str) {
        None | Some("message") => {
            let text = content(value.get("content").unwrap_or(&Value::Null), "input")?;
            match value["role"].as_str() {
                Some("system" | "developer") => Ok(Some(Said::Instructions(text))),
                Some("user") => Ok(Some(Said::User(text))),
                Some("assistant") => Ok(Some(Said::Assistant(text, Vec::new()))),
                _ => Err(wrong("a message needs a role: system, developer, user or assistant")),
            }
        }
        Some("function_call") => {
            let call = called(&value["call_id"], &value["name"], &value["arguments"]);
            let call = call.ok_or_else(|| wrong("a function call needs a call_id and a name"))?;
            Ok(Some(Said::Assistant(String::new(), vec![call])))
        }
        Some("function_call_output") => {
            let call = value["call_id"].as_str().ok_or_else(|| wrong("a function call's output needs its call_id"))?;
            let output = match &value["output"] {
                parts @ Value::Array(_) => content(parts, "input")?,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Ok(Some(Said::Tool(call.to_owned(), output)))
        }
        Some("reasoning") => Ok(None),
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            let message = format!("items of the type `{}` are not taken here", other.escape_debug());
            Err(Problem { code: Some("unsupported_value"), ..wrong(&message) })
        }
    }
}

/// Puts messages together to what an agent is asked.
pub(super) fn exchange(said: Vec<Said>, param: &'static str) -> Result<Exchange, Problem> {
    let mut exchange = Exchange::default();
    let mut instructions = Vec::new();
    let mut said: Vec<Said> = said
        .into_iter()
        .filter_map(|said| match said {
            Said::Instructions(text) => {
                instructions.push(text);
                None
            }
            other => Some(other),
        })
        .collect();
    let instructions = instructions.join("\n\n");
    exchange.instructions = (!instructions.trim().is_empty()).then_some(instructions);
    let last = said.iter().rposition(|said| matches!(said, Said::User(_)));
    let last = last.ok_or_else(|| Problem::of(param, "there is no message of a user, so nothing is asked"))?;
    let since = said.split_off(last + 1);
    let first = said.iter().rposition(|said| !matches!(said, Said::User(_))).map_or(0, |other| other + 1);
    exchange.question = joined(said.split_off(first));
    exchange.history = history(said);
    exchange.turns = turns(since, param)?;
    Ok(exchange)
}

/// Questions and answers in turn; what the program's tools said meanwhile went into the answers.
fn history(said: Vec<Said>) -> Vec<Message> {
    let mut history: Vec<Message> = Vec::new();
    for said in said {
        let (speaker, text) = match said {
            Said::User(text) => (Speaker::User, text),
            Said::Assistant(text, _) => (Speaker::Assistant, text),
            Said::Instructions(_) | Said::Tool(..) => continue,
        };
        if text.trim().is_empty() {
            continue;
        }
        match history.last_mut() {
            Some(last) if last.speaker == speaker => {
                last.text.push_str("\n\n");
                last.text.push_str(&text);
            }
            None if speaker == Speaker::Assistant => {
                history.extend([Message::new(Speaker::User, "…"), Message::new(speaker, text)]);
            }
            _ => history.push(Message::new(speaker, text)),
        }
    }
    if history.last().is_some_and(|last| last.speaker == Speaker::User) {
        history.push(Message::new(Speaker::Assistant, "…"));
    }
    history
}

/// The calls since the question, each with its result, as providers want it.
fn turns(since: Vec<Said>, param: &'static str) -> Result<Vec<Message>, Problem> {
    let mut turns = Vec::new();
    let mut open: Vec<(String, String)> = Vec::new();
    for said in since {
        match said {
            Said::Assistant(text, calls) if !calls.is_empty() => {
                open.extend(calls.iter().map(|call| (call.id.clone(), call.name.clone())));
                match turns.last_mut() {
                    // Items come one by one, though they were called at once.
                    Some(Message { speaker: Speaker::Assistant, tool_calls, .. }) => tool_calls.extend(calls),
                    _ => turns.push(Message { tool_calls: calls, ..Message::new(Speaker::Assistant, text) }),
                }
            }
            Said::Tool(id, text) => {
                let at = open.iter().position(|(call, _)| *call == id).ok_or_else(|| {
                    Problem::of(param, "a tool's result must follow the message with the call that it answers")
                })?;
                let (id, name) = open.swap_remove(at);
                let result = Message::new(Speaker::Tool, text);
                turns.push(Message { tool_call_id: Some(id), tool_name: Some(name), ..result });
            }
            Said::Assistant(..) => {
                let message =
                    "the last message is the agent's own, so nothing is asked; end with one of a user or a tool";
                return Err(Problem::of(param, message));
            }
            Said::User(_) | Said::Instructions(_) => {}
        }
    }
    if open.is_empty() { Ok(turns) } else { Err(Problem::of(param, "a call of a tool has no result")) }
}

fn joined(said: Vec<Said>) -> String {
    let texts = said.into_iter().filter_map(|said| match said {
        Said::User(text) => Some(text),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n\n")
}

fn called(id: &Value, name: &Value, arguments: &Value) -> Option<ToolCall> {
    let arguments = match arguments {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| json!({})),
        other => other.clone(),
    };
    let arguments = if arguments.is_object() { arguments } else { json!({}) };
    Some(ToolCall { id: id.as_str()?.to_owned(), name: name.as_str()?.to_owned(), arguments })
}

/// The text of a message: a string, or parts that are text.
fn content(value: &Value, param: &'static str) -> Result<String, Problem> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| match part["type"].as_str() {
                Some("text" | "input_text" | "output_text") => Ok(part["text"].as_str().unwrap_or_default()),
                Some("refusal") => Ok(part["refusal"].as_str().unwrap_or_default()),
                _ => Err(Problem::unsupported(param, "agents read text: images, sound and files are not taken here")),
            });
            Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
        _ => Err(Problem::of(param, "`content` must be a string, or a list of parts")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "each is written where it is read")]
    fn read(messages: Value) -> Result<Exchange, Problem> {
        let said = messages.as_array().unwrap().iter().map(message).collect::<Result<Vec<_>, _>>()?;
        exchange(said, "messages")
    }

    #[test]
    fn what_was_said_before_is_told_in_turn_and_the_last_words_are_the_question() {
        let read = read(json!([
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "3"},
            {"role": "assistant", "content": "Three."},
            {"role": "developer", "content": "In English."},
            {"role": "user", "content": "And"},
            {"role": "user", "content": "now?"},
        ]))
        .unwrap();
        assert_eq!(read.instructions.as_deref(), Some("Be brief.\n\nIn English."));
        let history: Vec<_> = read.history.iter().map(|said| (said.speaker, said.text.as_str())).collect();
        let (user, agent) = (Speaker::User, Speaker::Assistant);
        assert_eq!(history, [(user, "…"), (agent, "Hello."), (user, "One\ntwo"), (agent, "Three.")]);
        assert_eq!((read.question.as_str(), read.turns.len()), ("And\n\nnow?", 0));
    }

    #[test]
    fn results_go_with_their_calls_and_neither_may_stand_alone() {
        let call = json!({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]});
        let question = json!({"role": "user", "content": "?"});
        let result = json!({"role": "tool", "tool_call_id": "a", "content": "3"});
        let whole = read(json!([question, call, result])).unwrap();
        assert_eq!(whole.turns[0].tool_calls[0].arguments, json!({"x": 1}));
        assert_eq!(whole.turns[1].tool_name.as_deref(), Some("f"));
        for wrong in [
            json!([question, call]),
            json!([question, result]),
            json!([call, result]),
            json!([question, call, result, result]),
            json!([question, {"role": "assistant", "content": "Yes."}]),
            json!([{"role": "system", "content": "?"}]),
            json!([]),
            json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
            json!([{"role": "user", "content": 3}]),
            json!([{"content": "x"}]),
            json!(["x"]),
        ] {
            assert_eq!(read(wrong.clone()).unwrap_err().param, Some("messages"), "{wrong}");
        }
    }
}
