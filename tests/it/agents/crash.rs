//! Processes that are killed in the middle of a run, and the next ones that go on with it. What reached outside has done so
//! once, whenever it was.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use aegis::{
    agents::{
        Agents, Ask, RunEvent,
        policy::{AfterUntrusted, Rule},
        tool::{Effects, Tool, ToolContext, ToolOutput},
    },
    audit::Actor,
    db::{Databases, Server},
    models::chat::ToolSpec,
    support::{
        Result, SystemClock,
        ids::{ConversationId, RunId},
    },
    vault::ApplianceKey,
};
use async_trait::async_trait;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{LEAVE, Office, Shelf, router_at};
use crate::{
    harness::{database, server},
    ollama_stand_in::Script,
};

/// What a process is told that is to be killed.
#[derive(Serialize, Deserialize)]
struct Orders {
    sockets: PathBuf,
    port: u16,
    database: String,
    tenant: String,
    ollama: String,
    user: String,
    ledger: PathBuf,
    /// Whether the ledger knows a repetition.
    knows: bool,
    /// Whether it asks; otherwise it goes on with what was left.
    asks: bool,
}

/// A tool that reaches outside: it writes a line into a file, and hangs then while there is a file `hold` beside it.
struct Ledger {
    file: PathBuf,
    knows: bool,
}

#[async_trait]
impl Tool for Ledger {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "ledger.write".to_owned(),
            description: "Writes a line.".to_owned(),
            parameters: json!({"type": "object", "properties": {"line": {"type": "string"}}, "required": ["line"]}),
        }
    }

    fn effects(&self) -> Effects {
        Effects::Outside
    }

    fn knows_repetitions(&self) -> bool {
        self.knows
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput> {
        let before = fs::read_to_string(&self.file).unwrap_or_default();
        if !(self.knows && before.contains(&context.idempotency_key)) {
            fs::write(&self.file, format!("{before}{} {}\n", context.idempotency_key, arguments["line"])).unwrap();
        }
        while self.file.with_file_name("hold").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(ToolOutput { summary: "written".to_owned(), content: json!("written"), sources: Vec::new() })
    }
}

