//! llama.cpp: loading a model and generating with it. Runs in the child process only.

use std::{collections::HashSet, num::NonZeroU32, path::Path};

use encoding_rs::Decoder;
use llama_cpp_2::{
    context::{LlamaContext, params::LlamaContextParams},
    llama_backend::LlamaBackend,
    llama_batch::LlamaBatch,
    model::{LlamaChatMessage, LlamaChatTemplate, LlamaModel, params::LlamaModelParams},
    sampling::LlamaSampler,
    token::LlamaToken,
};

use super::{grammar, prompt, protocol::Failure};
use crate::models::chat::{ChatRequest, Finish, FinishReason};

/// Tokens of the prompt that are read in one go; between two goes it can be stopped.
const BATCH: usize = 256;
/// The answer's length when the request does not say.
const ANSWER: u32 = 1024;
/// The least room for an answer: a prompt that leaves less does not fit.
const LEAST_ANSWER: u32 = 32;
/// Against small models that say the same thing again and again. Digits are exempt: a penalty on the second zero
/// makes 90 out of 900.
const REPEAT_PENALTY: f32 = 1.1;
const REPEAT_WINDOW: i32 = 64;
/// Tags that mean something to us although a vocabulary may count them among the silent ones.
const TAGS: [&str; 4] = ["<tool_call>", "</tool_call>", "<think>", "</think>"];

/// A loaded model.
pub(super) struct Loaded {
    backend: LlamaBackend,
    model: LlamaModel,
    template: LlamaChatTemplate,
    /// Tags that are single tokens.
    tags: HashSet<LlamaToken>,
    /// The texts of tokens that steer the template.
    control: Vec<String>,
}

/// A loaded model with its memory of the text.
pub(super) struct Session<'a> {
    loaded: &'a Loaded,
    context: LlamaContext<'a>,
}

/// Whoever listens to an answer.
pub(super) trait Listener {
    /// Whether it should stop.
    fn cancelled(&self) -> bool;
    /// A batch of the prompt was read.
    fn reading(&mut self);
    /// A piece of the answer.
    fn text(&mut self, piece: &str);
}

impl Loaded {
    /// Loads a model file; the reason in a sentence when it cannot be.
    pub(super) fn load(file: &Path) -> Result<Self, String> {
        if !file.is_file() {
            return Err("there is no such file".to_owned());
        }
        let backend = LlamaBackend::init().map_err(|error| error.to_string())?;
        let model = LlamaModel::load_from_file(&backend, file, &LlamaModelParams::default())
            .map_err(|error| error.to_string())?;
        let template = model
            .chat_template(None)
            .or_else(|_| LlamaChatTemplate::new("chatml"))
            .map_err(|error| error.to_string())?;
        let vocabulary = model.vocab();
        let single = |tag: &&str| {
            let tokens = vocabulary.tokenize(tag.as_bytes(), false, true);
            (tokens.len() == 1).then(|| tokens[0])
        };
        let tags = TAGS.iter().filter_map(single).collect();
        let control = vocabulary
            .tokens()
            .filter(|&token| vocabulary.is_control(token) || vocabulary.is_eog(token))
            .map(|token| String::from_utf8_lossy(&vocabulary.token_to_piece(token, true, None)).into_owned())
            .filter(|text| text.chars().count() > 2)
            .collect();
        Ok(Self { backend, model, template, tags, control })
    }

