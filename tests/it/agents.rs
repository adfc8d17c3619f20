//! Agents on a real database and an Ollama stand-in: what a question becomes, and what is kept of it.

mod answers;
mod bounds;
mod conversations;
mod crash;
mod delegation;
mod failures;
mod leave;
mod memory;
mod post;
mod staff;
mod untrusted;
mod workspace;

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use aegis::{
    agents::{
        Agents, Answer, Ask, RunEvent,
        tool::{Retriever, Source, Tool, ToolContext, ToolOutput},
    },
    audit::{self, Actor, Entry},
    config,
    db::TenantDb,
    egress::Egress,
    models::{
        Router,
        chat::{ChatModel, ToolSpec},
        ollama::{OllamaChat, Server},
    },
    support::{
        Error, Result,
        clock::SharedClock,
        ids::{DocumentId, PassageId, RunId, UserId},
    },
};
use async_trait::async_trait;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::{harness::TestDb, ollama_stand_in::StandIn};

/// A tenant, a stand-in for Ollama, and agents that find what is on a shelf.
struct Office {
    tenant: TenantDb,
    agents: Agents,
    ollama: StandIn,
    shelf: Shelf,
    user: UserId,
    db: TestDb,
}

impl Office {
    /// With these passages on the shelf.
    async fn with(texts: &[&str]) -> Self {
        Self::with_tools(texts, Vec::new()).await
    }

    /// With these tools, too.
    async fn with_tools(texts: &[&str], more: Vec<Arc<dyn Tool>>) -> Self {
        let db = TestDb::new().await;
        let (_, tenant) = db.tenant("acme").await;
        let ollama = StandIn::start().await;
        let shelf = Shelf::with(texts);
        let mut tools: Vec<Arc<dyn Tool>> = vec![Arc::new(Search(shelf.clone())), Arc::new(Broken)];
        tools.extend(more);
        let router = router(&ollama, &db);
        let agents = Agents::new(router, Arc::new(shelf.clone()), tools, Vec::new(), db.shared_clock());
        Self { tenant, agents, ollama, shelf, user: UserId::generate(), db }
    }

    /// With nothing but a chain that is empty.
    async fn without_a_model(texts: &[&str]) -> Self {
        let mut office = Self::with(texts).await;
        let router = Router::new(Vec::new(), office.db.shared_clock());
        office.agents =
            Agents::new(router, Arc::new(office.shelf.clone()), Vec::new(), Vec::new(), office.db.shared_clock());
        office
    }

    /// What a process has that starts on the same database, with the tools of all.
    fn another_process(&self) -> Agents {
        self.another_process_with(Vec::new())
    }

    fn another_process_with(&self, more: Vec<Arc<dyn Tool>>) -> Agents {
        let mut tools: Vec<Arc<dyn Tool>> = vec![Arc::new(Search(self.shelf.clone()))];
        tools.extend(more);
        let router = router(&self.ollama, &self.db);
        Agents::new(router, Arc::new(self.shelf.clone()), tools, Vec::new(), self.db.shared_clock())
    }

    fn question(&self, question: &str) -> Ask {
        Ask::new("atlas", question, Actor::User { id: self.user })
    }

    async fn events(&self, ask: Ask) -> Vec<RunEvent> {
        let run = self.agents.ask(&self.tenant, ask).await.unwrap();
        tokio::time::timeout(Duration::from_secs(20), run.events.collect()).await.expect("the run ends")
    }

    async fn answer(&self, question: &str) -> Answer {
        match self.events(self.question(question)).await.pop() {
            Some(RunEvent::Finished(answer)) => answer,
            other => panic!("no answer but {other:?}"),
        }
    }

    /// The entries of a run; the whole log must be sound.
    async fn audit(&self, run: RunId) -> Vec<Entry> {
        let verified = audit::verify(&self.tenant).await.unwrap();
        assert_eq!(verified.broken, None);
        audit::of_run(&self.tenant, run).await.unwrap()
    }

    async fn actions(&self, run: RunId) -> Vec<String> {
        self.audit(run).await.into_iter().map(|entry| entry.action).collect()
    }

