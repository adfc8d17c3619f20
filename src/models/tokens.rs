//! Tokens estimated from above, for models whose tokenizer is somewhere else. The context of a request is
//! sized by this, so it may say too much but not too little.
//!
//! The rates were set by counting with real tokenizers: SentencePiece of Mistral 7B v0.1 (32,000 pieces, as Llama 2 and
//! Phi-3), Tekken of Mistral Nemo (131,072), and Qwen's (151,643): the tests hold what they counted. What no rate can know
//! is learned from what a server counts ([`Correction`]).

use std::sync::atomic::{AtomicU32, Ordering};

use super::chat::ChatRequest;

/// What a template adds to a message, and to a request as a whole.
const PER_MESSAGE: usize = 8;
const PER_REQUEST: usize = 64;

/// Vocabularies of one kind, which cost about the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 100,000 tokens and more: Llama 3, Qwen, Gemma, gpt-oss, newer Mistrals. They know the scripts of the world.
    Wide,
    /// 32,000 to 60,000, and whatever is not known here: Llama 2, Phi, SmolLM. A sign that they do not know costs as many
    /// tokens as it has bytes.
    Narrow,
}

impl Family {
    /// The family of a model by what its file says: `general.architecture`, `tokenizer.ggml.model`, `tokenizer.ggml.pre`.
    pub fn of(architecture: &str, tokenizer: &str, pre: &str) -> Self {
        const NARROW: [&str; 8] = ["", "default", "gpt-2", "smollm", "starcoder", "phi-2", "mpt", "olmo"];
        match tokenizer {
            // Gemma's SentencePiece has 256,000 pieces, everybody else's 32,000.
            "llama" if architecture.starts_with("gemma") => Self::Wide,
            "gpt2" if !NARROW.contains(&pre) => Self::Wide,
            _ => Self::Narrow,
        }
    }

    /// How many tokens `text` has at most, in ordinary writing.
    ///
    /// A word of Latin letters costs a token for each three bytes of its first twelve (six) and each two of the rest; for
    /// each two with accents, and three for four letters with capitals within. Every other sign has a price of its own, and a
    /// blank goes with the word after it.
    pub fn count(self, text: &str) -> usize {
        // In halves of a token.
        let (mut halves, mut blanks) = (0_usize, 0_usize);
        let mut word = Word::default();
        for sign in text.chars() {
            if sign.is_alphabetic() && u32::from(sign) < 0x250 {
                word.push(sign);
                blanks = 0;
                continue;
            }
            halves += 2 * std::mem::take(&mut word).tokens(self);
            if sign == ' ' {
                // Indented code: tokenizers have tokens for some runs of blanks, not for all.
                blanks += 1;
                halves += if blanks % 4 == 0 { 2 } else { 0 };
                continue;
            }
            // Qwen and others give every digit a token of its own, and the blank before a number too.
            halves += if sign.is_ascii_digit() && blanks > 0 { 4 } else { self.halves(sign) };
            blanks = 0;
        }
        halves += 2 * word.tokens(self);
        halves.div_ceil(2)
    }

    fn halves(self, sign: char) -> usize {
        match u32::from(sign) {
            // Latin, Greek and Cyrillic.
            0..0x80 | 0x370..0x530 => 2,
            // Dashes and quotation marks.
            0x2000..0x2070 => 4,
            // Chinese, Japanese, Korean.
            0x2E80..0xA000 | 0xAC00..0xD7B0 => match self {
                Self::Wide => 3,
                Self::Narrow => 4,
            },
            // Arabic, the scripts of India with their marks, Thai, and so on.
            0x530..0x2000 => 3,
            _ if sign.is_alphabetic() => 3,
            _ => 2 * sign.len_utf8(),
        }
    }
}

#[derive(Default)]
struct Word {
    bytes: usize,
    accented: bool,
    capitals_within: bool,
}

impl Word {
    fn push(&mut self, sign: char) {
        self.capitals_within |= self.bytes > 0 && sign.is_uppercase();
        self.accented |= !sign.is_ascii();
        self.bytes += sign.len_utf8();
    }

