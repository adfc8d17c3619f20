//! As in the appliance: its errors.

#[path = "../../src/support/error.rs"]
pub mod error;
pub use error::{Error, Kind, Result};
