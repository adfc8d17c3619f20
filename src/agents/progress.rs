//! What a run has come to, step by step, and how its steps end.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Instant,
};

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    citations::{Citation, Sources},
    event::ToolCallSummary,
    memory::notes::Note,
    program::ProgramCall,
    record::{CallEnd, ModelCall, Recorder, elapsed_ms},
};
use crate::{
    audit::Action,
    models::{
        chat::{Message, ModelError, ToolCall},
        meter::Cost,
    },
    support::Result,
};

/// What a run has come to; it stays readable when the run is cut off.
#[derive(Default)]
pub(super) struct Progress {
    /// Every passage that appeared.
    pub(super) sources: Mutex<Sources>,
    /// What was found for the question itself, best first.
    pub(super) retrieved: OnceCell<Vec<Citation>>,
    /// What the run is reminded of.
    pub(super) notes: OnceCell<Vec<Note>>,
    /// What the model has written in this step.
    pub(super) text: String,
    /// What it wrote in earlier steps, beside its calls.
    pub(super) earlier: String,
    /// Whether the last answer was cut off by the limit of tokens.
    pub(super) cut: bool,
    /// The model that was asked last.
    pub(super) model: Option<String>,
    pub(super) tool_calls: Vec<ToolCallSummary>,
    pub(super) prompt_tokens: u32,
    pub(super) completion_tokens: u32,
    /// What the calls of models cost.
    pub(super) cost: Cost,
    /// The call of a model that goes on.
    pub(super) asking: Option<Arc<ModelCall>>,
    /// The calls of tools that go on.
    pub(super) calling: Vec<(ToolCall, Instant)>,
    /// The calls of tools and their results, as the model reads them.
    pub(super) turns: Vec<Message>,
    /// The calls that have been made: tool and arguments.
    pub(super) made: Vec<(String, Value)>,
    /// The calls' identifiers; each is given once.
    pub(super) ids: HashSet<String>,
    /// The tools of which nobody can tell whether they were called: the process ended meanwhile.
    pub(super) unknown: Vec<String>,
}

/// How the steps ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The model has answered: `Progress::text`. `given` when the search was made for it.
    Answered { given: Option<Given> },
    /// The model wants the asking program's own tools.
    Handed { calls: Vec<ProgramCall> },
    /// No model was usable, or none wrote a word.
    NoModel,
    /// The model failed in the middle of its answer.
    Broken(ModelError),
    /// Calls have to be allowed first.
    Waiting,
    /// It has used more tokens than it may.
    TooManyTokens,
    /// All that was known has been gone through, and nothing new shall be done.
    Recalled,
}

/// What a model that does not search was given.
#[derive(Debug)]
pub(super) struct Given {
    /// The numbers of the passages.
    pub(super) passages: Vec<u32>,
    /// Whether the model is a small one.
    pub(super) small: bool,
}

impl Progress {
    /// What was written until now: this step's text, or what came before it.
    pub(super) fn partial(&self) -> &str {
        if self.text.trim().is_empty() { self.earlier.trim() } else { self.text.trim() }
    }

    /// Writes down what was going on when the run was cut off.
    ///
    /// `outcome` is `stopped`, or `interrupted` when the run goes on later.
    pub(super) async fn record_cut_off(&mut self, recorder: &Recorder, outcome: &str) -> Result<()> {
        if let Some(call) = self.asking.take() {
            let end = CallEnd { text: &self.text, ..CallEnd::default() };
            recorder.note(Action::ModelCalled, self.model.as_deref(), call.detail(outcome, &end)).await?;
        }
        for (call, started) in std::mem::take(&mut self.calling) {
            let detail = json!({
                // It may have ended meanwhile, but its result was not used.
                "id": call.id, "arguments": call.arguments, "outcome": outcome, "duration_ms": elapsed_ms(started),
            });
            recorder.note(Action::ToolCalled, Some(&call.name), detail).await?;
        }
        Ok(())
    }
}
