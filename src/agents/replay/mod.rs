//! A run once more, from what was recorded: the same question, day and conversation; searches and tools that give back
//! what they gave then; models that say what they said then, or are asked anew where the same request must give the
//! same answer. Nothing is stored, no tool is called, no entry is written: what would have been written is handed back.

mod model;
mod recording;

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use self::model::RecordedModel;
pub use self::recording::Recording;
pub use super::record::Step;
use super::{
    Agents, Limits, event,
    in_flight::InFlight,
    journal::Journal,
    memory::{
        compaction,
        notes::Recollection,
        veil::{self, Veil},
    },
    record::{Recorder, lock},
    run::{self, Job, Shared},
    tool::{Retriever, Source, ToolContext},
};
use crate::{
    audit::Actor,
    db::TenantDb,
    models::{chat::ChatModel, router::Router},
    support::{
        Clock, Result,
        clock::SharedClock,
        ids::{ConversationId, RunId},
    },
};

/// Where the models' answers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// From the recording, all of them: what is tried is the appliance's own behaviour.
    Recorded,
    /// From the model itself, where it is here and gives the same answer to the same request; else from the recording.
    AskedAgain,
}

/// What a replay did.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// What would have been written into the log, but for the first entry, which is the question.
    pub steps: Vec<Step>,
    /// The models that were asked again, one for each call.
    pub asked: Vec<String>,
}

impl Agents {
    /// Goes through a run again.
    ///
    /// # Errors
    /// `NotFound` when the agent, or the version of it that was asked, is not there.
    pub async fn replay(&self, db: &TenantDb, recording: &Recording, answers: Answers) -> Result<Replayed> {
        let known = Box::pin(veil::known(db, recording)).await?;
        let recording = &recording.unveiled(&known);
        let cut = Box::pin(compaction::read_again(db, recording.cut.clone())).await?;
        let profile = match &recording.profile {
            Some(profile) => profile.clone(),
            None => self.profile(db, &recording.agent).await?,
        };
        let live = (answers == Answers::AskedAgain).then(|| self.shared.router.clone());
        let model = Arc::new(RecordedModel::new(recording.calls.clone(), live));
        let clock: SharedClock = Arc::new(Standing(recording.at));
        let chain: Vec<Arc<dyn ChatModel>> =
            if recording.calls.is_empty() { Vec::new() } else { vec![Arc::<RecordedModel>::clone(&model)] };
        let shared = Shared {
            router: Router::new(chain, clock.clone()),
            retriever: Arc::new(RecordedSearch(recording.searched.clone())),
            tools: self.shared.tools.recorded(recording.results.clone()),
            budgets: None,
            memory: Some(Recollection::Recorded(recording.notes(&known))),
            in_flight: InFlight::new(),
            limits: Limits { steps: recording.max_steps.unwrap_or(self.shared.limits.steps), ..self.shared.limits },
            node: self.shared.node,
        };
        let (run, conversation) = (RunId::generate(), ConversationId::generate());
        // Somebody must hold the other end, or the run would take it that nobody is interested.
        let (sender, events) = event::channel();
        let reader = events.read();
        let place = shared.in_flight.enter(db.tenant().clone(), None, conversation, run, events)?;
        let steps = Arc::new(Mutex::new(Vec::new()));
        let agent = profile.info.id.clone();
        let job = Job {
            recorder: Recorder {
                db: db.clone(),
                clock,
                run,
                agent,
                veil: Veil::default(),
                replay: Some(steps.clone()),
            },
            conversation: None,
            profile,
            question: recording.question.clone(),
            instructions: recording.instructions.clone(),
            query: recording.query.clone(),
            history: recording.history.clone(),
            cut,
            today: recording.today.clone(),
            started: Instant::now(),
            actor: Actor::System,
            user: None,
            depth: 0,
            program: recording.program.clone(),
            node: shared.node,
            journal: Journal::none(),
            asks: None,
            has_read: Vec::new(),
            over: None,
        };
        Box::pin(run::drive(&shared, &job, sender, place)).await;
        drop(reader);
        let steps = std::mem::take(&mut *lock(&steps));
        Ok(Replayed { steps, asked: model.asked() })
    }
}

/// A clock that stands at the moment of the recording.
struct Standing(DateTime<Utc>);

impl Clock for Standing {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

/// Finds what was found.
struct RecordedSearch(Vec<Source>);

#[async_trait]
impl Retriever for RecordedSearch {
    async fn retrieve(&self, _context: &ToolContext, _question: &str, limit: usize) -> Result<Vec<Source>> {
        Ok(self.0.iter().take(limit).cloned().collect())
    }
}
