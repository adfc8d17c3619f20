//! Ollama: chat and embedding models of the server in `[models.ollama]`.
//!
//! The requests and answers are ollama-rs's types. They are sent by ourselves, because ollama-rs 0.3.6 reads answers of
//! any size, loses the status of a refusal, and in a chat prints errors that come in mid-stream to standard error
//! and goes on, and drops a chunk that ends inside a character (`generation/chat/mod.rs`).
//!
//! # What this rests on
//!
//! Read in Ollama's source (`fb30760`, August 2026); the stand-in of the tests behaves so.
//!
//! | Ollama | where | and so |
//! |---|---|---|
//! | An unknown model is a 404 `model 'x' not found` from `/api/chat`, and from the scheduler `model "x" not found, try pulling it first` | `server/routes.go` `ChatHandler`, `handleScheduleError` | `ModelMissing`, by the words |
//! | Too many waiting (`OLLAMA_MAX_QUEUE`, 512) is a 503 "server busy, please try again.  maximum pending requests exceeded" | `server/sched.go` `ErrMaxQueue` | `Overloaded`; `parallel` keeps us out of that queue (one at a time is the server's default, `OLLAMA_NUM_PARALLEL`) |
//! | Tools for a model without them are a 400 "… does not support tools", and thinking likewise | `server/routes.go`, `server/images.go` `CheckCapabilities` | `NoTools`; `think` is not sent: a model that can think does so by itself |
//! | Capabilities are read off the template: `tools` where it has `.Tools` or the words `tools`, `tool_call`; `thinking` where it has both think tags | `server/images.go` `goTemplateCapabilities`, `chatTemplateHasToolSupport` | what `/api/show` lists is believed; other models of a billion parameters and more get [tools by the prompt](super::prompted) |
//! | A call is recognised by the template's tag, or by a brace only when the answer begins with it; one that is broken comes as content with the last line | `tools/tools.go` `Parser.Add`, `Content` | all text is sorted here once more (`models::printed`), and a call that cannot be read is asked for again under `format` |
//! | A call without arguments is not recognised at all | `tools/tools.go` `findArguments`, its TODO | the same |
//! | A chunk with text and a call passes on the text alone | `server/routes.go` `ChatHandler`, `toolParser.Add` | nothing can be done; the model is asked again by whoever misses it |
//! | `format` for a thinking model takes effect after its thoughts, by a second request within | `server/routes.go` `structuredOutputsState` | thoughts may precede an answer under a schema |
//! | A model is loaded anew when `num_ctx` differs from what it was loaded with, or `shift` | `server/sched.go` `needsReload` | `num_ctx` only grows, in doubling steps; `shift` is left alone |
//! | With `truncate` a prompt that is too long loses its oldest messages, silently | `server/prompt.go` `chatPrompt` | `truncate: false`, and `num_ctx` holds prompt and answer |
//! | Too long a prompt is a 400: "the input length exceeds the context length", "the prompt is longer than the context length currently available …" | `llm/llama_server.go` | `ContextOverflow` |
//! | `prompt_eval_count` is the whole prompt, what lay in the cache included; older versions left that out | `llm/llama_server.go` `promptEvalCount` | the estimate of tokens learns from it upwards only |
//! | Before the first piece an error has a status; after it, it is a line `{"error": …}` | `server/routes.go` `streamResponse` | both end the answer in the same class |
//! | Headers are sent with the first piece, after the model has been loaded | `server/routes.go` `streamResponse` | silence is shown as loading, up to `load_timeout_seconds` |
//! | `done_reason` is `stop`, `length`, `load`, `unload`, or empty when the runner's connection closed | `llm/server.go` `DoneReason` | `Length`, or `Stop` |
//! | A request whose client goes away is cancelled | `server/routes.go`, the request's context | dropping the stream is enough |
//! | `keep_alive` counts from the end of each request | `server/sched.go` | sent with each: `keep_alive_minutes` |

mod chat;
mod context;
mod embed;
mod failure;
mod library;
mod show;

use std::{sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    config,
    egress::{self, Egress, Failure, Outbound, Url},
    models::chat::ModelError,
    support::Result,
};

pub use chat::OllamaChat;
pub use embed::OllamaEmbedding;
use failure::About;
pub use library::{Kept, Progress};

/// The largest answer that is read in one piece: embeddings of a batch are a few MiB.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// One Ollama server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    egress: Egress,
    base: Arc<Url>,
    load_timeout: Duration,
    idle_timeout: Duration,
    max_context: u32,
    keep_alive_minutes: u64,
    /// Turns for answers; none where everybody may go at once.
    turns: Option<Arc<Semaphore>>,
}

impl Server {
    /// The server that the configuration names. Nothing is asked of it yet.
    ///
    /// # Errors
    /// `Invalid` when its address is not a URL.
    pub fn new(config: &config::Ollama, egress: Egress) -> Result<Self> {
        let mut base = egress::parse("models.ollama.url", &config.url)?;
        if !base.path().ends_with('/') {
            // Without it, joining would replace the last part of a path such as /ollama.
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self {
            egress,
            base: Arc::new(base),
            load_timeout: Duration::from_secs(config.load_timeout_seconds),
            idle_timeout: Duration::from_secs(config.idle_timeout_seconds),
            max_context: config.max_context,
            keep_alive_minutes: config.keep_alive_minutes,
            turns: usize::try_from(config.parallel).ok().filter(|&turns| turns > 0).map(Semaphore::new).map(Arc::new),
        })
    }

    /// Where it is, without credentials.
    pub fn address(&self) -> String {
        egress::origin(&self.base)
    }

    /// Waits for one's turn, and has it until it is dropped.
    async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>, ModelError> {
        let Some(turns) = &self.turns else { return Ok(None) };
        match tokio::time::timeout(self.load_timeout, Arc::clone(turns).acquire_owned()).await {
            Ok(turn) => Ok(turn.ok()),
            Err(_) => Err(ModelError::Overloaded { retry_after: None }),
        }
    }

    fn outbound(&self, purpose: &'static str) -> Result<Outbound, ModelError> {
        self.egress.client_for(purpose, &self.base).map_err(|error| ModelError::Server { message: error.to_string() })
    }

    /// Asks what is answered in one piece, within `limit`.
    async fn call<Answer: DeserializeOwned>(
        &self,
        purpose: &'static str,
        path: &str,
        body: &(impl Serialize + Sync),
        model: &str,
        limit: Duration,
    ) -> Result<Answer, ModelError> {
        let mut outbound = self.outbound(purpose)?;
        let request = outbound.post(self.url(path)?).json(body);
        let asked = async {
            let response = request.send().await?;
            outbound.answered(Some(response.status().as_u16()));
            let status = response.status();
            let body = egress::read_bounded(response, LARGEST_ANSWER).await?;
            outbound.received(body.len());
            Ok((status, body))
        };
        let asked = tokio::time::timeout(limit, asked).await.unwrap_or(Err(Failure::TimedOut));
        let (status, body) = asked.map_err(|failure| self.unanswered(&mut outbound, failure, limit))?;
        if !status.is_success() {
            let body = String::from_utf8_lossy(&body);
            return Err(failure::refusal(About::model(model), Some(status.as_u16()), None, &body));
        }
        serde_json::from_slice(&body).map_err(|error| {
            tracing::debug!(%error, "Ollama's answer cannot be read");
            ModelError::Server { message: "its answer cannot be understood; is this an Ollama server?".to_owned() }
        })
    }

    fn url(&self, path: &str) -> Result<Url, ModelError> {
        self.base.join(path).map_err(|error| ModelError::Server { message: error.to_string() })
    }
}
