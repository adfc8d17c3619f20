//! Ollama: chat and embedding models of the server in `[models.ollama]`.
//!
//! The requests and answers are ollama-rs's types. They are sent by ourselves, because ollama-rs 0.3.6 reads answers of
//! any size, loses the status of a refusal, and in a chat prints errors that come in mid-stream to standard error
//! and goes on, and drops a chunk that ends inside a character (`generation/chat/mod.rs`).

mod chat;
mod context;
mod embed;
mod failure;
mod show;

use std::{sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    config,
    egress::{self, Egress, Failure, Outbound, Url},
    models::chat::ModelError,
    support::Result,
};

pub use chat::OllamaChat;
pub(super) use context::prompt_tokens;
pub use embed::OllamaEmbedding;
use failure::About;

/// How long the server keeps a model in memory after an answer.
const KEEP_ALIVE_MINUTES: u64 = 30;

/// The largest answer that is read in one piece: embeddings of a batch are a few MiB.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// One Ollama server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    egress: Egress,
    base: Arc<Url>,
    load_timeout: Duration,
    idle_timeout: Duration,
    max_context: u32,
}

impl Server {
    /// The server that the configuration names. Nothing is asked of it yet.
    ///
    /// # Errors
    /// `Invalid` when its address is not a URL.
    pub fn new(config: &config::Ollama, egress: Egress) -> Result<Self> {
        let mut base = egress::parse("models.ollama.url", &config.url)?;
        if !base.path().ends_with('/') {
            // Without it, joining would replace the last part of a path such as /ollama.
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self {
            egress,
            base: Arc::new(base),
            load_timeout: Duration::from_secs(config.load_timeout_seconds),
            idle_timeout: Duration::from_secs(config.idle_timeout_seconds),
            max_context: config.max_context,
        })
    }

    /// Where it is, without credentials.
    pub fn address(&self) -> String {
        egress::origin(&self.base)
    }

    fn outbound(&self, purpose: &'static str) -> Result<Outbound, ModelError> {
        self.egress.client_for(purpose, &self.base).map_err(|error| ModelError::Server { message: error.to_string() })
    }

    /// Asks what is answered in one piece, within `limit`.
    async fn call<Answer: DeserializeOwned>(
        &self,
        purpose: &'static str,
        path: &str,
        body: &(impl Serialize + Sync),
        model: &str,
        limit: Duration,
    ) -> Result<Answer, ModelError> {
        let mut outbound = self.outbound(purpose)?;
        let request = outbound.post(self.url(path)?).json(body);
        let asked = async {
            let response = request.send().await?;
            outbound.answered(Some(response.status().as_u16()));
            let status = response.status();
            let body = egress::read_bounded(response, LARGEST_ANSWER).await?;
            outbound.received(body.len());
            Ok((status, body))
        };
        let asked = tokio::time::timeout(limit, asked).await.unwrap_or(Err(Failure::TimedOut));
        let (status, body) = asked.map_err(|failure| self.unanswered(&mut outbound, failure, limit))?;
        if !status.is_success() {
            let body = String::from_utf8_lossy(&body);
            return Err(failure::refusal(About::model(model), Some(status.as_u16()), None, &body));
        }
        serde_json::from_slice(&body).map_err(|error| {
            tracing::debug!(%error, "Ollama's answer cannot be read");
            ModelError::Server { message: "its answer cannot be understood; is this an Ollama server?".to_owned() }
        })
    }

    fn url(&self, path: &str) -> Result<Url, ModelError> {
        self.base.join(path).map_err(|error| ModelError::Server { message: error.to_string() })
    }
}
