//! A run from its first entry to its last: it works, or is stopped, or fails, and whichever it is, the conversation and
//! the audit log have it in the end.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    approvals,
    citations::{self, Citation, Resolved},
    conversation::{Author, MessageState, StoredMessage},
    event::{Answer, EventSender, RunEvent},
    in_flight::{InFlight, Place},
    journal::{Journal, store as runs},
    limits::Limits,
    markdown,
    memory::{compaction::Cut, notes::Recollection},
    program::{Program, ProgramCall},
    progress::{Ending, Given, Progress},
    quoting,
    record::{Recorder, elapsed_ms, lock},
    registry::Tools,
    soul::Profile,
    steps::{Asks, Bench},
    store,
    tool::{Retriever, ToolContext},
};
use crate::{
    audit::{Action, Actor},
    models::{
        budget::Budgets,
        chat::Message,
        router::{self, Router},
    },
    support::{
        Error, Result,
        ids::{ConversationId, MessageId, NodeId, UserId},
    },
};

/// The model's name under an answer that consists of quotations.
const QUOTING: &str = "quoting";

/// What all runs share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) retriever: std::sync::Arc<dyn Retriever>,
    pub(super) tools: Tools,
    /// What has a say in the calls of models; nobody in a replay.
    pub(super) budgets: Option<Budgets>,
    /// Where runs are reminded from; nowhere where nothing is remembered.
    pub(super) memory: Option<Recollection>,
    pub(super) in_flight: InFlight,
    /// What a run may not exceed.
    pub(super) limits: Limits,
    /// This process, among those that share the database.
    pub(super) node: NodeId,
}

/// One question that is to be answered.
pub(super) struct Job {
    pub(super) recorder: Recorder,
    /// Where the answer is kept; nowhere for a run apart.
    pub(super) conversation: Option<ConversationId>,
    pub(super) profile: Profile,
    pub(super) question: String,
    /// What the agent is told beside its SOUL.
    pub(super) instructions: Option<String>,
    pub(super) query: String,
    pub(super) history: Vec<Message>,
    /// What stands for the messages before the history.
    pub(super) cut: Option<Cut>,
    /// The day, as the model is told.
    pub(super) today: String,
    pub(super) started: Instant,
    /// Who asked, for the entry that says who stopped it.
    pub(super) actor: Actor,
    /// Whose conversation it is.
    pub(super) user: Option<UserId>,
    /// How many agents have handed the question on.
    pub(super) depth: u8,
    /// What the asking program brought along.
    pub(super) program: Program,
    /// The process that works on it.
    pub(super) node: NodeId,
    /// What has happened in it until now.
    pub(super) journal: Journal,
    /// Who can be asked for leave. A run that has nobody ends with its reader, and nobody goes on with it.
    pub(super) asks: Option<Asks>,
    /// What it has read that others wrote.
    pub(super) has_read: Vec<String>,
    /// Why it is only brought to its end, if it is.
    pub(super) over: Option<CutOff>,
}

/// Why a run was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CutOff {
    /// The person stopped it.
    Stopped,
    /// Nobody was watching any more.
    ReaderLeft,
    /// The process ends.
    Shutdown,
    /// The organisation goes out of service.
    Suspended,
    /// The person is not let in any more.
    Departed,
    /// It took too long.
    TookTooLong,
    /// Another node goes on with it.
    Lost,
}

/// Answers the question. Never fails: what goes wrong is told to the reader, stored and logged. True when the run waits
/// for a person.
pub(super) async fn drive(shared: &Shared, job: &Job, events: EventSender, place: Place) -> bool {
    let mut progress = Progress::default();
    let last = match work(shared, job, &events, &place, &mut progress).await {
        Ok(event) => event,
        Err(error) => {
            tracing::error!(run = %job.recorder.run, tenant = %job.recorder.db.tenant(), error = ?error, "a run failed");
            job.fail(&mut progress, error.message(), error.remedy_text()).await
        }
    };
    // The run is over for everybody before its reader hears of it, so that the next question finds the way free.
    drop(place);
    let waits = matches!(last, RunEvent::Waiting { .. });
    events.send(last);
    waits
}

