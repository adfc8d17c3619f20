//! What the tests share: the server, a database for each test, a clock that stands where it is put.

pub mod clock;
pub mod database;
pub mod server;

pub use self::database::TestDb;
