//! What a test wants the stand-in to answer.

use std::time::Duration;

use serde_json::{Value, json};

/// One answer to a chat.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub(super) refusal: Option<(u16, String)>,
    pub(super) loads_for: Duration,
    pub(super) pause: Duration,
    pub(super) thinking: Option<String>,
    pub(super) text: String,
    pub(super) calls: Vec<Value>,
    pub(super) prompt_tokens: Option<u32>,
    pub(super) end: End,
}

#[derive(Debug, Clone, Default)]
pub(super) enum End {
    /// As it should, with this `done_reason`.
    #[default]
    Stop,
    Length,
    /// With a line `{"error": …}`.
    Error(String),
    /// The connection breaks.
    Cut,
    /// Nothing more comes.
    Hang,
    /// A line that is no JSON.
    Garbage,
}

impl Script {
    /// Says `text`, a word at a time.
    pub fn say(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Calls a tool, by the name under which it was offered.
    pub fn call(name: &str, arguments: &Value) -> Self {
        Self::default().and_call(name, arguments)
    }

    /// Calls one more tool in the same answer.
    pub fn and_call(mut self, name: &str, arguments: &Value) -> Self {
        let index = self.calls.len();
        self.calls.push(json!({ "id": format!("call_{index}"), "function": { "index": index, "name": name, "arguments": arguments } }));
        self
    }

    /// Refuses before the first line, as `{"error": message}`.
    pub fn refuse(status: u16, message: &str) -> Self {
        Self { refusal: Some((status, message.to_owned())), ..Self::default() }
    }

    /// Thinks first.
    pub fn think(mut self, thought: &str) -> Self {
        self.thinking = Some(thought.to_owned());
        self
    }

    /// Says that the prompt had so many tokens.
    pub fn count(mut self, prompt_tokens: u32) -> Self {
        self.prompt_tokens = Some(prompt_tokens);
        self
    }

    /// Is silent at first, as when the model is being loaded.
    pub fn load_for(mut self, time: Duration) -> Self {
        self.loads_for = time;
        self
    }

    /// Waits before each word.
    pub fn slowly(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Ends because the limit of tokens is reached.
    pub fn cut_by_length(mut self) -> Self {
        self.end = End::Length;
        self
    }

    /// Ends with an error in mid-stream.
    pub fn then_error(mut self, message: &str) -> Self {
        self.end = End::Error(message.to_owned());
        self
    }

    /// Ends with a broken connection.
    pub fn then_cut(mut self) -> Self {
        self.end = End::Cut;
        self
    }

    /// Never ends.
    pub fn then_hang(mut self) -> Self {
        self.end = End::Hang;
        self
    }

    /// Ends with something that is no JSON.
    pub fn then_garbage(mut self) -> Self {
        self.end = End::Garbage;
        self
    }
}
