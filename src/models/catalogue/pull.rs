//! Fetching a model: it goes on in the background, one pull for each model, seen by everybody.
//!
//! It does not outlive the process. What Ollama has fetched until then stays with it, and the next pull of the same model
//! goes on there; so does a pull whose connection breaks, by itself.

use std::{
    pin::pin,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{Catalogue, checked, in_our_words, shown};
use crate::{
    audit::{Action, Actor},
    models::{
        chat::ModelError,
        ollama::{Progress, Server},
    },
    support::{Error, Kind, Result},
};

/// Pulls that are over and still shown.
const REMEMBERED: usize = 10;
/// Parts of one model that are kept track of; real ones have half a dozen.
const MOST_LAYERS: usize = 1000;
/// Pulls at once: more would only make each slower.
const AT_ONCE: usize = 4;
/// How often a broken connection is taken up again without anything having come in between.
const TAKEN_UP: u32 = 3;
/// Between two looks at how far a pull is.
const LOOK: Duration = Duration::from_millis(250);

/// A pull, as far as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pull {
    /// Its number since the appliance started.
    pub id: u64,
    /// Which server fetches it.
    pub server: String,
    /// Which model: `llama3.2`.
    pub model: String,
    /// What the server is doing, in its own words.
    pub status: String,
    /// The parts that it consists of, as far as they are known.
    pub layers: Vec<Layer>,
    /// `running`, `done`, `failed` or `stopped`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Since when.
    pub started_at: DateTime<Utc>,
}

/// One part of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Layer {
    /// Its hash.
    pub digest: String,
    /// Its bytes.
    pub total: u64,
    /// The bytes that are there.
    pub completed: u64,
}

/// The pulls of this process, oldest first.
#[derive(Default)]
pub(super) struct Pulls {
    last: u64,
    all: Vec<(Pull, CancellationToken)>,
}

/// Somebody who waits for a pull at a terminal. If it is theirs, it stops when they go.
pub struct Attached {
    catalogue: Catalogue,
    id: u64,
    stops: bool,
}

impl Pull {
    /// Whether it goes on.
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// Whether it is of this model on this server.
    pub fn is_of(&self, server: &str, model: &str) -> bool {
        self.server == server && self.model == model
    }

    /// Bytes that are there, and bytes in all, as far as the parts are known.
    pub fn bytes(&self) -> (u64, u64) {
        let sum = |of: fn(&Layer) -> u64| self.layers.iter().map(of).fold(0, u64::saturating_add);
        (sum(|layer| layer.completed), sum(|layer| layer.total))
    }

    /// How far it is, in whole percent.
    pub fn percent(&self) -> u64 {
        let (completed, total) = self.bytes();
        u64::try_from(u128::from(completed) * 100 / u128::from(total.max(1))).unwrap_or(100).min(100)
    }

    fn advance(&mut self, progress: Progress) {
        self.status = shown(&progress.status);
        if progress.digest.is_empty() {
            return;
        }
        let layer = Layer { digest: progress.digest, total: progress.total, completed: progress.completed };
        match self.layers.iter().position(|known| known.digest == layer.digest) {
            Some(known) => self.layers[known] = layer,
            None if self.layers.len() < MOST_LAYERS => self.layers.push(layer),
            None => {}
        }
    }
}

impl Catalogue {
    /// The pulls that go on, and the last ones that are over; oldest first.
    pub fn pulls(&self) -> Vec<Pull> {
        self.lock().all.iter().map(|(pull, _)| pull.clone()).collect()
    }

    /// Begins to fetch a model, or hands back the pull of it that goes on.
    ///
    /// # Errors
    /// `Invalid` when that is no model's name, `NotFound` when there is no such server, `TooMany` when enough are going on.
    pub fn pull(&self, server: &str, model: &str, actor: &Actor) -> Result<Pull> {
        self.begin(server, model, actor).map(|(pull, _)| pull)
    }

    /// As [`Catalogue::pull`], for somebody who waits for it.
    ///
    /// # Errors
    /// As for [`Catalogue::pull`].
    pub fn pull_attached(&self, server: &str, model: &str, actor: &Actor) -> Result<Attached> {
        let (pull, is_new) = self.begin(server, model, actor)?;
        Ok(Attached { catalogue: self.clone(), id: pull.id, stops: is_new })
    }

    /// Stops a pull. What has been fetched is kept by the server.
    ///
    /// # Errors
    /// `NotFound` when it is not going on.
    pub fn stop_pull(&self, id: u64) -> Result<()> {
        let pulls = self.lock();
        let running = pulls.all.iter().find(|(pull, _)| pull.id == id && pull.is_running());
        let (_, stop) = running.ok_or_else(|| Error::not_found("a pull that is going on with this number"))?;
        stop.cancel();
        Ok(())
    }

