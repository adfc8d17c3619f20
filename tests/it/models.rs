//! Models: Ollama over its stand-in, the router, the built-in embedding, the built-in engine.

mod bench;
mod budget;
mod catalogue;
mod embedding;
mod embedding_bench;
mod gguf;
mod ollama;
mod router;
mod routes;
mod scripted;
mod storm;
mod vendors;

use std::sync::{Arc, Mutex};

use aegis::{
    config,
    egress::Egress,
    models::{
        chat::{ChatEvent, ChatRequest, ChatStream, Message, ModelError, Speaker, ToolSpec},
        ollama::{OllamaChat, Server},
    },
    support::{Clock, clock::SharedClock},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use serde_json::json;

/// The configuration's section for a server at `url`, with short limits.
pub fn ollama_at(url: &str) -> config::Ollama {
    config::Ollama {
        url: url.to_owned(),
        model: "llama3.2".to_owned(),
        max_context: 16_384,
        load_timeout_seconds: 5,
        idle_timeout_seconds: 5,
        keep_alive_minutes: 30,
        parallel: 4,
    }
}

fn server(config: &config::Ollama) -> Server {
    let egress = Egress::allowing([("models.ollama.url", config.url.as_str())]).expect("a valid address");
    Server::new(config, egress).expect("a valid address")
}

pub fn chat_model(config: &config::Ollama) -> OllamaChat {
    OllamaChat::new(server(config), config)
}

fn ask(question: &str) -> ChatRequest {
    ChatRequest { messages: vec![Message::new(Speaker::User, question)], ..ChatRequest::default() }
}

fn search_tool() -> ToolSpec {
    ToolSpec {
        name: "knowledge.search".to_owned(),
        description: "Finds passages in the documents.".to_owned(),
        parameters: json!({
            "type": "object",
            "properties": { "query": { "type": "string" }, "limit": { "type": "integer" } },
            "required": ["query"],
        }),
    }
}

/// Everything that a stream gave, and the error that ended it.
async fn all(mut stream: ChatStream) -> (Vec<ChatEvent>, Option<ModelError>) {
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(error) => return (events, Some(error)),
        }
    }
    (events, None)
}

fn text_of(events: &[ChatEvent]) -> String {
    events
        .iter()
        .filter_map(|event| if let ChatEvent::Text(text) = event { Some(text.as_str()) } else { None })
        .collect()
}

/// A clock that stands still until it is told otherwise.
#[derive(Clone)]
struct Stopped(Arc<Mutex<DateTime<Utc>>>);

impl Stopped {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(DateTime::UNIX_EPOCH)))
    }

    fn advance(&self, seconds: i64) {
        *self.0.lock().expect("the clock") += TimeDelta::seconds(seconds);
    }

    fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }
}

impl Clock for Stopped {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("the clock")
    }
}
