//! The trait that every provider of chat models implements, and the words that it speaks.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// The agent's instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
}

/// One message of a conversation as a model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub speaker: Speaker,
    /// What is said; empty when the model only calls tools.
    pub text: String,
    /// The tools that the model called in this message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// For a tool's result: the call it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// For a tool's result: the tool's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
}

impl Message {
    /// A message without tool calls.
    pub fn new(speaker: Speaker, text: impl Into<String>) -> Self {
        Self { speaker, text: text.into(), tool_calls: Vec::new(), tool_call_id: None, tool_name: None }
    }
}

/// A model asks for a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Unique within the run; made by us where the provider gives none.
    pub id: String,
    /// The tool's name, dots replaced by `_` where a provider wants that and restored here: `knowledge.search`.
    pub name: String,
    /// The arguments, not yet checked against the tool's schema.
    pub arguments: Value,
}

/// A tool as it is offered to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// `knowledge.search`
    pub name: String,
    /// One or two sentences for the model.
    pub description: String,
    /// JSON Schema of the arguments: an object.
    pub parameters: Value,
}

/// What a model is asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ChatRequest {
    /// The conversation, oldest first; system messages lead.
    pub messages: Vec<Message>,
    /// The tools it may call; empty for none.
    pub tools: Vec<ToolSpec>,
    /// The most tokens that the answer may have.
    pub max_tokens: Option<u32>,
    /// Randomness; `None` is the provider's own, `Some(0.0)` is greedy.
    pub temperature: Option<f32>,
    /// JSON Schema, an object's, that the text of the answer must fit; none for free text. A provider that cannot hold a
    /// model to it puts it into the prompt, so whoever reads the answer checks it all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

/// A piece of the answer, in the order in which it comes.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatEvent {
    /// The model is being loaded into memory; nothing has been generated yet.
    Loading,
    /// Text for the person.
    Text(String),
    /// The model thinks aloud; shown apart, never part of the answer.
    Thinking(String),
    /// A complete call of a tool.
    ToolCall(ToolCall),
    /// The answer is complete. Always last, exactly once, unless an error was.
    Done(Finish),
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens of the prompt, as the provider counted them.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub completion_tokens: u32,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model said all it had to say.
    Stop,
    /// The token limit was reached.
    Length,
    /// The model waits for its tools.
    ToolCalls,
    /// The provider's policy cut the answer off.
    Refused,
}

/// Why a model did not answer; the router decides by this what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No server listens there.
    #[error("the model server at {address} does not answer")]
    NotRunning {
        /// Where it was looked for, without credentials.
        address: String,
    },
    /// The server has no such model.
    #[error("the model {model} is not there; run `{remedy}`")]
    ModelMissing {
        /// Its name.
        model: String,
        /// The command that fetches it.
        remedy: String,
    },
    /// The machine has too little memory for the model.
    #[error("there is not enough memory for the model {model}")]
    OutOfMemory {
        /// Its name.
        model: String,
    },
    /// It took longer than allowed.
    #[error("the model did not answer within {} s", .after.as_secs())]
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// The prompt is longer than the model can read.
    #[error("the prompt has {tokens} tokens, the model reads {limit}")]
    ContextOverflow {
        /// Tokens of the prompt, estimated or counted.
        tokens: u32,
        /// The model's limit.
        limit: u32,
    },
    /// The provider wants fewer calls.
    #[error("the provider limits the rate of calls")]
    RateLimited {
        /// When it may be tried again, as the provider said.
        retry_after: Option<Duration>,
    },
    /// The provider has too much to do.
    #[error("the provider is overloaded")]
    Overloaded {
        /// When it may be tried again, as the provider said.
        retry_after: Option<Duration>,
    },
    /// The connection failed on the way, before or in the middle of the answer.
    #[error("the connection to the model server failed: {message}")]
    Network {
        /// What happened, in a sentence.
        message: String,
    },
    /// The budget of the organisation or the agent does not allow the call.
    #[error("{message}")]
    OverBudget {
        /// Which budget, what is left of it, and when it is new.
        message: String,
    },
    /// The credentials are refused.
    #[error("the provider refuses the credentials")]
    Unauthorized,
    /// The provider's policy forbids the answer.
    #[error("the provider refuses to answer: {reason}")]
    Refused {
        /// The provider's words.
        reason: String,
    },
    /// The model does not know tools; ask again without.
    #[error("the model {model} cannot call tools")]
    NoTools {
        /// Its name.
        model: String,
    },
    /// The server failed, or said something that cannot be understood.
    #[error("the model server failed: {message}")]
    Server {
        /// What it said, cut to a sentence.
        message: String,
    },
    /// The person stopped it.
    #[error("the answer was stopped")]
    Cancelled,
}

/// The events of one answer. Dropping the stream cancels the generation and closes the connection.
pub type ChatStream = BoxStream<'static, Result<ChatEvent, ModelError>>;

/// What a model can do, as its provider says.
#[expect(clippy::struct_excessive_bools, reason = "each is a capability of its own")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// It can be trusted with tools in a loop. False for models too small for it, whatever they claim.
    pub tools: bool,
    /// It prints its thoughts apart from the answer.
    pub thinking: bool,
    /// The most tokens that prompt and answer may have together.
    pub context_tokens: u32,
    /// It forgets long instructions: give it a short prompt and few passages.
    pub small: bool,
    /// Its provider holds an answer to a JSON Schema.
    #[serde(default)]
    pub structured: bool,
}

/// A chat model of some provider.
#[async_trait]
pub trait ChatModel: Send + Sync + 'static {
    /// `provider/model`, as shown under an answer: `ollama/llama3.2`, `builtin/smollm2-135m-instruct`.
    fn name(&self) -> String;

    /// Whether it gives the same answer to the same request as long as the temperature is 0, so that a run can be
    /// replayed with it.
    fn is_deterministic(&self) -> bool {
        false
    }

    /// Whether it runs on a machine of one's own, where a call costs nothing.
    fn is_local(&self) -> bool {
        false
    }

    /// What it can do. Asked of the provider, which may cache it.
    ///
    /// # Errors
    /// When the provider does not answer or has no such model.
    async fn capabilities(&self) -> Result<Capabilities, ModelError>;

    /// Starts an answer. The first event may be long in coming when the model must be loaded.
    ///
    /// # Errors
    /// Everything that is known before the first event; later failures come through the stream.
    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ModelError>;
}
