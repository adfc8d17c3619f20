//! Agents: who they are (SOUL), what they may do (tools), and how a question becomes an answer (the run).
//!
//! ```text
//! ask ─ run ─ steps ─┬─ prompt ─ fence              what a model is asked
//!                    ├─ calls ─ registry ─ schema   what it may call
//!                    │    └ policy, approvals       what it may do without asking, and whom it asks
//!                    ├─ journal ─ resume            what it has done, and how it goes on after a crash or a decision
//!                    ├─ memory                      what it is reminded of, and what is remembered of it
//!                    └─ record                      what is written down
//!                    replay                        and how it is gone through again from that
//!      answer: citations ─ marks, lexical;  quoting;  markdown
//!      who they are: soul, staff (what each organisation made of them)
//!      kept in: conversation ─ archive ─ store;  watched through: event;  stopped through: in_flight
//! ```

pub mod approvals;
mod archive;
mod calls;
mod citations;
mod conversation;
mod event;
mod fence;
pub mod http;
mod in_flight;
mod journal;
mod lexical;
mod limits;
pub mod markdown;
mod marks;
pub mod memory;
pub mod policy;
mod program;
mod progress;
mod prompt;
mod quoting;
mod record;
mod registry;
pub mod replay;
mod resume;
mod run;
mod schema;
pub mod soul;
pub mod staff;
mod steps;
mod store;
pub mod tool;
pub mod tools;

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::BoxStream};
use serde_json::json;

use crate::{
    audit::{Action, Actor},
    db::TenantDb,
    models::{
        budget::Budgets,
        chat::{Message, Speaker},
        router::Router,
    },
    support::{
        Error, Result,
        clock::SharedClock,
        ids::{ConversationId, NodeId, RunId, TenantId, UserId},
    },
};

pub use citations::{Citation, renumbered, with_places};
pub use conversation::{Author, Conversation, ConversationSummary, MessageState, StoredMessage};
pub use event::{Answer, RunEvent, ToolCallSummary};
pub use fence::words;
use in_flight::InFlight;
use journal::{
    Journal,
    store::{self as runs, NewRun, RunState},
};
pub use limits::Limits;
use memory::{Memory, compaction, notes::Recollection, veil::Veil};
pub use program::{Program, ProgramCall};
use record::Recorder;
use registry::Tools;
use resume::{Asked, Standing, Waiting};
use run::{CutOff, Shared};
use soul::{AgentInfo, Profile, Soul};
use staff::Staff;
use steps::Asks;
use tool::{Retriever, Tool, ToolSource};

/// The most messages of a conversation that are read back.
const MESSAGES: i64 = 200;
/// How much of a conversation a run is given, in bytes of text: more than models read at once, and all of it is logged.
const HISTORY_BYTES: usize = 128 << 10;
/// How long a shutdown waits for stopped runs to be stored.
const CLOSING: Duration = Duration::from_secs(10);

/// The agents of the appliance. Cheap to clone.
#[derive(Clone)]
pub struct Agents {
    shared: Arc<Shared>,
    clock: SharedClock,
    /// The tenants in which this process has left runs waiting.
    waiting: Waiting,
}

/// The agents, for one of their own tools: it does not keep them.
#[derive(Clone)]
pub struct Handle {
    shared: Weak<Shared>,
    clock: SharedClock,
    waiting: Waiting,
}

impl Handle {
    /// The agents, as long as somebody has them.
    pub fn agents(&self) -> Option<Agents> {
        let Self { shared, clock, waiting } = self.clone();
        Some(Agents { shared: shared.upgrade()?, clock, waiting })
    }
}