    /// A place to answer in, with `context` tokens and `threads` threads (0: all cores but one).
    pub(super) fn session(&self, context: u32, threads: u32) -> Result<Session<'_>, String> {
        let context = context.clamp(256, self.model.n_ctx_train().max(256));
        let threads = i32::try_from(if threads == 0 { spare_cores() } else { threads }).unwrap_or(1);
        let batch = u32::try_from(BATCH).unwrap_or(u32::MAX);
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(context))
            .with_n_batch(batch)
            .with_n_ubatch(batch)
            .with_n_threads(threads)
            .with_n_threads_batch(threads);
        let context = self.model.new_context(&self.backend, params).map_err(|error| error.to_string())?;
        Ok(Session { loaded: self, context })
    }

    /// The prompt's tokens. A template that llama.cpp does not know is replaced by ChatML, the commonest.
    fn tokens(&self, request: &ChatRequest) -> Result<Vec<LlamaToken>, String> {
        let turns = prompt::turns(request, &self.control);
        let messages: Result<Vec<_>, _> =
            turns.into_iter().map(|(role, text)| LlamaChatMessage::new(role.to_owned(), text)).collect();
        let messages = messages.map_err(|error| error.to_string())?;
        let written = self.model.apply_chat_template(&self.template, &messages, true).or_else(|error| {
            tracing::warn!(%error, "the model's chat template is not known; ChatML is used");
            let chatml = LlamaChatTemplate::new("chatml").map_err(|error| error.to_string())?;
            self.model.apply_chat_template(&chatml, &messages, true).map_err(|error| error.to_string())
        })?;
        Ok(self.model.vocab().tokenize(written.as_bytes(), true, true))
    }

    /// Whether a token is digits and nothing else.
    fn is_number(&self, token: LlamaToken) -> bool {
        self.model.vocab().token_to_piece(token, false, None).iter().all(u8::is_ascii_digit)
    }
}

impl Session<'_> {
    /// Answers. What comes out depends on the request alone (with temperature 0), not on what was asked before.
    pub(super) fn answer(&mut self, request: &ChatRequest, listener: &mut dyn Listener) -> Result<Finish, Failure> {
        let tokens = self.loaded.tokens(request)?;
        let (prompt_tokens, limit) = (count(tokens.len()), self.context.n_ctx());
        if prompt_tokens.saturating_add(LEAST_ANSWER) > limit {
            return Err(Failure::ContextOverflow { tokens: prompt_tokens, limit });
        }
        let most = request.max_tokens.unwrap_or(ANSWER).min(limit - prompt_tokens);
        let mut choice = Choice::new(self.loaded, request)?;
        self.context.clear_kv_cache();
        let mut at = self.read(&tokens, listener)?;
        let mut writer = Writer::new(self.loaded);
        let mut completion_tokens = 0;
        let reason = loop {
            if listener.cancelled() {
                return Err(Failure::Cancelled);
            }
            if completion_tokens == most {
                break FinishReason::Length;
            }
            let token = choice.next(&self.context, at, |token| self.loaded.is_number(token));
            completion_tokens += 1;
            if self.loaded.model.vocab().is_eog(token) {
                break FinishReason::Stop;
            }
            writer.write(token, listener);
            let position = prompt_tokens + completion_tokens - 1;
            at = self.decode(&[token], position, true)?;
        };
        writer.finish(listener);
        Ok(Finish { reason, prompt_tokens, completion_tokens })
    }

    /// Reads the prompt; where the logits of its last token are.
    fn read(&mut self, tokens: &[LlamaToken], listener: &mut dyn Listener) -> Result<i32, Failure> {
        let mut at = 0;
        let batches = tokens.len().div_ceil(BATCH);
        for (number, batch) in tokens.chunks(BATCH).enumerate() {
            if listener.cancelled() {
                return Err(Failure::Cancelled);
            }
            at = self.decode(batch, count(number * BATCH), number + 1 == batches)?;
            listener.reading();
        }
        Ok(at)
    }

    fn decode(&mut self, tokens: &[LlamaToken], from: u32, logits: bool) -> Result<i32, Failure> {
        let mut batch = LlamaBatch::new(tokens.len(), 1);
        for (place, token) in tokens.iter().enumerate() {
            let position =
                i32::try_from(from).unwrap_or(i32::MAX).saturating_add(i32::try_from(place).unwrap_or(i32::MAX));
            let last = logits && place + 1 == tokens.len();
            batch.add(*token, position, &[0], last).map_err(|error| error.to_string())?;
        }
        self.context.decode(&mut batch).map_err(|error| error.to_string())?;
        Ok(batch.n_tokens() - 1)
    }
}

