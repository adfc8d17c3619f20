//! The router: a chain of chat models, asked in order until one answers.
//!
//! | what fails | what follows |
//! |---|---|
//! | too many calls, overloaded, a failure of the server or the connection | the same target again, after a random pause or as long as it asks for; then the next ([`retry`]) |
//! | the prompt is too long | the route's chain for long prompts, then the rest of its chain ([`chain`]) |
//! | the provider refuses the content | the route's chain for refusals, then the rest |
//! | the budget does not allow it | the next, which may be one that costs nothing ([`metered`]) |
//! | anything else | the next |
//!
//! A switch happens only before the first visible piece of an answer, so that nobody sees two models' words mixed;
//! what failed is handed back for the audit log. A target that failed is left alone for a while, a lone one too and
//! for all routes, so that not every question waits for a server that is not there ([`cooldown`]).

mod chain;
mod cooldown;
mod metered;
mod retry;
mod status;
mod target;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use serde::Serialize;

use super::{
    chat::{Capabilities, ChatEvent, ChatModel, ChatRequest, ChatStream},
    meter::{Meter, Price},
};
use crate::support::clock::SharedClock;
use chain::Walk;
pub use chain::{Choice, Part, Route};
pub use retry::{Dice, Retry};
pub use status::{TargetStatus, remedy};
pub use target::Target;

/// The name of the route that is taken when none is asked for.
pub const DEFAULT_ROUTE: &str = "default";

/// Chains of chat models, one of which is chosen. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    routes: Arc<BTreeMap<String, Arc<Route>>>,
    route: Arc<Route>,
    absent: Arc<[TargetStatus]>,
    meter: Option<Arc<dyn Meter>>,
    clock: SharedClock,
    dice: Dice,
}

/// A model that answers.
pub struct Answering {
    /// Its name: `ollama/llama3.2`.
    pub model: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// What it costs.
    pub price: Price,
    /// Where in which chain it stood.
    pub why: Choice,
    /// What it was asked, for the audit log.
    pub request: ChatRequest,
    /// Its answer: it ends with `Done` or with an error. An error in it is final: something has been seen already.
    pub stream: ChatStream,
    /// The models that were asked before it, in vain, and its own failures before it answered.
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

/// What is seen before the first visible piece of an answer.
enum Early {
    /// A target is asked, or asked again: whatever another one thought is void.
    Anew,
    /// `Loading` or `Thinking`.
    Event(ChatEvent),
}

impl Router {
    /// One chain in the given order, without retries.
    pub fn new(models: Vec<Arc<dyn ChatModel>>, clock: SharedClock) -> Self {
        let targets = models.into_iter().map(|model| Arc::new(Target::of(model))).collect();
        Self::with_routes(vec![Route::new(DEFAULT_ROUTE, targets)], clock)
    }

    /// Several chains. The first is the one that is taken when none, or an unknown one, is asked for; none at all is
    /// one that is empty. A target that stands in several of them is one and the same `Arc`.
    pub fn with_routes(routes: Vec<Route>, clock: SharedClock) -> Self {
        let routes: Vec<Arc<Route>> = routes.into_iter().map(Arc::new).collect();
        let route = routes.first().cloned().unwrap_or_else(|| Arc::new(Route::new(DEFAULT_ROUTE, Vec::new())));
        let routes = routes.into_iter().map(|route| (route.name.clone(), route)).collect();
        Self { routes: Arc::new(routes), route, absent: Arc::new([]), meter: None, clock, dice: retry::dice() }
    }

    /// Adds targets that the configuration names but that are not there, so that [`Router::status`] tells why.
    #[must_use]
    pub fn with_absent(mut self, absent: Vec<TargetStatus>) -> Self {
        self.absent = absent.into();
        self
    }

    /// Draws the pauses between retries with `dice`.
    #[must_use]
    pub fn with_dice(mut self, dice: Dice) -> Self {
        self.dice = dice;
        self
    }

    /// The same targets by another route; by the first one if there is none of this name, or no name.
    #[must_use]
    pub fn route(&self, name: Option<&str>) -> Self {
        let chosen = name.and_then(|name| self.routes.get(name));
        if let (Some(name), None) = (name, chosen) {
            tracing::warn!(route = name, "there is no such route; the one before it is taken");
        }
        Self { route: chosen.unwrap_or(&self.route).clone(), ..self.clone() }
    }

    /// Asks `meter` before each call, and tells it what was used.
    #[must_use]
    pub fn metered(&self, meter: Arc<dyn Meter>) -> Self {
        Self { meter: Some(meter), ..self.clone() }
    }

