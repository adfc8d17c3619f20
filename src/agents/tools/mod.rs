//! Tools that belong to no other slice: the clock, the calculator, pages of allowed servers, a colleague.

mod calculator;
mod clock;
mod delegate;
mod fetch;
pub mod sandbox;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use calculator::Calculator;
pub use clock::ClockTool;
pub use delegate::Delegate;
pub use fetch::Fetch;

use crate::support::{Error, Result};

fn understand<T: DeserializeOwned>(arguments: Value) -> Result<T> {
    serde_json::from_value(arguments).map_err(|error| Error::invalid(format!("the arguments do not fit: {error}")))
}

/// The first `most` characters of `text`, and whether that is less than all.
fn first(text: &str, most: usize) -> (&str, bool) {
    text.char_indices().nth(most).map_or((text, false), |(end, _)| (&text[..end], true))
}
