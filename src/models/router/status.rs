//! How targets are, for `aegis doctor`, `aegis models list` and the console.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Target;
use crate::models::{
    chat::{Capabilities, ModelError},
    meter::Price,
};

/// How a target is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetStatus {
    /// Its name.
    pub model: String,
    /// Whether it can be asked now.
    pub ok: bool,
    /// What is wrong, in a sentence.
    pub problem: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// What it can do, if that is known.
    pub capabilities: Option<Capabilities>,
    /// What it costs.
    pub price: Price,
    /// For how many seconds more it is left alone after a failure.
    pub cooling_seconds: Option<i64>,
}

impl Target {
    /// Asks its server, whatever the cooldown.
    pub(super) async fn status(&self, now: DateTime<Utc>) -> TargetStatus {
        let (model, price) = (self.model.name(), self.price);
        let cooling = self.cooldown.cooling(now);
        let cooling_seconds = cooling.as_ref().map(|(_, seconds)| *seconds);
        match self.model.capabilities().await {
            Ok(capabilities) => TargetStatus {
                model,
                ok: true,
                problem: cooling.map(|(error, _)| error),
                remedy: None,
                capabilities: Some(capabilities),
                price,
                cooling_seconds,
            },
            Err(error) => TargetStatus {
                model,
                ok: false,
                problem: Some(error.to_string()),
                remedy: remedy(&error),
                capabilities: None,
                price,
                cooling_seconds,
            },
        }
    }
}

/// What a person can do about a failure.
pub fn remedy(error: &ModelError) -> Option<String> {
    match error {
        ModelError::NotRunning { address } => {
            Some(format!("start the model server at {address} (`ollama serve`), or set `models.ollama.url`"))
        }
        ModelError::ModelMissing { remedy, .. } => Some(format!("run `{remedy}`")),
        ModelError::OutOfMemory { .. } => {
            Some("choose a smaller model, lower `models.ollama.max_context`, or add memory".to_owned())
        }
        ModelError::TimedOut { .. } => {
            Some("raise `models.ollama.load_timeout_seconds`, or choose a smaller model".to_owned())
        }
        ModelError::ContextOverflow { .. } => {
            Some("start a new conversation, or raise `max_context` of the model".to_owned())
        }
        ModelError::Unauthorized => Some("check the model server's credentials".to_owned()),
        ModelError::Network { .. } => Some("check the network between the appliance and the model server".to_owned()),
        ModelError::OverBudget { .. } => {
            Some("raise the budget under Usage, or put a local model into the chain: those cost nothing".to_owned())
        }
        ModelError::RateLimited { .. }
        | ModelError::Overloaded { .. }
        | ModelError::Refused { .. }
        | ModelError::NoTools { .. }
        | ModelError::Server { .. }
        | ModelError::Cancelled => None,
    }
}
