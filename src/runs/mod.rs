//! What happened, shown and tried again: the pages of the audit log, a run's time line, its replay, and how long
//! entries are kept.

mod compare;
pub mod configuration;
pub mod http;
pub mod retention;
pub mod search;
pub mod timeline;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

pub use self::compare::Difference;
use crate::{
    accounts::Accounts,
    agents::{
        Agents,
        replay::{Answers, Recording},
    },
    audit::{self, Action, Actor, Log, NewEntry, Pruned, Verification},
    db::{Databases, TenantDb},
    support::{
        Error, Result,
        clock::SharedClock,
        ids::{RunId, TenantId, UserId},
    },
};

/// The use cases round the audit log. A cheap handle.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

struct Inner {
    databases: Databases,
    accounts: Accounts,
    agents: Agents,
    clock: SharedClock,
}

/// What is known of a log without walking along it.
#[derive(Debug, Clone)]
pub struct Seal {
    /// How many entries there are.
    pub entries: i64,
    /// The newest entry's hash, in hex.
    pub head: String,
    /// How the log was when somebody last had it checked.
    pub checked: Option<Checked>,
}

/// An earlier verification.
#[derive(Debug, Clone)]
pub struct Checked {
    /// When.
    pub at: DateTime<Utc>,
    /// How many entries there were.
    pub entries: i64,
    /// What was wrong, in a sentence; `None` when nothing was.
    pub broken: Option<String>,
}

/// What a replay came to.
#[derive(Debug, Clone, Serialize)]
pub struct Replay {
    /// The run.
    pub run: RunId,
    /// Whether it came out the same.
    pub identical: bool,
    /// How many steps were compared.
    pub steps: usize,
    /// The models that were asked again; the others' answers were taken from the recording.
    pub asked_again: Vec<String>,
    /// Whether the run was cut off, so that only what came before that was compared.
    pub cut_off: bool,
    /// Entries of the run that are not what was sealed.
    pub altered: Vec<i64>,
    /// The first difference.
    pub difference: Option<Difference>,
}

impl Runs {
    /// Over these slices.
    pub fn new(databases: Databases, accounts: Accounts, agents: Agents, clock: SharedClock) -> Self {
        Self(Arc::new(Inner { databases, accounts, agents, clock }))
    }

    /// The time, for who shows how long ago something was.
    pub fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    /// Has a log checked from end to end and writes down that it was.
    ///
    /// # Errors
    /// When the database does not answer. A broken chain is not an error but the answer.
    pub async fn verify(&self, log: impl Into<Log>, by: Actor) -> Result<Verification> {
        let log = log.into();
        let began = self.0.clock.now();
        let found = audit::verify(&log).await?;
        let broken = found.broken.as_ref().map(|broken| format!("Broken at entry {}: {}", broken.seq, broken.why));
        let detail = json!({
            "entries": found.entries, "head": found.head, "outcome": if broken.is_some() { "failed" } else { "done" },
            "error": broken, "duration_ms": (self.0.clock.now() - began).num_milliseconds().max(0),
        });
        self.note(&log, by, Action::AuditVerified, None, detail).await?;
        Ok(found)
    }

    /// What is known of a log without walking along it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn seal(&self, db: &TenantDb) -> Result<Option<Seal>> {
        let Some((first, last)) = audit::extent(db).await? else { return Ok(None) };
        let newest = audit::entry(db, last).await?.ok_or_else(|| Error::not_found("the entry"))?;
        let checked = audit::newest_of(db, Action::AuditVerified).await?.map(|entry| Checked {
            at: entry.at,
            entries: entry.detail["entries"].as_i64().unwrap_or_default(),
            broken: entry.detail["error"].as_str().map(str::to_owned),
        });
        Ok(Some(Seal { entries: last - first + 1, head: newest.hash, checked }))
    }

    /// Writes down that somebody takes a copy of a log, or of a run in it.
    ///
    /// # Errors
    /// When it cannot be written: then there must be no copy.
    pub async fn note_export(&self, log: impl Into<Log>, by: Actor, run: Option<RunId>) -> Result<()> {
        self.note(&log.into(), by, Action::AuditExported, run.map(|run| run.to_string()), json!({})).await
    }

    /// Removes the entries of before a moment.
    ///
    /// # Errors
    /// `Conflict` when the log is broken.
    pub async fn prune(&self, log: impl Into<Log>, by: Actor, before: DateTime<Utc>) -> Result<Option<Pruned>> {
        audit::prune(&self.0.databases, log, &*self.0.clock, by, before).await
    }

    /// Goes through a run again, compares, and writes down what came of it. Nothing else is changed anywhere.
    ///
    /// # Errors
    /// `NotFound` when there is no such run in this log, `Conflict` when its entries do not say enough.
    pub async fn replay(&self, db: &TenantDb, run: RunId, answers: Answers, by: Actor) -> Result<Replay> {
        let entries = audit::of_run(db, run).await?;
        let recording = Recording::read(&entries)?;
        let altered = entries.iter().filter(|entry| entry.altered).map(|entry| entry.seq).collect();
        let replayed = self.0.agents.replay(db, &recording, answers).await?;
        let difference = compare::first_difference(&recording, &replayed.steps);
        let replay = Replay {
            run,
            identical: difference.is_none(),
            steps: recording.steps.len(),
            asked_again: replayed.asked,
            cut_off: recording.cut_off,
            altered,
            difference,
        };
        let detail = json!({
            "identical": replay.identical, "steps": replay.steps, "asked_again": replay.asked_again,
            "altered": replay.altered, "difference": replay.difference,
        });
        self.note(&db.into(), by, Action::RunReplayed, Some(run.to_string()), detail).await?;
        Ok(replay)
    }

    /// What people are called: the organisation's, and those in `others`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn names(&self, tenant: &TenantId, others: &[UserId]) -> Result<Vec<(UserId, String)>> {
        self.0.accounts.names(tenant, others).await
    }

    async fn note(
        &self,
        log: &Log,
        actor: Actor,
        action: Action,
        subject: Option<String>,
        detail: serde_json::Value,
    ) -> Result<()> {
        let entry = NewEntry { actor, action, run: None, subject, detail };
        audit::append(log, &*self.0.clock, entry).await.map(|_| ())
    }
}
