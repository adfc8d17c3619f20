//! Finding entries: by actor, action, run, time and words, newest first, a page at a time.

use chrono::{DateTime, Utc};

use super::{Actor, Entry, chain, log::Log, open, store};
use crate::support::{Error, Result, ids::RunId};

/// How many entries are looked through for words at once: their details must be read, which takes long.
const WINDOW: i64 = 5_000;

/// Which entries are wanted; what is empty does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this run.
    pub run: Option<RunId>,
    /// Of this action, or of all actions of a noun: `document.added`, `document`.
    pub action: Option<String>,
    /// By one of these, as they stand in the log: see [`Filter::by`].
    pub actors: Vec<String>,
    /// Written at this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Written before this moment.
    pub until: Option<DateTime<Utc>>,
    /// With these words in the subject or the detail, in capitals or not.
    pub text: Option<String>,
}

impl Filter {
    /// Only what one of these did.
    ///
    /// # Errors
    /// Never in fact; an actor can always be written.
    pub fn by(mut self, actors: &[Actor]) -> Result<Self> {
        for actor in actors {
            self.actors.push(chain::canonical(&serde_json::to_value(actor).map_err(Error::internal)?));
        }
        Ok(self)
    }

    /// Whether every entry fits.
    pub fn is_empty(&self) -> bool {
        self.run.is_none()
            && self.action.is_none()
            && self.actors.is_empty()
            && self.since.is_none()
            && self.until.is_none()
            && self.text.is_none()
    }
}

/// A page of entries.
#[derive(Debug, Clone)]
pub struct Found {
    /// Newest first.
    pub entries: Vec<Entry>,
    /// Where to go on for older ones; `None` at the end.
    pub older: Option<i64>,
}

/// The newest entries that fit and stand below `below`, `limit` at most. When words are looked for, a page may hold fewer,
/// or none, and yet have older ones: so many entries are looked through for one page and no more.
///
/// # Errors
/// When the database does not answer, or an entry was altered so that it cannot be read.
pub async fn find(log: impl Into<Log>, filter: &Filter, below: Option<i64>, limit: i64) -> Result<Found> {
    let log = log.into();
    let Some((first, last)) = store::range(&log).await? else { return Ok(Found { entries: Vec::new(), older: None }) };
    let below = below.unwrap_or(i64::MAX).min(last + 1);
    let floor = if filter.text.is_some() { below.saturating_sub(WINDOW).max(first) } else { first };
    let mut entries = store::find(&log, filter, below, floor, limit + 1).await?;
    let more = i64::try_from(entries.len()).unwrap_or(i64::MAX) > limit;
    if more {
        entries.pop();
    }
    let older = if more { entries.last().map(|entry| entry.seq) } else { (floor > first).then_some(floor) };
    Ok(Found { entries: entries.into_iter().map(open).collect::<Result<_>>()?, older })
}

/// One entry, by its place.
///
/// # Errors
/// When the database does not answer, or the entry was altered so that it cannot be read.
pub async fn entry(log: impl Into<Log>, seq: i64) -> Result<Option<Entry>> {
    store::entry(&log.into(), seq).await?.map(open).transpose()
}

/// The places of the oldest entry and the newest; `None` when there is none.
///
/// # Errors
/// When the database does not answer.
pub async fn extent(log: impl Into<Log>) -> Result<Option<(i64, i64)>> {
    store::range(&log.into()).await
}

/// The newest entry of an action.
///
/// # Errors
/// As for [`entry`].
pub async fn newest_of(log: impl Into<Log>, action: super::Action) -> Result<Option<Entry>> {
    store::newest_of(&log.into(), action.name()).await?.map(open).transpose()
}
