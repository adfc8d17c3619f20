//! How long a model that failed is left alone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::models::chat::ModelError;

/// Failures of the server itself that are forgiven before it is left alone.
const FORGIVEN: u32 = 2;
/// The longest that a provider may have itself left alone.
const LONGEST: TimeDelta = TimeDelta::minutes(10);

/// One model's record.
#[derive(Debug, Default)]
pub(super) struct Cooldown(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    until: Option<(DateTime<Utc>, String)>,
    failures: u32,
}

impl Cooldown {
    /// Why it may not be asked now; none when it may.
    pub(super) fn reason(&self, now: DateTime<Utc>) -> Option<String> {
        let record = self.record();
        let (until, error) = record.until.as_ref().filter(|(until, _)| now < *until)?;
        Some(format!("{error} (asked again in {} s)", (*until - now).num_seconds().max(1)))
    }

    /// Notes a failure.
    pub(super) fn after(&self, error: &ModelError, now: DateTime<Utc>) {
        let mut record = self.record();
        record.failures += 1;
        if let Some(pause) = pause(error, record.failures) {
            record.until = Some((now + pause, error.to_string()));
        }
    }

    /// It answered.
    pub(super) fn clear(&self) {
        *self.record() = Record::default();
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None where the failure lies in the question and not in the model.
fn pause(error: &ModelError, failures: u32) -> Option<TimeDelta> {
    match error {
        ModelError::NotRunning { .. } | ModelError::ModelMissing { .. } => Some(TimeDelta::seconds(15)),
        ModelError::TimedOut { .. } | ModelError::OutOfMemory { .. } | ModelError::Unauthorized => {
            Some(TimeDelta::seconds(60))
        }
        ModelError::RateLimited { retry_after } | ModelError::Overloaded { retry_after } => {
            let asked = retry_after.and_then(|after| TimeDelta::from_std(after).ok());
            Some(asked.unwrap_or(TimeDelta::seconds(15)).min(LONGEST))
        }
        ModelError::Server { .. } | ModelError::Network { .. } => {
            (failures > FORGIVEN).then_some(TimeDelta::seconds(15))
        }
        ModelError::ContextOverflow { .. }
        | ModelError::Refused { .. }
        | ModelError::NoTools { .. }
        | ModelError::OverBudget { .. }
        | ModelError::Cancelled => None,
    }
}
