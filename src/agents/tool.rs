//! What an agent may call: the trait that each slice implements for its own things.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use std::{sync::Arc, time::Duration};

use crate::{
    audit::Actor,
    db::TenantDb,
    models::chat::ToolSpec,
    support::{
        Result,
        ids::{ConversationId, DocumentId, PassageId, RunId, UserId},
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
    /// The conversation that it belongs to; none for a run apart.
    pub conversation: Option<ConversationId>,
    /// The person in whose conversation it is called; `None` at the command line and where nobody asked.
    pub user: Option<UserId>,
    /// Who asked for the run, for the audit log.
    pub actor: Actor,
    /// How many agents have handed the question on: 0 in a run that somebody asked for.
    pub depth: u8,
    /// The same whenever this very call is made again after a crash, and never for another: whoever is asked to do
    /// something may know by it that it was done already. Empty outside a call.
    pub idempotency_key: String,
    /// What the run has read that others wrote: names of documents, addresses. What a tool keeps for later is to be kept
    /// with them, since it may say what they wanted said.
    pub has_read: Vec<String>,
}

/// What a call of a tool does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effects {
    /// It reads what is in the appliance. Such calls may be made at once and again.
    None,
    /// It changes what the agents themselves keep, such as memory. It can be undone.
    Own,
    /// It changes something, or sends words, outside the agents' own things: a request to another server is enough.
    Outside,
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
    /// What the model reads if there are no `sources`, and beside them if it is a text; the audit log has it in any case.
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

    /// What it does to the world. What reaches outside is subject to approval.
    fn effects(&self) -> Effects {
        Effects::None
    }

    /// Whether what it gives back was written by others: documents, pages, other people's servers.
    fn returns_untrusted_text(&self) -> bool {
        false
    }

    /// Whether a second call with the same [`ToolContext::idempotency_key`] does nothing twice, so that it may be made again
    /// after a crash that left open whether the first had come through.
    fn knows_repetitions(&self) -> bool {
        self.effects() == Effects::None
    }

    /// How long one call may take.
    fn patience(&self) -> Duration {
        Duration::from_mins(1)
    }

    /// Does it. `arguments` has been checked against the schema.
    ///
    /// # Errors
    /// What went wrong, in a sentence that helps the model to try again.
    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput>;
}

/// Tools that differ from tenant to tenant, such as those of its MCP servers.
#[async_trait]
pub trait ToolSource: Send + Sync + 'static {
    /// The tools that the agent of `context` may see there.
    ///
    /// # Errors
    /// When they cannot be learned; the run goes on without them.
    async fn tools(&self, context: &ToolContext) -> Result<Vec<Arc<dyn Tool>>>;
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