/// The process: it asks, or goes on with what another left, and ends when nothing is left to do.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the crash tests start it, to kill it"]
async fn a_process_to_be_killed() {
    let orders: Orders = serde_json::from_str(&std::env::var("AEGIS_CRASH").expect("orders")).unwrap();
    let server = Server::own(&orders.sockets, orders.port, &ApplianceKey::from_bytes([1; 32]));
    let databases = Databases::open(server.with_database(&orders.database), &database::settings()).await.unwrap();
    let db = databases.tenant(&orders.tenant.parse().unwrap()).await.unwrap();
    let clock = Arc::new(SystemClock);
    let tools: Vec<Arc<dyn Tool>> = vec![Arc::new(Ledger { file: orders.ledger, knows: orders.knows })];
    let router = router_at(&orders.ollama, clock.clone());
    let agents = Agents::new(router, Arc::new(Shelf::with(&[LEAVE])), tools, Vec::new(), clock);
    if orders.asks {
        let actor = Actor::User { id: orders.user.parse().unwrap() };
        let run = agents.ask(&db, Ask::new("atlas", "Write it down.", actor)).await.unwrap();
        let last = run.events.collect::<Vec<_>>().await.pop();
        assert!(matches!(last, Some(RunEvent::Waiting { .. } | RunEvent::Finished(_))), "{last:?}");
        return;
    }
    let user = orders.user.parse().unwrap();
    agents.resume_all_of(&db, true).await.unwrap();
    for summary in agents.conversations(&db, user).await.unwrap() {
        for _ in 0..1000 {
            let kept = agents.conversation(&db, user, summary.id).await.unwrap().unwrap();
            if kept.messages.len() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // The last entry is written after the answer.
    agents.shutdown().await;
}

struct Scene {
    office: Office,
    home: tempfile::TempDir,
    knows: bool,
}

impl Scene {
    async fn new(knows: bool, rule: Option<Rule>) -> Self {
        let office = Office::with(&[LEAVE]).await;
        let home = tempfile::tempdir().unwrap();
        if let Some(rule) = rule {
            let rule = Some((rule, AfterUntrusted::Ask));
            office.agents.set_policy(&office.tenant, office.user, "ledger.write", None, rule).await.unwrap();
        }
        Self { office, home, knows }
    }

    fn ledger(&self) -> PathBuf {
        self.home.path().join("ledger")
    }

    fn lines(&self) -> usize {
        fs::read_to_string(self.ledger()).unwrap_or_default().lines().count()
    }

    fn hold(&self, hold: bool) {
        let file = self.home.path().join("hold");
        if hold { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() }
    }

    fn process(&self, asks: bool) -> Process {
        let (sockets, port) = server::place();
        let orders = Orders {
            sockets,
            port,
            database: self.office.db.server().database().to_owned(),
            tenant: self.office.tenant.tenant().to_string(),
            ollama: self.office.ollama.url(),
            user: self.office.user.to_string(),
            ledger: self.ledger(),
            knows: self.knows,
            asks,
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "agents::crash::a_process_to_be_killed", "--ignored", "--nocapture"])
            .env("AEGIS_CRASH", serde_json::to_string(&orders).unwrap())
            .spawn()
            .unwrap();
        Process(child)
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..3000 {
            if condition(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("waited in vain until {what}");
    }

    /// The run, and the answer that its person finds in the end.
    async fn end(&self) -> (RunId, ConversationId, String) {
        let process = self.process(false);
        tokio::task::spawn_blocking(move || process.ends()).await.unwrap();
        let Office { agents, tenant, user, .. } = &self.office;
        let conversation = agents.conversations(tenant, *user).await.unwrap()[0].id;
        let kept = agents.conversation(tenant, *user, conversation).await.unwrap().unwrap();
        assert_eq!(kept.messages.len(), 2, "one question, one answer: {:?}", kept.messages);
        (kept.messages[1].run, conversation, kept.messages[1].text.clone())
    }

    async fn tell(&self, run: RunId) -> Vec<String> {
        let mut actions = Vec::new();
        for entry in self.office.audit(run).await {
            let about = entry.subject.as_deref().unwrap_or_default();
            let known = entry.detail.get("known").map(ToString::to_string).unwrap_or_default();
            println!(
                "{:>3} {} {:<19} {about} {} {known}",
                entry.seq,
                entry.at.format("%T%.3f"),
                entry.action,
                entry.outcome()
            );
            actions.push(entry.action);
        }
        actions
    }
}

struct Process(Child);

impl Process {
    /// SIGKILL.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn ends(mut self) {
        assert!(self.0.wait().unwrap().success());
    }
}

fn write() -> Script {
    Script::call("ledger_write", &json!({"line": "paid"}))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_model_writes_the_run_goes_on_and_the_call_is_made_once() {
    let scene = Scene::new(false, Some(Rule::Allow)).await;
    scene.office.ollama.script([Script::say("I shall").then_hang()]);
    let process = scene.process(true);
    scene.until("the model is asked", |scene| scene.office.ollama.chats().len() == 1).await;
    process.kill();
    scene.office.ollama.script([write(), Script::say("It is written.")]);
    let (run, _, answer) = scene.end().await;
    assert_eq!((answer.as_str(), scene.lines()), ("It is written.", 1));
    assert_eq!(
        scene.tell(run).await,
        ["run.started", "run.resumed", "model.called", "tool.called", "model.called", "run.finished"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_tool_runs_the_call_is_not_repeated_and_everybody_is_told() {
    let scene = Scene::new(false, Some(Rule::Allow)).await;
    scene.office.ollama.script([write()]);
    scene.hold(true);
    let process = scene.process(true);
    scene.until("the line is written", |scene| scene.lines() == 1).await;
    process.kill();
    scene.hold(false);
    scene.office.ollama.script([Script::say("I am not sure.")]);
    let (run, _, answer) = scene.end().await;
    assert_eq!(scene.lines(), 1, "it was not repeated");
    assert!(answer.starts_with("I am not sure.") && answer.contains("may or may not have been done"), "{answer}");
    let told = scene.office.chat(1).0;
    assert!(told.contains("It may or may not have been done"), "{told}");
    let actions = scene.tell(run).await;
    assert_eq!(actions, ["run.started", "model.called", "run.resumed", "tool.called", "model.called", "run.finished"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_tool_runs_that_knows_repetitions_the_same_call_is_made_again() {
    let scene = Scene::new(true, Some(Rule::Allow)).await;
    scene.office.ollama.script([write()]);
    scene.hold(true);
    let process = scene.process(true);
    scene.until("the line is written", |scene| scene.lines() == 1).await;
    process.kill();
    scene.hold(false);
    scene.office.ollama.script([Script::say("It is written.")]);
    let (_, _, answer) = scene.end().await;
    assert_eq!((answer.as_str(), scene.lines()), ("It is written.", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_a_call_and_the_next_question_to_the_model_nothing_is_done_twice() {
    let scene = Scene::new(false, Some(Rule::Allow)).await;
    scene.office.ollama.script([write(), Script::say("Now").then_hang()]);
    let process = scene.process(true);
    scene.until("the model is asked again", |scene| scene.office.ollama.chats().len() == 2).await;
    process.kill();
    scene.office.ollama.script([Script::say("It is written.")]);
    let (run, _, answer) = scene.end().await;
    assert_eq!((answer.as_str(), scene.lines()), ("It is written.", 1));
    assert_eq!(scene.office.ollama.chats().len(), 3, "what the model had said is not asked for again");
    assert_eq!(
        scene.tell(run).await,
        ["run.started", "model.called", "tool.called", "run.resumed", "model.called", "run.finished"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_leave_was_given_and_before_the_call_it_is_made_once() {
    let scene = Scene::new(false, None).await;
    scene.office.ollama.script([write()]);
    let process = scene.process(true);
    tokio::task::spawn_blocking(move || process.ends()).await.unwrap();
    assert_eq!(scene.lines(), 0);
    // What a process leaves that is killed right after it has stored the decision.
    allowed(&scene).await;
    scene.office.ollama.script([Script::say("It is written.")]);
    let (run, _, answer) = scene.end().await;
    assert_eq!((answer.as_str(), scene.lines()), ("It is written.", 1));
    assert_eq!(
        scene.tell(run).await,
        [
            "run.started",
            "model.called",
            "approval.requested",
            "run.resumed",
            "approval.decided",
            "tool.called",
            "model.called",
            "run.finished"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_leave_was_given_and_while_the_call_is_made_it_is_not_made_again() {
    let scene = Scene::new(false, None).await;
    scene.office.ollama.script([write()]);
    let process = scene.process(true);
    tokio::task::spawn_blocking(move || process.ends()).await.unwrap();
    allowed(&scene).await;
    scene.hold(true);
    let process = scene.process(false);
    scene.until("the line is written", |scene| scene.lines() == 1).await;
    process.kill();
    scene.hold(false);
    scene.office.ollama.script([Script::say("I am not sure.")]);
    let (_, _, answer) = scene.end().await;
    assert_eq!(scene.lines(), 1);
    assert!(answer.contains("may or may not have been done"), "{answer}");
}

async fn allowed(scene: &Scene) {
    let mut superuser = scene.office.db.superuser().await;
    let update = format!(
        "UPDATE {}.approvals SET state = 'allowed', decided_at = now(), decided_by = user_id",
        scene.office.tenant.tenant().schema()
    );
    sqlx::query(sqlx::AssertSqlSafe(update)).execute(&mut superuser).await.unwrap();
}
