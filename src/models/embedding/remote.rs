//! What the embedding models of clouds, and of servers that speak like them, have in common: texts go in batches, each
//! cut to what the model reads; whoever has too much to do is asked again; what comes back is looked at before it is used.

use std::sync::OnceLock;

use async_trait::async_trait;

use super::{Counted, EmbeddingModel, Input, normalise, patiently, prefixed};
use crate::models::{chat::ModelError, meter::Price, tokens, wire::server};

/// Texts in one request: all vendors take as many, and a lost answer costs little.
const BATCH: usize = 32;
/// A text is cut no shorter than this, however much a server complains.
const LEAST_TOKENS: usize = 64;

/// One request and its answer, as a vendor has them.
#[async_trait]
pub(in crate::models) trait Vendor: Send + Sync + 'static {
    /// Asks for one vector for each text, once.
    async fn ask(&self, texts: &[String], input: Input) -> Result<Answer, ModelError>;
}

/// What a vendor answered.
#[derive(Debug)]
pub(in crate::models) struct Answer {
    pub(in crate::models) vectors: Vec<Vec<f32>>,
    pub(in crate::models) tokens: Option<u32>,
}

/// An embedding model behind a vendor's format.
pub(in crate::models) struct Remote<V> {
    pub(in crate::models) vendor: V,
    /// `openai/text-embedding-3-large@1024`
    pub(in crate::models) name: String,
    /// `text-embedding-3-large`
    pub(in crate::models) model: String,
    pub(in crate::models) max_tokens: usize,
    pub(in crate::models) price: Price,
    /// Known beforehand, or by the first answer.
    pub(in crate::models) dimensions: OnceLock<usize>,
}

impl<V: Vendor> Remote<V> {
    async fn batch(&self, texts: &[String], input: Input) -> Result<Answer, ModelError> {
        let mut limit = self.max_tokens;
        loop {
            let fitted: Vec<String> =
                texts.iter().map(|text| cut(&prefixed(&self.model, input, text), limit).to_owned()).collect();
            match patiently(input, || self.vendor.ask(&fitted, input)).await {
                // It counts otherwise than we estimate, or reads less than the configuration says.
                Err(ModelError::ContextOverflow { .. }) if limit / 2 >= LEAST_TOKENS => limit /= 2,
                answered => return self.checked(answered?, texts.len()),
            }
        }
    }

    fn checked(&self, mut answer: Answer, wanted: usize) -> Result<Answer, ModelError> {
        let length = *self.dimensions.get_or_init(|| answer.vectors.first().map_or(0, Vec::len));
        if answer.vectors.len() != wanted {
            let message = format!("{} gave {} vectors for {wanted} texts", self.name, answer.vectors.len());
            return Err(server(message));
        }
        if let Some(other) = answer.vectors.iter().map(Vec::len).find(|&other| other != length || other == 0) {
            return Err(server(format!("{} gave a vector of {other} numbers in place of {length}", self.name)));
        }
        if answer.vectors.iter().flatten().any(|value| !value.is_finite()) {
            return Err(server(format!("{} gave a vector with numbers that are none", self.name)));
        }
        for vector in &mut answer.vectors {
            normalise(vector);
        }
        Ok(answer)
    }
}

#[async_trait]
impl<V: Vendor> EmbeddingModel for Remote<V> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn dimensions(&self) -> usize {
        self.dimensions.get().copied().unwrap_or(0)
    }

    fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    fn count_tokens(&self, text: &str) -> usize {
        tokens::estimate(text)
    }

    fn price(&self) -> Price {
        self.price
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        Ok(self.embed_counted(texts, Input::Passage).await?.vectors)
    }

    async fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError> {
        let counted = self.embed_counted(std::slice::from_ref(&text.to_owned()), Input::Question).await?;
        counted.vectors.into_iter().next().ok_or_else(|| server("no vector came back"))
    }

    async fn embed_counted(&self, texts: &[String], input: Input) -> Result<Counted, ModelError> {
        let mut counted = Counted { vectors: Vec::with_capacity(texts.len()), tokens: Some(0) };
        for batch in texts.chunks(BATCH) {
            let answer = self.batch(batch, input).await?;
            counted.vectors.extend(answer.vectors);
            counted.tokens = counted.tokens.zip(answer.tokens).map(|(one, other)| one.saturating_add(other));
        }
        Ok(counted)
    }
}

/// The beginning of `text`, as much as has at most `limit` tokens by our estimate, which is from above.
fn cut(text: &str, limit: usize) -> &str {
    // No sign is more tokens than bytes.
    if text.len() <= limit {
        return text;
    }
    let mut kept = text;
    loop {
        let tokens = tokens::estimate(kept);
        if tokens <= limit {
            return kept;
        }
        let bytes = (kept.len() * limit / tokens).min(kept.len() - 1);
        kept = &kept[..kept.floor_char_boundary(bytes)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_no_shorter_than_need_be() {
        assert_eq!(cut("short", 100), "short");
        for text in ["word ".repeat(5000), "日本語のテキスト".repeat(800), "é".repeat(4000)] {
            let kept = cut(&text, 500);
            let tokens = tokens::estimate(kept);
            assert!(tokens <= 500 && tokens > 400, "{tokens} tokens of {}", &text[..12]);
            assert!(text.starts_with(kept));
        }
        assert_eq!(cut("日本", 0), "");
    }
}
