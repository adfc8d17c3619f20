//! The router: a chain of chat models, asked in order until one answers.
//!
//! A switch to the next happens only before the first visible piece of an answer, so that nobody sees two
//! models' words mixed; what failed is handed back for the audit log. A model that failed is left alone for
//! a while (a lone one too), so that not every question waits for a server that is not there.

mod cooldown;

use std::{sync::Arc, time::Instant};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use serde::Serialize;

use super::chat::{Capabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, ModelError};
use crate::support::clock::SharedClock;
use cooldown::Cooldown;

/// A chain of chat models. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    targets: Arc<[Target]>,
    absent: Arc<[TargetStatus]>,
    clock: SharedClock,
}

struct Target {
    model: Arc<dyn ChatModel>,
    cooldown: Cooldown,
}

/// A model that answers.
pub struct Answering {
    /// Its name: `ollama/llama3.2`.
    pub model: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// What it was asked, for the audit log.
    pub request: ChatRequest,
    /// Its answer. An error in it is final: something has been seen already.
    pub stream: ChatStream,
    /// The models that were asked before it, in vain.
    pub attempts: Vec<Attempt>,
}

/// A model that was asked in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Its name.
    pub model: String,
    /// Why it did not answer, in a sentence.
    pub error: String,
    /// How long that took.
    pub duration_ms: u64,
}

/// No model of the chain answered; the agent quotes the knowledge base instead.
#[derive(Debug, thiserror::Error)]
#[error("no chat model is usable: {}", sentence(.attempts))]
pub struct NoModel {
    /// Those that were asked, in order. Empty when the chain is.
    pub attempts: Vec<Attempt>,
}

/// How a target is, for `aegis doctor` and the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetStatus {
    /// Its name.
    pub model: String,
    /// Whether it can be asked now.
    pub ok: bool,
    /// What is wrong, in a sentence.
    pub problem: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// What it can do, if that is known.
    pub capabilities: Option<Capabilities>,
}

impl Router {
    /// A chain in the given order.
    pub fn new(models: Vec<Arc<dyn ChatModel>>, clock: SharedClock) -> Self {
        let targets = models.into_iter().map(|model| Target { model, cooldown: Cooldown::default() });
        Self { targets: targets.collect(), absent: Arc::new([]), clock }
    }

    /// Adds targets that the configuration names but that are not there, so that [`Router::status`] tells why.
    #[must_use]
    pub fn with_absent(mut self, absent: Vec<TargetStatus>) -> Self {
        self.absent = absent.into();
        self
    }

    /// Asks the chain. `request_for` writes the request for what a model can do: a small one gets a short
    /// prompt and no tools. What comes before the first visible piece is in the stream.
    ///
    /// # Errors
    /// [`NoModel`] when the chain is exhausted.
    pub async fn chat(
        &self,
        request_for: impl Fn(&Capabilities) -> ChatRequest + Send + Sync,
    ) -> Result<Answering, NoModel> {
        let mut early = Vec::new();
        let mut answering =
            self.chat_watched(request_for, |model, event| early.push((model.to_owned(), event))).await?;
        let of_this_model =
            early.into_iter().filter(|(model, _)| *model == answering.model).map(|(_, event)| Ok(event));
        answering.stream = stream::iter(of_this_model.collect::<Vec<_>>()).chain(answering.stream).boxed();
        Ok(answering)
    }

    /// As [`Router::chat`], but [`ChatEvent::Loading`] and [`ChatEvent::Thinking`] that come before the first
    /// visible piece go to `watch` at once, with the model's name; the stream begins with the visible piece.
    /// Dropping the future stops whatever is being asked.
    ///
    /// # Errors
    /// As for [`Router::chat`].
    pub async fn chat_watched(
        &self,
        request_for: impl Fn(&Capabilities) -> ChatRequest + Send + Sync,
        watch: impl FnMut(&str, ChatEvent) + Send,
    ) -> Result<Answering, NoModel> {
        self.chat_prepared(|capabilities| std::future::ready(request_for(&capabilities)).boxed(), watch).await
    }

