//! The trait that every embedding model implements.

use async_trait::async_trait;

use super::chat::ModelError;

/// Turns text into vectors that lie close together when the texts mean the same.
#[async_trait]
pub trait EmbeddingModel: Send + Sync + 'static {
    /// `provider/model`, stored beside every vector: `builtin/all-minilm-l6-v2`.
    fn name(&self) -> String;

    /// How many numbers a vector has.
    fn dimensions(&self) -> usize;

    /// How many tokens of a text it reads; the rest is ignored.
    fn max_tokens(&self) -> usize;

    /// Counts the tokens of `text` as this model does, or estimates them from above.
    fn count_tokens(&self, text: &str) -> usize;

    /// Embeds passages, one vector for each text, of length 1 and in order.
    ///
    /// # Errors
    /// When the model cannot be loaded or its server fails.
    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError>;

    /// Embeds a question. Models that want a prefix for questions put it here.
    ///
    /// # Errors
    /// As for [`EmbeddingModel::embed`].
    async fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError> {
        let mut vectors = self.embed(std::slice::from_ref(&text.to_owned())).await?;
        vectors.pop().ok_or_else(|| ModelError::Server { message: "no vector came back".to_owned() })
    }
}

/// Makes a vector's length 1, so that the inner product of two is their cosine. Zeros stay zeros.
pub(super) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
}