    /// The routes, in the order of their names.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values().map(|route| &**route)
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
        let request_for = |capabilities| std::future::ready(request_for(&capabilities)).boxed();
        let mut answering = self
            .ask(request_for, |_, seen| match seen {
                Early::Anew => early.clear(),
                Early::Event(event) => early.push(Ok(event)),
            })
            .await?;
        answering.stream = stream::iter(early).chain(answering.stream).boxed();
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

    /// As [`Router::chat_watched`], for a request that takes time to write: a model that cannot search needs a search
    /// first. It is written anew whenever a target is asked, or asked again: what was watched until then is void.
    ///
    /// # Errors
    /// As for [`Router::chat`].
    pub async fn chat_prepared<'r>(
        &self,
        request_for: impl Fn(Capabilities) -> BoxFuture<'r, ChatRequest> + Send + Sync,
        mut watch: impl FnMut(&str, ChatEvent) + Send,
    ) -> Result<Answering, NoModel> {
        self.ask(request_for, |model, seen| {
            if let Early::Event(event) = seen {
                watch(model, event);
            }
        })
        .await
    }

    async fn ask<'r>(
        &self,
        request_for: impl Fn(Capabilities) -> BoxFuture<'r, ChatRequest> + Send + Sync,
        mut watch: impl FnMut(&str, Early) + Send,
    ) -> Result<Answering, NoModel> {
        let mut attempts = Vec::new();
        let mut walk = Walk::along(&self.route);
        while let Some((target, why)) = walk.next() {
            let model = target.model.name();
            let mut retries = 0;
            loop {
                let turn = match target.cooldown.enter(self.clock.now()) {
                    Ok(turn) => turn,
                    Err(error) => {
                        attempts.push(Attempt { model: model.clone(), error, duration_ms: 0 });
                        break;
                    }
                };
                watch(&model, Early::Anew);
                let started = Instant::now();
                let mut watch = |event| watch(&model, Early::Event(event));
                let failed = match target.ask(self.meter.as_ref(), &request_for, &mut watch).await {
                    Ok(begun) => {
                        turn.began();
                        let stream = metered::followed(begun.stream, begun.call, target, self.clock.clone());
                        let (capabilities, price, request) = (begun.capabilities, begun.price, begun.request);
                        return Ok(Answering { model, capabilities, price, why, request, stream, attempts });
                    }
                    Err(failed) => failed,
                };
                let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(model, error = %failed.error, duration_ms, "a chat model did not answer");
                attempts.push(Attempt { model: model.clone(), error: failed.error.to_string(), duration_ms });
                // One that is tried again after a while is tried once.
                let pause = if turn.is_probe() || failed.of_the_meter {
                    None
                } else {
                    self.route.retry.pause(&failed.error, retries, &self.dice)
                };
                if !failed.of_the_meter {
                    turn.failed(&failed.error, self.clock.now(), pause.is_some());
                }
                let Some(pause) = pause else {
                    walk.after(&failed.error);
                    break;
                };
                tokio::time::sleep(pause).await;
                retries += 1;
            }
        }
        Err(NoModel { attempts })
    }

    /// The model of this name, if it is in one of the chains.
    pub fn model(&self, name: &str) -> Option<Arc<dyn ChatModel>> {
        self.targets().into_iter().find(|target| target.model.name() == name).map(|target| target.model.clone())
    }

    /// The one target of this name, with its record of failures, as a route of its own.
    pub fn only(&self, name: &str) -> Option<Self> {
        let target = self.targets().into_iter().find(|target| target.model.name() == name)?;
        Some(Self { route: Arc::new(Route::new(name, vec![target])), ..self.clone() })
    }

    /// Every target once: those of the chosen route first, the others' after them.
    fn targets(&self) -> Vec<Arc<Target>> {
        let mut targets: Vec<Arc<Target>> = Vec::new();
        for route in std::iter::once(&self.route).chain(self.routes.values()) {
            for target in route.chain.iter().chain(&route.context).chain(&route.refusal) {
                if !targets.iter().any(|known| Arc::ptr_eq(known, target)) {
                    targets.push(target.clone());
                }
            }
        }
        targets
    }

    /// How each target is. Asks their servers, whatever the cooldown.
    pub async fn status(&self) -> Vec<TargetStatus> {
        let targets = self.targets();
        let now = self.clock.now();
        let mut statuses = futures::future::join_all(targets.iter().map(|target| target.status(now))).await;
        statuses.extend(self.absent.iter().cloned());
        statuses
    }
}

fn sentence(attempts: &[Attempt]) -> String {
    if attempts.is_empty() {
        return "the chain is empty".to_owned();
    }
    let told: Vec<String> = attempts.iter().map(|attempt| format!("{}: {}", attempt.model, attempt.error)).collect();
    told.join("; ")
}
