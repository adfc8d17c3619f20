//! Entries that come together are written together, so that a log takes hundreds of writers without any of them sealing
//! an entry in vain.

use std::{slice, sync::Arc};

use super::{
    chain::{self, Content, Sealed},
    lock_key,
    log::Log,
    store, testify,
};
use crate::support::{
    Error, Kind, Result,
    together::{Batch, Together},
};

/// Tries to take the next places without a lock. Unless another node writes as well, the first succeeds.
const FREE_TRIES: usize = 2;
/// Tries while holding the lock; only an unlocked first try of somebody else can come between.
const LOCKED_TRIES: usize = 200;

/// Writes an entry at the end of the log.
pub(super) async fn write(log: &Log, content: Content) -> Result<Sealed> {
    let queue: Arc<Together<Writer>> = log.beside().kept();
    let stopped = || Err(Error::unavailable("the appliance stopped before the audit log took an entry"));
    queue.hand_over(content, Writer(log.clone())).await.unwrap_or_else(stopped)
}

/// Who writes.
struct Writer(Log);

impl Batch for Writer {
    type Item = Content;
    type Told = Result<Sealed>;
    const MOST: usize = 128;
    const MOST_BYTES: usize = 1 << 20;

    fn bytes(entry: &Content) -> usize {
        entry.detail.len()
    }

    async fn work(&self, batch: Vec<Content>) -> Vec<Result<Sealed>> {
        match self.behind(&batch).await {
            Ok(sealed) => sealed.into_iter().map(Ok).collect(),
            // One of them may be such that the database does not take it: the others must not suffer for it.
            Err(error) if batch.len() > 1 && error.kind() != Kind::Unavailable => {
                let mut written = Vec::new();
                for entry in &batch {
                    let one = self.behind(slice::from_ref(entry)).await;
                    written.push(one.and_then(|mut sealed| sealed.pop().ok_or_else(busy)));
                }
                written
            }
            Err(error) => error.for_each(batch.len()).map(Err).collect(),
        }
    }
}

impl Writer {
    /// Puts them behind the newest entry, and tells whoever remembers the log's head.
    async fn behind(&self, contents: &[Content]) -> Result<Vec<Sealed>> {
        let seal = |head| chain::seal_all(head, contents);
        for attempt in 0..FREE_TRIES + LOCKED_TRIES {
            let added = if attempt < FREE_TRIES {
                store::add(&self.0, seal).await?
            } else {
                store::add_alone(&self.0, lock_key(&self.0), seal).await?
            };
            if let Some(sealed) = added {
                for entry in &sealed {
                    testify(&self.0, entry).await;
                }
                return Ok(sealed);
            }
        }
        Err(busy())
    }
}

fn busy() -> Error {
    Error::unavailable("the audit log is too busy to take another entry").remedy("try again in a moment")
}
