//! Chat completions as OpenAI has them ("API reference: Chat, Streaming"), and as the many have them who follow it:
//! Groq, Mistral, DeepSeek, OpenRouter, vLLM, LM Studio, llama.cpp. What differs between them is met as it comes: fields
//! that one does not know are left out when it complains, and calls of tools are put together by whatever tells them apart.

mod answer;
mod calls;
mod embed;
mod request;

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    chat::{Capabilities, ChatModel, ChatRequest, ChatStream, ModelError},
    stream,
    wire::{Endpoint, server},
};
use answer::Answer;
pub(super) use embed::OpenAiVectors;

/// A model behind `/chat/completions`.
#[derive(Debug, Clone)]
pub struct OpenAi {
    endpoint: Arc<Endpoint>,
}

impl OpenAi {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint: Arc::new(endpoint) }
    }
}

#[async_trait]
impl ChatModel for OpenAi {
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
        let url = endpoint.base.join("chat/completions").map_err(|error| server(error.to_string()))?;
        let body = request::body(&endpoint, &request);
        let answer = Answer::new(about.clone(), request.tools);
        Ok(stream::from_block(move |events| async move {
            endpoint.answer(url, body, about, request::relax, answer, events).await
        }))
    }
}
