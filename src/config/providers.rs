//! `[providers.<name>]`: servers of chat models beside `[models.ollama]`, in a cloud or in one's own network.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Secret;

/// The settings of a provider, as `config.example.toml` explains them.
pub(super) const SETTINGS: [&str; 7] =
    ["kind", "url", "key", "local", "models", "load_timeout_seconds", "idle_timeout_seconds"];

/// Names that a provider cannot have: targets of the chain begin with them.
pub(super) const RESERVED: [&str; 2] = ["ollama", "builtin"];

/// `[providers.<name>]`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// Which format it speaks. Never missing in a configuration that was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ProviderKind>,
    /// Its address, path included: `https://api.groq.com/openai/v1`. Unset: the vendor's own, for the kinds that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What we show it; a server of one's own may want none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// Whether it runs on a machine of one's own, where a call costs nothing. Unset: as its address tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<bool>,
    /// What is known about its models, by their names. A model that is not here can be used too.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, ProviderModel>,
    /// Seconds until an answer must have begun. Unset: 120.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_timeout_seconds: Option<u64>,
    /// Seconds between two pieces of an answer. Unset: 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
}

/// Which format a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// Chat completions as OpenAI has them: OpenAI, Groq, Mistral, OpenRouter, vLLM, LM Studio, llama.cpp.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Gemini's `streamGenerateContent`.
    Gemini,
    /// Another Ollama server than that of `[models.ollama]`.
    Ollama,
}

/// What is known about one model of a provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderModel {
    /// The most tokens that prompt and answer may have together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// The price of a million tokens of the prompt, in the currency of `[budgets]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_price: Option<f64>,
    /// The price of a million tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_price: Option<f64>,
    /// Whether it can call tools. Unset: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// Whether its provider holds an answer to a JSON Schema. Unset: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured: Option<bool>,
    /// Whether it is asked to think aloud. Unset: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<bool>,
}

impl ProviderKind {
    /// The address of the vendor itself, where there is one.
    pub fn vendor(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("https://api.openai.com/v1"),
            Self::Anthropic => Some("https://api.anthropic.com/v1"),
            Self::Gemini => Some("https://generativelanguage.googleapis.com/v1beta"),
            Self::Ollama => None,
        }
    }
}

impl Provider {
    /// Which format it speaks.
    pub fn kind(&self) -> ProviderKind {
        self.kind.unwrap_or(ProviderKind::OpenAi)
    }

    /// Its address; empty where it is missing.
    pub fn url(&self) -> &str {
        self.url.as_deref().or_else(|| self.kind().vendor()).unwrap_or_default()
    }

    /// What is known about `model`.
    pub fn model(&self, model: &str) -> ProviderModel {
        self.models.get(model).copied().unwrap_or_default()
    }
}
