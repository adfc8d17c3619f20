//! Vectors over `batchEmbedContents` ("API reference: Embeddings"). Gemini is told what a text is for, and cuts what is
//! too long by itself; how many tokens it read it does not say.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::models::{
    chat::ModelError,
    embedding::{Answer, Input, Vendor},
    wire::{Endpoint, refusal::About, server},
};

/// A model behind `models/<model>:batchEmbedContents`.
pub(in crate::models) struct GeminiVectors {
    endpoint: Endpoint,
    dimensions: Option<usize>,
    about: About,
}

impl GeminiVectors {
    pub(in crate::models) fn new(endpoint: Endpoint, dimensions: Option<usize>, about: About) -> Self {
        Self { endpoint, dimensions, about }
    }

    /// How many tokens the model reads, and how many numbers its vectors have, where Google has published that.
    pub(in crate::models) fn known(model: &str) -> Option<(usize, usize)> {
        match model.strip_prefix("models/").unwrap_or(model) {
            "gemini-embedding-001" => Some((2048, 3072)),
            "text-embedding-004" => Some((2048, 768)),
            _ => None,
        }
    }
}

#[async_trait]
impl Vendor for GeminiVectors {
    async fn ask(&self, texts: &[String], input: Input) -> Result<Answer, ModelError> {
        let url = super::method(&self.endpoint, "batchEmbedContents")?;
        let task = match input {
            Input::Passage => "RETRIEVAL_DOCUMENT",
            Input::Question => "RETRIEVAL_QUERY",
        };
        let name = self.endpoint.model.strip_prefix("models/").unwrap_or(&self.endpoint.model);
        let request = |text: &String| {
            let mut request = json!({
                "model": format!("models/{name}"),
                "content": { "parts": [{ "text": text }] },
                "taskType": task,
            });
            if let Some(dimensions) = self.dimensions {
                request["outputDimensionality"] = json!(dimensions);
            }
            request
        };
        let mut body = json!({ "requests": texts.iter().map(request).collect::<Vec<_>>() });
        let answer = self.endpoint.whole("embedding", &url, &mut body, &self.about, |_, _| false).await?;
        read(&answer)
    }
}

fn read(answer: &Value) -> Result<Answer, ModelError> {
    #[expect(clippy::cast_possible_truncation, reason = "vectors are kept as halves; a float has more than that")]
    let vector = |embedding: &Value| -> Option<Vec<f32>> {
        embedding["values"].as_array()?.iter().map(|number| number.as_f64().map(|number| number as f32)).collect()
    };
    let vectors = answer["embeddings"].as_array().and_then(|list| list.iter().map(vector).collect());
    let vectors = vectors.ok_or_else(|| server("its answer cannot be understood; does this model make embeddings?"))?;
    Ok(Answer { vectors, tokens: None })
}
