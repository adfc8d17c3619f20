//! The trait that every embedding model implements, and the models of the configuration.

mod opened;
mod patience;
mod prefixes;
mod remote;

use async_trait::async_trait;

use super::{chat::ModelError, meter::Price};

pub use opened::EmbeddingModels;
pub(super) use patience::patiently;
pub(super) use prefixes::prefixed;
pub(super) use remote::{Answer, Remote, Vendor};

/// What a text is. Many models want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A passage that is to be found. Nobody waits for it.
    Passage,
    /// A question, for whose answer a person waits.
    Question,
}

/// Vectors, and what they took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counted {
    /// One for each text, of length 1 and in order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that the provider counted; none where it does not say.
    pub tokens: Option<u32>,
}

/// Turns text into vectors that lie close together when the texts mean the same.
#[async_trait]
pub trait EmbeddingModel: Send + Sync + 'static {
    /// `provider/model`, stored beside every vector: `builtin/all-minilm-l6-v2`.
    fn name(&self) -> String;

    /// How many numbers a vector has; 0 while that is not known.
    fn dimensions(&self) -> usize;

    /// How many tokens of a text it reads; the rest is ignored.
    fn max_tokens(&self) -> usize;

    /// Counts the tokens of `text` as this model does, or estimates them from above.
    fn count_tokens(&self, text: &str) -> usize;

    /// Asks the server for what it says about the model, where there is such a question. Embedding does without.
    ///
    /// # Errors
    /// When the server does not answer or has no such model.
    async fn prepare(&self) -> Result<(), ModelError> {
        Ok(())
    }

    /// What its tokens cost.
    fn price(&self) -> Price {
        Price::Free
    }

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

    /// As the two above, with what the provider says that it took: for those who pay for it.
    ///
    /// # Errors
    /// As for [`EmbeddingModel::embed`].
    async fn embed_counted(&self, texts: &[String], input: Input) -> Result<Counted, ModelError> {
        let mut vectors = Vec::with_capacity(texts.len());
        match input {
            Input::Passage => vectors = self.embed(texts).await?,
            Input::Question => {
                for text in texts {
                    vectors.push(self.embed_query(text).await?);
                }
            }
        }
        Ok(Counted { vectors, tokens: None })
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
