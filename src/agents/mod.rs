//! Agents: who they are (SOUL), what they may do (tools), and how a question becomes an answer (the run).

pub mod tool;
