//! The knowledge base: reading files, ingesting them, finding passages.

mod collections;
mod extract;
mod files;
mod fixture;
mod ingest;
mod jobs;
mod killed;
mod pages;
mod quality;
mod search;
mod tools;
mod uploads;
