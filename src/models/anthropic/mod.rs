//! Anthropic's messages ("API reference: Messages", "Streaming messages").

mod answer;
mod request;

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    chat::{Capabilities, ChatModel, ChatRequest, ChatStream, ModelError},
    stream,
    wire::{Endpoint, Remembered, server},
};
use answer::Answer;

/// A model behind `/messages`.
#[derive(Debug, Clone)]
pub struct Anthropic {
    endpoint: Arc<Endpoint>,
    /// Thinking blocks, by the id of the first call of their message.
    thoughts: Arc<Remembered>,
}

impl Anthropic {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint: Arc::new(endpoint), thoughts: Arc::default() }
    }
}

#[async_trait]
impl ChatModel for Anthropic {
    fn name(&self) -> String {
        self.endpoint.name.clone()
    }

    fn is_local(&self) -> bool {
        self.endpoint.local
    }

    async fn capabilities(&self) -> Result<Capabilities, ModelError> {
        Ok(self.endpoint.capabilities)
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ModelError> {
        let endpoint = Arc::clone(&self.endpoint);
        let about = endpoint.about(&request);
        let url = endpoint.base.join("messages").map_err(|error| server(error.to_string()))?;
        let body = request::body(&endpoint, &request, &self.thoughts);
        let answer = Answer::new(about.clone(), request.tools, Arc::clone(&self.thoughts));
        Ok(stream::from_block(move |events| async move {
            endpoint.answer(url, body, about, request::relax, answer, events).await
        }))
    }
}
