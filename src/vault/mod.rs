//! Secrets: the appliance's own key, what is derived from it, and tokens that are stored as hashes only.

pub mod key;
pub mod password;
pub mod scram;
pub mod token;

pub use key::ApplianceKey;
pub use token::{Token, TokenHash};
