//! What a run writes into the audit log: enough to read it back exactly.
//!
//! | action | subject | detail |
//! |---|---|---|
//! | `run.started` | the agent | the question, the conversation before it, the day, what will be searched for |
//! | `knowledge.searched` | | a search made for the model: query, passages with their scores, time |
//! | `model.called` | the model | the whole request, what it could do, who was asked before in vain, the whole answer, tokens, times |
//! | `model.failed` | | the request and everybody who was asked in vain |
//! | `tool.called` | the tool | arguments, what came back, passages with their numbers and scores, time |
//! | `run.resumed` | the agent | why it went on, and how much was known of it |
//! | `run.tainted` | the agent | what it has read that others wrote |
//! | `memory.recalled` | | what the run was reminded of: which facts, never their text |
//! | `run.finished` | the agent | the answer as it was shown, citations, what was dropped from it |
//! | `run.failed`, `run.stopped` | the agent | why, and what there was until then |
//!
//! From these, [`super::replay`] runs it again. Then the entries are collected and nothing is written.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    citations::Citation,
    memory::veil::Veil,
    prompt::{Mode, Prepared},
};
use crate::{
    audit::{self, Action, Actor, NewEntry},
    db::TenantDb,
    models::{
        chat::{Capabilities, Finish, ToolCall},
        meter::Price,
        router::{Attempt, Choice},
    },
    support::{Result, clock::SharedClock, ids::RunId},
};

/// What a replay would have written into the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// What was done: `model.called`.
    pub action: String,
    /// What it was done to.
    pub subject: Option<String>,
    /// Inputs, outputs and measures.
    pub detail: Value,
}

/// Writes the entries of one run.
#[derive(Clone)]
pub(super) struct Recorder {
    pub(super) db: TenantDb,
    pub(super) clock: SharedClock,
    pub(super) run: RunId,
    pub(super) agent: String,
    /// What stays out of the entries, because it can be forgotten.
    pub(super) veil: Veil,
    /// Where the entries of a replay go, which leaves no other trace.
    pub(super) replay: Option<Arc<Mutex<Vec<Step>>>>,
}

impl Recorder {
    /// Whether the run is only gone through again.
    pub(super) fn is_replay(&self) -> bool {
        self.replay.is_some()
    }

    /// Writes what the agent did.
    pub(super) async fn note(&self, action: Action, subject: Option<&str>, detail: Value) -> Result<()> {
        self.note_by(Actor::Agent { name: self.agent.clone() }, action, subject, detail).await
    }

    /// Writes what somebody did.
    pub(super) async fn note_by(
        &self,
        actor: Actor,
        action: Action,
        subject: Option<&str>,
        detail: Value,
    ) -> Result<()> {
        let detail = self.veil.over(detail);
        if let Some(steps) = &self.replay {
            lock(steps).push(Step { action: action.name().to_owned(), subject: subject.map(str::to_owned), detail });
            return Ok(());
        }
        let entry = NewEntry { actor, action, run: Some(self.run), subject: subject.map(str::to_owned), detail };
        audit::append(&self.db, &*self.clock, entry).await.map(|_| ())
    }
}

/// A call of a model while it goes on, kept so that it can be written down even when it is cut off.
pub(super) struct ModelCall {
    step: usize,
    started: Instant,
    asked: Mutex<Option<(Capabilities, Prepared, u64)>>,
    thinking: Mutex<String>,
}

impl ModelCall {
    pub(super) fn begin(step: usize) -> Self {
        Self { step, started: Instant::now(), asked: Mutex::default(), thinking: Mutex::default() }
    }

    pub(super) fn step(&self) -> usize {
        self.step
    }

    /// A model is asked this; the last one asked is the one that answers.
    pub(super) fn asks(&self, capabilities: Capabilities, prepared: Prepared) {
        *lock(&self.asked) = Some((capabilities, prepared, self.elapsed_ms()));
        // What another model thought before it failed is not this one's.
        lock(&self.thinking).clear();
    }

    pub(super) fn thinks(&self, text: &str) {
        lock(&self.thinking).push_str(text);
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        elapsed_ms(self.started)
    }

    /// What is written down about it. `outcome` is `answered`, `failed`, `stopped`, or
    /// `interrupted` when the step is done again later.
    pub(super) fn detail(&self, outcome: &str, end: &CallEnd<'_>) -> Value {
        let asked = lock(&self.asked);
        let prepared = asked.as_ref().map(|(_, prepared, _)| prepared);
        json!({
            "step": self.step,
            "mode": asked.as_ref().map(|(capabilities, _, _)| match Mode::of(*capabilities) {
                Mode::Tools => "tools",
                Mode::Reading => "reading",
                Mode::Small => "small",
            }),
            "capabilities": asked.as_ref().map(|(capabilities, _, _)| capabilities),
            "request": prepared.map(|prepared| &prepared.request),
            "history_dropped": prepared.map(|prepared| prepared.history_dropped),
            "results_cut": prepared.map(|prepared| prepared.results_cut),
            "attempts": end.attempts,
            "why": end.why,
            "price": end.price,
            "outcome": outcome,
            "error": end.error,
            "text": end.text,
            "thinking": *lock(&self.thinking),
            "tool_calls": end.tool_calls,
            "finish": end.finish,
            "asked_ms": asked.as_ref().map(|(_, _, asked_ms)| asked_ms),
            "first_piece_ms": end.first_piece_ms,
            "duration_ms": self.elapsed_ms(),
        })
    }
}

/// How a call of a model ended.
#[derive(Default)]
pub(super) struct CallEnd<'a> {
    pub(super) attempts: &'a [Attempt],
    /// By which route, and at which place of it, the model was come to.
    pub(super) why: Option<&'a Choice>,
    /// What it costs.
    pub(super) price: Option<Price>,
    pub(super) error: Option<String>,
    pub(super) text: &'a str,
    pub(super) tool_calls: &'a [ToolCall],
    pub(super) finish: Option<&'a Finish>,
    pub(super) first_piece_ms: Option<u64>,
}

/// Passages as they are written down: with the numbers that they got, and the scores with which they were found.
pub(super) fn passages(numbered: &[Citation], scores: &[f32]) -> Value {
    let written = numbered.iter().zip(scores).map(|(citation, score)| {
        let mut passage = json!(citation);
        // In f64 a score like 0.1 would have seventeen digits.
        passage["score"] = score.to_string().parse().map_or(Value::Null, |score: f64| json!(score));
        passage
    });
    written.collect()
}

pub(super) fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
