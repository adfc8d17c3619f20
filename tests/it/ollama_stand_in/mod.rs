//! A server that behaves as Ollama's source says (`server/routes.go`, `api/types.go`), for tests. It checks
//! every request that it gets, and fails the test at its end if one was wrong.
//!
//! ```ignore
//! let ollama = StandIn::start().await;                  // serves llama3.2 and nomic-embed-text
//! config.models.ollama.url = ollama.url();
//! ollama.script([Script::say("Good morning.")]);        // the next chat; without a script it searches and cites
//! ```

mod check;
mod embed;
mod pull;
mod respond;
mod routes;
mod script;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;

pub use pull::Registry;
pub use script::Script;

/// A running stand-in. It stops, and reports wrong requests, when it is dropped.
pub struct StandIn {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

/// A model that the stand-in has.
#[derive(Debug, Clone)]
pub struct Model {
    /// `llama3.2:latest`
    pub name: String,
    /// As `/api/show` lists them.
    pub capabilities: Vec<&'static str>,
    /// `general.parameter_count`
    pub parameters: u64,
    /// `….context_length`
    pub context_length: u32,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    pulls: Mutex<pull::Pulls>,
    abandoned: AtomicUsize,
}

#[derive(Default)]
struct State {
    models: Vec<Model>,
    scripts: std::collections::VecDeque<Script>,
    planned: Vec<(Vec<String>, Script)>,
    chats: Vec<Value>,
    shows: usize,
    complaints: Vec<String>,
}

impl StandIn {
    /// Starts on a free port, with `llama3.2` (tools, 3.2 billion parameters) and `nomic-embed-text`.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        shared.state().models = vec![
            Model {
                name: "llama3.2:latest".to_owned(),
                capabilities: vec!["completion", "tools"],
                parameters: 3_212_749_888,
                context_length: 131_072,
            },
            Model {
                name: "nomic-embed-text:latest".to_owned(),
                capabilities: vec!["embedding"],
                parameters: 136_727_040,
                context_length: 2048,
            },
        ];
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let app = routes::routes(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("the stand-in serves") });
        Self { address, shared, server }
    }

    /// Its address, for `models.ollama.url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Replaces the model of the same name, or adds one.
    pub fn model(&self, model: Model) {
        let mut state = self.shared.state();
        state.models.retain(|other| other.name != model.name);
        state.models.push(model);
    }

    /// Removes all models: nothing has been pulled.
    pub fn without_models(&self) {
        self.shared.state().models.clear();
    }

    /// What the next chats are answered with, in order. After them it answers by itself: it calls a search tool
    /// if one is offered and has not been used for this question, otherwise it says the first sentence of the
    /// first passage that it was given, and the mark `[1]`.
    pub fn script(&self, scripts: impl IntoIterator<Item = Script>) {
        self.shared.state().scripts.extend(scripts);
    }

    /// What the next chat is answered with whose messages contain all of `words`: for callers that ask at once.
    pub fn script_when(&self, words: &[&str], script: Script) {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.shared.state().planned.push((words, script));
    }

    /// The bodies of all chats so far.
    pub fn chats(&self) -> Vec<Value> {
        self.shared.state().chats.clone()
    }

    /// How often a model's details were asked for.
    pub fn shows(&self) -> usize {
        self.shared.state().shows
    }

    /// How many answers were cut off by the client closing the connection.
    pub fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Ordering::SeqCst)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
        let complaints = std::mem::take(&mut self.shared.state().complaints);
        if !std::thread::panicking() {
            assert!(complaints.is_empty(), "Ollama would not have understood: {complaints:#?}");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn planned(&self, request: &Value) -> Option<Script> {
        let said: Vec<_> =
            request["messages"].as_array()?.iter().filter_map(|message| message["content"].as_str()).collect();
        let said = said.join("\n");
        let planned = &mut self.state().planned;
        let found = planned.iter().position(|(words, _)| words.iter().all(|word| said.contains(word.as_str())))?;
        Some(planned.remove(found).1)
    }

    fn pulls(&self) -> MutexGuard<'_, pull::Pulls> {
        self.pulls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complain(&self, complaint: impl Into<String>) {
        self.state().complaints.push(complaint.into());
    }

    /// Ollama takes `llama3.2` for `llama3.2:latest`.
    fn find(&self, name: &str) -> Option<Model> {
        let full = if name.contains(':') { name.to_owned() } else { format!("{name}:latest") };
        self.state().models.iter().find(|model| model.name == full).cloned()
    }
}
