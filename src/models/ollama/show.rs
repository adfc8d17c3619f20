//! What a model can do, asked of Ollama's `/api/show` and kept for a few minutes.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ollama_rs::models::ModelInfo;
use serde_json::json;

use super::Server;
use crate::models::chat::{Capabilities, ModelError};

/// How long an answer is believed; a model may be pulled anew.
const KEPT: Duration = Duration::from_mins(3);
/// `/api/show` reads a file: a server that takes longer is in trouble.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Below this many parameters a model is not trusted with tools, and forgets long instructions.
const SMALL: u64 = 1_000_000_000;
/// Assumed where a model does not say how much it reads.
const DEFAULT_CONTEXT: u32 = 4096;

/// What `/api/show` told, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) capabilities: Capabilities,
    /// Length of an embedding model's vectors.
    pub(super) embedding_length: Option<usize>,
    /// What the model was trained to read, in tokens.
    pub(super) context_length: u32,
}

/// The last answer about one model.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<(Instant, Shown)>>);

impl Kept {
    pub(super) async fn show(&self, server: &Server, model: &str) -> Result<Shown, ModelError> {
        let kept = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, shown)) = kept.filter(|(at, _)| at.elapsed() < KEPT) {
            return Ok(shown);
        }
        let shown = server.show(model).await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), shown));
        Ok(shown)
    }

    /// Asks anew next time: the model turned out to be gone.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Server {
    async fn show(&self, model: &str) -> Result<Shown, ModelError> {
        let body = json!({ "model": model });
        let info: ModelInfo = self.call("model details", "api/show", &body, model, TIMEOUT).await?;
        Ok(self.understand(&info))
    }

    fn understand(&self, info: &ModelInfo) -> Shown {
        let number = |key: &str| info.model_info.get(key).and_then(serde_json::Value::as_u64);
        let architecture =
            info.model_info.get("general.architecture").and_then(serde_json::Value::as_str).unwrap_or("");
        let context_length = number(&format!("{architecture}.context_length"))
            .and_then(|tokens| u32::try_from(tokens).ok())
            .filter(|&tokens| tokens > 0)
            .unwrap_or(DEFAULT_CONTEXT);
        let small = number("general.parameter_count").is_some_and(|parameters| parameters < SMALL);
        // Servers before 0.6.4 do not list capabilities; they recognise tools by the template, and so do we.
        let has = |capability: &str| info.capabilities.iter().any(|listed| listed == capability);
        let tools = if info.capabilities.is_empty() { info.template.contains(".Tools") } else { has("tools") };
        Shown {
            capabilities: Capabilities {
                tools: tools && !small,
                thinking: has("thinking"),
                context_tokens: context_length.min(self.max_context),
                small,
                structured: true,
            },
            embedding_length: number(&format!("{architecture}.embedding_length"))
                .and_then(|length| usize::try_from(length).ok()),
            context_length,
        }
    }
}
