//! The knowledge base: reading files, ingesting them, finding passages.

mod collections;
mod extract;
mod files;
mod fixture;
mod hostile;
mod ingest;
mod ingest_bench;
mod intake;
mod jobs;
mod killed;
mod moving;
mod mutations;
mod overlap;
mod pages;
mod pdf;
mod quality;
mod reembedding;
mod rerank;
mod search;
mod tools;
mod uploads;
mod vectors_bench;
mod watch;