    /// The text of all messages of the chat with this number, and its tools' names.
    fn chat(&self, number: usize) -> (String, Vec<String>) {
        let chat = &self.ollama.chats()[number];
        let texts = chat["messages"].as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap());
        let tools = chat["tools"].as_array().into_iter().flatten();
        let tools = tools.map(|tool| tool["function"]["name"].as_str().unwrap().to_owned()).collect();
        (texts.collect::<Vec<_>>().join("\n---\n"), tools)
    }
}

fn router(ollama: &StandIn, db: &TestDb) -> Router {
    router_at(&ollama.url(), db.shared_clock())
}

fn router_at(url: &str, clock: SharedClock) -> Router {
    let config = config::Ollama {
        url: url.to_owned(),
        model: "llama3.2".to_owned(),
        max_context: 16_384,
        load_timeout_seconds: 60,
        idle_timeout_seconds: 60,
        keep_alive_minutes: 30,
        parallel: 4,
    };
    let egress = Egress::allowing([("models.ollama.url", config.url.as_str())]).unwrap();
    let server = Server::new(&config, egress).unwrap();
    let model: Arc<dyn ChatModel> = Arc::new(OllamaChat::new(server, &config));
    Router::new(vec![model], clock)
}

/// Passages, found in the order in which they stand, whatever is asked.
#[derive(Clone)]
struct Shelf {
    sources: Arc<[Source]>,
    queries: Arc<Mutex<Vec<String>>>,
}

impl Shelf {
    fn with(texts: &[&str]) -> Self {
        let document = DocumentId::generate();
        let source = |(index, text): (usize, &&str)| Source {
            passage: PassageId::generate(),
            document,
            title: "Handbook".to_owned(),
            locator: format!("page {}", index + 1),
            text: (*text).to_owned(),
            score: 1.0,
        };
        Self { sources: texts.iter().enumerate().map(source).collect(), queries: Arc::default() }
    }

    fn queries(&self) -> Vec<String> {
        self.queries.lock().unwrap().clone()
    }

    fn find(&self, query: &str, limit: usize) -> Vec<Source> {
        self.queries.lock().unwrap().push(query.to_owned());
        self.sources.iter().take(limit).cloned().collect()
    }
}

#[async_trait]
impl Retriever for Shelf {
    async fn retrieve(&self, _context: &ToolContext, question: &str, limit: usize) -> Result<Vec<Source>> {
        Ok(self.find(question, limit))
    }
}

/// `knowledge.search` over a shelf. Two calls at once wait for each other when the query says so.
struct Search(Shelf);

static MEETING: LazyLock<tokio::sync::Barrier> = LazyLock::new(|| tokio::sync::Barrier::new(2));

#[async_trait]
impl Tool for Search {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "knowledge.search".to_owned(),
            description: "Finds passages.".to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "query": {"type": "string", "minLength": 1},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 8},
                },
                "required": ["query"],
                "additionalProperties": false,
            }),
        }
    }

    fn returns_untrusted_text(&self) -> bool {
        true
    }

    async fn call(&self, _context: &ToolContext, arguments: Value) -> Result<ToolOutput> {
        let query = arguments["query"].as_str().expect("it was checked");
        if query.starts_with("meet") {
            MEETING.wait().await;
        }
        let limit = arguments["limit"].as_u64().map_or(8, |limit| usize::try_from(limit).unwrap());
        let sources = self.0.find(query, limit);
        Ok(ToolOutput { summary: format!("{} passages", sources.len()), content: Value::Null, sources })
    }
}

/// A tool that has a fault of ours.
struct Broken;

#[async_trait]
impl Tool for Broken {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "broken".to_owned(),
            description: String::new(),
            parameters: json!({"type": "object", "properties": {}}),
        }
    }

    async fn call(&self, _context: &ToolContext, _arguments: Value) -> Result<ToolOutput> {
        Err(Error::internal("the password is hunter2"))
    }
}

const LEAVE: &str = "Parental leave is sixteen weeks. It may be taken in two parts.";
const NOTICE: &str = "The notice period is four weeks to the end of a month.";
const VISITORS: &str = "Visitors sign in at the front desk.";
