//! Vectors over `/embeddings` ("API reference: Embeddings"). They are asked for as base64, which is a quarter of the
//! bytes of numbers in decimal; servers that do not know it send numbers, and some complain first.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::models::{
    chat::ModelError,
    embedding::{Answer, Input, Vendor},
    wire::{Endpoint, complains_about, count, refusal::About, server},
};

/// A model behind `/embeddings`.
pub(in crate::models) struct OpenAiVectors {
    endpoint: Endpoint,
    /// Asked for where given; newer models of OpenAI's can cut their vectors.
    dimensions: Option<usize>,
    about: About,
    /// The server knows no base64.
    plain: AtomicBool,
}

impl OpenAiVectors {
    pub(in crate::models) fn new(endpoint: Endpoint, dimensions: Option<usize>, about: About) -> Self {
        Self { endpoint, dimensions, about, plain: AtomicBool::new(false) }
    }

    /// How many tokens the model reads, and how many numbers its vectors have, where OpenAI has published that.
    pub(in crate::models) fn known(model: &str) -> Option<(usize, usize)> {
        match model {
            "text-embedding-3-small" | "text-embedding-ada-002" => Some((8191, 1536)),
            "text-embedding-3-large" => Some((8191, 3072)),
            _ => None,
        }
    }
}

#[async_trait]
impl Vendor for OpenAiVectors {
    async fn ask(&self, texts: &[String], _: Input) -> Result<Answer, ModelError> {
        let url = self.endpoint.base.join("embeddings").map_err(|error| server(error.to_string()))?;
        let mut body = json!({ "model": self.endpoint.model, "input": texts });
        if !self.plain.load(Ordering::Relaxed) {
            body["encoding_format"] = json!("base64");
        }
        if let Some(dimensions) = self.dimensions {
            body["dimensions"] = json!(dimensions);
        }
        let answer = self.endpoint.whole("embedding", &url, &mut body, &self.about, relax).await?;
        if body.get("encoding_format").is_none() {
            self.plain.store(true, Ordering::Relaxed);
        }
        read(&answer, texts.len())
    }
}

fn relax(body: &mut Value, words: &str) -> bool {
    let Some(fields) = body.as_object_mut() else { return false };
    let about_base64 = complains_about(words, "encoding_format") || words.contains("base64");
    about_base64 && fields.remove("encoding_format").is_some()
}

/// The vectors, each at the place that its index says.
fn read(answer: &Value, wanted: usize) -> Result<Answer, ModelError> {
    let unclear = || server("its answer cannot be understood; does this server make embeddings?");
    let data = answer["data"].as_array().ok_or_else(unclear)?;
    let mut vectors = vec![Vec::new(); wanted];
    for (place, item) in data.iter().enumerate() {
        let index = item["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(place);
        *vectors.get_mut(index).ok_or_else(unclear)? = numbers(&item["embedding"]).ok_or_else(unclear)?;
    }
    let tokens = answer["usage"].get("prompt_tokens").or_else(|| answer["usage"].get("total_tokens")).map(count);
    Ok(Answer { vectors, tokens: tokens.filter(|&tokens| tokens > 0) })
}

/// A list of numbers, or base64 of their bytes, little-endian.
fn numbers(value: &Value) -> Option<Vec<f32>> {
    #[expect(clippy::cast_possible_truncation, reason = "vectors are kept as halves; a float has more than that")]
    if let Value::Array(list) = value {
        return list.iter().map(|number| number.as_f64().map(|number| number as f32)).collect();
    }
    let bytes = STANDARD.decode(value.as_str()?).ok()?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}
