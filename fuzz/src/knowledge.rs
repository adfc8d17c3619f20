//! As in the appliance.

#[path = "../../src/knowledge/extract/mod.rs"]
pub mod extract;
