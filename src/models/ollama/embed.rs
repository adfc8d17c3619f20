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
    embedding::{EmbeddingModel, Input, normalise, patiently, prefixed},
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
    /// `ollama`, or the name of `[providers.<name>]`.
    provider: String,
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
        Self { server, provider: "ollama".to_owned(), model: model.into(), known: Arc::default() }
    }

    /// The same model, of another server than that of `[models.ollama]`.
    #[must_use]
    pub fn named(self, provider: &str) -> Self {
        Self { provider: provider.to_owned(), ..self }
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

    async fn vectors(&self, texts: &[String], input: Input) -> Result<Vec<Vec<f32>>, ModelError> {
        let texts: Vec<String> = texts.iter().map(|text| prefixed(&self.model, input, text).into_owned()).collect();
        patiently(input, || self.asked(texts.clone())).await
    }

    async fn asked(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, ModelError> {
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
        format!("{}/{}", self.provider, self.model)
    }

    /// 0 until the server has answered once: see [`OllamaEmbedding::ask`].
    fn dimensions(&self) -> usize {
        self.known.dimensions.get().copied().unwrap_or(0)
    }

    async fn prepare(&self) -> Result<(), ModelError> {
        self.ask().await
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
            vectors.extend(self.vectors(batch, Input::Passage).await?);
        }
        Ok(vectors)
    }

    async fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError> {
        let mut vectors = self.vectors(&[text.to_owned()], Input::Question).await?;
        vectors.pop().ok_or_else(|| ModelError::Server { message: "no vector came back".to_owned() })
    }
}
