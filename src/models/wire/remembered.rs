//! What a vendor wants back with a call of a tool and nobody else understands: Gemini's thought signatures, Anthropic's
//! thinking blocks. It is kept in memory, by the call's id, for the run that is going on; a run that is taken up after a
//! restart goes on without, in the way that the vendor describes for that.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

/// Calls that are remembered: a run makes a few dozen, and some runs go on at once.
const KEPT: usize = 512;

/// By the ids of calls, the oldest first.
#[derive(Debug, Default)]
pub(in crate::models) struct Remembered(Mutex<VecDeque<(String, Value)>>);

impl Remembered {
    pub(in crate::models) fn put(&self, call: &str, what: Value) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((call.to_owned(), what));
    }

    pub(in crate::models) fn get(&self, call: &str) -> Option<Value> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|(id, _)| id == call).map(|(_, what)| what.clone())
    }
}
