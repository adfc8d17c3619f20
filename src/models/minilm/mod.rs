//! The built-in embedding model: all-MiniLM-L6-v2 as int8, in this binary, run by rten. It needs no server,
//! no file and no network. It is loaded by the first text and dropped when nobody has asked for a while.

mod network;
mod tokens;
mod worker;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{chat::ModelError, embedding::EmbeddingModel};
use network::DIMENSIONS;
use tokens::{MAX_TOKENS, SPECIAL_TOKENS, Tokens};
use worker::{Urgency, Worker};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long the model stays in memory after the last text.
const IDLE: Duration = Duration::from_mins(5);

/// all-MiniLM-L6-v2. Cheap to clone; clones share one model and its threads.
#[derive(Clone)]
pub struct MiniLm {
    tokens: Arc<Tokens>,
    worker: Arc<Worker>,
}

impl MiniLm {
    /// Prepares it; nothing is loaded yet.
    pub fn new() -> Self {
        Self::unloading_after(IDLE)
    }

    /// As [`MiniLm::new`], with another time without texts after which the model leaves memory.
    pub fn unloading_after(idle: Duration) -> Self {
        let tokens = Arc::new(Tokens::default());
        Self { worker: Arc::new(Worker::new(Arc::clone(&tokens), idle)), tokens }
    }

    /// Whether the model is in memory now.
    pub fn is_loaded(&self) -> bool {
        self.worker.is_loaded()
    }
}

impl Default for MiniLm {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl EmbeddingModel for MiniLm {
    fn name(&self) -> String {
        "builtin/all-minilm-l6-v2".to_owned()
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn max_tokens(&self) -> usize {
        MAX_TOKENS - SPECIAL_TOKENS
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokens.count(text)
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        self.worker.embed(texts.to_vec(), Urgency::Passages).await
    }

    async fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError> {
        let mut vectors = self.worker.embed(vec![text.to_owned()], Urgency::Query).await?;
        vectors.pop().ok_or_else(|| ModelError::Server { message: "the embedding model returned nothing".to_owned() })
    }
}
