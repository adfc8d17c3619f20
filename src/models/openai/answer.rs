//! The chunks of an answer: `chat.completion.chunk`.

use serde_json::Value;

use super::calls::Calls;
use crate::models::{
    chat::{ChatEvent, Finish, FinishReason, ModelError, ToolSpec},
    printed::Sorter,
    tokens,
    wire::{Reader, Step, count, parsed, refusal::About, server},
};

/// An answer on its way.
pub(super) struct Answer {
    about: About,
    tools: Vec<ToolSpec>,
    /// Models of one's own print thoughts and calls as text where their server does not take them apart.
    sorter: Sorter,
    calls: Calls,
    reason: Option<String>,
    /// The model's words in `refusal`, which stands in the place of the text.
    refusal: String,
    usage: Option<(u32, u32)>,
    /// Tokens of what was said, for a server that counts nothing.
    counted: usize,
    /// Whether anything came that a person may have seen.
    said: bool,
}

impl Answer {
    pub(super) fn new(about: About, tools: Vec<ToolSpec>) -> Self {
        let sorter = Sorter::new(&tools);
        Self {
            about,
            tools,
            sorter,
            calls: Calls::default(),
            reason: None,
            refusal: String::new(),
            usage: None,
            counted: 0,
            said: false,
        }
    }

    fn delta(&mut self, delta: &Value, events: &mut Vec<ChatEvent>) -> Result<(), ModelError> {
        // DeepSeek and older vLLM say `reasoning_content`, Groq, OpenRouter and newer vLLM `reasoning`; some say both.
        let thought = ["reasoning_content", "reasoning"].into_iter().find_map(|field| delta[field].as_str());
        if let Some(thought) = thought {
            self.think(thought, events);
        }
        match &delta["content"] {
            Value::String(text) => self.say(text, events),
            // Mistral's thinking models.
            Value::Array(parts) => {
                for part in parts {
                    match part["thinking"].as_array() {
                        Some(thoughts) => {
                            thoughts
                                .iter()
                                .filter_map(|part| part["text"].as_str())
                                .for_each(|text| self.think(text, events));
                        }
                        None => self.say(part["text"].as_str().unwrap_or_default(), events),
                    }
                }
            }
            _ => {}
        }
        self.refusal.push_str(delta["refusal"].as_str().unwrap_or_default());
        for fragment in delta["tool_calls"].as_array().into_iter().flatten() {
            self.counted += tokens::estimate(fragment["function"]["arguments"].as_str().unwrap_or_default());
            self.calls.take(fragment)?;
        }
        Ok(())
    }

    fn think(&mut self, thought: &str, events: &mut Vec<ChatEvent>) {
        if !thought.is_empty() {
            self.counted += tokens::estimate(thought);
            events.push(ChatEvent::Thinking(thought.to_owned()));
        }
    }

    fn say(&mut self, text: &str, events: &mut Vec<ChatEvent>) {
        if !text.is_empty() {
            self.counted += tokens::estimate(text);
            events.extend(self.sorter.push(text));
        }
    }
}

impl Reader for Answer {
    fn take(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<Step, ModelError> {
        if data.trim_ascii() == b"[DONE]" {
            return Ok(Step::Last);
        }
        if data.trim_ascii().is_empty() {
            return Ok(Step::More);
        }
        let chunk = parsed(data)?;
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(self.about.said(&chunk));
        }
        for usage in [&chunk["usage"], &chunk["x_groq"]["usage"]] {
            if usage.is_object() {
                self.usage = Some((count(&usage["prompt_tokens"]), count(&usage["completion_tokens"])));
            }
        }
        // The chunk with the counts has none.
        if let Some(choice) = chunk["choices"].as_array().and_then(|choices| choices.first()) {
            let began = events.len();
            // Some say the whole answer once more in a `message` at the end: it is left out.
            self.delta(&choice["delta"], events)?;
            self.said |= visible(&events[began..]);
            if let Some(reason) = choice["finish_reason"].as_str().filter(|reason| !reason.is_empty()) {
                self.reason = Some(reason.to_owned());
            }
        }
        Ok(if self.reason.is_some() { Step::Complete } else { Step::More })
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<Finish, ModelError> {
        events.extend(self.sorter.finish());
        self.said |= visible(events);
        let reason = self.reason.as_deref().unwrap_or("stop");
        let cut = reason == "length";
        let called = self.calls.finish(&self.tools, cut);
        let has_calls = !called.is_empty() || self.sorter.calls() > 0;
        events.extend(called.into_iter().map(ChatEvent::ToolCall));
        let refused = !self.refusal.is_empty() || reason == "content_filter";
        if refused && !self.said && !has_calls {
            let words = std::mem::take(&mut self.refusal);
            let reason = if words.is_empty() { "its content filter stopped the answer".to_owned() } else { words };
            return Err(ModelError::Refused { reason });
        }
        if reason == "error" {
            return Err(server("it broke the answer off"));
        }
        let reason = match reason {
            _ if refused => FinishReason::Refused,
            _ if has_calls => FinishReason::ToolCalls,
            _ if cut => FinishReason::Length,
            _ => FinishReason::Stop,
        };
        let estimated = || (self.about.tokens, u32::try_from(self.counted).unwrap_or(u32::MAX));
        let (prompt_tokens, completion_tokens) = self.usage.unwrap_or_else(estimated);
        Ok(Finish { reason, prompt_tokens, completion_tokens })
    }
}

fn visible(events: &[ChatEvent]) -> bool {
    events.iter().any(|event| !matches!(event, ChatEvent::Thinking(_)))
}
