//! How much context a request needs. Ollama's default of a few thousand tokens cuts longer prompts without a
//! word, so `num_ctx` is always set, and a prompt that cannot fit is refused here.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::models::{
    chat::{ChatRequest, ModelError},
    tokens::{self, Correction, Family},
};

/// The least context that is asked for.
const SMALLEST: u32 = 2048;
/// What an answer may take when the request does not say.
const ANSWER: u32 = 1024;
/// What thinking may take on top.
const THINKING: u32 = 2048;
/// The least room for an answer that is worth asking for.
const LEAST_ANSWER: u32 = 128;

/// The sizes of one request, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The prompt, estimated from above and corrected by what the model has counted so far.
    pub(super) prompt: u32,
    /// The prompt, estimated alone.
    pub(super) estimated: usize,
    /// `num_ctx`
    pub(super) context: u32,
    /// `num_predict`: prompt and answer together stay within the context, so that Ollama never has to drop
    /// the prompt's beginning while it answers.
    pub(super) answer: u32,
}

/// What a model can read, and how it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reads {
    /// The most tokens of prompt and answer.
    pub(super) limit: u32,
    /// Whether it thinks, which takes room.
    pub(super) thinking: bool,
    /// What its vocabulary is like.
    pub(super) family: Family,
}

/// The largest context that was asked for. Ollama loads a model anew whenever `num_ctx` changes, so a
/// short prompt after a long one keeps the context that is loaded.
#[derive(Debug, Default)]
pub(super) struct Largest {
    context: AtomicU32,
    correction: Correction,
}

impl Largest {
    /// The prompt that was sized so came to so many tokens.
    pub(super) fn learn(&self, sizes: Sizes, counted: u32) {
        self.correction.learn(sizes.estimated, counted);
    }

    /// The sizes for `request` on a model that reads so.
    ///
    /// # Errors
    /// `ContextOverflow` when the prompt leaves no room for an answer.
    pub(super) fn sizes(&self, request: &ChatRequest, reads: Reads) -> Result<Sizes, ModelError> {
        let Reads { limit, thinking, family } = reads;
        let estimated = tokens::of_request_for(request, family);
        let prompt = u32::try_from(self.correction.apply(estimated)).unwrap_or(u32::MAX);
        let room = limit.saturating_sub(prompt);
        let wanted = request.max_tokens.unwrap_or(ANSWER).saturating_add(if thinking { THINKING } else { 0 });
        if room < wanted.min(LEAST_ANSWER) {
            return Err(ModelError::ContextOverflow { tokens: prompt, limit });
        }
        let answer = wanted.min(room);
        let needed = (prompt + answer).max(SMALLEST).checked_next_power_of_two().unwrap_or(limit).min(limit);
        let context = self.context.fetch_max(needed, Ordering::Relaxed).max(needed).min(limit);
        Ok(Sizes { prompt, estimated, context, answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::chat::{Message, Speaker};

    fn reads(limit: u32) -> Reads {
        Reads { limit, thinking: false, family: Family::Wide }
    }

    fn asking(words: usize, max_tokens: Option<u32>) -> ChatRequest {
        ChatRequest {
            messages: vec![Message::new(Speaker::User, "word ".repeat(words))],
            max_tokens,
            ..ChatRequest::default()
        }
    }

    #[test]
    fn the_context_holds_prompt_and_answer_in_doubling_steps() {
        let sizes = |words| Largest::default().sizes(&asking(words, Some(500)), reads(32_768)).expect("it fits");
        assert_eq!(sizes(10).context, 2048);
        assert_eq!(sizes(1000).context, 4096);
        assert_eq!(sizes(3000).context, 8192);
        assert!(sizes(3000).prompt + sizes(3000).answer <= sizes(3000).context);
    }

    #[test]
    fn a_short_prompt_after_a_long_one_does_not_make_the_server_load_the_model_again() {
        let largest = Largest::default();
        let first = largest.sizes(&asking(3000, None), reads(32_768)).expect("it fits");
        let second = largest.sizes(&asking(3, None), reads(32_768)).expect("it fits");
        assert_eq!(second.context, first.context);
    }

    #[test]
    fn a_prompt_that_does_not_fit_is_refused_and_one_that_nearly_fills_it_gets_a_short_answer() {
        let largest = Largest::default();
        assert!(matches!(
            largest.sizes(&asking(3000, None), reads(4096)),
            Err(ModelError::ContextOverflow { limit: 4096, tokens }) if tokens > 4096
        ));
        let tight = largest.sizes(&asking(1800, Some(2000)), reads(4096)).expect("it fits");
        assert_eq!((tight.context, tight.prompt + tight.answer), (4096, 4096));
    }
}
