//! What every room may use: identifiers, the clock, randomness, addresses, sockets, and the kinds of error.

pub mod address;
pub mod clock;
pub mod error;
pub mod ids;
pub mod random;
pub mod socket;
pub mod text;
pub mod together;

pub use clock::{Clock, SystemClock};
pub use error::{Error, Kind, Result};
