//! What every room may use: identifiers, the clock, and the kinds of error.

pub mod clock;
pub mod error;
pub mod ids;

pub use clock::{Clock, SystemClock};
pub use error::{Error, Kind, Result};
