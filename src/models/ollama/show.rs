//! What a model can do, asked of Ollama's `/api/show` and kept for a few minutes.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ollama_rs::models::ModelInfo;
use serde_json::json;

use super::{Server, context::Reads};
use crate::models::{
    chat::{Capabilities, ModelError},
    tokens::Family,
};

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
    /// Its template knows tools; without, they are described in the prompt.
    pub(super) native_tools: bool,
    /// What its vocabulary is like.
    pub(super) family: Family,
    /// Length of an embedding model's vectors.
    pub(super) embedding_length: Option<usize>,
    /// What the model was trained to read, in tokens.
    pub(super) context_length: u32,
}

impl Shown {
    /// What it can read, and how it counts.
    pub(super) fn reads(&self) -> Reads {
        let Capabilities { context_tokens, thinking, .. } = self.capabilities;
        Reads { limit: context_tokens, thinking, family: self.family }
    }
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
        let text = |key: &str| info.model_info.get(key).and_then(serde_json::Value::as_str).unwrap_or("");
        let architecture = text("general.architecture");
        let context_length = number(&format!("{architecture}.context_length"))
            .and_then(|tokens| u32::try_from(tokens).ok())
            .filter(|&tokens| tokens > 0)
            .unwrap_or(DEFAULT_CONTEXT);
        let small = number("general.parameter_count").is_some_and(|parameters| parameters < SMALL);
        // Servers before 0.6.4 do not list capabilities; they recognise tools by the template, and so do we.
        let has = |capability: &str| info.capabilities.iter().any(|listed| listed == capability);
        let native_tools = if info.capabilities.is_empty() { info.template.contains(".Tools") } else { has("tools") };
        let chats = info.capabilities.is_empty() || has("completion");
        Shown {
            capabilities: Capabilities {
                tools: (native_tools || chats) && !small,
                thinking: has("thinking"),
                context_tokens: context_length.min(self.max_context),
                small,
                structured: true,
            },
            native_tools,
            family: Family::of(architecture, text("tokenizer.ggml.model"), text("tokenizer.ggml.pre")),
            embedding_length: number(&format!("{architecture}.embedding_length"))
                .and_then(|length| usize::try_from(length).ok()),
            context_length,
        }
    }
}
