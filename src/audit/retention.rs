//! Removing the oldest entries of a log, by which it is cut at a signed checkpoint and stays checkable from there.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::{Action, Actor, NewEntry, append, checkpoint::Checkpoint, log::Log, store, verify::verify};
use crate::{
    db::{Cut, Databases},
    support::{Clock, Error, Result},
};

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// How many entries.
    pub removed: i64,
    /// The place of the newest of them.
    pub through: i64,
    /// Its hash, in hex, which the checkpoint carries.
    pub hash: String,
}

/// Removes the entries that were written before `before`; the newest entry of the log always stays. `None` when there is
/// none to remove. What was removed is itself an entry.
///
/// # Errors
/// `Conflict` when the log is broken, because a cut would hide where; or when somebody else was just cutting it.
pub async fn prune(
    databases: &Databases,
    log: impl Into<Log>,
    clock: &dyn Clock,
    actor: Actor,
    before: DateTime<Utc>,
) -> Result<Option<Pruned>> {
    let log = log.into();
    let Some(witness) = log.witness() else { return Err(Error::internal("there is no key to sign a checkpoint with")) };
    let Some((first, last)) = store::range(&log).await? else { return Ok(None) };
    let seq = store::last_before(&log, before).await?.unwrap_or(last).min(last - 1);
    if seq < first {
        return Ok(None);
    }
    let found = verify(&log).await?;
    if let Some(broken) = found.broken {
        let message = format!("the log is broken at entry {}: {}. Nothing was removed", broken.seq, broken.why);
        return Err(Error::conflict(message).remedy("export it and find out what happened before anything is removed"));
    }
    let Some(newest) = store::entry(&log, seq).await? else {
        return Err(Error::conflict("the log is being cut by somebody else").remedy("try again in a moment"));
    };
    let (removed, at) = (seq - first + 1, clock.now());
    let signature = Checkpoint::sign(&**witness, &log, (seq, &newest.hash), at, removed);
    let hash = hex::encode(&newest.hash);
    if !databases.cut_log(&log.owner(), &Cut { seq, hash: newest.hash, at, removed, signature }).await? {
        return Err(Error::conflict("the log is being cut by somebody else").remedy("try again in a moment"));
    }
    let pruned = Pruned { removed, through: seq, hash };
    let detail = json!({ "before": before, "removed": removed, "first": first, "through": seq, "hash": pruned.hash });
    let entry = NewEntry { actor, action: Action::AuditPruned, run: None, subject: None, detail };
    append(&log, clock, entry).await?;
    tracing::info!(log = log.name(), removed, through = seq, "the oldest entries of an audit log were removed");
    Ok(Some(pruned))
}
