//! What a run tells while it goes on, what it ends with, and how those who watch come to it, from the start or later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream, stream::BoxStream};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{citations::Citation, program::ProgramCall};
use crate::{
    models::meter::Cost,
    support::ids::{ApprovalId, ConversationId, RunId},
};

/// Something that happened in a run. The last one is `Finished`, `Failed` or `Waiting`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunEvent {
    /// The question is stored and the run has begun.
    Started {
        /// The run.
        run: RunId,
        /// The conversation that it belongs to, which may be new; none for a run apart.
        conversation: Option<ConversationId>,
    },
    /// A model is being loaded into memory, which may take a minute.
    Loading {
        /// Its name.
        model: String,
    },
    /// Passages were found. Their numbers are those that marks in the following `Text` refer to; the finished answer
    /// has numbers of its own.
    Retrieved {
        /// The passages.
        sources: Vec<Citation>,
        /// How long the search took.
        duration_ms: u64,
    },
    /// A tool is being called.
    ToolStarted {
        /// The call.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// A call of a tool has ended.
    ToolFinished {
        /// The call.
        id: String,
        /// The tool's name.
        name: String,
        /// What came of it, in a few words.
        summary: String,
        /// How long it took.
        duration_ms: u64,
    },
    /// More of the answer, as Markdown.
    Text {
        /// The piece.
        text: String,
    },
    /// More of what the model thinks; not part of the answer.
    Thinking {
        /// The piece.
        text: String,
    },
    /// A call has to be allowed by a person before it is made.
    ApprovalNeeded {
        /// What is to be decided.
        approval: ApprovalId,
        /// The tool's name.
        tool: String,
        /// Until when.
        expires_at: DateTime<Utc>,
    },
    /// The run waits until all that it has asked leave for is decided. Its events go on under the same run then.
    Waiting {
        /// The run.
        run: RunId,
    },
    /// The answer is complete; it replaces the pieces.
    Finished(Answer),
    /// There will be no (complete) answer. What was written until then is kept in the conversation.
    Failed {
        /// What happened.
        message: String,
        /// What to do next.
        remedy: Option<String>,
    },
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// The run that made it; its entries in the audit log tell how.
    pub run_id: RunId,
    /// Markdown with marks `[1]`.
    pub answer: String,
    /// The same as HTML that may stand in a page.
    pub html: String,
    /// What the marks mean, by number.
    pub citations: Vec<Citation>,
    /// `ollama/llama3.2`; `quoting` when no model was usable.
    pub model: String,
    /// Whether it consists of quotations because no model was usable.
    pub quoting: bool,
    /// The calls of tools, in order.
    pub tool_calls: Vec<ToolCallSummary>,
    /// From the question to the end.
    pub duration_ms: u64,
    /// Tokens of all prompts of the run, as the provider counted them.
    pub prompt_tokens: u32,
    /// Tokens that the model wrote.
    pub completion_tokens: u32,
    /// What the calls of models cost.
    pub cost: Option<Cost>,
    /// Whether it ends where it does because the most tokens were reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Calls of the asking program's own tools: it makes them, and asks again with what they gave back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ProgramCall>,
}

/// A call of a tool, in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToolCallSummary {
    /// The tool's name.
    pub name: String,
    /// What came of it.
    pub summary: String,
    /// How long it took.
    pub duration_ms: u64,
}

/// The run's end. Sending never waits: pieces of text are joined, so what is kept is a few events for each step and the
/// text of one answer, however many read along and however slow they are.
pub(super) struct EventSender(Arc<Told>);

/// What a run has told until now, for those who come to read it.
#[derive(Clone)]
pub(super) struct Events(Arc<Told>);

#[derive(Default)]
struct Told {
    events: Mutex<Until>,
    more: Notify,
    readers_left: CancellationToken,
}

#[derive(Default)]
struct Until {
    events: Vec<RunEvent>,
    /// Whether the last event of the run has been sent.
    complete: bool,
    ended: bool,
    readers: usize,
}

/// Where a run sends to, and where its readers take from.
pub(super) fn channel() -> (EventSender, Events) {
    let told = Arc::new(Told::default());
    (EventSender(told.clone()), Events(told))
}

impl Events {
    /// Everything from the beginning, then what comes.
    pub(super) fn read(&self) -> BoxStream<'static, RunEvent> {
        self.0.until().readers += 1;
        let reader = Reader { told: self.0.clone(), at: 0, taken: 0 };
        stream::unfold(reader, |mut reader| async move { reader.next().await.map(|event| (event, reader)) }).boxed()
    }
}

impl EventSender {
    /// Hands an event to whoever reads.
    pub(super) fn send(&self, event: RunEvent) {
        let mut until = self.0.until();
        until.complete |= matches!(event, RunEvent::Finished(_) | RunEvent::Failed { .. } | RunEvent::Waiting { .. });
        match (until.events.last_mut(), event) {
            (Some(RunEvent::Text { text }), RunEvent::Text { text: more })
            | (Some(RunEvent::Thinking { text }), RunEvent::Thinking { text: more }) => text.push_str(&more),
            (_, event) => until.events.push(event),
        }
        drop(until);
        self.0.more.notify_waiters();
    }