/// How the next token is chosen: penalty for repetition, the grammar of the tools, then the likeliest one or a draw.
struct Choice {
    penalty: LlamaSampler,
    grammar: Option<LlamaSampler>,
    pick: LlamaSampler,
}

impl Choice {
    fn new(loaded: &Loaded, request: &ChatRequest) -> Result<Self, String> {
        let model = &loaded.model;
        let grammar = if request.tools.is_empty() {
            None
        } else {
            let rules = grammar::of(&request.tools)?;
            let held = LlamaSampler::grammar_lazy(model, &rules, "root", [grammar::TRIGGER], &[]);
            Some(held.map_err(|error| format!("the tools' grammar cannot be used: {error}"))?)
        };
        let pick = match request.temperature {
            Some(temperature) if temperature > 0.0 => LlamaSampler::chain_simple([
                LlamaSampler::top_k(40),
                LlamaSampler::top_p(0.95, 1),
                LlamaSampler::min_p(0.05, 1),
                LlamaSampler::temp(temperature),
                // llama.cpp draws its own seed for this value.
                LlamaSampler::dist(u32::MAX),
            ]),
            _ => LlamaSampler::greedy(),
        };
        Ok(Self {
            penalty: LlamaSampler::penalties(model.n_vocab(), REPEAT_WINDOW, REPEAT_PENALTY, 0.0, 0.0),
            grammar,
            pick,
        })
    }

    fn next(&mut self, context: &LlamaContext<'_>, at: i32, is_number: impl Fn(LlamaToken) -> bool) -> LlamaToken {
        let mut candidates = context.token_data_array_ith(at);
        candidates.apply_sampler(&mut self.penalty);
        if let Some(grammar) = &mut self.grammar {
            candidates.apply_sampler(grammar);
        }
        candidates.apply_sampler(&mut self.pick);
        let token = candidates.selected_token().unwrap_or_else(|| candidates.sample_token_greedy());
        if !is_number(token) {
            self.penalty.accept(token);
        }
        // A token that runs over the trigger into something that is no call: the answer goes on as text.
        if self.grammar.as_mut().is_some_and(|grammar| grammar.try_accept(token).is_err()) {
            tracing::warn!("the model began a call that the grammar does not know; the answer is not held any longer");
            self.grammar = None;
        }
        token
    }
}

/// Tokens into text. A character may be spread over several tokens.
struct Writer<'a> {
    loaded: &'a Loaded,
    decoder: Decoder,
    bytes: Vec<u8>,
    text: String,
}

impl<'a> Writer<'a> {
    fn new(loaded: &'a Loaded) -> Self {
        Self {
            loaded,
            decoder: encoding_rs::UTF_8.new_decoder_without_bom_handling(),
            bytes: Vec::new(),
            text: String::new(),
        }
    }

    fn write(&mut self, token: LlamaToken, listener: &mut dyn Listener) {
        self.bytes.clear();
        let tag = self.loaded.tags.contains(&token);
        self.loaded.model.vocab().token_to_piece_into(token, &mut self.bytes, tag, None);
        self.pass_on(false, listener);
    }

    fn finish(&mut self, listener: &mut dyn Listener) {
        self.bytes.clear();
        self.pass_on(true, listener);
    }

    fn pass_on(&mut self, last: bool, listener: &mut dyn Listener) {
        self.text.clear();
        let most = self.decoder.max_utf8_buffer_length(self.bytes.len()).unwrap_or(self.bytes.len() * 3 + 16);
        self.text.reserve(most);
        let _ = self.decoder.decode_to_string(&self.bytes, &mut self.text, last);
        if !self.text.is_empty() {
            listener.text(&self.text);
        }
    }
}

/// All cores but one. llama.cpp's threads wait for each other in a busy loop, many times a token: with as many
/// threads as cores, whatever else runs holds one of them up and all the others with it. Measured on two busy
/// cores: two threads 1 token/s, one thread 25.
fn spare_cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    count(cores.saturating_sub(1).max(1))
}

fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}
