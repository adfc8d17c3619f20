//! The models of a recording: one after the other, under their own names, with the answers that they gave.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{StreamExt, stream};

use super::recording::RecordedCall;
use crate::{
    agents::record::lock,
    models::{
        chat::{Capabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, ModelError},
        router::Router,
    },
};

/// Answers each call as the recording says, or has it answered again by the model that answered it.
pub(super) struct RecordedModel {
    calls: Vec<RecordedCall>,
    /// The models that can be asked again, if they shall be.
    live: Option<Router>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many calls have been answered.
    answered: usize,
    asked: Vec<String>,
}

impl RecordedModel {
    pub(super) fn new(calls: Vec<RecordedCall>, live: Option<Router>) -> Self {
        Self { calls, live, state: Mutex::default() }
    }

    /// The models that were asked again.
    pub(super) fn asked(&self) -> Vec<String> {
        lock(&self.state).asked.clone()
    }

    fn current(&self) -> Option<&RecordedCall> {
        self.calls.get(lock(&self.state).answered)
    }

    fn live(&self, call: &RecordedCall, request: &ChatRequest) -> Option<Arc<dyn ChatModel>> {
        let model = self.live.as_ref()?.model(&call.model)?;
        (model.is_deterministic() && request.temperature == Some(0.0) && call.outcome == "answered").then_some(model)
    }
}

#[async_trait]
impl ChatModel for RecordedModel {
    fn name(&self) -> String {
        self.current().map_or_else(|| "none".to_owned(), |call| call.model.clone())
    }

    async fn capabilities(&self) -> Result<Capabilities, ModelError> {
        let call = self.current().ok_or_else(the_end)?;
        if let Some(capabilities) = call.capabilities {
            return Ok(capabilities);
        }
        lock(&self.state).answered += 1;
        Err(failure(call))
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ModelError> {
        let call = self.current().ok_or_else(the_end)?;
        lock(&self.state).answered += 1;
        if let Some(model) = self.live(call, &request) {
            lock(&self.state).asked.push(call.model.clone());
            return model.chat(request).await;
        }
        let mut events = Vec::new();
        if !call.thinking.is_empty() {
            events.push(Ok(ChatEvent::Thinking(call.thinking.clone())));
        }
        if !call.text.is_empty() {
            events.push(Ok(ChatEvent::Text(call.text.clone())));
        }
        events.extend(call.tool_calls.iter().cloned().map(|call| Ok(ChatEvent::ToolCall(call))));
        events.push(match (&call.finish, call.outcome.as_str()) {
            (Some(finish), "answered") => Ok(ChatEvent::Done(finish.clone())),
            (_, "stopped") => Err(ModelError::Cancelled),
            _ => Err(failure(call)),
        });
        Ok(stream::iter(events).boxed())
    }
}

fn failure(call: &RecordedCall) -> ModelError {
    ModelError::Server { message: call.error.clone().unwrap_or_default() }
}

fn the_end() -> ModelError {
    ModelError::Server { message: "the recording has no further call of a model".to_owned() }
}
