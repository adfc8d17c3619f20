//! The threads that the network runs on, so that embedding a book never holds up a request. Questions and passages wait in
//! lines of their own, each with its own thread: a question is never behind a passage. The passages' thread, and those that
//! compute for it, run at a lower priority, so that the system gives the processor to questions, and to everything else,
//! first.

use std::{
    collections::VecDeque,
    num::NonZero,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use rten::{RunOptions, ThreadPool};
use tokio::sync::oneshot;

use super::{network::Network, tokens::Tokens};
use crate::models::chat::ModelError;

/// Passages embedded in one go. Larger batches take more memory and are no faster on a CPU.
const BATCH: usize = 8;

/// How much later than everything else passages get the processor: `nice`, of at most 19.
const NICENESS: i32 = 10;

type Vectors = Result<Vec<Vec<f32>>, ModelError>;

/// Which line a text waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A person waits for it.
    Query,
    /// A document is being read.
    Passages,
}

/// Both lines, and whether the model is loaded.
pub(super) struct Worker {
    queries: Arc<Line>,
    passages: Arc<Line>,
}

/// Texts that wait, and the thread that serves them.
struct Line {
    urgency: Urgency,
    state: Mutex<State>,
    wake: Condvar,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    running: bool,
}

/// What both threads use.
struct Shared {
    /// Held by the threads that serve: when both have gone home, it is gone.
    network: Mutex<Weak<Network>>,
    tokens: Arc<Tokens>,
    idle: Duration,
}

struct Job {
    texts: Vec<String>,
    reply: oneshot::Sender<Vectors>,
}

impl Worker {
    /// A worker that loads the network with the first text, and forgets it after `idle`.
    pub(super) fn new(tokens: Arc<Tokens>, idle: Duration) -> Self {
        let shared = Arc::new(Shared { network: Mutex::default(), tokens, idle });
        let line = |urgency| {
            let (state, wake, shared) = (Mutex::default(), Condvar::new(), Arc::clone(&shared));
            Arc::new(Line { urgency, state, wake, shared })
        };
        Self { queries: line(Urgency::Query), passages: line(Urgency::Passages) }
    }

    /// Whether the network is in memory.
    pub(super) fn is_loaded(&self) -> bool {
        self.queries.shared.network().strong_count() > 0
    }

    /// One vector for each text, in their order. What is urgent waits for nothing that is not.
    pub(super) async fn embed(&self, texts: Vec<String>, urgency: Urgency) -> Vectors {
        let (reply, answer) = oneshot::channel();
        let line = match urgency {
            Urgency::Query => &self.queries,
            Urgency::Passages => &self.passages,
        };
        line.push(Job { texts, reply })?;
        answer.await.unwrap_or_else(|_| Err(failed("its thread ended")))
    }
}

impl Shared {
    fn network(&self) -> MutexGuard<'_, Weak<Network>> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The network that the other thread has loaded, or a new one.
    fn loaded(&self) -> Result<Arc<Network>, ModelError> {
        let mut network = self.network();
        if let Some(loaded) = network.upgrade() {
            return Ok(loaded);
        }
        let loaded = Arc::new(Network::load().map_err(|error| failed(&error))?);
        *network = Arc::downgrade(&loaded);
        Ok(loaded)
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job into the line, and starts the thread if it has gone home.
    fn push(self: &Arc<Self>, job: Job) -> Result<(), ModelError> {
        let mut state = self.state();
        state.jobs.push_back(job);
        if !state.running {
            let line = Arc::clone(self);
            let name = if self.urgency == Urgency::Query { "questions" } else { "passages" };
            let thread = std::thread::Builder::new().name(name.to_owned());
            thread.spawn(move || line.work()).map_err(|error| failed(&error))?;
            state.running = true;
        }
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Serves the line until nothing has come for a while; then the thread ends, and the model with the last one.
    fn work(&self) {
        let options = match self.urgency {
            Urgency::Query => RunOptions::default(),
            Urgency::Passages => RunOptions::default().with_thread_pool(Some(Arc::new(stand_back()))),
        };
        // Cleared even when a panic in the network ends the thread, so that the next text starts a new one.
        let _off_duty = OffDuty(self);
        let mut network = None;
        while let Some(job) = self.next_job() {
            if let Err(error) = self.serve(&mut network, &options, job) {
                tracing::error!(%error, "the built-in embedding model cannot be loaded");
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        let (mut state, _) = self
            .wake
            .wait_timeout_while(self.state(), self.shared.idle, |state| state.jobs.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let next = state.jobs.pop_front();
        // Under the same lock as the look into the line: a job pushed from now on starts a new thread.
        state.running = next.is_some();
        next
    }

    fn serve(&self, network: &mut Option<Arc<Network>>, options: &RunOptions, job: Job) -> Result<(), ModelError> {
        if job.reply.is_closed() {
            return Ok(());
        }
        let loaded = match network {
            Some(loaded) => loaded,
            None => match self.shared.loaded() {
                Ok(loaded) => network.insert(loaded),
                Err(error) => {
                    let message = error.to_string();
                    let _ = job.reply.send(Err(error));
                    return Err(ModelError::Server { message });
                }
            },
        };
        let vectors = self.embed(loaded, options, &job);
        // Nobody waits any more when the request was dropped.
        let _ = job.reply.send(vectors);
        Ok(())
    }

    fn embed(&self, network: &Network, options: &RunOptions, job: &Job) -> Vectors {
        let mut encoded = Vec::with_capacity(job.texts.len());
        for text in &job.texts {
            encoded.push(self.shared.tokens.framed(text).map_err(|error| failed(&error))?);
        }
        let mut by_length: Vec<usize> = (0..encoded.len()).collect();
        by_length.sort_by_key(|&place| encoded[place].len());
        let mut vectors = vec![Vec::new(); encoded.len()];
        for places in by_length.chunks(BATCH) {
            if job.reply.is_closed() {
                return Err(ModelError::Cancelled);
            }
            let batch: Vec<&[i32]> = places.iter().map(|&place| encoded[place].as_slice()).collect();
            let embedded = network.embed(&batch, options).map_err(|error| failed(&error))?;
            for (&place, vector) in places.iter().zip(embedded) {
                vectors[place] = vector;
            }
        }
        Ok(vectors)
    }
}

/// Lowers the priority of this thread, and makes threads to compute with, which have it from this one.
fn stand_back() -> ThreadPool {
    // Those that compute for questions are made by whoever needs them first, and would have it too.
    rten::thread_pool();
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "passages are embedded at the usual priority");
    }
    ThreadPool::with_num_threads(std::thread::available_parallelism().map_or(1, NonZero::get))
}

/// Marks the thread as gone and forgets what only it needed.
struct OffDuty<'a>(&'a Line);

impl Drop for OffDuty<'_> {
    fn drop(&mut self) {
        if self.0.shared.network().strong_count() == 0 {
            self.0.shared.tokens.forget();
        }
        if std::thread::panicking() {
            // The jobs that still wait would wait for ever; dropping them answers with an error.
            *self.0.state() = State::default();
        }
    }
}

fn failed(error: impl std::fmt::Display) -> ModelError {
    ModelError::Server { message: format!("the built-in embedding model: {error}") }
}