    fn begin(&self, server: &str, model: &str, actor: &Actor) -> Result<(Pull, bool)> {
        let (model, keeper) = (checked(model)?, self.server(server)?.clone());
        let mut pulls = self.lock();
        if let Some((pull, _)) = pulls.all.iter().find(|(pull, _)| pull.is_of(server, &model) && pull.is_running()) {
            return Ok((pull.clone(), false));
        }
        if pulls.all.iter().filter(|(pull, _)| pull.is_running()).count() >= AT_ONCE {
            return Err(Error::new(Kind::TooMany, format!("{AT_ONCE} models are being fetched already"))
                .remedy("wait until one of them is there, or stop one"));
        }
        pulls.last += 1;
        let (id, stop) = (pulls.last, CancellationToken::new());
        let pull = Pull {
            id,
            server: server.to_owned(),
            model,
            status: "asking the registry".to_owned(),
            layers: Vec::new(),
            state: "running".to_owned(),
            error: None,
            started_at: self.clock.now(),
        };
        // An earlier one of the same model has nothing to tell any more.
        pulls.all.retain(|(other, _)| other.is_running() || !other.is_of(server, &pull.model));
        pulls.all.push((pull.clone(), stop.clone()));
        let over = pulls.all.iter().filter(|(pull, _)| !pull.is_running()).count();
        for _ in REMEMBERED..over {
            if let Some(oldest) = pulls.all.iter().position(|(pull, _)| !pull.is_running()) {
                pulls.all.remove(oldest);
            }
        }
        drop(pulls);
        let (catalogue, begun, actor) = (self.clone(), pull.clone(), actor.clone());
        tokio::spawn(async move { catalogue.run(begun, keeper, stop, actor).await });
        Ok((pull, true))
    }

    async fn run(self, pull: Pull, server: Server, stop: CancellationToken, actor: Actor) {
        let started = std::time::Instant::now();
        let ended = tokio::select! {
            () = stop.cancelled() => None,
            ended = self.fetch(&server, pull.id, &pull.model) => Some(ended),
        };
        let (outcome, error) = match ended {
            None => ("stopped", None),
            Some(Ok(())) => ("done", None),
            Some(Err(error)) => ("failed", Some(in_our_words(&error).to_string())),
        };
        tracing::info!(model = pull.model, server = pull.server, outcome, error, "a pull of a model ended");
        let bytes = self.one(pull.id).map_or(0, |pull| pull.bytes().0);
        let detail = json!({
            "server": pull.server, "outcome": outcome, "error": error, "bytes": bytes,
            "duration_ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        // Before anybody is told that it is over, so that whoever waited for it finds it in the log.
        if let Err(fault) = self.note(Action::ModelPulled, &actor, &pull.model, detail).await {
            tracing::error!(error = ?fault, "a pull could not be written into the log");
        }
        self.change(pull.id, |pull| {
            outcome.clone_into(&mut pull.state);
            pull.error = error;
        });
    }

    /// Until the server says that it has all of it. A connection that breaks is taken up where it was.
    async fn fetch(&self, server: &Server, id: u64, model: &str) -> Result<(), ModelError> {
        let mut in_vain = 0;
        loop {
            let mut progress = pin!(server.pull(model));
            let mut broken = ModelError::Network { message: "the server ended before it was done".to_owned() };
            while let Some(next) = progress.next().await {
                match next {
                    Ok(progress) if progress.status == "success" => return Ok(()),
                    Ok(progress) => {
                        if progress.completed > 0 {
                            in_vain = 0;
                        }
                        self.change(id, |pull| pull.advance(progress));
                    }
                    Err(error) => {
                        broken = error;
                        break;
                    }
                }
            }
            in_vain += 1;
            let may_pass = matches!(broken, ModelError::Network { .. } | ModelError::TimedOut { .. });
            if !may_pass || in_vain > TAKEN_UP {
                return Err(broken);
            }
            tracing::info!(model, error = %broken, "a pull broke off and is taken up again");
            tokio::time::sleep(Duration::from_millis(500) * in_vain).await;
        }
    }

    fn one(&self, id: u64) -> Option<Pull> {
        self.lock().all.iter().find(|(pull, _)| pull.id == id).map(|(pull, _)| pull.clone())
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Pull)) {
        if let Some((pull, _)) = self.lock().all.iter_mut().find(|(pull, _)| pull.id == id) {
            change(pull);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pulls> {
        self.pulls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All pulls, again whenever one has changed, until none goes on any more.
    pub fn watch(&self) -> impl futures::Stream<Item = Vec<Pull>> + Send + use<> {
        futures::stream::unfold((self.clone(), None), |(catalogue, last)| async move {
            loop {
                let now = catalogue.pulls();
                if last.as_ref() != Some(&now) {
                    return Some((now.clone(), (catalogue, Some(now))));
                }
                if !now.iter().any(Pull::is_running) {
                    return None;
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }
}

impl Attached {
    /// How far it is, again whenever that has changed, until it is over. Dropping the stream stops a pull that began here.
    pub fn progress(self) -> impl futures::Stream<Item = Pull> + Send {
        futures::stream::unfold((self, None), |(attached, last): (Self, Option<Pull>)| async move {
            if last.as_ref().is_some_and(|last| !last.is_running()) {
                return None;
            }
            loop {
                let now = attached.catalogue.one(attached.id)?;
                if last.as_ref() != Some(&now) {
                    return Some((now.clone(), (attached, Some(now))));
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.stops {
            // One that is over is not to be found, and that is well.
            let _ = self.catalogue.stop_pull(self.id);
        }
    }
}
