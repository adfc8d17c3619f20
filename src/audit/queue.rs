//! Entries that come together are written together: while one writer is at the database, the others' entries gather, and the
//! next write takes them all. One alone is written at once. So a log takes hundreds of writers without any of them sealing
//! an entry in vain, and an entry that was handed over is written even when whoever wrote it went away meanwhile.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{
    chain::{self, Content, Sealed},
    lock_key,
    log::Log,
    store, testify,
};
use crate::support::{Error, Kind, Result};

/// Tries to take the next places without a lock. Unless another node writes as well, the first succeeds.
const FREE_TRIES: usize = 2;
/// Tries while holding the lock; only an unlocked first try of somebody else can come between.
const LOCKED_TRIES: usize = 200;
/// So many entries at once, at most.
const MOST: usize = 128;
/// So many bytes at once, unless a single entry has more.
const MOST_BYTES: usize = 1 << 20;

/// The entries of a log that wait to be written.
#[derive(Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Whether somebody is writing, who will take what comes meanwhile.
    writing: bool,
}

struct Waiting {
    content: Content,
    tell: oneshot::Sender<Result<Sealed>>,
}

/// Writes an entry at the end of the log.
pub(super) async fn write(log: &Log, content: Content) -> Result<Sealed> {
    let queue: Arc<Queue> = log.beside().kept();
    let (tell, told) = oneshot::channel();
    if queue.put(Waiting { content, tell }) {
        tokio::spawn(Writer { queue, log: log.clone(), done: false }.work());
    }
    told.await.unwrap_or_else(|_| Err(Error::unavailable("the appliance stopped before the audit log took an entry")))
}

impl Queue {
    /// Whether somebody has to begin to write.
    fn put(&self, entry: Waiting) -> bool {
        let mut state = self.state();
        state.waiting.push_back(entry);
        !mem::replace(&mut state.writing, true)
    }

    /// What is written next; `None` when nothing waits, and then whoever comes next has to begin.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = state.waiting.front() {
            bytes += next.content.detail.len();
            if batch.len() == MOST || (!batch.is_empty() && bytes > MOST_BYTES) {
                break;
            }
            batch.extend(state.waiting.pop_front());
        }
        state.writing = !batch.is_empty();
        state.writing.then_some(batch)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes until nothing waits.
struct Writer {
    queue: Arc<Queue>,
    log: Log,
    done: bool,
}

impl Writer {
    async fn work(mut self) {
        while let Some(batch) = self.queue.take() {
            self.write(batch).await;
        }
        self.done = true;
    }

    async fn write(&self, batch: Vec<Waiting>) {
        let (contents, tell): (Vec<_>, Vec<_>) = batch.into_iter().map(|entry| (entry.content, entry.tell)).unzip();
        match self.behind(&contents).await {
            Ok(sealed) => {
                for (tell, sealed) in tell.into_iter().zip(sealed) {
                    let _ = tell.send(Ok(sealed));
                }
            }
            // One of them may be such that the database does not take it: the others must not suffer for it.
            Err(error) if contents.len() > 1 && error.kind() != Kind::Unavailable => {
                for (content, tell) in contents.iter().zip(tell) {
                    let written = self.behind(std::slice::from_ref(content)).await;
                    let _ = tell.send(written.and_then(|mut sealed| sealed.pop().ok_or_else(busy)));
                }
            }
            Err(error) => {
                let mut tell = tell.into_iter();
                let first = tell.next();
                for tell in tell {
                    let again = Error::new(error.kind(), error.message());
                    let _ = tell.send(Err(again.remedy(error.remedy_text().unwrap_or("try again in a moment"))));
                }
                if let Some(tell) = first {
                    let _ = tell.send(Err(error));
                }
            }
        }
    }

    /// Puts them behind the newest entry, and tells whoever remembers the log's head.
    async fn behind(&self, contents: &[Content]) -> Result<Vec<Sealed>> {
        let seal = |head| chain::seal_all(head, contents);
        for attempt in 0..FREE_TRIES + LOCKED_TRIES {
            let added = if attempt < FREE_TRIES {
                store::add(&self.log, seal).await?
            } else {
                store::add_alone(&self.log, lock_key(&self.log), seal).await?
            };
            if let Some(sealed) = added {
                for entry in &sealed {
                    testify(&self.log, entry).await;
                }
                return Ok(sealed);
            }
        }
        Err(busy())
    }
}

impl Drop for Writer {
    /// When it was ended in the middle, nobody waits for ever and the next may begin.
    fn drop(&mut self) {
        if !self.done {
            let mut state = self.queue.state();
            state.waiting.clear();
            state.writing = false;
        }
    }
}

fn busy() -> Error {
    Error::unavailable("the audit log is too busy to take another entry").remedy("try again in a moment")
}
