//! Gemini's `streamGenerateContent` ("API reference: Generating content", "Function calling", "Thought signatures").

mod answer;
mod embed;
mod request;

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    chat::{Capabilities, ChatModel, ChatRequest, ChatStream, ModelError},
    stream,
    wire::{Endpoint, Remembered, server},
};
use crate::egress::Url;
use answer::Answer;
pub(super) use embed::GeminiVectors;

/// A model behind `models/<model>:streamGenerateContent`.
#[derive(Debug, Clone)]
pub struct Gemini {
    endpoint: Arc<Endpoint>,
    /// What has to go back with a call.
    calls: Arc<Remembered>,
}

impl Gemini {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint: Arc::new(endpoint), calls: Arc::default() }
    }

    fn url(&self) -> Result<Url, ModelError> {
        let mut url = method(&self.endpoint, "streamGenerateContent")?;
        url.set_query(Some("alt=sse"));
        Ok(url)
    }
}

/// The address of a method of the model. The key is in a header: an address ends in logs.
fn method(endpoint: &Endpoint, method: &str) -> Result<Url, ModelError> {
    let mut url = endpoint.base.clone();
    let model = endpoint.model.strip_prefix("models/").unwrap_or(&endpoint.model);
    let mut path = url.path_segments_mut().map_err(|()| server("its address has no path"))?;
    path.pop_if_empty().push("models").push(&format!("{model}:{method}"));
    drop(path);
    Ok(url)
}

#[async_trait]
impl ChatModel for Gemini {
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
        let (about, url) = (endpoint.about(&request), self.url()?);
        let body = request::body(&endpoint, &request, &self.calls);
        let answer = Answer::new(about.clone(), request.tools, Arc::clone(&self.calls));
        Ok(stream::from_block(move |events| async move {
            endpoint.answer(url, body, about, request::relax, answer, events).await
        }))
    }
}
