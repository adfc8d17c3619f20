//! Integration tests: one binary, one real PostgreSQL for the whole run, a database of its own for each test.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod accounts;
mod agents;
mod air_gap;
mod appliance;
mod audit;
mod boardroom;
mod browser;
mod browser_driver;
mod cli;
mod config;
mod developer;
mod doors;
mod egress;
mod exploited;
mod external;
mod harness;
mod http;
mod isolation;
mod jobs;
mod knowledge;
mod layout;
mod leave_pages;
mod matrix;
mod models;
mod ollama_stand_in;
mod openapi;
mod runs;
mod schemathesis;
mod secrets;
mod supervisor;
mod survival;
mod tenants;
mod tools;
mod visitor;
mod without_script;
