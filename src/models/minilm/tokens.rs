//! Text into the tokens that the network was trained on: BERT's normaliser, its way of cutting words, and
//! WordPiece, from the parts of rten-text. Its ready-made `Tokenizer` holds trait objects that cannot go from
//! one thread to another, and passages are counted on other threads than they are embedded on.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rten_text::{
    models::{Model, WordPiece},
    normalizers::{self, Normalizer},
    pre_tokenizers::{self, PreTokenizer},
};
use serde::Deserialize;

use super::Failure;
use crate::models::tokens::estimate;

/// Tokens that the network was trained to read, `[CLS]` and `[SEP]` among them.
pub(super) const MAX_TOKENS: usize = 256;
/// `[CLS]` and `[SEP]`.
pub(super) const SPECIAL_TOKENS: usize = 2;

static VOCABULARY: &str = include_str!(concat!(env!("AEGIS_PACK"), "/tokenizer.json"));

/// The tokenizer: built when it is first needed, forgotten together with the network.
#[derive(Default)]
pub(super) struct Tokens(Mutex<Option<Arc<Tokenizer>>>);

impl Tokens {
    /// How many tokens `text` has, without the two that frame every text.
    pub(super) fn count(&self, text: &str) -> usize {
        match self.tokenizer().and_then(|tokenizer| tokenizer.encode(text)) {
            Ok(tokens) => tokens.len(),
            Err(error) => {
                tracing::warn!(%error, "the tokenizer failed; tokens are estimated");
                estimate(text)
            }
        }
    }

    /// The tokens of `text`, framed and cut to what the network reads.
    pub(super) fn framed(&self, text: &str) -> Result<Vec<i32>, Failure> {
        let tokenizer = self.tokenizer()?;
        let mut tokens = tokenizer.encode(text)?;
        tokens.truncate(MAX_TOKENS - SPECIAL_TOKENS);
        tokens.insert(0, tokenizer.begin);
        tokens.push(tokenizer.end);
        Ok(tokens.into_iter().map(u32::cast_signed).collect())
    }

    /// Gives the memory back; the next text reads the vocabulary again.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn tokenizer(&self) -> Result<Arc<Tokenizer>, Failure> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tokenizer) = &*kept {
            return Ok(Arc::clone(tokenizer));
        }
        let tokenizer = Arc::new(Tokenizer::new()?);
        *kept = Some(Arc::clone(&tokenizer));
        Ok(tokenizer)
    }
}

struct Tokenizer {
    normalizer: normalizers::Bert,
    words: pre_tokenizers::Bert,
    pieces: WordPiece,
    begin: u32,
    end: u32,
}

impl Tokenizer {
    fn new() -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Json {
            model: Vocabulary,
        }
        #[derive(Deserialize)]
        struct Vocabulary {
            vocab: HashMap<String, u32>,
        }
        let Json { model } = serde_json::from_str(VOCABULARY)?;
        let special =
            |token: &str| model.vocab.get(token).copied().ok_or_else(|| format!("the vocabulary has no {token}"));
        Ok(Self {
            normalizer: normalizers::Bert::new(normalizers::BertOptions { lowercase: true, strip_accents: true }),
            words: pre_tokenizers::Bert::new(),
            begin: special("[CLS]")?,
            end: special("[SEP]")?,
            pieces: WordPiece::from_vocab(model.vocab, rten_text::models::WordPieceOptions::default()),
        })
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, Failure> {
        let (normal, _) = self.normalizer.normalize(&cleaned(text))?;
        let mut tokens = Vec::new();
        for word in self.words.pre_tokenize(&normal)? {
            self.pieces.encode_with_offsets(word, &mut |_, token| tokens.push(token))?;
        }
        Ok(tokens)
    }
}

/// What rten-text's normaliser leaves out of BERT's: control characters go, and each Chinese character is a word.
fn cleaned(text: &str) -> Cow<'_, str> {
    let dropped = |sign: char| (sign.is_control() && !sign.is_whitespace()) || sign == '\u{fffd}';
    let alone = |sign: char| matches!(sign, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}');
    if !text.chars().any(|sign| dropped(sign) || alone(sign)) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for sign in text.chars().filter(|&sign| !dropped(sign)) {
        if alone(sign) {
            clean.extend([' ', sign, ' ']);
        } else {
            clean.push(sign);
        }
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_the_reference_tokenizer() {
        // What Hugging Face's `tokenizers` 0.23.3 gives with the same tokenizer.json.
        let expected: [(&str, &[i32]); 5] = [
            (
                "The quick brown fox jumps over the lazy dog.",
                &[101, 1996, 4248, 2829, 4419, 14523, 2058, 1996, 13971, 3899, 1012, 102],
            ),
            (
                "Élan vital, naïve café — 100 % of it!",
                &[101, 3449, 2319, 8995, 1010, 15743, 7668, 1517, 2531, 1003, 1997, 2009, 999, 102],
            ),
            ("人工 intelligence\u{7} ok", &[101, 1756, 100, 4454, 7929, 102]),
            (
                "tokenization's un-believable (x=1)",
                &[101, 19204, 3989, 1005, 1055, 4895, 1011, 19337, 2666, 12423, 1006, 1060, 1027, 1015, 1007, 102],
            ),
            ("", &[101, 102]),
        ];
        let tokens = Tokens::default();
        for (text, expected) in expected {
            assert_eq!(tokens.framed(text).expect("the tokenizer works"), expected, "{text}");
        }
    }

    #[test]
    fn a_long_text_is_cut_and_still_framed() {
        let tokens = Tokens::default();
        let framed = tokens.framed(&"word ".repeat(1000)).expect("the tokenizer works");
        assert_eq!((framed.len(), framed[0], framed[MAX_TOKENS - 1]), (MAX_TOKENS, 101, 102));
        assert_eq!(tokens.count(&"word ".repeat(1000)), 1000);
    }
}
