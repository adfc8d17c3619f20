//! The tenant's audit log: every model call, tool call, retrieval and change, each sealed by a hash over
//! itself and the entry before it, so that a run can be read back exactly and a changed byte is found.

mod action;
mod chain;
mod checkpoint;
mod export;
mod find;
mod heads;
mod log;
mod queue;
mod retention;
mod store;
mod verify;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::{
    db::{Head, Testimony},
    support::{
        Clock, Error, Result,
        ids::{RunId, UserId},
    },
};

pub use self::{
    action::Action,
    chain::Fault,
    checkpoint::Checkpoint,
    export::{FORMAT, export, export_run},
    find::{Filter, Found, entry, extent, find, newest_of},
    heads::HeadFiles,
    log::Log,
    retention::{Pruned, prune},
    verify::{Broken, Verification, verify},
};
use chain::{Content, Sealed};

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// A signed-in person.
    User {
        /// Which.
        id: UserId,
    },
    /// An agent, by its name ("atlas").
    Agent {
        /// Its name.
        name: String,
    },
    /// Somebody at the command line of the server.
    Operator,
    /// The appliance itself: jobs, schedules.
    System,
}

/// An entry that is about to be written.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub action: Action,
    /// The run that it belongs to, if any.
    pub run: Option<RunId>,
    /// What it was done to: a document's id, a tool's name.
    pub subject: Option<String>,
    /// Inputs, outputs and measures (`duration_ms`, token counts). Never a secret.
    pub detail: Value,
}

/// An entry as it stands in the log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Entry {
    /// Its place in the chain, from 1, without gaps.
    pub seq: i64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub action: String,
    /// The run that it belongs to.
    pub run: Option<RunId>,
    /// What it was done to.
    pub subject: Option<String>,
    /// Inputs, outputs and measures.
    #[schema(value_type = Object)]
    pub detail: Value,
    /// The hash of the entry before it, in hex.
    pub previous: String,
    /// SHA-256 over the entry and the hash before it, in hex.
    pub hash: String,
    /// Whether the entry is not what was sealed: its content does not give the hash.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub altered: bool,
}

impl Entry {
    /// How it ended: `done`, `failed`, `refused` or `stopped`.
    pub fn outcome(&self) -> &str {
        match self.detail["outcome"].as_str().or_else(|| self.detail["state"].as_str()) {
            Some(outcome @ ("failed" | "refused" | "stopped")) => outcome,
            _ if self.action.ends_with(".failed") => "failed",
            _ if self.action.ends_with(".refused") => "refused",
            _ => "done",
        }
    }

    /// Why it was not done, in a sentence.
    pub fn reason(&self) -> Option<&str> {
        ["error", "reason", "problem"].iter().find_map(|field| self.detail[field].as_str())
    }

    /// How long it took, where that was measured. The entry was written at the end.
    pub fn duration_ms(&self) -> Option<u64> {
        self.detail["duration_ms"].as_u64()
    }
}

/// Writes `entry` at the end of the tenant's log, which takes two round trips to the database; entries that come together
/// share them. It uses a connection of its own: do not hold a transaction open around it.
///
/// Concurrent writers never fork the chain: two entries cannot have one place, and a node that comes second seals its
/// entries again behind the new head.
///
/// # Errors
/// When the database does not answer; then the entry may or may not have been written.
pub async fn append(log: impl Into<Log>, clock: &dyn Clock, entry: NewEntry) -> Result<Entry> {
    let log = log.into();
    let content = Content {
        // PostgreSQL keeps microseconds; what is hashed must be what comes back.
        at: DateTime::from_timestamp_micros(clock.now().timestamp_micros()),
        actor: chain::canonical(&serde_json::to_value(&entry.actor).map_err(Error::internal)?),
        action: entry.action.name().to_owned(),
        run: entry.run.map(|run| run.0),
        subject: entry.subject.map(|subject| subject.replace('\0', "\u{fffd}")),
        detail: chain::canonical(&entry.detail),
    };
    open(queue::write(&log, content).await?)
}

/// Everything that happened in a run, in order. Empty when there is no such run in this log.
///
/// # Errors
/// When the database does not answer, or an entry was altered so that it cannot be read.
pub async fn of_run(log: impl Into<Log>, run: RunId) -> Result<Vec<Entry>> {
    store::of_run(&log.into(), run).await?.into_iter().map(open).collect()
}

/// Tells whoever remembers the log's head outside the database. The entry is written already, so this cannot fail.
async fn testify(log: &Log, sealed: &Sealed) {
    let Some(witness) = log.witness() else { return };
    let head = Head { seq: sealed.seq, hash: sealed.hash.clone() };
    match witness.saw(log.name(), &head, &sealed.previous) {
        Testimony::Follows => {}
        Testimony::Contradicts => contradicted(log, head.seq),
        Testimony::Doubt(earlier) => match store::at_place(log, earlier.seq).await {
            Ok(found) => {
                let is_there = match found {
                    store::AtPlace::Hash(hash) => hash == earlier.hash,
                    store::AtPlace::Removed => true,
                    store::AtPlace::Nothing => false,
                };
                witness.settle(log.name(), &head, is_there);
                if !is_there {
                    contradicted(log, earlier.seq);
                }
            }
            // The next entry is doubted as well, and asks again.
            Err(error) => tracing::warn!(log = log.name(), %error, "the log's head could not be compared"),
        },
    }
}

fn contradicted(log: &Log, seq: i64) {
    tracing::error!(
        log = log.name(),
        seq,
        "the audit log is not the one that was seen before: `aegis audit verify` tells more"
    );
}

fn open(sealed: Sealed) -> Result<Entry> {
    let altered = !sealed.is_unaltered();
    let Sealed { seq, content, hash, previous } = sealed;
    let unreadable = || {
        Error::conflict(format!("entry {seq} of the audit log was altered and cannot be read"))
            .remedy("find the first broken entry with `aegis audit verify`")
    };
    Ok(Entry {
        seq,
        at: content.at.ok_or_else(unreadable)?,
        actor: serde_json::from_str(&content.actor).map_err(|source| unreadable().because(source))?,
        action: content.action,
        run: content.run.map(RunId),
        subject: content.subject,
        detail: serde_json::from_str(&content.detail).map_err(|source| unreadable().because(source))?,
        previous: hex::encode(previous),
        hash: hex::encode(hash),
        altered,
    })
}

/// Advisory locks are common to the whole database, so each log has a key of its own.
fn lock_key(log: &Log) -> i64 {
    let digest = Sha256::new().chain_update(b"AEGIS audit lock\0").chain_update(log.name()).finalize();
    digest.iter().take(8).fold(0, |key, byte| (key << 8) | i64::from(*byte))
}
