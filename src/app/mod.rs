//! The appliance as a whole: how its parts are put together, started and stopped, and which routes it answers.

pub mod admin;
pub mod doctor;
mod egress_api;
mod egress_journal;
pub mod lifecycle;
pub mod logging;
mod notify;
mod openapi;
pub mod readiness;
mod residents;
pub mod routes;
mod shelf;
mod staff;
pub mod table;
pub mod terminal;
pub mod wiring;
