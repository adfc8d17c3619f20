//! Vendors' refusals in our words: one place that makes of a status, the headers and a body the class of error by which
//! the router decides. The codes and sentences are those of the vendors' documentation of errors:
//! OpenAI "Error codes", Anthropic "Errors", Gemini "Troubleshooting", Groq "API error codes", vLLM's and LM Studio's sources.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::retry;
use crate::{egress::header::HeaderMap, models::chat::ModelError};

/// The most of a vendor's own words that is shown.
const SHOWN: usize = 300;

const TOO_LONG: [&str; 14] = [
    "context_length_exceeded",
    "request_too_large",
    "maximum context length",
    "prompt is too long",
    "input is too long",
    "input token count",
    // llama.cpp's server, and text-embeddings-inference, of a text to embed.
    "input is too large to process",
    "inputs must have less than",
    "exceeds the maximum number of tokens",
    "exceed context limit",
    "exceeds the context",
    "exceeds the available context",
    "context the overflows",
    "reduce the length of the messages",
];
const REFUSED: [&str; 7] = [
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "content management policy",
    "flagged by moderation",
    "requires moderation",
    "output blocked by content filtering policy",
];
const NO_TOOLS: [&str; 6] = [
    "does not support tools",
    "support tool use",
    "tool calling is not supported",
    "function calling is not enabled",
    "function calling is not supported",
    "--enable-auto-tool-choice",
];
const WRONG_KEY: [&str; 4] = ["api_key_invalid", "api key not valid", "invalid_api_key", "authentication_error"];
const MISSING: [&str; 7] = [
    "model_not_found",
    "model_decommissioned",
    "is not a valid model",
    "does not exist or you do not have access",
    "no such model",
    "model not found",
    "is not found for api version",
];
const OVERLOADED: [&str; 3] = ["overloaded_error", "is overloaded", "engine_overloaded"];

/// What is known about the request that failed.
#[derive(Debug, Clone)]
pub(in crate::models) struct About {
    /// The model, as the provider calls it.
    pub(in crate::models) model: String,
    /// `providers.groq`, for what a person can do.
    pub(in crate::models) setting: String,
    /// Estimated tokens of the prompt.
    pub(in crate::models) tokens: u32,
    /// The model's limit, as the configuration says.
    pub(in crate::models) limit: u32,
    /// What must not be seen, should a vendor repeat it.
    pub(in crate::models) key: Option<Arc<str>>,
}

impl About {
    /// A refusal before the answer began.
    pub(in crate::models) fn refusal(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> ModelError {
        let body: Value =
            serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into());
        self.class(Some(status), retry::after(headers), &body)
    }

    /// A refusal that came where a piece of the answer should have been.
    pub(in crate::models) fn said(&self, body: &Value) -> ModelError {
        self.class(None, None, body)
    }

    fn class(&self, status: Option<u16>, told: Option<Duration>, body: &Value) -> ModelError {
        let error = inner(body);
        let message = self.sentence(error);
        // Codes and kinds stand beside the message, at a place of each vendor's own.
        let says = error.to_string().to_lowercase();
        let any = |parts: &[&str]| parts.iter().any(|part| says.contains(part));
        // Mid-stream there is no status; Gemini, OpenRouter and vLLM give it as the code.
        let status = status.or_else(|| error.get("code")?.as_u64()?.try_into().ok());
        let retry_after = told.or_else(|| retry::in_details(error));
        if any(&TOO_LONG) || (status == Some(413) && error.is_object()) {
            let (tokens, limit) = numbers(&message).unwrap_or((self.tokens, self.limit));
            ModelError::ContextOverflow { tokens, limit }
        } else if any(&REFUSED) {
            ModelError::Refused { reason: message }
        } else if any(&NO_TOOLS) {
            ModelError::NoTools { model: self.model.clone() }
        } else if any(&WRONG_KEY) || matches!(status, Some(401 | 403)) {
            ModelError::Unauthorized
        } else if any(&MISSING) || (status == Some(404) && says.contains("model")) {
            ModelError::ModelMissing { model: self.model.clone(), remedy: "aegis models list".to_owned() }
        } else if any(&["insufficient_quota", "credit balance"]) || status == Some(402) {
            ModelError::Server { message: format!("the account has nothing left: {message}") }
        } else if any(&OVERLOADED) {
            ModelError::Overloaded { retry_after }
        } else {
            self.by_status(status, retry_after, &says, message)
        }
    }

    fn by_status(&self, status: Option<u16>, retry_after: Option<Duration>, says: &str, message: String) -> ModelError {
        match status {
            Some(429) => ModelError::RateLimited { retry_after },
            None if says.contains("rate_limit") || says.contains("resource_exhausted") => {
                ModelError::RateLimited { retry_after }
            }
            Some(503 | 504 | 529) => ModelError::Overloaded { retry_after },
            // What stands before the provider has lost it.
            Some(502 | 520..=527) => ModelError::Network { message },
            Some(404) => {
                let message = format!("there is nothing at its address ({message}); see `{}.url`", self.setting);
                ModelError::Server { message }
            }
            _ => ModelError::Server { message },
        }
    }

    /// The vendor's sentence, or the body as it is, cut; without the key, which some repeat.
    fn sentence(&self, error: &Value) -> String {
        let text = error.as_str().or_else(|| error.get("message")?.as_str()).or_else(|| error.get("detail")?.as_str());
        let text = text.map_or_else(|| error.to_string(), str::to_owned);
        let text = match self.key.as_deref() {
            Some(key) => text.replace(key, "•••"),
            None => text,
        };
        let text = text.trim();
        if text.is_empty() || text == "null" {
            return "it gave no reason".to_owned();
        }
        let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(at, _)| at);
        text[..end].to_owned()
    }
}

/// What is in `{"error": …}`, and in the list that Gemini puts round it.
fn inner(body: &Value) -> &Value {
    let body = body.as_array().and_then(|list| list.first()).unwrap_or(body);
    body.get("error").filter(|error| !error.is_null()).unwrap_or(body)
}

/// "… maximum context length is 8192 tokens. However, your messages resulted in 10000": the larger and the smaller.
fn numbers(message: &str) -> Option<(u32, u32)> {
    let numbers = message.split(|sign: char| !sign.is_ascii_digit() && sign != ',');
    let numbers = numbers.filter_map(|number| number.replace(',', "").parse::<u32>().ok());
    let large: Vec<u32> = numbers.filter(|&number| number >= 512).collect();
    let (tokens, limit) = (large.iter().copied().max()?, large.iter().copied().min()?);
    (tokens > limit).then_some((tokens, limit))
}
