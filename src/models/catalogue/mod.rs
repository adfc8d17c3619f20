//! What models there are, for the operator: the routes and their targets, and what the Ollama servers keep; fetched with
//! progress that everybody sees ([`pull`]), removed, tried with a real question ([`trial`]).

mod overview;
mod pull;
mod trial;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::json;

pub use self::{
    overview::{Overview, RouteRow, ServerRow, StoredModel, TargetRow},
    pull::{Attached, Layer, Pull},
    trial::{ToolCalling, Trial},
};
use super::{
    Router,
    chat::ModelError,
    ollama::Server,
    router::{self, NoModel},
};
use crate::{
    audit::{self, Action, Actor, Log, NewEntry},
    support::{Error, Kind, Result, clock::SharedClock},
};

/// The longest name of a model.
const LONGEST_NAME: usize = 200;

/// Everything about models that an operator sees and does. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue {
    router: Router,
    /// Ollama servers, by the name of their provider.
    servers: Arc<BTreeMap<String, Server>>,
    pulls: Arc<Mutex<pull::Pulls>>,
    log: Log,
    clock: SharedClock,
}

impl Catalogue {
    /// Of these chains, and of these Ollama servers by the names of their providers. What is done is written to `log`.
    pub fn new(router: Router, servers: BTreeMap<String, Server>, log: Log, clock: SharedClock) -> Self {
        Self { router, servers: Arc::new(servers), pulls: Arc::default(), log, clock }
    }

    /// Removes a model from a server's disk; `confirm` is its name once more.
    ///
    /// # Errors
    /// `Invalid` when the confirmation is not its name, `NotFound` when there is no such server or model, `Conflict` while
    /// it is being fetched.
    pub async fn delete(&self, server: &str, model: &str, confirm: &str, actor: &Actor) -> Result<()> {
        let (model, keeper) = (checked(model)?, self.server(server)?);
        if confirm.trim() != model {
            return Err(Error::invalid("the name that confirms it is another one")
                .remedy(format!("type {model} to remove it; nothing was removed")));
        }
        if self.pulls().iter().any(|pull| pull.is_of(server, &model) && pull.is_running()) {
            return Err(Error::conflict(format!("{model} is just being fetched")).remedy("stop that first"));
        }
        keeper.remove(&model).await.map_err(|error| in_our_words(&error))?;
        self.note(Action::ModelDeleted, actor, &model, json!({ "server": server })).await
    }

    /// Asks a route by its name, or a target by its own, a real question. No budget is asked: it is the operator's.
    ///
    /// # Errors
    /// `NotFound` when there is neither; `Unavailable` when nobody answers.
    pub async fn test(&self, name: &str, actor: &Actor) -> Result<Trial> {
        let router = if self.router.routes().any(|route| route.name == name) {
            self.router.route(Some(name))
        } else {
            self.router.only(name).ok_or_else(|| {
                Error::not_found(&format!("a route or a target named {name}"))
                    .remedy("`aegis models list` shows those that there are")
            })?
        };
        let tried = trial::of(&router).await;
        let detail = match &tried {
            Ok(trial) => json!(trial),
            Err(nobody) => json!({ "outcome": "failed", "error": nobody.to_string(), "attempts": nobody.attempts }),
        };
        self.note(Action::ModelTested, actor, name, detail).await?;
        tried.map_err(|nobody: NoModel| {
            Error::unavailable(nobody.to_string()).remedy("`aegis models list` shows what is wrong with each target")
        })
    }

    fn server(&self, name: &str) -> Result<&Server> {
        self.servers.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.servers.keys().map(String::as_str).collect();
            let missing = Error::not_found(&format!("an Ollama server named {}", shown(name)));
            if known.is_empty() {
                missing.remedy("put `ollama` or one of its models into a chain of [models]")
            } else {
                missing.remedy(format!("there are: {}", known.join(", ")))
            }
        })
    }

    async fn note(&self, action: Action, actor: &Actor, subject: &str, detail: serde_json::Value) -> Result<()> {
        let entry = NewEntry { actor: actor.clone(), action, run: None, subject: Some(subject.to_owned()), detail };
        audit::append(&self.log, &*self.clock, entry).await.map(|_| ())
    }
}

/// A model's name, as Ollama writes them: `llama3.2`, `qwen3:8b`, `hf.co/owner/name:Q4_K_M`.
fn checked(name: &str) -> Result<String> {
    let name = name.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    let parts_are_named = name.split(['/', ':']).all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()));
    if (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(allowed) && parts_are_named {
        return Ok(name.to_owned());
    }
    Err(Error::invalid(format!("\"{}\" is not a model's name", shown(name)))
        .remedy("write it as in Ollama's library: llama3.2, qwen3:8b"))
}

/// A name that somebody typed, cut to what a person reads.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn in_our_words(error: &ModelError) -> Error {
    match error {
        ModelError::ModelMissing { model, .. } => Error::not_found(&format!("the model {model}")),
        other => {
            let error = Error::new(Kind::Unavailable, other.to_string());
            match router::remedy(other) {
                Some(remedy) => error.remedy(remedy),
                None => error,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn names_are_those_of_ollamas_library_and_of_other_registries() {
        for name in ["llama3.2", "qwen3:8b", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", " nomic-embed-text "]
        {
            assert_eq!(checked(name).unwrap(), name.trim());
        }
        for name in ["", "../etc/passwd", "a b", "/llama", "llama:", "a//b", "löwe", &"x".repeat(201)] {
            assert!(checked(name).is_err(), "{name}");
        }
    }
}
