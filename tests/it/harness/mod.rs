//! What the tests share: the server, a database for each test, a clock that stands where it is put.
#![expect(dead_code, unused_imports, reason = "not every helper has its test yet")]

pub mod clock;
pub mod database;
pub mod server;

pub use self::{clock::TestClock, database::TestDb};
