//! Pulling, listing what is loaded, and deleting, as `server/routes.go` and `server/download.go` do it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use futures::stream;
use serde_json::{Value, json};

use super::{Model, Shared, StandIn};

/// The layers of every model in the stand-in's registry, with the digests' first letter and their bytes.
const LAYERS: [(char, u64); 3] = [('d', 2_019_377_376), ('9', 1429), ('5', 561)];
/// Bytes of a layer that come between two lines.
const STEP: u64 = 250_000_000;

/// What the registry behind the stand-in does.
#[derive(Debug, Clone)]
pub enum Registry {
    /// Hands out models, with a pause before each line of progress.
    Gives(Duration),
    /// Breaks the connection after so many lines, once.
    BreaksAfter(usize),
    /// Fails after so many lines, as `{"error": …}` in a stream whose status is 200.
    FailsAfter(usize, &'static str),
}

/// What has been fetched of each model, kept between pulls; and what happened.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    pub(super) registry: VecDeque<Registry>,
    partial: BTreeMap<String, u64>,
    begun: Vec<(String, u64)>,
    abandoned: usize,
    loaded: Vec<String>,
}

impl StandIn {
    /// What the registry does at the next pulls; after them it hands out whatever is asked for at once.
    pub fn registry(&self, registry: impl IntoIterator<Item = Registry>) {
        self.shared.pulls().registry.extend(registry);
    }

    /// The pulls that were asked for, with the bytes that were there already.
    pub fn pulls(&self) -> Vec<(String, u64)> {
        self.shared.pulls().begun.clone()
    }

    /// How many pulls were left by whoever asked for them.
    pub fn abandoned_pulls(&self) -> usize {
        self.shared.pulls().abandoned
    }

    /// Loads a model into memory.
    pub fn load(&self, name: &str) {
        self.shared.pulls().loaded.push(name.to_owned());
    }

    /// The names of the models that it has.
    pub fn names(&self) -> Vec<String> {
        self.shared.state().models.iter().map(|model| model.name.clone()).collect()
    }
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/api/ps", get(running)).route("/api/pull", post(pull)).route("/api/delete", delete(remove))
}

async fn running(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let row = |name: &String| {
        json!({
            "name": name, "model": name, "size": 3_389_554_688_u64, "digest": "a80c4f17acd5",
            "details": { "parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"], "parameter_size": "3.2B", "quantization_level": "Q4_K_M" },
            "expires_at": "2026-01-01T00:30:00Z", "size_vram": 3_389_554_688_u64, "context_length": 4096,
        })
    };
    Json(json!({ "models": shared.pulls().loaded.iter().map(row).collect::<Vec<_>>() }))
}

async fn remove(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = full(request["model"].as_str().unwrap_or_default());
    if shared.find(&name).is_none() {
        let error = json!({ "error": format!("model '{}' not found", request["model"].as_str().unwrap_or_default()) });
        return (StatusCode::NOT_FOUND, Json(error)).into_response();
    }
    shared.state().models.retain(|model| model.name != name);
    StatusCode::OK.into_response()
}

async fn pull(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = request["model"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() || name.contains(' ') {
        shared.complain(format!("/api/pull of \"{name}\""));
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid model name" }))).into_response();
    }
    if request["stream"] == Value::Bool(false) {
        shared.complain("/api/pull without a stream");
    }
    let (registry, there) = {
        let mut pulls = shared.pulls();
        let there = pulls.partial.get(&name).copied().unwrap_or_default();
        pulls.begun.push((name.clone(), there));
        (pulls.registry.pop_front().unwrap_or(Registry::Gives(Duration::ZERO)), there)
    };
    let state = Pulling { lines: lines(&name, there), sent: 0, registry, name, shared, over: false };
    let sent = stream::unfold(state, |mut pulling| async move {
        let line = pulling.next().await?;
        Some((line, pulling))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(sent)).into_response()
}

struct Pulling {
    lines: VecDeque<(Value, u64)>,
    sent: usize,
    registry: Registry,
    name: String,
    shared: Arc<Shared>,
    over: bool,
}

impl Pulling {
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        if self.over {
            return None;
        }
        let pause = if let Registry::Gives(pause) = self.registry { pause } else { Duration::from_millis(5) };
        tokio::time::sleep(pause).await;
        match self.registry {
            Registry::BreaksAfter(lines) if self.sent >= lines => {
                self.over = true;
                tokio::time::sleep(Duration::from_millis(50)).await;
                return Some(Err(std::io::Error::other("cut")));
            }
            Registry::FailsAfter(lines, error) if self.sent >= lines => {
                self.over = true;
                return Some(Ok(format!("{}\n", json!({ "error": error })).into()));
            }
            _ => {}
        }
        let Some((line, there)) = self.lines.pop_front() else {
            self.over = true;
            return None;
        };
        self.sent += 1;
        if there > 0 {
            self.shared.pulls().partial.insert(self.name.clone(), there);
        }
        if line["status"] == "success" {
            self.over = true;
            let name = full(&self.name);
            let model = Model {
                name,
                capabilities: vec!["completion", "tools"],
                parameters: 3_212_749_888,
                context_length: 131_072,
            };
            let mut state = self.shared.state();
            state.models.retain(|other| other.name != model.name);
            state.models.push(model);
        }
        Some(Ok(format!("{line}\n").into()))
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        if !self.over {
            self.shared.pulls().abandoned += 1;
        }
    }
}

/// What is said, and the bytes of the first layer that are there then.
fn lines(name: &str, there: u64) -> VecDeque<(Value, u64)> {
    let mut lines = VecDeque::from([(json!({ "status": "pulling manifest" }), 0)]);
    if name.starts_with("nosuch") {
        lines.push_back((json!({ "error": "pull model manifest: file does not exist" }), 0));
        return lines;
    }
    for (place, (letter, total)) in LAYERS.into_iter().enumerate() {
        let digest = format!("sha256:{}", letter.to_string().repeat(64));
        let status = format!("pulling {}", &digest[7..19]);
        let mut completed = if place == 0 { there.min(total) } else { 0 };
        loop {
            let kept = if place == 0 { completed } else { 0 };
            let mut line = json!({ "status": status, "digest": digest, "total": total });
            if completed > 0 {
                line["completed"] = json!(completed);
            }
            lines.push_back((line, kept));
            if completed >= total {
                break;
            }
            completed = (completed + STEP).min(total);
        }
    }
    for status in ["verifying sha256 digest", "writing manifest", "success"] {
        lines.push_back((json!({ "status": status }), 0));
    }
    lines
}

fn full(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}