async fn work(
    shared: &Shared,
    job: &Job,
    events: &EventSender,
    place: &Place,
    progress: &mut Progress,
) -> Result<RunEvent> {
    let context = ToolContext {
        db: job.recorder.db.clone(),
        run: job.recorder.run,
        conversation: job.conversation,
        agent: job.recorder.agent.clone(),
        user: job.user,
        actor: job.actor.clone(),
        depth: job.depth,
        idempotency_key: String::new(),
        has_read: job.has_read.clone(),
    };
    let tools = shared.tools.for_run(&context, &job.profile.tools).await;
    let router = shared.router.route(job.profile.route.as_deref());
    let router = match &shared.budgets {
        Some(budgets) => router.metered(budgets.meter(&context.db, &context.agent, context.run)),
        None => router,
    };
    let currency = shared.budgets.as_ref().map_or("", Budgets::currency);
    let bench = Bench {
        currency,
        router: &router,
        retriever: &*shared.retriever,
        tools: &tools,
        context: &context,
        recorder: &job.recorder,
        events,
        profile: &job.profile,
        question: &job.question,
        instructions: job.instructions.as_deref(),
        query: &job.query,
        history: &job.history,
        cut: job.cut.as_ref(),
        recollection: shared.memory.as_ref(),
        today: &job.today,
        program: &job.program,
        journal: &job.journal,
        limits: shared.limits,
        asks: job.asks,
        has_read: Mutex::new(job.has_read.clone()),
        recalls: job.over.is_some(),
    };
    if let Some(cut_off) = job.over {
        bench.work(progress).await?;
        return job.stopped(cut_off, progress).await;
    }
    let reader_left = events.reader_left();
    let ending = tokio::select! {
        biased;
        () = place.stop.cancelled() => Err(if place.suspend.is_cancelled() {
            CutOff::Suspended
        } else if place.depart.is_cancelled() {
            CutOff::Departed
        } else if shared.in_flight.is_closing() {
            CutOff::Shutdown
        } else {
            CutOff::Stopped
        }),
        () = reader_left.cancelled(), if job.asks.is_none() => Err(CutOff::ReaderLeft),
        () = tokio::time::sleep(shared.limits.patience) => Err(CutOff::TookTooLong),
        () = lost(job, shared.node), if job.asks.is_some() => Err(CutOff::Lost),
        ending = bench.work(progress) => Ok(ending?),
    };
    match ending {
        Ok(Ending::Answered { given }) => job.answered(&bench, given, progress).await,
        Ok(Ending::Handed { calls }) => job.handed(calls, progress).await,
        Ok(Ending::NoModel) => job.quote(&bench, progress).await,
        Ok(Ending::Broken(error)) => {
            let model = progress.model.clone().unwrap_or_default();
            let message = format!("{model} failed in the middle of its answer: {error}");
            let remedy = router::remedy(&error).unwrap_or_else(|| "ask again".to_owned());
            Ok(job.fail(progress, &message, Some(&remedy)).await)
        }
        Ok(Ending::Waiting) => job.wait().await,
        Ok(Ending::TooManyTokens) => {
            let most = shared.limits.tokens;
            let message = format!("the run has used the {most} tokens that one run may use, and was stopped");
            Ok(job.fail(progress, &message, Some("ask something narrower")).await)
        }
        Ok(Ending::Recalled) => Err(Error::conflict("the run was gone through again and not brought to an end")),
        Err(CutOff::TookTooLong) => {
            let message = format!(
                "the answer took longer than {} minutes and was stopped",
                shared.limits.patience.as_secs().div_ceil(60)
            );
            Ok(job.fail(progress, &message, Some("ask something narrower, or use a faster model")).await)
        }
        Err(CutOff::Shutdown) if job.asks.is_some() => job.leave(progress).await,
        Err(CutOff::Lost) => Ok(elsewhere()),
        Err(cut_off) => job.stopped(cut_off, progress).await,
    }
}

/// Keeps the run this node's, and returns when it is not any more.
async fn lost(job: &Job, node: NodeId) {
    let often = Duration::from_secs_f64(runs::LEASE_SECONDS / 3.0);
    loop {
        tokio::time::sleep(often).await;
        match runs::renew(&job.recorder.db, job.recorder.run, node).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(run = %job.recorder.run, %error, "a run's lease could not be renewed"),
        }
    }
}

fn elsewhere() -> RunEvent {
    RunEvent::Failed {
        message: "another node goes on with this answer".to_owned(),
        remedy: Some("open the conversation again".to_owned()),
    }
}

impl Job {
    /// The run ends with calls that the asking program makes itself.
    async fn handed(&self, calls: Vec<ProgramCall>, progress: &Progress) -> Result<RunEvent> {
        let resolved = citations::resolve(progress.text.trim(), lock(&progress.sources).all());
        self.finish(resolved, progress.model.clone().unwrap_or_default(), false, calls, progress).await
    }

