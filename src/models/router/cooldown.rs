//! How long a target that failed is left alone, by all routes.
//!
//! When the time is over, one question tries it; the others pass it by until that one has had an answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::models::chat::ModelError;

/// Failures of the server itself that are forgiven before it is left alone.
const FORGIVEN: u32 = 2;
/// For how long at first.
const PAUSE: TimeDelta = TimeDelta::seconds(15);
/// The longest pause of a server that goes on failing.
const LONGEST: TimeDelta = TimeDelta::minutes(2);
/// The longest that a provider may have itself left alone.
const LONGEST_ASKED_FOR: TimeDelta = TimeDelta::minutes(10);

/// One target's record.
#[derive(Debug, Default, Clone)]
pub(super) struct Cooldown(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    /// Until when it is left alone, and why. It stays when the time is over, until an answer has begun.
    until: Option<(DateTime<Utc>, String)>,
    /// Without a complete answer in between.
    failures: u32,
    /// Somebody tries it.
    probed: bool,
}

/// Leave to ask the target.
#[derive(Debug)]
pub(super) struct Turn {
    record: Arc<Mutex<Record>>,
    probe: bool,
}

impl Cooldown {
    /// Leave to ask it, or why it may not be asked now.
    pub(super) fn enter(&self, now: DateTime<Utc>) -> Result<Turn, String> {
        let mut record = lock(&self.0);
        let probe = match &record.until {
            None => false,
            Some((until, error)) if now < *until => {
                return Err(format!("{error} (asked again in {} s)", seconds(*until - now)));
            }
            Some((_, error)) if record.probed => return Err(format!("{error} (it is being tried again just now)")),
            Some(_) => true,
        };
        record.probed |= probe;
        Ok(Turn { record: self.0.clone(), probe })
    }

    /// Why it is left alone, and for how many seconds more; none when it is not.
    pub(super) fn cooling(&self, now: DateTime<Utc>) -> Option<(String, i64)> {
        let record = lock(&self.0);
        let (until, error) = record.until.as_ref().filter(|(until, _)| now < *until)?;
        Some((error.clone(), seconds(*until - now)))
    }

    /// An answer broke off.
    pub(super) fn broke_off(&self, error: &ModelError, now: DateTime<Utc>) {
        lock(&self.0).failed(error, now);
    }

    /// An answer is complete.
    pub(super) fn answered(&self) {
        lock(&self.0).failures = 0;
    }
}

impl Turn {
    /// Whether it is the one question that tries whether the target is well again.
    pub(super) fn is_probe(&self) -> bool {
        self.probe
    }

    /// An answer has begun: it may be asked by everybody.
    pub(super) fn began(self) {
        lock(&self.record).until = None;
    }

    /// It failed. When the same question asks again, that is only counted.
    pub(super) fn failed(self, error: &ModelError, now: DateTime<Utc>, asks_again: bool) {
        let mut record = lock(&self.record);
        if asks_again {
            record.failures += 1;
        } else {
            record.failed(error, now);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.probe {
            lock(&self.record).probed = false;
        }
    }
}

impl Record {
    fn failed(&mut self, error: &ModelError, now: DateTime<Utc>) {
        if let Some(pause) = pause(error, self.failures + 1) {
            let until = now + pause;
            // What another question was told meanwhile may be longer.
            if self.until.as_ref().is_none_or(|(known, _)| *known < until) {
                self.until = Some((until, error.to_string()));
            }
        }
        self.failures = self.failures.saturating_add(u32::from(is_its_fault(error)));
    }
}

/// None where the failure lies in the question and not in the model, or is forgiven.
fn pause(error: &ModelError, failures: u32) -> Option<TimeDelta> {
    match error {
        ModelError::NotRunning { .. } | ModelError::ModelMissing { .. } => Some(PAUSE),
        ModelError::TimedOut { .. } | ModelError::OutOfMemory { .. } | ModelError::Unauthorized => {
            Some(TimeDelta::seconds(60))
        }
        ModelError::RateLimited { retry_after } | ModelError::Overloaded { retry_after } => {
            let asked = retry_after.and_then(|after| TimeDelta::from_std(after).ok());
            Some(asked.unwrap_or(PAUSE).min(LONGEST_ASKED_FOR))
        }
        ModelError::Server { .. } | ModelError::Network { .. } => {
            let beyond = failures.checked_sub(FORGIVEN + 1)?;
            Some((PAUSE * (1 << beyond.min(4))).min(LONGEST))
        }
        _ => None,
    }
}

fn is_its_fault(error: &ModelError) -> bool {
    !matches!(
        error,
        ModelError::ContextOverflow { .. }
            | ModelError::Refused { .. }
            | ModelError::NoTools { .. }
            | ModelError::OverBudget { .. }
            | ModelError::Cancelled
    )
}

/// Rounded up: a second before it is asked again, it is not asked yet.
fn seconds(left: TimeDelta) -> i64 {
    left.num_milliseconds().div_euclid(1000) + i64::from(left.num_milliseconds() % 1000 != 0)
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}
