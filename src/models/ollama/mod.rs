//! Ollama: chat and embedding models of the server in `[models.ollama]`.
//!
//! The requests and answers are ollama-rs's types and, where they do, its calls. Chat is sent by ourselves
//! with these types, because ollama-rs 0.3.6 prints errors that come in mid-stream to standard error and goes
//! on, drops a chunk that ends inside a character, and loses the status of a refusal (`generation/chat/mod.rs`).

mod chat;
mod context;
mod embed;
mod failure;
mod show;

use std::{sync::Arc, time::Duration};

use ollama_rs::error::OllamaError;

use crate::{
    config,
    egress::{self, Egress, Failure, Outbound, Url},
    models::chat::ModelError,
    support::Result,
};

pub use chat::OllamaChat;
pub use embed::OllamaEmbedding;

/// How long the server keeps a model in memory after an answer.
const KEEP_ALIVE_MINUTES: u64 = 30;

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

    /// Does `call` with ollama-rs over the guarded client, within `limit`. ollama-rs keeps the size of an answer and the
    /// status of a refusal to itself, so that they are missing from the log.
    async fn library<Answer, Calling>(
        &self,
        purpose: &'static str,
        model: &str,
        limit: Duration,
        call: impl FnOnce(ollama_rs::Ollama) -> Calling,
    ) -> Result<Answer, ModelError>
    where
        Calling: Future<Output = Result<Answer, OllamaError>> + Send,
    {
        let mut outbound = self.outbound(purpose)?;
        let library =
            ollama_rs::Ollama::builder().url(Url::clone(&self.base)).reqwest_client(outbound.client()).build();
        match tokio::time::timeout(limit, call(library)).await {
            Ok(Ok(answer)) => {
                outbound.answered(Some(200));
                Ok(answer)
            }
            Ok(Err(OllamaError::ReqwestError(error))) => Err(self.unanswered(&mut outbound, error, limit)),
            Ok(Err(error)) => {
                outbound.answered(None);
                Err(failure::library_failure(model, error))
            }
            Err(_) => {
                outbound.failed(&Failure::TimedOut);
                Err(ModelError::TimedOut { after: limit })
            }
        }
    }

    fn url(&self, path: &str) -> Result<Url, ModelError> {
        self.base.join(path).map_err(|error| ModelError::Server { message: error.to_string() })
    }
}