    fn tokens(&self, family: Family) -> usize {
        if self.capitals_within {
            (self.bytes * 3).div_ceil(4)
        } else if self.accented {
            self.bytes.div_ceil(2)
        } else {
            let first = if family == Family::Wide { 12 } else { 6 };
            self.bytes.min(first).div_ceil(3) + self.bytes.saturating_sub(first).div_ceil(2)
        }
    }
}

/// How many tokens `text` has at most, whatever the model.
pub fn estimate(text: &str) -> usize {
    Family::Narrow.count(text)
}

/// How many tokens `request` has at most, whatever the model, with what a template adds to it.
pub fn of_request(request: &ChatRequest) -> usize {
    of_request_for(request, Family::Narrow)
}

/// How many tokens `request` has at most for a model of this family, with what a template adds to it.
pub fn of_request_for(request: &ChatRequest, family: Family) -> usize {
    let messages = request.messages.iter().map(|message| {
        let calls =
            message.tool_calls.iter().map(|call| family.count(&call.name) + family.count(&call.arguments.to_string()));
        PER_MESSAGE + family.count(&message.text) + calls.sum::<usize>()
    });
    let tools = request.tools.iter().map(|tool| {
        PER_MESSAGE
            + family.count(&tool.name)
            + family.count(&tool.description)
            + family.count(&tool.parameters.to_string())
    });
    PER_REQUEST + messages.sum::<usize>() + tools.sum::<usize>()
}

/// By how much a model counts more than was estimated, learned from its own counts. It only grows: servers that keep a
/// prompt in their cache have counted the rest of it alone, and a count that is too low must teach nothing.
#[derive(Debug)]
pub struct Correction(AtomicU32);

/// In thousandths: what nothing is corrected by, what a count is rounded up by, and the most that is believed.
const NONE: u32 = 1000;
const ROOM: u64 = 1050;
const MOST: u32 = 3000;

impl Default for Correction {
    fn default() -> Self {
        Self(AtomicU32::new(NONE))
    }
}

impl Correction {
    /// An estimate, corrected.
    pub fn apply(&self, estimated: usize) -> usize {
        let factor = usize::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(1000);
        estimated.saturating_mul(factor).div_ceil(1000)
    }

