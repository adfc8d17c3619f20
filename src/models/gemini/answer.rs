//! The chunks of an answer: each a `GenerateContentResponse`, the last with a finish reason.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::{
    models::{
        chat::{ChatEvent, Finish, FinishReason, ModelError, ToolCall, ToolSpec},
        names,
        wire::{Reader, Remembered, Step, count, parsed, refusal::About, server},
    },
    support::ids::CallId,
};

/// Finish reasons by which the vendor's policy ends an answer.
const REFUSALS: [&str; 8] = [
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "LANGUAGE",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
];
/// The most calls in one answer.
const MOST_CALLS: usize = 128;

/// An answer on its way.
pub(super) struct Answer {
    about: About,
    tools: Vec<ToolSpec>,
    remembered: Arc<Remembered>,
    calls: usize,
    reason: Option<String>,
    blocked: Option<String>,
    prompt_tokens: u32,
    completion_tokens: u32,
    said: bool,
}

impl Answer {
    pub(super) fn new(about: About, tools: Vec<ToolSpec>, remembered: Arc<Remembered>) -> Self {
        Self {
            about,
            tools,
            remembered,
            calls: 0,
            reason: None,
            blocked: None,
            prompt_tokens: 0,
            completion_tokens: 0,
            said: false,
        }
    }

    fn part(&mut self, part: &Value, events: &mut Vec<ChatEvent>) -> Result<(), ModelError> {
        if let Some(text) = part["text"].as_str().filter(|text| !text.is_empty()) {
            if part["thought"] == true {
                events.push(ChatEvent::Thinking(text.to_owned()));
            } else {
                self.said = true;
                events.push(ChatEvent::Text(text.to_owned()));
            }
        }
        let function = &part["functionCall"];
        let Some(name) = function["name"].as_str() else { return Ok(()) };
        self.calls += 1;
        if self.calls > MOST_CALLS {
            return Err(server("it calls too many tools at once"));
        }
        // A call comes whole, often without an id.
        let given = function["id"].as_str().filter(|id| !id.is_empty());
        let id = given.map_or_else(|| CallId::generate().to_string(), str::to_owned);
        self.remembered.put(&id, json!({ "given": given.is_some(), "signature": part["thoughtSignature"] }));
        let name = names::restored(name, &self.tools).unwrap_or_else(|| name.to_owned());
        let arguments = if function["args"].is_null() { Map::new().into() } else { function["args"].clone() };
        events.push(ChatEvent::ToolCall(ToolCall { id, name, arguments: names::arguments(arguments) }));
        Ok(())
    }

    fn count(&mut self, usage: &Value) {
        if usage.is_object() {
            // Each chunk counts everything up to it.
            let sum = |one: &str, other: &str| count(&usage[one]).saturating_add(count(&usage[other]));
            self.prompt_tokens = self.prompt_tokens.max(sum("promptTokenCount", "toolUsePromptTokenCount"));
            self.completion_tokens = self.completion_tokens.max(sum("candidatesTokenCount", "thoughtsTokenCount"));
        }
    }
}

impl Reader for Answer {
    fn take(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<Step, ModelError> {
        if data.trim_ascii().is_empty() {
            return Ok(Step::More);
        }
        let chunk = parsed(data)?;
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(self.about.said(&chunk));
        }
        self.count(&chunk["usageMetadata"]);
        if let Some(reason) = chunk["promptFeedback"]["blockReason"].as_str() {
            self.blocked = Some(reason.to_owned());
        }
        if let Some(candidate) = chunk["candidates"].as_array().and_then(|candidates| candidates.first()) {
            for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
                self.part(part, events)?;
            }
            if let Some(reason) = candidate["finishReason"].as_str() {
                self.reason = Some(reason.to_owned());
            }
        }
        Ok(if self.reason.is_some() || self.blocked.is_some() { Step::Complete } else { Step::More })
    }

    fn finish(&mut self, _: &mut Vec<ChatEvent>) -> Result<Finish, ModelError> {
        let reason = self.reason.as_deref().unwrap_or_default();
        let refused = self.blocked.as_deref().or_else(|| REFUSALS.contains(&reason).then_some(reason));
        let nothing = !self.said && self.calls == 0;
        let reason = match (refused, reason) {
            (Some(why), _) if nothing => {
                return Err(ModelError::Refused { reason: format!("its policy stopped the answer: {why}") });
            }
            (Some(_), _) => FinishReason::Refused,
            (None, "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "OTHER") if nothing => {
                return Err(server(format!("it broke the answer off: {reason}")));
            }
            (None, _) if self.calls > 0 => FinishReason::ToolCalls,
            (None, "MAX_TOKENS") => FinishReason::Length,
            (None, _) => FinishReason::Stop,
        };
        Ok(Finish { reason, prompt_tokens: self.prompt_tokens, completion_tokens: self.completion_tokens })
    }
}
