//! What an agent may call: the trait that each slice implements for its own things.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    db::TenantDb,
    models::chat::ToolSpec,
    support::{
        Result,
        ids::{DocumentId, PassageId, RunId},
    },
};

/// In whose name and for which run a tool is called.
#[derive(Debug, Clone)]
pub struct ToolContext {
    /// The tenant whose data it may touch.
    pub db: TenantDb,
    /// The run that it belongs to.
    pub run: RunId,
    /// The agent that calls it.
    pub agent: String,
}

/// A passage that an answer may cite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The passage.
    pub passage: PassageId,
    /// Its document.
    pub document: DocumentId,
    /// The document's name, as a person knows it.
    pub title: String,
    /// Where in the document: `page 3`, `Leave › Parental leave`.
    pub locator: String,
    /// The passage's text.
    pub text: String,
    /// How well it fits, higher is better; comparable within one search only.
    pub score: f32,
}

/// What a tool gives back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolOutput {
    /// What happened, in a few words for a person: `3 passages`.
    pub summary: String,
    /// What the model reads if there are no `sources`; the audit log has it in any case.
    pub content: Value,
    /// Passages that the answer may cite. The run numbers them, fences them and gives them to the model in place of
    /// `content`. Where a tool takes a `passage_id`, the model may give such a number, and the tool gets the id.
    pub sources: Vec<Source>,
}

/// Something that an agent may do.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// Its name, description and arguments.
    fn spec(&self) -> ToolSpec;

    /// Whether it changes anything outside the run. Such a tool is subject to approval.
    fn has_side_effects(&self) -> bool {
        false
    }

    /// Does it. `arguments` has been checked against the schema.
    ///
    /// # Errors
    /// What went wrong, in a sentence that helps the model to try again.
    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput>;
}

/// How an agent finds passages when the model cannot be trusted to search by itself.
#[async_trait]
pub trait Retriever: Send + Sync + 'static {
    /// The best `limit` passages for `question`, best first.
    ///
    /// # Errors
    /// When the search fails.
    async fn retrieve(&self, context: &ToolContext, question: &str, limit: usize) -> Result<Vec<Source>>;
}
