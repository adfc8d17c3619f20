//! Embeddings over `/api/embed`.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use ollama_rs::generation::{
    embeddings::{GenerateEmbeddingsResponse, request::GenerateEmbeddingsRequest},
    parameters::{KeepAlive, TimeUnit},
};

use super::{Server, show::Kept};
use crate::models::{
    chat::ModelError,
    embedding::{EmbeddingModel, normalise},
    tokens,
};

/// Passages sent in one request.
const BATCH: usize = 32;
/// Most embedding models are trained on passages no longer than this; Ollama cuts what is over.
const MAX_TOKENS: usize = 2048;
/// Read when the server has not said how much the model reads.
const CAUTIOUS_TOKENS: usize = 512;

/// An embedding model of an Ollama server.
#[derive(Debug, Clone)]
pub struct OllamaEmbedding {
    server: Server,
    model: String,
    known: Arc<Known>,
}

#[derive(Debug, Default)]
struct Known {
    dimensions: OnceLock<usize>,
    max_tokens: OnceLock<usize>,
    kept: Kept,
}

impl OllamaEmbedding {
    /// The model `model` of `server`. Nothing is asked of it yet.
    pub fn new(server: Server, model: impl Into<String>) -> Self {
        Self { server, model: model.into(), known: Arc::default() }
    }

    /// Asks the server for the length of the vectors and for how much the model reads, once.
    ///
    /// # Errors
    /// When the server does not answer or has no such model; embedding asks again.
    pub async fn ask(&self) -> Result<(), ModelError> {
        let shown = self.known.kept.show(&self.server, &self.model).await?;
        let reads = usize::try_from(shown.context_length).unwrap_or(MAX_TOKENS).min(MAX_TOKENS);
        let _ = self.known.max_tokens.set(reads);
        if let Some(length) = shown.embedding_length {
            let _ = self.known.dimensions.set(length);
        }
        Ok(())
    }

    /// nomic-embed-text was trained with these words in front, and Ollama does not put them there.
    fn prefixed(&self, kind: &str, text: &str) -> String {
        if self.model.starts_with("nomic-embed-text") { format!("{kind}: {text}") } else { text.to_owned() }
    }

    async fn vectors(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, ModelError> {
        let wanted = texts.len();
        let request = GenerateEmbeddingsRequest::new(self.model.clone(), texts.into())
            .keep_alive(KeepAlive::Until { time: self.server.keep_alive_minutes, unit: TimeUnit::Minutes });
        let limit = self.server.load_timeout;
        let answered: GenerateEmbeddingsResponse =
            self.server.call("embedding", "api/embed", &request, &self.model, limit).await?;
        let mut vectors = answered.embeddings;
        let length = *self.known.dimensions.get_or_init(|| vectors.first().map_or(0, Vec::len));
        if vectors.len() != wanted || vectors.iter().any(|vector| vector.len() != length || vector.is_empty()) {
            let message = format!(
                "{} gave {} vectors for {wanted} texts, or of another length than before",
                self.model,
                vectors.len()
            );
            return Err(ModelError::Server { message });
        }
        for vector in &mut vectors {
            normalise(vector);
        }
        Ok(vectors)
    }
}

#[async_trait]
impl EmbeddingModel for OllamaEmbedding {
    fn name(&self) -> String {
        format!("ollama/{}", self.model)
    }

    /// 0 until the server has answered once: see [`OllamaEmbedding::ask`].
    fn dimensions(&self) -> usize {
        self.known.dimensions.get().copied().unwrap_or(0)
    }

    fn max_tokens(&self) -> usize {
        self.known.max_tokens.get().copied().unwrap_or(CAUTIOUS_TOKENS)
    }

    fn count_tokens(&self, text: &str) -> usize {
        tokens::estimate(text)
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(BATCH) {
            let batch = batch.iter().map(|text| self.prefixed("search_document", text)).collect();
            vectors.extend(self.vectors(batch).await?);
        }
        Ok(vectors)
    }

    async fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError> {
        let mut vectors = self.vectors(vec![self.prefixed("search_query", text)]).await?;
        vectors.pop().ok_or_else(|| ModelError::Server { message: "no vector came back".to_owned() })
    }
}
