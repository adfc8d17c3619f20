//! The thread that the network runs on, so that embedding a book never holds up a request: texts wait in two
//! lines, and a question passes in front of passages between any two batches.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{network::Network, tokens::Tokens};
use crate::models::chat::ModelError;

/// Passages embedded in one go. Larger batches take more memory and are no faster on a CPU.
const BATCH: usize = 8;

type Vectors = Result<Vec<Vec<f32>>, ModelError>;

/// Which line a text waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A person waits for it.
    Query,
    /// A document is being read.
    Passages,
}

/// The thread, its lines, and whether the model is loaded.
pub(super) struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    tokens: Arc<Tokens>,
    idle: Duration,
}

#[derive(Default)]
struct State {
    queries: VecDeque<Job>,
    passages: VecDeque<Job>,
    running: bool,
    loaded: bool,
}

struct Job {
    texts: Vec<String>,
    reply: oneshot::Sender<Vectors>,
}

impl Worker {
    /// A worker that loads the network with the first text, and forgets it after `idle`.
    pub(super) fn new(tokens: Arc<Tokens>, idle: Duration) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), tokens, idle }) }
    }

    /// Whether the network is in memory.
    pub(super) fn is_loaded(&self) -> bool {
        self.shared.state().loaded
    }

    /// One vector for each text, in their order. What is urgent goes first.
    pub(super) async fn embed(&self, texts: Vec<String>, urgency: Urgency) -> Vectors {
        let (reply, answer) = oneshot::channel();
        self.push(Job { texts, reply }, urgency)?;
        answer.await.unwrap_or_else(|_| Err(failed("its thread ended")))
    }

    /// Puts a job into its line, and starts the thread if it has gone home.
    fn push(&self, job: Job, urgency: Urgency) -> Result<(), ModelError> {
        let mut state = self.shared.state();
        match urgency {
            Urgency::Query => state.queries.push_back(job),
            Urgency::Passages => state.passages.push_back(job),
        }
        if !state.running {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("embedding".to_owned());
            thread.spawn(move || shared.work()).map_err(|error| failed(&error))?;
            state.running = true;
        }
        drop(state);
        self.shared.wake.notify_one();
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves both lines until nothing has come for a while; then the thread ends and the model with it.
    fn work(&self) {
        // Cleared even when a panic in the network ends the thread, so that the next text starts a new one.
        let _off_duty = OffDuty(self);
        let mut network = None;
        while let Some((job, urgency)) = self.next_job() {
            if let Err(error) = self.serve(&mut network, job, urgency) {
                tracing::error!(%error, "the built-in embedding model cannot be loaded");
            }
        }
    }

    fn next_job(&self) -> Option<(Job, Urgency)> {
        let (mut state, _) = self
            .wake
            .wait_timeout_while(self.state(), self.idle, |state| state.queries.is_empty() && state.passages.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let next = state.queries.pop_front().map(|job| (job, Urgency::Query));
        let next = next.or_else(|| state.passages.pop_front().map(|job| (job, Urgency::Passages)));
        if next.is_none() {
            // Under the same lock as the look into the lines: a job pushed from now on starts a new thread.
            state.running = false;
            state.loaded = false;
        }
        next
    }

    fn serve(&self, network: &mut Option<Network>, job: Job, urgency: Urgency) -> Result<(), ModelError> {
        if job.reply.is_closed() {
            return Ok(());
        }
        let loaded = match network {
            Some(loaded) => loaded,
            None => match Network::load() {
                Ok(loaded) => {
                    self.state().loaded = true;
                    network.insert(loaded)
                }
                Err(error) => {
                    let _ = job.reply.send(Err(failed(&error)));
                    return Err(failed(&error));
                }
            },
        };
        let vectors = self.embed(loaded, &job, urgency);
        // Nobody waits any more when the request was dropped.
        let _ = job.reply.send(vectors);
        Ok(())
    }

    fn embed(&self, network: &Network, job: &Job, urgency: Urgency) -> Vectors {
        let mut encoded = Vec::with_capacity(job.texts.len());
        for text in &job.texts {
            encoded.push(self.tokens.framed(text).map_err(|error| failed(&error))?);
        }
        let mut by_length: Vec<usize> = (0..encoded.len()).collect();
        by_length.sort_by_key(|&place| encoded[place].len());
        let mut vectors = vec![Vec::new(); encoded.len()];
        for places in by_length.chunks(BATCH) {
            if job.reply.is_closed() {
                return Err(ModelError::Cancelled);
            }
            if urgency == Urgency::Passages {
                self.let_queries_pass(network);
            }
            let batch: Vec<&[i32]> = places.iter().map(|&place| encoded[place].as_slice()).collect();
            let embedded = network.embed(&batch).map_err(|error| failed(&error))?;
            for (&place, vector) in places.iter().zip(embedded) {
                vectors[place] = vector;
            }
        }
        Ok(vectors)
    }

    fn let_queries_pass(&self, network: &Network) {
        loop {
            let Some(query) = self.state().queries.pop_front() else { return };
            let vectors = self.embed(network, &query, Urgency::Query);
            let _ = query.reply.send(vectors);
        }
    }
}

/// Marks the thread as gone and forgets what only it needed.
struct OffDuty<'a>(&'a Shared);

impl Drop for OffDuty<'_> {
    fn drop(&mut self) {
        self.0.tokens.forget();
        if std::thread::panicking() {
            // The jobs that still wait would wait for ever; dropping them answers with an error.
            *self.0.state() = State::default();
        }
    }
}

fn failed(error: impl std::fmt::Display) -> ModelError {
    ModelError::Server { message: format!("the built-in embedding model: {error}") }
}
