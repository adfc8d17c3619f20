//! What a run may not exceed.

use std::time::Duration;

/// What a run may not exceed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most rounds. In the last one the model has no tools and must answer.
    pub steps: usize,
    /// How long it may take, a cold model's load included; waiting for a person does not count.
    pub patience: Duration,
    /// The most tokens, of prompts and answers together. When most of them are used the model must answer.
    pub tokens: u32,
    /// For how many hours leave can be given once it was asked.
    pub approval_hours: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 6, patience: Duration::from_mins(15), tokens: 400_000, approval_hours: 72 }
    }
}
