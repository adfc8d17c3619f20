//! Walking along a log to see whether it is as it was written.

use std::pin::pin;

use futures::TryStreamExt;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    chain::{Checker, Fault},
    checkpoint::Checkpoint,
    log::Log,
    store,
};
use crate::{db::Head, support::Result};

/// Entries that one statement reads, so that none runs into the limit of a statement's time.
pub(super) const PAGE: i64 = 500;

/// What a walk through the whole log found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Verification {
    /// How many entries there are.
    pub entries: i64,
    /// The hash of the newest entry, in hex; that of the checkpoint when there is none behind it, zeros without one.
    pub head: String,
    /// Where the log begins because older entries were removed; `None` when it is complete.
    pub checkpoint: Option<Checkpoint>,
    /// How many entries the head kept outside the database says there were at least; `None` when none is kept.
    pub witnessed: Option<i64>,
    /// The first entry at which the chain is broken; `None` when it is whole.
    pub broken: Option<Broken>,
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Broken {
    /// The entry's place.
    pub seq: i64,
    /// What is wrong with it.
    pub fault: Fault,
    /// The same as a sentence.
    pub why: String,
}

/// Walks through the whole log, in constant memory, and says whether it is as it was written: each entry by its hash, its
/// place and the entry before it, the beginning by the checkpoint's signature, the end by the head that is kept
/// outside the database.
///
/// # Errors
/// When the database does not answer. A broken chain is not an error but the answer.
pub async fn verify(log: impl Into<Log>) -> Result<Verification> {
    let log = log.into();
    // Before the walk: what is written meanwhile comes behind it.
    let witnessed = log.witness().and_then(|witness| witness.remembers(log.name()));
    let checkpoints = store::checkpoints(&log).await?;
    let checkpoint = checkpoints.last().cloned();
    let forged = log.witness().and_then(|witness| checkpoints.iter().find(|one| !one.is_genuine(&**witness, &log)));

    let mut checker = match &checkpoint {
        Some(checkpoint) => Checker::behind(checkpoint.seq, checkpoint.hash.clone()),
        None => Checker::new(),
    };
    if let Some(Head { seq, hash }) = &witnessed {
        checker.expect(*seq, hash.clone());
    }
    let mut after = i64::MIN;
    loop {
        let mut page = pin!(store::page(&log, after, PAGE));
        let mut taken = 0;
        while let Some(entry) = page.try_next().await? {
            checker.take(&entry);
            after = entry.seq;
            taken += 1;
        }
        if taken < PAGE {
            break;
        }
    }
    let outcome = checker.finish();
    let mut broken = outcome.broken.map(|(seq, fault)| Broken { seq, fault, why: fault.to_string() });
    if let Some(Broken { seq, fault: Fault::CutOff, why }) = &mut broken
        && let Some(head) = &witnessed
    {
        *why = cut_off(&log, *seq, head.seq);
    }
    if let Some(forged) = forged {
        broken = Some(Broken { seq: forged.seq, fault: Fault::Forged, why: Fault::Forged.to_string() });
    }
    Ok(Verification {
        entries: outcome.entries,
        head: hex::encode(outcome.head),
        checkpoint,
        witnessed: witnessed.map(|head| head.seq),
        broken,
    })
}

fn cut_off(log: &Log, first: i64, last: i64) -> String {
    let missing = if first == last {
        format!("entry {first} is missing")
    } else {
        format!("entries {first}–{last} are missing")
    };
    let place = log.witness().map(|witness| witness.place(log.name())).unwrap_or_default();
    format!(
        "{missing}: the head kept outside the database says {last} (if the database was put back from a backup on \
         purpose, remove {place})"
    )
}
