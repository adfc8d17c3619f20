//! The events of an answer: `message_start`, the blocks, `message_delta`, `message_stop`.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use crate::models::{
    chat::{ChatEvent, Finish, FinishReason, ModelError, ToolCall, ToolSpec},
    names,
    wire::{Reader, Remembered, Step, count, parsed, refusal::About, server},
};

/// The most blocks in one answer, and the longest of what is kept of one.
const MOST_BLOCKS: usize = 512;
const LONGEST_BLOCK: usize = 1024 * 1024;

/// An answer on its way.
pub(super) struct Answer {
    about: About,
    tools: Vec<ToolSpec>,
    thoughts: Arc<Remembered>,
    /// The blocks that have begun and not ended, by their index.
    open: BTreeMap<u64, Block>,
    blocks: usize,
    /// Thinking blocks that are complete, as they have to be handed back.
    thought: Vec<Value>,
    calls: Vec<ToolCall>,
    reason: Option<String>,
    usage: Usage,
    said: bool,
}

enum Block {
    Text,
    Thinking {
        text: String,
        signature: String,
    },
    /// Thoughts that only the vendor can read.
    Redacted(Value),
    Call {
        id: String,
        name: String,
        whole: Value,
        input: String,
    },
    /// Of a kind that we did not ask for.
    Other,
}

#[derive(Default)]
struct Usage {
    prompt: u32,
    completion: u32,
}

impl Answer {
    pub(super) fn new(about: About, tools: Vec<ToolSpec>, thoughts: Arc<Remembered>) -> Self {
        Self {
            about,
            tools,
            thoughts,
            open: BTreeMap::new(),
            blocks: 0,
            thought: Vec::new(),
            calls: Vec::new(),
            reason: None,
            usage: Usage::default(),
            said: false,
        }
    }

    fn count(&mut self, usage: &Value) {
        // What was read from a cache, or put there, is prompt too, and not in `input_tokens`.
        let prompt = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
        let prompt = prompt.iter().fold(0_u32, |sum, field| sum.saturating_add(count(&usage[*field])));
        self.usage.prompt = self.usage.prompt.max(prompt);
        // Cumulative: the last is all.
        self.usage.completion = self.usage.completion.max(count(&usage["output_tokens"]));
    }

    fn begin(&mut self, event: &Value, events: &mut Vec<ChatEvent>) -> Result<(), ModelError> {
        self.blocks += 1;
        if self.blocks > MOST_BLOCKS {
            return Err(server("the answer has too many parts"));
        }
        let block = &event["content_block"];
        let string = |field: &str| block[field].as_str().unwrap_or_default().to_owned();
        let begun = match block["type"].as_str().unwrap_or_default() {
            "text" => {
                self.say(&string("text"), events);
                Block::Text
            }
            "thinking" => {
                let text = string("thinking");
                think(&text, events);
                Block::Thinking { text, signature: string("signature") }
            }
            "redacted_thinking" => Block::Redacted(block.clone()),
            "tool_use" => Block::Call {
                id: string("id"),
                name: string("name"),
                whole: block["input"].clone(),
                input: String::new(),
            },
            _ => Block::Other,
        };
        self.open.insert(event["index"].as_u64().unwrap_or_default(), begun);
        Ok(())
    }

    fn delta(&mut self, event: &Value, events: &mut Vec<ChatEvent>) -> Result<(), ModelError> {
        let index = event["index"].as_u64().unwrap_or_default();
        let delta = &event["delta"];
        let piece = |field: &str| delta[field].as_str().unwrap_or_default();
        let kept = match self.open.get_mut(&index) {
            Some(Block::Text) => {
                self.say(piece("text"), events);
                0
            }
            Some(Block::Thinking { text, signature }) => {
                think(piece("thinking"), events);
                text.push_str(piece("thinking"));
                signature.push_str(piece("signature"));
                text.len() + signature.len()
            }
            Some(Block::Call { input, .. }) => {
                input.push_str(piece("partial_json"));
                input.len()
            }
            Some(Block::Redacted(_) | Block::Other) | None => 0,
        };
        if kept > LONGEST_BLOCK { Err(server("a part of the answer is too long")) } else { Ok(()) }
    }

    fn end(&mut self, event: &Value, events: &mut Vec<ChatEvent>) {
        match self.open.remove(&event["index"].as_u64().unwrap_or_default()) {
            Some(Block::Thinking { text, signature }) => {
                self.thought.push(json!({ "type": "thinking", "thinking": text, "signature": signature }));
            }
            Some(Block::Redacted(block)) => self.thought.push(block),
            Some(Block::Call { id, name, whole, input }) => {
                let arguments = match serde_json::from_str(input.trim()) {
                    Ok(arguments) => names::arguments(arguments),
                    Err(_) if input.trim().is_empty() => {
                        if whole.is_object() {
                            whole
                        } else {
                            Map::new().into()
                        }
                    }
                    Err(_) => Value::String(input),
                };
                let name = names::restored(&name, &self.tools).unwrap_or(name);
                let call = ToolCall { id, name, arguments };
                self.calls.push(call.clone());
                events.push(ChatEvent::ToolCall(call));
            }
            Some(Block::Text | Block::Other) | None => {}
        }
    }

    fn say(&mut self, text: &str, events: &mut Vec<ChatEvent>) {
        if !text.is_empty() {
            self.said = true;
            events.push(ChatEvent::Text(text.to_owned()));
        }
    }
}

fn think(text: &str, events: &mut Vec<ChatEvent>) {
    if !text.is_empty() {
        events.push(ChatEvent::Thinking(text.to_owned()));
    }
}

impl Reader for Answer {
    fn take(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<Step, ModelError> {
        if data.trim_ascii().is_empty() {
            return Ok(Step::More);
        }
        let event = parsed(data)?;
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => self.count(&event["message"]["usage"]),
            "content_block_start" => self.begin(&event, events)?,
            "content_block_delta" => self.delta(&event, events)?,
            "content_block_stop" => self.end(&event, events),
            "message_delta" => {
                self.count(&event["usage"]);
                if let Some(reason) = event["delta"]["stop_reason"].as_str() {
                    self.reason = Some(reason.to_owned());
                }
            }
            "message_stop" => return Ok(Step::Last),
            "error" => return Err(self.about.said(&event)),
            // `ping`, and what may come in later versions: "your code should handle unknown event types gracefully".
            _ => {}
        }
        Ok(if self.reason.is_some() { Step::Complete } else { Step::More })
    }

    fn finish(&mut self, _: &mut Vec<ChatEvent>) -> Result<Finish, ModelError> {
        if let Some(first) = self.calls.first() {
            self.thoughts.put(&first.id, Value::Array(std::mem::take(&mut self.thought)));
        }
        let reason = match self.reason.as_deref() {
            Some("refusal") if !self.said && self.calls.is_empty() => {
                return Err(ModelError::Refused { reason: "it declined to answer".to_owned() });
            }
            Some("refusal") => FinishReason::Refused,
            _ if !self.calls.is_empty() => FinishReason::ToolCalls,
            Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
            _ => FinishReason::Stop,
        };
        Ok(Finish { reason, prompt_tokens: self.usage.prompt, completion_tokens: self.usage.completion })
    }
}
