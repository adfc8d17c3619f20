//! A clock that a test sets.

use std::sync::{Arc, Mutex};

use aegis::support::Clock;
use chrono::{DateTime, Duration, TimeZone as _, Utc};

/// Stands at noon of 1 May 2026 until somebody moves it.
#[derive(Debug)]
pub struct TestClock(Mutex<DateTime<Utc>>);

impl TestClock {
    /// A clock at the usual moment.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Utc.with_ymd_and_hms(2026, 5, 1, 12, 0, 0).unwrap())))
    }

    /// Moves it on (or back).
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}