    async fn answered(&self, bench: &Bench<'_>, given: Option<Given>, progress: &Progress) -> Result<RunEvent> {
        if self.program.schema.is_some() {
            // It is data: what looks like a mark in it is none.
            let text = self.program.structured(&progress.text).unwrap_or_else(|| progress.text.trim().to_owned());
            let resolved = Resolved { text, citations: Vec::new(), invented: Vec::new() };
            return self
                .finish(resolved, progress.model.clone().unwrap_or_default(), false, Vec::new(), progress)
                .await;
        }
        let mut resolved = citations::resolve(progress.text.trim(), lock(&progress.sources).all());
        if let Some(Given { passages, small }) = given {
            let found = progress.retrieved.get().map_or(&[][..], Vec::as_slice);
            if resolved.citations.is_empty() {
                let shown: Vec<_> = found.iter().filter(|found| passages.contains(&found.number)).cloned().collect();
                let attached = citations::attach(&resolved.text, &self.question, &shown);
                resolved = Resolved { invented: resolved.invented, ..attached };
            }
            if small {
                let words = self.words_beside(&mut resolved.citations, found);
                bench.events.send(RunEvent::Text { text: words.clone() });
                resolved.text.push_str(&words);
            }
        }
        for tool in &progress.unknown {
            let words = include_str!("prompts/unknown_to_the_person.md").trim().replace("{tool}", tool);
            let words = format!("\n\n{words}");
            bench.events.send(RunEvent::Text { text: words.clone() });
            resolved.text.push_str(&words);
        }
        let model = progress.model.clone().unwrap_or_default();
        self.finish(resolved, model, false, Vec::new(), progress).await
    }

    /// What stands under a small model's answer: that no passage bears it out, if so, and what the best one says.
    fn words_beside(&self, citations: &mut Vec<Citation>, found: &[Citation]) -> String {
        let mut words = String::new();
        if citations.is_empty() {
            words.push_str("\n\n");
            words.push_str(include_str!("prompts/unsupported.md").trim());
        }
        let quoted = quoting::beside(&self.question, found, citations);
        words.push_str(&quoted.unwrap_or_default());
        words
    }

    async fn quote(&self, bench: &Bench<'_>, progress: &Progress) -> Result<RunEvent> {
        let found = bench.retrieved(&progress.sources, &progress.retrieved).await?;
        let quoting::Quotation { text, citations } = quoting::quote(&self.question, found);
        bench.events.send(RunEvent::Text { text: text.clone() });
        self.finish(Resolved { text, citations, invented: Vec::new() }, QUOTING.to_owned(), true, Vec::new(), progress)
            .await
    }

    async fn finish(
        &self,
        resolved: Resolved,
        model: String,
        quoting: bool,
        calls: Vec<ProgramCall>,
        progress: &Progress,
    ) -> Result<RunEvent> {
        let Resolved { text, citations, invented } = resolved;
        let mut message = self.message(MessageState::Complete, text, citations, progress);
        message.model = Some(model.clone());
        message.quoting = quoting;
        let mut detail = outcome(&message);
        detail["invented_marks"] = json!(invented);
        if !calls.is_empty() {
            detail["calls"] = json!(calls);
        }
        self.end(&message, Actor::Agent { name: self.recorder.agent.clone() }, Action::RunFinished, detail).await?;
        Ok(RunEvent::Finished(Answer {
            run_id: self.recorder.run,
            html: markdown::render(&message.text, &message.citations),
            answer: message.text,
            citations: message.citations,
            model,
            quoting,
            tool_calls: message.tool_calls,
            duration_ms: message.duration_ms,
            prompt_tokens: message.prompt_tokens,
            completion_tokens: message.completion_tokens,
            cost: message.cost,
            cut: progress.cut,
            calls,
        }))
    }

    async fn stopped(&self, cut_off: CutOff, progress: &mut Progress) -> Result<RunEvent> {
        let (actor, why) = match cut_off {
            CutOff::Stopped => (self.actor.clone(), "the answer was stopped"),
            CutOff::ReaderLeft => (self.actor.clone(), "the answer was stopped because nobody was reading it any more"),
            CutOff::Suspended => (Actor::System, "the answer was stopped because the organisation goes out of service"),
            CutOff::Departed => (Actor::System, "the answer was stopped because whoever asked is not let in any more"),
            CutOff::Shutdown | CutOff::TookTooLong | CutOff::Lost => {
                (Actor::System, "the answer was stopped because the appliance was shut down")
            }
        };
        progress.record_cut_off(&self.recorder, "stopped").await?;
        self.withdraw().await?;
        let message = self.partial(MessageState::Stopped, why, progress);
        let detail = outcome(&message);
        self.end(&message, actor, Action::RunStopped, detail).await?;
        let remedy =
            (!message.text.is_empty()).then(|| "what was written until then is kept in the conversation".to_owned());
        Ok(RunEvent::Failed { message: why.to_owned(), remedy })
    }

