//! The appliance's side of the engine: starts the child when it is needed, gives it one question at a time in
//! the order in which they came, stops it when nobody asks, and starts it again after a crash.

mod process;

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::protocol::{Failure, Order, Report};
use crate::models::{
    chat::{ChatEvent, ChatRequest, ChatStream, Finish, FinishReason, ModelError},
    printed::Sorter,
};
use process::Process;

/// An engine that says nothing for so long, not even that it still reads, hangs. On a slow machine a large
/// model may take a while for one batch of the prompt.
const SILENCE: Duration = Duration::from_mins(3);
/// How long it may take to stop when it is told to; then it is killed.
const STOPPING: Duration = Duration::from_secs(10);

type Events = mpsc::Sender<Result<ChatEvent, ModelError>>;

/// The engine for one model file.
pub(super) struct Engine {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// The model's name, for messages.
    model: String,
    unload: Duration,
    /// Waiting for this lock is the queue; tokio's is fair.
    process: Mutex<Option<Process>>,
    process_id: AtomicU32,
    requests: AtomicU64,
}

/// The process ended during an answer, or has to be ended.
struct Lost {
    error: ModelError,
    /// Whether it had said anything to this question. If not, the question can be asked again.
    heard: bool,
}

impl Engine {
    /// An engine for one model. The child is started by the first question.
    pub(super) fn new(program: PathBuf, arguments: Vec<OsString>, model: String, unload: Duration) -> Self {
        let process = Mutex::new(None);
        Self { program, arguments, model, unload, process, process_id: AtomicU32::new(0), requests: AtomicU64::new(0) }
    }

    /// The child's process, while there is one.
    pub(super) fn process_id(&self) -> Option<u32> {
        Some(self.process_id.load(Ordering::SeqCst)).filter(|&id| id != 0)
    }

    /// Answers, when it is this request's turn. Dropping the stream stops the answer.
    pub(super) fn chat(self: &Arc<Self>, request: ChatRequest) -> ChatStream {
        let (events, stream) = mpsc::channel(32);
        let engine = Arc::clone(self);
        // A task of its own: when the reader goes away, the engine still has to be told and listened to.
        tokio::spawn(async move { engine.serve(request, events).await });
        ReceiverStream::new(stream).boxed()
    }

    async fn serve(self: Arc<Self>, request: ChatRequest, events: Events) {
        let mut slot = tokio::select! {
            slot = self.process.lock() => slot,
            () = events.closed() => return,
        };
        loop {
            let fresh = slot.as_mut().is_none_or(Process::has_ended);
            if fresh && let Err(error) = self.start(&mut slot, &events).await {
                let _ = events.send(Err(error)).await;
                return;
            }
            let Some(process) = slot.as_mut() else { return };
            let id = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
            let Err(Lost { error, heard }) = self.answer(process, id, &request, &events).await else {
                unload_later(Arc::downgrade(&self), id, self.unload);
                return;
            };
            self.end(&mut slot).await;
            // Otherwise it had died since the last question, and nobody had noticed: a new one is started.
            if fresh || heard || events.is_closed() {
                let _ = events.send(Err(error)).await;
                return;
            }
        }
    }

    async fn start(&self, slot: &mut Option<Process>, events: &Events) -> Result<(), ModelError> {
        let _ = events.send(Ok(ChatEvent::Loading)).await;
        self.end(slot).await;
        let process = Process::start(&self.program, &self.arguments, &self.model).await?;
        self.process_id.store(process.id(), Ordering::SeqCst);
        *slot = Some(process);
        Ok(())
    }

    async fn end(&self, slot: &mut Option<Process>) {
        self.process_id.store(0, Ordering::SeqCst);
        if let Some(process) = slot.take() {
            process.kill().await;
        }
    }

    async fn answer(&self, process: &mut Process, id: u64, request: &ChatRequest, events: &Events) -> Result<(), Lost> {
        let mut heard = false;
        let mut sorter = Sorter::new(&request.tools);
        if process.order(&Order::Chat { id, request: request.clone() }).await.is_err() {
            return Err(Lost { error: process.crashed(&self.model).await, heard });
        }
        let mut stopping = false;
        loop {
            let limit = if stopping { STOPPING } else { SILENCE };
            let reported = tokio::select! {
                reported = tokio::time::timeout(limit, process.report()) => reported,
                () = events.closed(), if !stopping => {
                    stopping = true;
                    // If it cannot be told any more, it has ended, which the next report shows.
                    let _ = process.order(&Order::Cancel { id }).await;
                    continue;
                }
            };
            let Ok(reported) = reported else {
                return Err(Lost { error: ModelError::TimedOut { after: limit }, heard: true });
            };
            let Some(report) = reported else { return Err(Lost { error: process.crashed(&self.model).await, heard }) };
            match report {
                Report::Text { id: of, text } if of == id => send(events, sorter.push(&text)).await,
                Report::Done { id: of, reason, prompt_tokens, completion_tokens } if of == id => {
                    send(events, sorter.finish()).await;
                    let reason = if sorter.calls() > 0 { FinishReason::ToolCalls } else { reason };
                    send(events, vec![ChatEvent::Done(Finish { reason, prompt_tokens, completion_tokens })]).await;
                    return Ok(());
                }
                Report::Failed { id: of, failure } if of == id => {
                    let _ = events.send(Err(failed(failure))).await;
                    return Ok(());
                }
                // A sign of life, or a report about an answer that was stopped.
                _ => {}
            }
            heard = true;
        }
    }
}

async fn send(events: &Events, found: Vec<ChatEvent>) {
    for event in found {
        // The reader has gone: the loop above notices and stops the engine.
        let _ = events.send(Ok(event)).await;
    }
}

fn failed(failure: Failure) -> ModelError {
    match failure {
        Failure::ContextOverflow { tokens, limit } => ModelError::ContextOverflow { tokens, limit },
        Failure::Cancelled => ModelError::Cancelled,
        Failure::Other { message } => ModelError::Server { message },
    }
}

/// Stops the process after a while, unless something was asked after request `last`.
fn unload_later(engine: Weak<Engine>, last: u64, after: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        let Some(engine) = engine.upgrade() else { return };
        let mut slot = engine.process.lock().await;
        if engine.requests.load(Ordering::SeqCst) == last
            && let Some(process) = slot.take()
        {
            engine.process_id.store(0, Ordering::SeqCst);
            process.stop().await;
            tracing::info!(model = engine.model, "the built-in model was unloaded, nobody has asked for a while");
        }
    });
}