    /// What was estimated (uncorrected) came to so many tokens.
    pub fn learn(&self, estimated: usize, counted: u32) {
        let estimated = u64::try_from(estimated).unwrap_or(u64::MAX).max(1);
        let factor = (u64::from(counted) * ROOM).div_ceil(estimated);
        let factor = u32::try_from(factor).unwrap_or(MOST).min(MOST);
        if u64::from(counted) > estimated {
            self.0.fetch_max(factor, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{embedding::EmbeddingModel, minilm::MiniLm};

    /// Texts, and what SentencePiece (32,000), Tekken and Qwen's tokenizer count.
    const COUNTED: [(&str, usize, usize, usize); 11] = [
        (
            "Employees are entitled to sixteen weeks of parental leave, which may be taken in two parts. The request must be made in writing at least eight weeks beforehand, and the manager answers within five working days.",
            44,
            40,
            40,
        ),
        (
            "Die Donaudampfschifffahrtsgesellschaft verpflichtet sich, Überstunden grundsätzlich durch Freizeitausgleich abzugelten; Ausnahmen bedürfen der schriftlichen Zustimmung der Geschäftsführung.",
            61,
            43,
            56,
        ),
        (
            "Työntekijällä on oikeus kuudentoista viikon vanhempainvapaaseen, joka voidaan pitää kahdessa jaksossa ilmoitusaikoja noudattaen.",
            54,
            43,
            50,
        ),
        (
            "员工有权享受十六周的育儿假，可以分两次休假。申请必须至少提前八周以书面形式提出，经理在五个工作日内答复。",
            53,
            46,
            32,
        ),
        (
            "従業員は十六週間の育児休暇を取得する権利があり、二回に分けて取得できます。こんにちは世界。カタカナもあります。",
            66,
            43,
            39,
        ),
        ("직원은 16주의 육아휴직을 사용할 권리가 있으며 두 번에 나누어 사용할 수 있습니다.", 52, 25, 29),
        (
            "Сотрудники имеют право на шестнадцать недель отпуска по уходу за ребёнком, который можно взять двумя частями.",
            41,
            32,
            35,
        ),
        ("يحق للموظفين الحصول على إجازة والدية مدتها ستة عشر أسبوعاً يمكن أخذها على جزأين.", 77, 26, 30),
        ("कर्मचारियों को सोलह सप्ताह की पैतृक छुट्टी का अधिकार है जिसे दो भागों में लिया जा सकता है।", 95, 32, 84),
        (
            "1234567890 3.14159 2026-11-22 22:41:07 +49 30 1234567 IBAN DE89370400440532013000 0xdeadbeef 550e8400-e29b-41d4-a716-446655440000",
            120,
            116,
            116,
        ),
        ("THE EMPLOYEE HANDBOOK SHALL BE INTERPRETED ACCORDINGLY NOTWITHSTANDING ANYTHING", 31, 31, 22),
    ];

    #[test]
    fn an_estimate_is_not_below_what_real_tokenizers_count() {
        for (text, narrow, tekken, qwen) in COUNTED {
            let (few, many) = (Family::Wide.count(text), Family::Narrow.count(text));
            assert!(many >= narrow, "{text}: estimated {many}, counted {narrow}");
            assert!(few >= tekken.max(qwen), "{text}: estimated {few}, counted {tekken} and {qwen}");
        }
        let code = "fn main() {\n    let x: HashMap<String, Vec<u8>> = HashMap::new();\n        if (a_b != cD) { return foo(bar, 12345)?; } // 100 %\n\tfor (i, v) in xs.iter().enumerate() {}\n}\n";
        assert!(Family::Narrow.count(code) >= 74 && Family::Wide.count(code) >= 66);
        let model = MiniLm::new();
        for text in ["", "let x = foo(bar, 12345)?; // 100 %", "こんにちは世界", "a b c d e f 1 2 3 ! ? ; — …"]
        {
            let counted = model.count_tokens(text);
            assert!(estimate(text) >= counted, "{text}: estimated {}, counted {counted}", estimate(text));
        }
    }

    #[test]
    fn an_estimate_stays_within_twice_the_count_for_prose() {
        let (prose, narrow, _, _) = COUNTED[0];
        assert!(estimate(prose) <= 2 * narrow, "estimated {}, counted {narrow}", estimate(prose));
        assert!(estimate(prose) <= 2 * MiniLm::new().count_tokens(prose));
    }

    #[test]
    fn a_family_is_told_by_what_the_models_file_says() {
        for (architecture, tokenizer, pre, family) in [
            ("llama", "gpt2", "llama-bpe", Family::Wide),
            ("qwen2", "gpt2", "qwen2", Family::Wide),
            ("llama", "gpt2", "tekken", Family::Wide),
            ("gptoss", "gpt2", "gpt-4o", Family::Wide),
            ("gemma3", "llama", "default", Family::Wide),
            ("llama", "llama", "", Family::Narrow),
            ("phi3", "llama", "default", Family::Narrow),
            ("llama", "gpt2", "smollm", Family::Narrow),
            ("", "", "", Family::Narrow),
        ] {
            assert_eq!(Family::of(architecture, tokenizer, pre), family, "{architecture} {tokenizer} {pre}");
        }
    }

    #[test]
    fn a_model_that_counts_more_is_believed_within_bounds_and_one_that_counts_less_is_not() {
        let correction = Correction::default();
        correction.learn(1000, 400);
        assert_eq!(correction.apply(1000), 1000, "what lay in a cache was not counted");
        correction.learn(1000, 1200);
        assert_eq!(correction.apply(1000), 1260);
        correction.learn(1000, 1100);
        assert_eq!(correction.apply(1000), 1260, "the most that was seen");
        correction.learn(10, u32::MAX);
        assert_eq!(correction.apply(1000), 3000);
    }
}
