//! Language models: what a chat model and an embedding model are, who provides them, and how one is chosen.

pub mod chat;
pub mod embedding;