    /// As [`Router::chat_watched`], for a request that takes time to write: a model that cannot search needs a search first.
    ///
    /// # Errors
    /// As for [`Router::chat`].
    pub async fn chat_prepared<'r>(
        &self,
        request_for: impl Fn(Capabilities) -> BoxFuture<'r, ChatRequest> + Send + Sync,
        mut watch: impl FnMut(&str, ChatEvent) + Send,
    ) -> Result<Answering, NoModel> {
        let mut attempts = Vec::new();
        for target in self.targets.iter() {
            let model = target.model.name();
            if let Some(error) = target.cooldown.reason(self.clock.now()) {
                attempts.push(Attempt { model, error, duration_ms: 0 });
                continue;
            }
            let started = Instant::now();
            match target.ask(&request_for, &mut |event| watch(&model, event)).await {
                Ok((capabilities, request, stream)) => {
                    target.cooldown.clear();
                    return Ok(Answering { model, capabilities, request, stream, attempts });
                }
                Err(error) => {
                    target.cooldown.after(&error, self.clock.now());
                    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(model, %error, duration_ms, "a chat model did not answer");
                    attempts.push(Attempt { model, error: error.to_string(), duration_ms });
                }
            }
        }
        Err(NoModel { attempts })
    }

    /// The model of this name, if it is in the chain.
    pub fn model(&self, name: &str) -> Option<Arc<dyn ChatModel>> {
        self.targets.iter().map(|target| &target.model).find(|model| model.name() == name).cloned()
    }

    /// How each target of the chain is. Asks their servers, whatever the cooldown.
    pub async fn status(&self) -> Vec<TargetStatus> {
        let asked = self.targets.iter().map(|target| async {
            let model = target.model.name();
            match target.model.capabilities().await {
                Ok(capabilities) => {
                    TargetStatus { model, ok: true, problem: None, remedy: None, capabilities: Some(capabilities) }
                }
                Err(error) => TargetStatus {
                    model,
                    ok: false,
                    problem: Some(error.to_string()),
                    remedy: remedy(&error),
                    capabilities: None,
                },
            }
        });
        let mut statuses = futures::future::join_all(asked).await;
        statuses.extend(self.absent.iter().cloned());
        statuses
    }
}

impl Target {
    /// Asks once, and once more without tools if the server says that the model has none after all.
    async fn ask<'r>(
        &self,
        request_for: &(impl Fn(Capabilities) -> BoxFuture<'r, ChatRequest> + Send + Sync),
        watch: &mut (impl FnMut(ChatEvent) + Send),
    ) -> Result<(Capabilities, ChatRequest, ChatStream), ModelError> {
        let mut capabilities = self.model.capabilities().await?;
        let request = request_for(capabilities).await;
        match self.begin(request.clone(), watch).await {
            Err(ModelError::NoTools { model }) if capabilities.tools => {
                tracing::info!(model, "the model cannot call tools; it is asked again without");
                capabilities.tools = false;
                let request = request_for(capabilities).await;
                let stream = self.begin(request.clone(), watch).await?;
                Ok((capabilities, request, stream))
            }
            begun => Ok((capabilities, request, begun?)),
        }
    }

    /// Waits for the first visible piece, so that a failure before it can still be made good by the next model.
    async fn begin(
        &self,
        request: ChatRequest,
        watch: &mut (impl FnMut(ChatEvent) + Send),
    ) -> Result<ChatStream, ModelError> {
        let mut events = self.model.chat(request).await?;
        while let Some(event) = events.next().await {
            match event? {
                event @ (ChatEvent::Loading | ChatEvent::Thinking(_)) => watch(event),
                visible => return Ok(stream::once(std::future::ready(Ok(visible))).chain(events).boxed()),
            }
        }
        Err(ModelError::Server { message: "the answer ended before it began".to_owned() })
    }
}

fn sentence(attempts: &[Attempt]) -> String {
    if attempts.is_empty() {
        return "the chain is empty".to_owned();
    }
    let told: Vec<String> = attempts.iter().map(|attempt| format!("{}: {}", attempt.model, attempt.error)).collect();
    told.join("; ")
}

/// What a person can do about a failure.
pub fn remedy(error: &ModelError) -> Option<String> {
    match error {
        ModelError::NotRunning { address } => {
            Some(format!("start the model server at {address} (`ollama serve`), or set `models.ollama.url`"))
        }
        ModelError::ModelMissing { remedy, .. } => Some(format!("run `{remedy}`")),
        ModelError::OutOfMemory { .. } => {
            Some("choose a smaller model, lower `models.ollama.max_context`, or add memory".to_owned())
        }
        ModelError::TimedOut { .. } => {
            Some("raise `models.ollama.load_timeout_seconds`, or choose a smaller model".to_owned())
        }
        ModelError::ContextOverflow { .. } => {
            Some("start a new conversation, or raise `max_context` of the model".to_owned())
        }
        ModelError::Unauthorized => Some("check the model server's credentials".to_owned()),
        ModelError::Network { .. } => Some("check the network between the appliance and the model server".to_owned()),
        ModelError::OverBudget { .. } => {
            Some("raise the budget under Usage, or put a local model into the chain: those cost nothing".to_owned())
        }
        ModelError::RateLimited { .. }
        | ModelError::Overloaded { .. }
        | ModelError::Refused { .. }
        | ModelError::NoTools { .. }
        | ModelError::Server { .. }
        | ModelError::Cancelled => None,
    }
}