    /// Stores and logs a failure as far as that is possible: the database may be what failed.
    async fn fail(&self, progress: &mut Progress, message: &str, remedy: Option<&str>) -> RunEvent {
        let stored = async {
            progress.record_cut_off(&self.recorder, "stopped").await?;
            self.withdraw().await?;
            let stored = self.partial(MessageState::Failed, message, progress);
            let detail = outcome(&stored);
            self.end(&stored, Actor::Agent { name: self.recorder.agent.clone() }, Action::RunFailed, detail).await
        };
        if let Err(error) = stored.await {
            tracing::error!(run = %self.recorder.run, error = ?error, "a failed run could not be stored");
        }
        RunEvent::Failed { message: message.to_owned(), remedy: remedy.map(str::to_owned) }
    }

    fn partial(&self, state: MessageState, problem: &str, progress: &Progress) -> StoredMessage {
        let Resolved { text, citations, .. } = citations::resolve(progress.partial(), lock(&progress.sources).all());
        let mut message = self.message(state, text, citations, progress);
        message.problem = Some(problem.to_owned());
        message
    }

    fn message(
        &self,
        state: MessageState,
        text: String,
        citations: Vec<Citation>,
        progress: &Progress,
    ) -> StoredMessage {
        StoredMessage {
            id: MessageId::generate(),
            author: Author::Agent,
            agent: Some(self.recorder.agent.clone()),
            state,
            text,
            citations,
            tool_calls: progress.tool_calls.clone(),
            model: progress.model.clone(),
            quoting: false,
            problem: None,
            run: self.recorder.run,
            duration_ms: elapsed_ms(self.started),
            prompt_tokens: progress.prompt_tokens,
            completion_tokens: progress.completion_tokens,
            cost: Some(progress.cost.clone()),
            created_at: self.recorder.clock.now(),
        }
    }

    /// Puts the run down until a person has decided.
    async fn wait(&self) -> Result<RunEvent> {
        if runs::wait(&self.recorder.db, self.recorder.run, self.node).await? {
            Ok(RunEvent::Waiting { run: self.recorder.run })
        } else {
            Ok(elsewhere())
        }
    }

    /// Puts the run down for the next process.
    async fn leave(&self, progress: &mut Progress) -> Result<RunEvent> {
        progress.record_cut_off(&self.recorder, "interrupted").await?;
        runs::leave(&self.recorder.db, self.recorder.run, self.node).await?;
        let message = "the appliance is being shut down; the answer goes on when it is back".to_owned();
        Ok(RunEvent::Failed { message, remedy: Some("open the conversation again in a moment".to_owned()) })
    }

    /// Nothing that it has asked leave for can be allowed any more.
    async fn withdraw(&self) -> Result<()> {
        let Some(_) = self.asks else { return Ok(()) };
        let Recorder { db, clock, run, .. } = &self.recorder;
        for approval in approvals::store::withdraw(db, *run, clock.now()).await? {
            let detail = json!({"approval": approval.id, "call": approval.call, "outcome": "stopped"});
            self.recorder.note(Action::ApprovalWithdrawn, Some(&approval.tool), detail).await?;
        }
        Ok(())
    }

    /// Stores what came of the run, and writes its last entry. Where somebody could go on with the run, that it is over and
    /// which entry is to be written is stored in the same moment, so that a crash in between costs neither.
    async fn end(&self, message: &StoredMessage, actor: Actor, action: Action, detail: Value) -> Result<()> {
        let Recorder { db, run, agent, .. } = &self.recorder;
        let Some(conversation) = self.conversation.filter(|_| !self.recorder.is_replay()) else {
            return self.recorder.note_by(actor, action, Some(agent), detail).await;
        };
        if self.asks.is_none() {
            if !store::insert_message(db, conversation, message).await? {
                return Err(Error::not_found("the conversation"));
            }
            return self.recorder.note_by(actor, action, Some(agent), detail).await;
        }
        let last = LastEntry { actor: actor.clone(), action: action.name().to_owned(), agent: agent.clone(), detail };
        let json = serde_json::to_string(&last).map_err(Error::internal)?;
        if !store::finish_run(db, conversation, message, self.node, &json).await? {
            return Err(Error::conflict("another node goes on with this answer, or its conversation is gone"));
        }
        self.recorder.note_by(actor, action, Some(agent), last.detail).await?;
        runs::is_written(db, *run).await
    }
}

/// The last entry of a run, while it may not be in the log.
#[derive(Serialize, Deserialize)]
pub(super) struct LastEntry {
    pub(super) actor: Actor,
    pub(super) action: String,
    pub(super) agent: String,
    pub(super) detail: Value,
}

fn outcome(message: &StoredMessage) -> Value {
    json!({
        "state": message.state,
        "problem": message.problem,
        "answer": message.text,
        "citations": message.citations,
        "model": message.model,
        "quoting": message.quoting,
        "duration_ms": message.duration_ms,
        "prompt_tokens": message.prompt_tokens,
        "completion_tokens": message.completion_tokens,
        "cost": message.cost,
    })
}
