//! What a run tells while it goes on, what it ends with, and the queue between the run and whoever watches.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, stream, stream::BoxStream};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::citations::Citation;
use crate::support::ids::{ConversationId, RunId};

/// Something that happened in a run. The last one is `Finished` or `Failed`.
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

/// The run's end of the queue. Sending never waits: pieces of text that nobody has taken yet are joined, so the
/// queue holds at most a few events for each step and the text of one answer, however slow the reader is.
pub(super) struct EventSender(Arc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    reader_left: CancellationToken,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<RunEvent>,
    /// Whether the last event of the run has been sent.
    complete: bool,
    ended: bool,
}

/// A queue: where a run sends to, and the stream that a reader takes from.
pub(super) fn queue() -> (EventSender, BoxStream<'static, RunEvent>) {
    let queue = Arc::new(Queue::default());
    let reader = Reader(queue.clone());
    let events = stream::unfold(reader, |reader| async move { reader.next().await.map(|event| (event, reader)) });
    (EventSender(queue), events.boxed())
}

impl EventSender {
    /// Hands an event to the reader, if there still is one.
    pub(super) fn send(&self, event: RunEvent) {
        let mut waiting = self.0.waiting();
        waiting.complete |= matches!(event, RunEvent::Finished(_) | RunEvent::Failed { .. });
        match (waiting.events.back_mut(), event) {
            (Some(RunEvent::Text { text }), RunEvent::Text { text: more })
            | (Some(RunEvent::Thinking { text }), RunEvent::Thinking { text: more }) => text.push_str(&more),
            (_, event) => waiting.events.push_back(event),
        }
        drop(waiting);
        self.0.arrived.notify_one();
    }

    /// Cancelled when the reader has dropped the stream.
    pub(super) fn reader_left(&self) -> CancellationToken {
        self.0.reader_left.clone()
    }
}

impl Drop for EventSender {
    /// A run that ends without saying how has panicked; whoever waits for it must hear of it all the same.
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        if !waiting.complete {
            let (message, remedy) = ("the run ended by a fault of the appliance", "ask again; the log has the details");
            let failed = RunEvent::Failed { message: message.to_owned(), remedy: Some(remedy.to_owned()) };
            waiting.events.push_back(failed);
        }
        waiting.ended = true;
        drop(waiting);
        self.0.arrived.notify_one();
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reader(Arc<Queue>);

impl Reader {
    async fn next(&self) -> Option<RunEvent> {
        loop {
            {
                let mut waiting = self.0.waiting();
                if let Some(event) = waiting.events.pop_front() {
                    return Some(event);
                }
                if waiting.ended {
                    return None;
                }
            }
            self.0.arrived.notified().await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.reader_left.cancel();
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
        let (sender, events) = queue();
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
    async fn a_run_that_panics_still_tells_its_reader() {
        let (sender, events) = queue();
        tokio::spawn(async move {
            sender.send(text("a"));
            panic!("on purpose");
        });
        let all: Vec<_> = events.collect().await;
        assert!(matches!(&all[..], [RunEvent::Text { .. }, RunEvent::Failed { .. }]), "{all:?}");
    }

    #[tokio::test]
    async fn the_sender_learns_that_the_reader_has_left() {
        let (sender, events) = queue();
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
