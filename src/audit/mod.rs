//! The tenant's audit log: every model call, tool call, retrieval and change, each sealed by a hash over
//! itself and the entry before it, so that a run can be read back exactly and a changed byte is found.

mod action;
mod chain;
mod store;

use std::pin::pin;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    db::TenantDb,
    support::{
        Clock, Error, Result,
        ids::{RunId, TenantId, UserId},
    },
};

pub use action::Action;
pub use chain::Fault;
use chain::{Checker, Content, Sealed};

/// Tries to take the next place without a lock. Almost always the first succeeds.
const FREE_TRIES: usize = 2;
/// Tries while holding the lock; only an unlocked first try of somebody else can come between.
const LOCKED_TRIES: usize = 200;
/// Entries that one statement reads while the log is verified, so that none runs into the limit of a statement's time.
const PAGE: i64 = 500;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize)]
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
    pub detail: Value,
    /// SHA-256 over the entry and the hash before it, in hex.
    pub hash: String,
}

/// What a walk through the whole log found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// How many entries there are.
    pub entries: i64,
    /// The hash of the newest entry, in hex; zeros when there is none. Kept elsewhere, it later shows whether the newest
    /// entries were cut off, which a chain cannot show by itself.
    pub head: String,
    /// The first entry at which the chain is broken; `None` when it is whole.
    pub broken: Option<Broken>,
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The entry's place.
    pub seq: i64,
    /// What is wrong with it.
    pub fault: Fault,
    /// The same as a sentence.
    pub why: String,
}

/// Writes `entry` at the end of the tenant's log, which takes two round trips to the database unless several
/// writers come together. It uses a connection of its own: do not hold a transaction open around it.
///
/// Concurrent writers never fork the chain: two entries cannot have one place, and whoever comes second seals
/// his entry again behind the new head.
///
/// # Errors
/// When the database does not answer; then the entry may or may not have been written.
pub async fn append(db: &TenantDb, clock: &dyn Clock, entry: NewEntry) -> Result<Entry> {
    let content = Content {
        // PostgreSQL keeps microseconds; what is hashed must be what comes back.
        at: DateTime::from_timestamp_micros(clock.now().timestamp_micros()),
        actor: chain::canonical(&serde_json::to_value(&entry.actor).map_err(Error::internal)?),
        action: entry.action.name().to_owned(),
        run: entry.run.map(|run| run.0),
        subject: entry.subject.map(|subject| subject.replace('\0', "\u{fffd}")),
        detail: chain::canonical(&entry.detail),
    };
    let seal = |head| chain::seal(head, content.clone());
    for _ in 0..FREE_TRIES {
        if let Some(sealed) = store::add(db, seal).await? {
            return open(sealed);
        }
    }
    if let Some(sealed) = store::add_alone(db, lock_key(db.tenant()), LOCKED_TRIES, seal).await? {
        return open(sealed);
    }
    Err(Error::unavailable("the audit log is too busy to take another entry").remedy("try again in a moment"))
}

/// Walks through the whole log, in constant memory, and says whether it is as it was written.
///
/// # Errors
/// When the database does not answer. A broken chain is not an error but the answer.
pub async fn verify(db: &TenantDb) -> Result<Verification> {
    let mut checker = Checker::new();
    let mut after = i64::MIN;
    loop {
        let mut page = pin!(store::page(db, after, PAGE));
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
    let (entries, head, broken) = checker.finish();
    let broken = broken.map(|(seq, fault)| Broken { seq, fault, why: fault.to_string() });
    Ok(Verification { entries, head: hex::encode(head), broken })
}

/// Everything that happened in a run, in order. Empty when there is no such run in this tenant.
///
/// # Errors
/// When the database does not answer, or an entry was altered so that it cannot be read.
pub async fn of_run(db: &TenantDb, run: RunId) -> Result<Vec<Entry>> {
    store::of_run(db, run).await?.into_iter().map(open).collect()
}

fn open(sealed: Sealed) -> Result<Entry> {
    let Sealed { seq, content, hash, .. } = sealed;
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
        hash: hex::encode(hash),
    })
}

/// Advisory locks are common to the whole database, so each tenant has a key of its own.
fn lock_key(tenant: &TenantId) -> i64 {
    let digest = Sha256::new().chain_update(b"AEGIS audit lock\0").chain_update(tenant.as_str()).finalize();
    digest.iter().take(8).fold(0, |key, byte| (key << 8) | i64::from(*byte))
}
