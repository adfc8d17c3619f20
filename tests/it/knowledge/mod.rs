//! The knowledge base: reading files, ingesting them, finding passages.

mod extract;
mod files;
mod ingest;
mod jobs;
mod quality;
mod tools;