/// A question to an agent.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The agent: `atlas`.
    pub agent: String,
    /// What is asked.
    pub question: String,
    /// What was said before, and where the answer is kept.
    pub thread: Thread,
    /// What else the agent is told for this run, after its SOUL: the task of a meeting, a program's own words.
    pub instructions: Option<String>,
    /// A profile that is tried in place of the agent's own.
    pub soul: Option<Soul>,
    /// In whose name, for the audit log.
    pub actor: Actor,
    /// Whose conversation it is; `None` at the command line.
    pub user: Option<UserId>,
    /// How many agents have handed the question on: 0 for one that somebody asks.
    pub depth: u8,
    /// What a program brings along that asks by the developer API.
    pub program: Program,
    /// What whoever asks has read that others wrote: an agent that hands a question on, or a meeting.
    pub has_read: Vec<String>,
}

impl Ask {
    /// A question that begins a conversation: that of the person who asks, or nobody's.
    pub fn new(agent: impl Into<String>, question: impl Into<String>, actor: Actor) -> Self {
        let user = match &actor {
            Actor::User { id } => Some(*id),
            _ => None,
        };
        let (agent, question) = (agent.into(), question.into());
        Self {
            agent,
            question,
            thread: Thread::New,
            instructions: None,
            soul: None,
            actor,
            user,
            depth: 0,
            program: Program::default(),
            has_read: Vec::new(),
        }
    }
}

/// Where a question stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Thread {
    /// It begins a conversation.
    New,
    /// It continues one.
    Of(ConversationId),
    /// In no conversation: nothing is kept but the audit log's entries.
    Apart {
        /// What was said before, question and answer in turn.
        history: Vec<Message>,
    },
}

impl From<Option<ConversationId>> for Thread {
    fn from(conversation: Option<ConversationId>) -> Self {
        conversation.map_or(Self::New, Self::Of)
    }
}

/// A question that is being answered.
pub struct Run {
    /// The run.
    pub id: RunId,
    /// The conversation that it belongs to, if it does.
    pub conversation: Option<ConversationId>,
    /// What happens, ending with `Finished`, `Failed` or `Waiting`. Dropping it stops a run apart, or one that belongs to
    /// nobody; in a person's conversation it goes on.
    pub events: BoxStream<'static, RunEvent>,
}

impl Agents {
    /// Agents that ask the models of `router`, find passages with `retriever` and may call `tools`, and what there is at
    /// `sources` for their tenant.
    pub fn new(
        router: Router,
        retriever: Arc<dyn Retriever>,
        tools: Vec<Arc<dyn Tool>>,
        sources: Vec<Arc<dyn ToolSource>>,
        clock: SharedClock,
    ) -> Self {
        let tools = Tools::new(tools, sources);
        let limits = Limits::default();
        let shared = Shared {
            router,
            retriever,
            tools,
            budgets: None,
            memory: None,
            in_flight: InFlight::new(),
            limits,
            node: NodeId::generate(),
        };
        Self { shared: Arc::new(shared), clock, waiting: Waiting::default() }
    }

    /// A handle that does not keep them.
    pub fn handle(&self) -> Handle {
        let Self { shared, clock, waiting } = self.clone();
        Handle { shared: Arc::downgrade(&shared), clock, waiting }
    }

    /// The same agents, whose calls of models `budgets` has a say in.
    #[must_use]
    pub fn with_budgets(self, budgets: Budgets) -> Self {
        Self { shared: Arc::new(Shared { budgets: Some(budgets), ..(*self.shared).clone() }), ..self }
    }

    /// The same agents, who remember.
    #[must_use]
    pub fn with_memory(self, memory: Memory) -> Self {
        let memory = Some(Recollection::Live(memory));
        Self { shared: Arc::new(Shared { memory, ..(*self.shared).clone() }), ..self }
    }

