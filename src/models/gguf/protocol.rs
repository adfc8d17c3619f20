//! What the appliance and the engine say to each other: one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::models::chat::{ChatRequest, FinishReason};

/// From the appliance to the engine.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Order {
    /// Answer this.
    Chat { id: u64, request: ChatRequest },
    /// Stop answering that.
    Cancel { id: u64 },
}

/// From the engine to the appliance.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Report {
    /// The model is loaded.
    Ready,
    /// The model cannot be used; the engine ends.
    Unusable { message: String },
    /// It is still reading the prompt: a sign of life.
    Reading { id: u64 },
    /// A piece of the answer as the model wrote it.
    Text { id: u64, text: String },
    /// The answer is complete.
    Done { id: u64, reason: FinishReason, prompt_tokens: u32, completion_tokens: u32 },
    /// There will be no (further) answer.
    Failed { id: u64, failure: Failure },
}

/// Why there is no answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Failure {
    /// The prompt does not fit.
    ContextOverflow { tokens: u32, limit: u32 },
    /// As ordered.
    Cancelled,
    /// Anything else, in a sentence.
    Other { message: String },
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Other { message }
    }
}
