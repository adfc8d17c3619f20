//! What the entries of a run say that is needed to go through it again.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{
        journal::Outcome,
        memory::{
            compaction::Cut,
            notes::Note,
            veil::{self, Known},
        },
        program::Program,
        soul::Profile,
        tool::{Source, ToolOutput},
    },
    Step,
};
use crate::{
    audit::{Action, Entry},
    models::chat::{Capabilities, Finish, Message, ToolCall},
    support::{
        Error, Result,
        ids::{DocumentId, MemoryId, PassageId, RunId},
    },
};

/// What a replay goes through again. What others write into a run's log on the way, such as its requests over the
/// network, is not done again.
const GONE_THROUGH: [Action; 8] = [
    Action::MemoryRecalled,
    Action::KnowledgeSearched,
    Action::ModelCalled,
    Action::ModelFailed,
    Action::ToolCalled,
    Action::RunFinished,
    Action::RunFailed,
    Action::RunStopped,
];

/// What was cut off and done again later in the same run.
const INTERRUPTED: &str = "interrupted";

/// A run as it was recorded.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The run.
    pub run: Option<RunId>,
    /// When it began.
    pub at: DateTime<Utc>,
    /// When its last entry was written.
    pub until: DateTime<Utc>,
    /// Which agent was asked.
    pub agent: String,
    /// The agent as it was then; older logs do not have it.
    pub profile: Option<Profile>,
    /// How many rounds it was allowed.
    pub max_steps: Option<usize>,
    /// What was asked.
    pub question: String,
    /// What the agent was told beside its SOUL.
    pub instructions: Option<String>,
    /// What a program brought along.
    pub program: Program,
    /// What was to be searched for.
    pub query: String,
    /// The day, as the model was told.
    pub today: String,
    /// The conversation before the question.
    pub history: Vec<Message>,
    pub(super) cut: Option<Cut>,
    /// What it was reminded of, as the log tells it.
    reminded: Vec<Value>,
    /// The entries that a replay is compared with: all but the first. Of a run that was cut off, those before.
    pub steps: Vec<Step>,
    /// Whether the run was cut off, so that a replay goes on where the recording ends.
    pub cut_off: bool,
    pub(super) calls: Vec<RecordedCall>,
    pub(super) searched: Vec<Source>,
    pub(super) results: HashMap<String, Outcome>,
}

/// A call of a model.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RecordedCall {
    #[serde(skip)]
    pub(super) model: String,
    pub(super) capabilities: Option<Capabilities>,
    pub(super) outcome: String,
    pub(super) text: String,
    #[serde(default)]
    pub(super) thinking: String,
    #[serde(default)]
    pub(super) tool_calls: Vec<ToolCall>,
    pub(super) finish: Option<Finish>,
    pub(super) error: Option<String>,
}

#[derive(Deserialize)]
struct Started {
    /// The agent as it was; older logs do not have it.
    #[serde(default)]
    profile: Option<Profile>,
    #[serde(default)]
    max_steps: Option<usize>,
    question: String,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default)]
    program: Program,
    search_query: String,
    today: String,
    history: Vec<Message>,
    #[serde(default)]
    cut: Option<Cut>,
}

#[derive(Deserialize)]
struct Passage {
    #[serde(rename = "passage_id")]
    id: PassageId,
    document_id: DocumentId,
    document: String,
    locator: String,
    text: String,
    score: Option<f32>,
}

#[derive(Deserialize)]
struct Searched {
    passages: Vec<Passage>,
}

#[derive(Deserialize)]
struct Called {
    id: String,
    outcome: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    passages: Vec<Passage>,
    error: Option<String>,
    #[serde(default)]
    sent: Option<Value>,
}

