//! `[models.routes.<name>]`: chains of chat models under names of their own, for agents that want other models.

use serde::{Deserialize, Serialize};

use super::Models;

/// The settings of a route, as `config.example.toml` explains them.
pub(super) const SETTINGS: [&str; 5] = ["chain", "context", "refusal", "retries", "longest_wait_seconds"];

/// The route whose chain is `models.chain`.
pub const DEFAULT: &str = "default";

/// `[models.routes.<name>]`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRoute {
    /// Which targets are asked, in order. Never empty in a configuration that was accepted, but for the route `default`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// Which are asked next when a prompt is too long for a target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<String>,
    /// Which are asked next when a provider refuses the content.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusal: Vec<String>,
    /// How often the same target is asked again. Unset: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// The longest pause before that, in seconds; what asks for a longer one is passed by. Unset: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_wait_seconds: Option<u64>,
}

impl Models {
    /// Every target that some route names.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        let routes = self.routes.values();
        let named = routes.flat_map(|route| route.chain.iter().chain(&route.context).chain(&route.refusal));
        self.chain.iter().chain(named).map(String::as_str)
    }

    /// Whether some route asks the server of `[models.ollama]`.
    pub fn ask_ollama(&self) -> bool {
        self.targets().any(|target| target == "ollama" || target.starts_with("ollama/"))
    }
}

impl ModelRoute {
    /// How often the same target is asked again.
    pub fn retries(&self) -> u32 {
        self.retries.unwrap_or(2)
    }

    /// The longest pause before that, in seconds.
    pub fn longest_wait_seconds(&self) -> u64 {
        self.longest_wait_seconds.unwrap_or(10)
    }
}
