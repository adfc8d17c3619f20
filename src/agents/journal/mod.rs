//! What a run has done, written down as it does it, so that another process can go on where this one was killed.
//!
//! A run is gone on with by going through its steps again: what the journal knows is taken from there (a model's reply, a
//! call's result) and what it does not know is done. So the loop has one way only, and a run that was interrupted comes to
//! the same prompts as one that was not. A call that changes something is written down before it begins; when the journal
//! knows of its beginning and not of its end, nobody can tell whether it was done.

pub(super) mod store;

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicI64, Ordering},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    memory::notes::Note,
    tool::{Source, ToolOutput},
};
use crate::{
    audit::{Action, Entry},
    db::TenantDb,
    models::{
        chat::{Capabilities, ToolCall},
        meter::Cost,
    },
    support::{Error, Result, ids::RunId},
};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Record {
    /// A search was made for the model.
    Searched { sources: Vec<Source>, duration_ms: u64 },
    /// The run was reminded of what is remembered.
    Remembered { notes: Vec<Note> },
    /// A model has answered a step to its end.
    Replied(Replied),
    /// A call with effects is about to be made.
    Began { call: String },
    /// A call has ended.
    Ended { call: String, outcome: Outcome },
}

/// What a model said in one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Replied {
    pub(super) step: usize,
    pub(super) model: String,
    pub(super) capabilities: Capabilities,
    pub(super) text: String,
    pub(super) calls: Vec<ToolCall>,
    /// The numbers of the passages that it was given with the question.
    pub(super) given: Vec<u32>,
    pub(super) prompt_tokens: u32,
    pub(super) completion_tokens: u32,
    #[serde(default)]
    pub(super) cost: Cost,
    /// The audit log's entry, in case the process ends before it is written there.
    pub(super) detail: Value,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// What the tool gave back, or why it gave nothing, for the model to read.
    pub(super) result: Result<ToolOutput, String>,
    /// What was sent in place of what the model had written, because a person changed it.
    #[serde(default)]
    pub(super) sent: Option<Value>,
    pub(super) duration_ms: u64,
}

impl Outcome {
    /// A call that came to nothing.
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self { result: Err(why.into()), sent: None, duration_ms: 0 }
    }
}

/// The journal of one run.
pub(super) struct Journal {
    /// Where it is written; nowhere for a run that ends with its reader.
    place: Option<(TenantDb, RunId)>,
    next: AtomicI64,
    searched: Option<(Vec<Source>, u64)>,
    remembered: Option<Vec<Note>>,
    replies: HashMap<usize, Replied>,
    began: HashSet<String>,
    ended: HashMap<String, Outcome>,
    noted: HashSet<(String, String)>,
}

impl Journal {
    /// For a run that nobody goes on with.
    pub(super) fn none() -> Self {
        Self::of(None)
    }

    /// For a run that begins.
    pub(super) fn new(db: TenantDb, run: RunId) -> Self {
        Self::of(Some((db, run)))
    }

    fn of(place: Option<(TenantDb, RunId)>) -> Self {
        Self {
            place,
            next: AtomicI64::new(1),
            searched: None,
            remembered: None,
            replies: HashMap::new(),
            began: HashSet::new(),
            ended: HashMap::new(),
            noted: HashSet::new(),
        }
    }

    /// That of a run that is gone on with. `entries` are those of its audit log.
    pub(super) async fn read(db: TenantDb, run: RunId, entries: &[Entry]) -> Result<Self> {
        let (records, last) = store::records(&db, run).await?;
        let mut journal = Self::new(db, run);
        journal.next = AtomicI64::new(last + 1);
        for record in records {
            match record {
                Record::Searched { sources, duration_ms } => journal.searched = Some((sources, duration_ms)),
                Record::Remembered { notes } => journal.remembered = Some(notes),
                Record::Replied(replied) => drop(journal.replies.insert(replied.step, replied)),
                Record::Began { call } => drop(journal.began.insert(call)),
                Record::Ended { call, outcome } => drop(journal.ended.insert(call, outcome)),
            }
        }
        journal.noted = entries.iter().filter_map(mark).collect();
        Ok(journal)
    }

    /// What a model said in that step.
    pub(super) fn reply(&self, step: usize) -> Option<&Replied> {
        self.replies.get(&step)
    }

    /// What was found for the question itself.
    pub(super) fn searched(&self) -> Option<(Vec<Source>, u64)> {
        self.searched.clone()
    }

    /// What the run was reminded of.
    pub(super) fn remembered(&self) -> Option<Vec<Note>> {
        self.remembered.clone()
    }

    /// What came of a call.
    pub(super) fn outcome(&self, call: &str) -> Option<Outcome> {
        self.ended.get(call).cloned()
    }

    /// Whether a call with effects was begun before.
    pub(super) fn began(&self, call: &str) -> bool {
        self.began.contains(call)
    }

    /// How many steps and calls are known.
    pub(super) fn known(&self) -> (usize, usize) {
        (self.replies.len(), self.ended.len())
    }

    /// Whether the audit log already has the entry of this thing.
    pub(super) fn is_noted(&self, action: Action, which: &str) -> bool {
        self.noted.contains(&(action.name().to_owned(), which.to_owned()))
    }

    /// Writes down what happened.
    ///
    /// # Errors
    /// When the database does not answer; `Conflict` when somebody else goes on with the run meanwhile.
    pub(super) async fn write(&self, record: &Record) -> Result<()> {
        let Some((db, run)) = &self.place else { return Ok(()) };
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        if store::write(db, *run, seq, record).await? {
            return Ok(());
        }
        Err(Error::conflict("another node goes on with this run"))
    }
}

/// What an entry of the audit log is about, within its run.
fn mark(entry: &Entry) -> Option<(String, String)> {
    let which = match entry.action.as_str() {
        action if [Action::KnowledgeSearched, Action::MemoryRecalled].iter().any(|a| a.name() == action) => {
            String::new()
        }
        action if action == Action::ModelCalled.name() && entry.detail["outcome"] != "interrupted" => {
            entry.detail["step"].to_string()
        }
        action if action == Action::ToolCalled.name() && entry.detail["outcome"] != "interrupted" => {
            entry.detail["id"].as_str()?.to_owned()
        }
        action if action.starts_with("approval.") => entry.detail["approval"].as_str()?.to_owned(),
        action if action == Action::RunTainted.name() => entry.detail["text"].as_str()?.to_owned(),
        action if [Action::RunFinished, Action::RunFailed, Action::RunStopped].iter().any(|a| a.name() == action) => {
            String::new()
        }
        _ => return None,
    };
    Some((entry.action.clone(), which))
}