impl Recording {
    /// Reads the entries of a run, in order.
    ///
    /// # Errors
    /// `NotFound` when they do not begin with a question; `Conflict` when one of them does not say what is needed.
    pub fn read(entries: &[Entry]) -> Result<Self> {
        let started = entries.first().filter(|entry| entry.action == Action::RunStarted.name());
        let first = started.ok_or_else(|| Error::not_found("the run"))?;
        let said: Started = detail(first)?;
        let mut recording = Self {
            run: first.run,
            at: first.at,
            until: entries.last().map_or(first.at, |last| last.at),
            agent: first.subject.clone().unwrap_or_default(),
            profile: said.profile,
            max_steps: said.max_steps,
            question: said.question,
            instructions: said.instructions,
            program: said.program,
            query: said.search_query,
            today: said.today,
            history: said.history,
            cut: said.cut,
            reminded: Vec::new(),
            steps: Vec::new(),
            cut_off: false,
            calls: Vec::new(),
            searched: Vec::new(),
            results: HashMap::new(),
        };
        for entry in &entries[1..] {
            recording.take(entry)?;
        }
        Ok(recording)
    }

    /// What the run was reminded of, as far as that is still known.
    pub(super) fn notes(&self, known: &Known) -> Vec<Note> {
        self.reminded.iter().filter_map(|told| Note::read(told, known)).collect()
    }

    /// The facts whose texts stay out of the entries.
    pub(in crate::agents) fn facts(&self) -> Vec<MemoryId> {
        let mut facts: Vec<_> = self.reminded.iter().filter_map(Note::id).collect();
        for outcome in self.results.values() {
            if let Ok(output) = &outcome.result {
                facts.extend(veil::marked(output.content.as_str().unwrap_or_default()));
            }
        }
        facts
    }

    /// The same with the texts that are still known where the entries have marks. What a replay is compared with keeps them.
    pub(super) fn unveiled(&self, known: &Known) -> Self {
        let mut recording = self.clone();
        for call in &mut recording.calls {
            known.put_back_into(&mut call.text);
            call.tool_calls.iter_mut().for_each(|call| known.put_back(&mut call.arguments));
        }
        for outcome in recording.results.values_mut() {
            if let Ok(output) = &mut outcome.result {
                known.put_back(&mut output.content);
            }
            if let Some(sent) = &mut outcome.sent {
                known.put_back(sent);
            }
        }
        recording
    }

    fn take(&mut self, entry: &Entry) -> Result<()> {
        let is = |action: Action| entry.action == action.name();
        if is(Action::KnowledgeSearched) {
            self.searched = sources(detail::<Searched>(entry)?.passages);
        } else if is(Action::MemoryRecalled) {
            self.reminded = entry.detail["notes"].as_array().cloned().unwrap_or_default();
        } else if is(Action::ModelCalled) || is(Action::ModelFailed) {
            let mut call: RecordedCall = detail(entry)?;
            if call.outcome == INTERRUPTED {
                return Ok(());
            }
            call.model = entry.subject.clone().unwrap_or_default();
            self.calls.push(call);
        } else if is(Action::ToolCalled) {
            let called: Called = detail(entry)?;
            if called.outcome == INTERRUPTED {
                return Ok(());
            }
            let (id, sent) = (called.id.clone(), called.sent.clone());
            let result = match called.outcome.as_str() {
                "done" => {
                    let Called { summary, content, passages, .. } = called;
                    Ok(ToolOutput { summary, content, sources: sources(passages) })
                }
                _ => Err(called.error.unwrap_or_default()),
            };
            self.results.insert(id, Outcome { result, sent, duration_ms: 0 });
        }
        self.cut_off |= entry.detail["outcome"] == "stopped" || is(Action::RunStopped);
        if !self.cut_off && GONE_THROUGH.iter().any(|action| is(*action)) {
            let Entry { action, subject, detail, .. } = entry.clone();
            self.steps.push(Step { action, subject, detail });
        }
        Ok(())
    }
}

fn sources(passages: Vec<Passage>) -> Vec<Source> {
    let source = |passage: Passage| Source {
        passage: passage.id,
        document: passage.document_id,
        title: passage.document,
        locator: passage.locator,
        text: passage.text,
        score: passage.score.unwrap_or_default(),
    };
    passages.into_iter().map(source).collect()
}

fn detail<T: for<'de> Deserialize<'de>>(entry: &Entry) -> Result<T> {
    T::deserialize(&entry.detail).map_err(|error| {
        Error::conflict(format!("entry {} does not say what a replay needs: {error}", entry.seq))
            .remedy("it was written by an earlier version of AEGIS, or altered: `aegis audit verify` tells")
    })
}
