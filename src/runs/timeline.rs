//! A run as bars on one time axis: what each step was, when it began and how long it took.

use chrono::{DateTime, Utc};
use serde::Deserialize as _;

use crate::{
    agents::Citation,
    audit::{Action, Entry},
    models::meter::Cost,
    support::{Error, Result},
};

/// What kind of step a bar stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A model was asked.
    Model,
    /// A model was asked in vain.
    Attempt,
    /// A tool was called.
    Tool,
    /// A search was made for the model.
    Search,
    /// Somebody was asked for permission.
    Approval,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// The entry that tells of it.
    pub seq: i64,
    /// What it was.
    pub kind: Kind,
    /// The model's name, the tool's, what was searched for.
    pub name: String,
    /// From the beginning of the run.
    pub start_ms: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// Whether it did not come to its end.
    pub failed: bool,
}

/// A run.
#[derive(Debug, Clone)]
pub struct TimeLine {
    /// What was asked.
    pub question: String,
    /// The answer as it was shown; what there was of it, when there is no whole one.
    pub answer: String,
    /// What the answer's marks mean.
    pub citations: Vec<Citation>,
    /// Why there is no whole answer.
    pub problem: Option<String>,
    /// Whether the run has come to an end.
    pub ended: bool,
    /// When it began.
    pub at: DateTime<Utc>,
    /// From the question to the end, or to the last entry.
    pub duration_ms: u64,
    /// The model that answered.
    pub model: Option<String>,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// Tokens of all answers.
    pub completion_tokens: u64,
    /// What the calls of models cost, if that was counted.
    pub cost: Option<Cost>,
    /// The steps, in the order in which they began.
    pub bars: Vec<Bar>,
}

impl TimeLine {
    /// Reads the entries of a run, in order.
    ///
    /// # Errors
    /// `NotFound` when they do not begin with a question.
    pub fn read(entries: &[Entry]) -> Result<Self> {
        let first = entries.first().filter(|entry| entry.action == Action::RunStarted.name());
        let first = first.ok_or_else(|| Error::not_found("the run"))?;
        let mut line = Self {
            question: text(first, "question"),
            answer: String::new(),
            citations: Vec::new(),
            problem: None,
            ended: false,
            at: first.at,
            duration_ms: 0,
            model: None,
            prompt_tokens: 0,
            completion_tokens: 0,
            cost: None,
            bars: Vec::new(),
        };
        for entry in entries {
            line.duration_ms = line.duration_ms.max(line.since(entry.at));
            line.take(entry);
        }
        line.bars.sort_by_key(|bar| (bar.start_ms, bar.seq));
        Ok(line)
    }

    fn take(&mut self, entry: &Entry) {
        let is = |action: Action| entry.action == action.name();
        if is(Action::RunFinished) || is(Action::RunFailed) || is(Action::RunStopped) {
            self.ended = true;
            self.answer = text(entry, "answer");
            self.citations = Vec::deserialize(&entry.detail["citations"]).unwrap_or_default();
            self.problem = entry.detail["problem"].as_str().map(str::to_owned);
            self.model = entry.detail["model"].as_str().map(str::to_owned);
            self.prompt_tokens = entry.detail["prompt_tokens"].as_u64().unwrap_or_default();
            self.completion_tokens = entry.detail["completion_tokens"].as_u64().unwrap_or_default();
            self.cost = Option::deserialize(&entry.detail["cost"]).unwrap_or_default();
        } else if is(Action::ModelCalled) || is(Action::ModelFailed) {
            self.take_model(entry);
        } else if is(Action::ToolCalled) {
            self.bar(entry, Kind::Tool, entry.subject.clone().unwrap_or_default());
        } else if is(Action::KnowledgeSearched) {
            self.bar(entry, Kind::Search, "knowledge".to_owned());
        } else if entry.action.starts_with("approval.") {
            self.bar(entry, Kind::Approval, entry.subject.clone().unwrap_or_default());
        }
    }

    /// A call of a model is told as one bar for the model that answered, from when it was asked, and one for each that
    /// was asked before in vain.
    fn take_model(&mut self, entry: &Entry) {
        let end = self.since(entry.at);
        let whole = entry.duration_ms().unwrap_or_default().min(end);
        let begin = end - whole;
        let mut at = begin;
        for attempt in entry.detail["attempts"].as_array().into_iter().flatten() {
            let duration_ms = attempt["duration_ms"].as_u64().unwrap_or_default();
            let name = attempt["model"].as_str().unwrap_or_default().to_owned();
            let bar = Bar { seq: entry.seq, kind: Kind::Attempt, name, start_ms: at, duration_ms, failed: true };
            self.bars.push(bar);
            at += duration_ms;
        }
        if entry.action == Action::ModelCalled.name() {
            let asked = entry.detail["asked_ms"].as_u64().unwrap_or_default().min(whole);
            let name = entry.subject.clone().unwrap_or_default();
            let (start_ms, duration_ms) = (begin + asked, whole - asked);
            let failed = entry.outcome() != "done";
            self.bars.push(Bar { seq: entry.seq, kind: Kind::Model, name, start_ms, duration_ms, failed });
        }
    }

    fn bar(&mut self, entry: &Entry, kind: Kind, name: String) {
        let end = self.since(entry.at);
        let duration_ms = entry.duration_ms().unwrap_or_default().min(end);
        let failed = entry.outcome() != "done";
        self.bars.push(Bar { seq: entry.seq, kind, name, start_ms: end - duration_ms, duration_ms, failed });
    }

    fn since(&self, at: DateTime<Utc>) -> u64 {
        u64::try_from((at - self.at).num_milliseconds()).unwrap_or_default()
    }
}

fn text(entry: &Entry, field: &str) -> String {
    entry.detail[field].as_str().unwrap_or_default().to_owned()
}