    /// The same agents, whose runs may take so long and no longer.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        let limits = Limits { patience, ..self.shared.limits };
        self.with_limits(limits)
    }

    /// The same agents, whose runs may not exceed these limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { shared: Arc::new(Shared { limits, ..(*self.shared).clone() }), ..self }
    }

    /// The agents that can be asked, in the order in which they are shown.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn agents(&self, db: &TenantDb) -> Result<Vec<AgentInfo>> {
        let members = self.staff().members(db).await?.into_iter();
        Ok(members.filter(|member| member.enabled).map(|member| member.profile.info).collect())
    }

    /// Who an agent is.
    ///
    /// # Errors
    /// `NotFound` when there is none of that id, or it is switched off.
    pub async fn profile(&self, db: &TenantDb, id: &str) -> Result<Profile> {
        let members = self.staff().members(db).await?;
        let enabled = || members.iter().filter(|member| member.enabled).map(|member| &member.profile);
        let Some(profile) = enabled().find(|profile| profile.info.id == id) else {
            let others: Vec<_> = enabled().map(|profile| format!("`{}`", profile.info.id)).collect();
            return Err(Error::not_found("the agent").remedy(format!("ask one of {}", others.join(", "))));
        };
        Ok(profile.clone())
    }

    /// The staff of organisations: who the agents are, and what was changed of them.
    pub fn staff(&self) -> Staff {
        Staff::new(self.clock.clone())
    }

    /// What the appliance's own tools are called and what they are for, by name.
    pub fn own_tools(&self) -> Vec<(String, String)> {
        self.shared.tools.specs().into_iter().map(|spec| (spec.name, spec.description)).collect()
    }

    /// Takes a question and begins to answer it.
    ///
    /// # Errors
    /// `Invalid` without a question, `TooLarge` for a very long one, `NotFound` when the agent does not exist or the
    /// conversation is not that person's, `Conflict` while an answer in that conversation is being written.
    pub async fn ask(&self, db: &TenantDb, ask: Ask) -> Result<Run> {
        let started = Instant::now();
        let mut profile = self.profile(db, &ask.agent).await?;
        if let Some(soul) = &ask.soul {
            profile.soul = soul.clone();
        }
        let question = conversation::checked_question(&ask.question)?;
        let run = RunId::generate();
        let id = match &ask.thread {
            Thread::Of(conversation) => *conversation,
            Thread::New | Thread::Apart { .. } => ConversationId::generate(),
        };
        let (sender, told) = event::channel();
        let events = told.read();
        let place = self.shared.in_flight.enter(db.tenant().clone(), ask.user, id, run, told)?;

        let mut has_read = ask.has_read;
        has_read.extend(ask.program.has_read());
        let (history, cut, previous) = match ask.thread {
            Thread::Of(_) => {
                let known = store::conversation(db, ask.user, id, MESSAGES).await?;
                let messages = known.ok_or_else(|| Error::not_found("the conversation"))?.messages;
                if runs::is_unfinished(db, id).await? {
                    return Err(still_answering());
                }
                // What was said before may be in others' words, too.
                has_read.extend(runs::read_before(db, id).await?);
                let asked = messages.iter().rev().find(|message| message.author == Author::User);
                let cut = compaction::last_cut(db, id).await?;
                let history = conversation::history(compaction::after(&messages, cut.as_ref()));
                (history, cut, asked.map(|message| message.text.clone()))
            }
            Thread::New => {
                let title = conversation::title(&question);
                store::insert_conversation(db, id, ask.user, &profile.info.id, &title, self.clock.now()).await?;
                (Vec::new(), None, None)
            }
            Thread::Apart { ref history } => {
                let asked = history.iter().rev().find(|message| message.speaker == Speaker::User);
                (history.clone(), None, asked.map(|message| message.text.clone()))
            }
        };
        let conversation = (!matches!(ask.thread, Thread::Apart { .. })).then_some(id);
        let asks = conversation.zip(ask.user).map(|(conversation, user)| Asks { conversation, user });
        let asked = Asked {
            query: conversation::search_query(&question, previous.as_deref()),
            history: conversation::within(history, HISTORY_BYTES),
            cut,
            today: self.clock.now().format("%A, %-d %B %Y").to_string(),
            profile,
            question,
            instructions: ask.instructions,
            actor: ask.actor,
            depth: ask.depth,
            program: ask.program,
        };
        let recorder = self.recorder(db, run, &asked.profile.info.id);
        let mut detail = json!({
            "question": asked.question, "conversation": conversation, "search_query": asked.query, "today": asked.today,
            "instructions": asked.instructions, "history": asked.history, "profile": asked.profile,
            "max_steps": self.shared.limits.steps, "has_read": has_read, "cut": asked.cut,
        });
        if !asked.program.is_empty() {
            detail["program"] = json!(asked.program);
        }
        let agent = Some(asked.profile.info.id.as_str());
        recorder.note_by(asked.actor.clone(), Action::RunStarted, agent, detail).await?;
        let journal = if let Some(asks) = asks {
            if !self.begin(db, run, asks, &asked, &has_read).await? {
                return Err(still_answering());
            }
            Journal::new(db.clone(), run)
        } else {
            if let Some(conversation) = conversation {
                self.store_question(db, conversation, run, &asked.profile.info.id, &asked.question).await?;
            }
            Journal::none()
        };

        sender.send(RunEvent::Started { run, conversation });
        let job =
            self.job(recorder, asked, Standing { conversation, user: ask.user, asks, journal, has_read, started });
        self.set_going(job, sender, place);
        Ok(Run { id: run, conversation, events })
    }

    /// Stops a run of that person in that tenant. Its stream ends with `Failed`, and what was written is kept. False when
    /// there is no such run (any more).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cancel(&self, db: &TenantDb, user: Option<UserId>, run: RunId) -> Result<bool> {
        if self.shared.in_flight.stop(db.tenant(), user, run) {
            return Ok(true);
        }
        match user {
            Some(user) => self.stop_waiting(db, run, user, CutOff::Stopped).await,
            None => Ok(false),
        }
    }

    /// What a run of that person tells, from its beginning and then as it goes on. Of one that waits: that it does.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, when it is over, or when another node works on it.
    pub async fn watch(&self, db: &TenantDb, user: UserId, run: RunId) -> Result<BoxStream<'static, RunEvent>> {
        if let Some(events) = self.shared.in_flight.watch(db.tenant(), user, run) {
            return Ok(events);
        }
        match runs::state(db, run, user).await? {
            Some(RunState::Waiting) => Ok(futures::stream::iter([RunEvent::Waiting { run }]).boxed()),
            _ => Err(Error::not_found("the run").remedy("open the conversation: it has the answer, if there is one")),
        }
    }

    /// Stops all runs of a tenant and waits until what was written is stored. For a tenant that goes out of service.
    pub async fn stop_all_of(&self, tenant: &TenantId) {
        self.shared.in_flight.stop_all_of(tenant).await;
    }

    /// Stops all runs, takes no more, and waits until what was written is stored.
    pub async fn shutdown(&self) {
        if !self.shared.in_flight.close(CLOSING).await {
            tracing::warn!("some runs could not be stored before the shutdown");
        }
    }

    /// Whether the process is about to end, so that nobody can be asked any more.
    pub fn is_closing(&self) -> bool {
        self.shared.in_flight.is_closing()
    }

    async fn begin(&self, db: &TenantDb, run: RunId, asks: Asks, asked: &Asked, has_read: &[String]) -> Result<bool> {
        let json = serde_json::to_string(asked).map_err(Error::internal)?;
        let new = NewRun {
            id: run,
            agent: &asked.profile.info.id,
            conversation: asks.conversation,
            user: asks.user,
            asked: &json,
            node: self.shared.node,
            at: self.clock.now(),
            has_read,
        };
        store::begin_run(db, &new, &self.question(run, new.agent, &asked.question)).await
    }

    fn recorder(&self, db: &TenantDb, run: RunId, agent: &str) -> Recorder {
        Recorder {
            db: db.clone(),
            clock: self.clock.clone(),
            run,
            agent: agent.to_owned(),
            veil: Veil::default(),
            replay: None,
        }
    }
}

fn still_answering() -> Error {
    Error::conflict("an answer is still being written in this conversation, or waits for somebody's leave")
        .remedy("wait for it, decide about it, or stop it; then ask again")
}