    /// Cancelled when the last reader has dropped the stream.
    pub(super) fn reader_left(&self) -> CancellationToken {
        self.0.readers_left.clone()
    }
}

impl Drop for EventSender {
    /// A run that ends without saying how has panicked; whoever waits for it must hear of it all the same.
    fn drop(&mut self) {
        let mut until = self.0.until();
        if !until.complete {
            let (message, remedy) = ("the run ended by a fault of the appliance", "ask again; the log has the details");
            let failed = RunEvent::Failed { message: message.to_owned(), remedy: Some(remedy.to_owned()) };
            until.events.push(failed);
        }
        until.ended = true;
        drop(until);
        self.0.more.notify_waiters();
    }
}

impl Told {
    fn until(&self) -> MutexGuard<'_, Until> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reader {
    told: Arc<Told>,
    /// The event that is read next, and how much of its text has been read.
    at: usize,
    taken: usize,
}

impl Reader {
    async fn next(&mut self) -> Option<RunEvent> {
        let told = self.told.clone();
        loop {
            let more = told.more.notified();
            tokio::pin!(more);
            // Before looking, so that nothing is missed between the look and the wait.
            more.as_mut().enable();
            {
                let until = told.until();
                while let Some(event) = until.events.get(self.at) {
                    match self.rest_of(event) {
                        Some(event) => return Some(event),
                        None if self.at + 1 < until.events.len() => (self.at, self.taken) = (self.at + 1, 0),
                        None => break,
                    }
                }
                if until.ended {
                    return None;
                }
            }
            more.await;
        }
    }

    /// What has not been read of it. Text may grow as long as it is the last event.
    fn rest_of(&mut self, event: &RunEvent) -> Option<RunEvent> {
        let rest = |text: &String| Some(text[self.taken..].to_owned()).filter(|rest| !rest.is_empty());
        let (rest, length) = match event {
            RunEvent::Text { text } => (rest(text).map(|text| RunEvent::Text { text }), text.len()),
            RunEvent::Thinking { text } => (rest(text).map(|text| RunEvent::Thinking { text }), text.len()),
            other => (Some(other.clone()).filter(|_| self.taken == 0), 1),
        };
        self.taken = length;
        rest
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut until = self.told.until();
        until.readers -= 1;
        if until.readers == 0 {
            self.told.readers_left.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> RunEvent {
        RunEvent::Text { text: text.to_owned() }
    }

    #[tokio::test]
    async fn pieces_that_nobody_took_are_joined_and_the_stream_ends_with_the_sender() {
        let (sender, events) = channel();
        let events = events.read();
        for piece in ["a", "b", "c"] {
            sender.send(text(piece));
        }
        sender.send(RunEvent::Loading { model: "m".to_owned() });
        sender.send(text("d"));
        let failed = RunEvent::Failed { message: "m".to_owned(), remedy: None };
        sender.send(failed.clone());
        drop(sender);
        let all: Vec<_> = events.collect().await;
        assert_eq!(all, [text("abc"), RunEvent::Loading { model: "m".to_owned() }, text("d"), failed]);
    }

    #[tokio::test]
    async fn who_comes_later_reads_everything_from_the_beginning_and_then_what_comes() {
        let (sender, told) = channel();
        let mut first = told.read();
        sender.send(text("a"));
        assert_eq!(first.next().await, Some(text("a")));
        sender.send(text("b"));
        let mut second = told.read();
        assert_eq!((first.next().await, second.next().await), (Some(text("b")), Some(text("ab"))));
        sender.send(RunEvent::Loading { model: "m".to_owned() });
        sender.send(text("c"));
        drop(sender);
        let (first, second): (Vec<_>, Vec<_>) = (first.collect().await, second.collect().await);
        assert_eq!(first, second);
        assert_eq!(first[..2], [RunEvent::Loading { model: "m".to_owned() }, text("c")]);
    }

    #[tokio::test]
    async fn a_run_that_panics_still_tells_its_reader() {
        let (sender, events) = channel();
        let events = events.read();
        tokio::spawn(async move {
            sender.send(text("a"));
            panic!("on purpose");
        });
        let all: Vec<_> = events.collect().await;
        assert!(matches!(&all[..], [RunEvent::Text { .. }, RunEvent::Failed { .. }]), "{all:?}");
    }

    #[tokio::test]
    async fn the_sender_learns_that_the_reader_has_left() {
        let (sender, events) = channel();
        let events = events.read();
        let left = sender.reader_left();
        assert!(!left.is_cancelled());
        drop(events);
        assert!(left.is_cancelled());
        sender.send(text("into the void"));
    }

    #[test]
    fn events_have_their_type_in_them() {
        let value = serde_json::to_value(RunEvent::ToolStarted { id: "1".to_owned(), name: "t".to_owned() }).unwrap();
        assert_eq!(value, serde_json::json!({"type": "tool_started", "id": "1", "name": "t"}));
    }
}
