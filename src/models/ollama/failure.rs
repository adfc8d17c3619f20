//! Ollama's refusals in our words. The sentences are those of its source: `server/routes.go`,
//! `server/images.go`, `llm/status.go`; older versions said "model requires more system memory".

use std::time::Duration;

use serde_json::Value;

use super::Server;
use crate::{
    egress::{Failure, Outbound},
    models::chat::ModelError,
};

/// Parts of sentences by which Ollama itself recognises that memory ran out.
const OUT_OF_MEMORY: [&str; 11] = [
    "more system memory",
    "out of memory",
    "out of device memory",
    "cudamalloc failed",
    "hipmalloc failed",
    "failed to allocate",
    "allocation failed",
    "not enough memory",
    "insufficient memory",
    "vk_error_out_of_device_memory",
    "erroroutofmemory",
];

const TOO_LONG: [&str; 4] = [
    "exceeds the context length",
    "exceeds the available context",
    "exceeds maximum context length",
    "longer than the context length",
];

/// The most of the server's own words that is shown.
const SHOWN: usize = 300;

/// What is known about the request that failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) model: &'a str,
    /// Estimated tokens of the prompt, and the context that was asked for.
    pub(super) tokens: u32,
    pub(super) context: u32,
}

impl<'a> About<'a> {
    pub(super) fn model(model: &'a str) -> Self {
        Self { model, tokens: 0, context: 0 }
    }
}

/// A refusal by its status, if there was one, and its body or line.
pub(super) fn refusal(about: About<'_>, status: Option<u16>, retry_after: Option<Duration>, body: &str) -> ModelError {
    let message = sentence(body);
    let says = message.to_lowercase();
    let model = about.model.to_owned();
    let any = |parts: &[&str]| parts.iter().any(|part| says.contains(part));
    if any(&OUT_OF_MEMORY) {
        ModelError::OutOfMemory { model }
    } else if any(&TOO_LONG) {
        ModelError::ContextOverflow { tokens: about.tokens, limit: about.context }
    } else if says.contains("does not support tools") {
        ModelError::NoTools { model }
    } else if says.contains("not found") && says.contains("model") {
        missing(about.model)
    } else {
        match status {
            Some(401 | 403) => ModelError::Unauthorized,
            Some(429) => ModelError::RateLimited { retry_after },
            // "server busy, please try again.  maximum pending requests exceeded": OLLAMA_MAX_QUEUE.
            Some(503) => ModelError::Overloaded { retry_after },
            _ => ModelError::Server { message },
        }
    }
}

/// The model has to be pulled first.
pub(super) fn missing(model: &str) -> ModelError {
    ModelError::ModelMissing { model: model.to_owned(), remedy: format!("ollama pull {model}") }
}

impl Server {
    /// A request that got no answer, or whose answer broke off.
    pub(super) fn unanswered(
        &self,
        outbound: &mut Outbound,
        failure: impl Into<Failure>,
        after: Duration,
    ) -> ModelError {
        let failure = failure.into();
        outbound.failed(&failure);
        match failure {
            Failure::Unreachable(why) => {
                tracing::debug!(address = self.address(), why, "Ollama does not answer");
                ModelError::NotRunning { address: self.address() }
            }
            Failure::TimedOut => ModelError::TimedOut { after },
            Failure::Broken(message) => ModelError::Network { message },
            other => ModelError::Server { message: other.to_string() },
        }
    }
}

/// The server's sentence: `{"error": "…"}`, or the body as it is, cut.
fn sentence(body: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    let error = parsed.as_ref().and_then(|value| value.get("error"));
    let text = error.and_then(|error| error.as_str().or_else(|| error.get("message")?.as_str())).unwrap_or(body).trim();
    if text.is_empty() {
        return "it gave no reason".to_owned();
    }
    let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}
