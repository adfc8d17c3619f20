//! The tenant's audit log: every model call, tool call, retrieval and change, each sealed by a hash over
//! itself and the entry before it, so that a run can be read back exactly and a changed byte is found.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::support::ids::{RunId, UserId};

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// A signed-in person.
    User {
        /// Which.
        id: UserId,
    },
    /// An agent, by its name ("atlas").
    Agent {
        /// Its name.
        name: String,
    },
    /// Somebody at the command line of the server.
    Operator,
    /// The appliance itself: jobs, schedules.
    System,
}

/// An entry that is about to be written.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Who did it.
    pub actor: Actor,
    /// What was done, as `noun.verb` in the past: `model.called`, `tool.called`, `knowledge.searched`, `document.added`.
    pub action: &'static str,
    /// The run that it belongs to, if any.
    pub run: Option<RunId>,
    /// What it was done to: a document's id, a tool's name.
    pub subject: Option<String>,
    /// Inputs, outputs and measures (`duration_ms`, token counts). Never a secret.
    pub detail: Value,
}

/// An entry as it stands in the log.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its place in the chain, from 1, without gaps.
    pub seq: i64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub action: String,
    /// The run that it belongs to.
    pub run: Option<RunId>,
    /// What it was done to.
    pub subject: Option<String>,
    /// Inputs, outputs and measures.
    pub detail: Value,
    /// SHA-256 over the entry and the hash before it, in hex.
    pub hash: String,
}
