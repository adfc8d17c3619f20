//! Tokens estimated from above, for models whose tokenizer is somewhere else. The context of a request is
//! sized by this, so it may say too much but not too little.

/// How many tokens `text` has at most, in ordinary writing: a word costs one token for each three bytes of its
/// first twelve and each two of the rest, every other sign one token, and a blank goes with the word after it.
pub fn estimate(text: &str) -> usize {
    let (mut tokens, mut word_bytes, mut blanks) = (0_usize, 0_usize, 0_usize);
    for sign in text.chars() {
        // Qwen and others give every digit a token of its own.
        if sign.is_alphanumeric() && !sign.is_ascii_digit() {
            word_bytes += sign.len_utf8();
            blanks = 0;
            continue;
        }
        tokens += word(word_bytes);
        word_bytes = 0;
        // Indented code: tokenizers have tokens for some runs of blanks, not for all.
        blanks = if sign == ' ' { blanks + 1 } else { 0 };
        tokens += usize::from(sign != ' ' || blanks % 4 == 0);
    }
    tokens + word(word_bytes)
}

fn word(bytes: usize) -> usize {
    bytes.min(12).div_ceil(3) + bytes.saturating_sub(12).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::estimate;
    use crate::models::{embedding::EmbeddingModel, minilm::MiniLm};

    #[test]
    fn an_estimate_is_not_below_what_a_real_tokenizer_counts() {
        let model = MiniLm::new();
        for text in [
            "",
            "The quick brown fox jumps over the lazy dog.",
            "Donaudampfschifffahrtsgesellschaftskapitän sucht Rückfahrkarte",
            "let x = foo(bar, 12345)?; // 100 %",
            "こんにちは世界",
            "a b c d e f 1 2 3 ! ? ; — …",
        ] {
            let counted = model.count_tokens(text);
            assert!(estimate(text) >= counted, "{text}: estimated {}, counted {counted}", estimate(text));
        }
    }

    #[test]
    fn an_estimate_stays_within_twice_the_count_for_prose() {
        let prose = "Employees are entitled to sixteen weeks of parental leave, which may be taken in two parts.";
        let counted = MiniLm::new().count_tokens(prose);
        assert!(estimate(prose) <= 2 * counted, "estimated {}, counted {counted}", estimate(prose));
    }
}
