//! Conversations as people find them again: listed, read, deleted; and how questions get into them.

use serde_json::json;

use super::{
    Agents, Author, Conversation, ConversationSummary, MESSAGES, MessageState, StoredMessage, journal::store as runs,
    memory::notes::Recollection, still_answering, store,
};
use crate::{
    audit::{self, Action, Actor, NewEntry},
    db::TenantDb,
    support::{
        Error, Result,
        ids::{ConversationId, MessageId, RunId, UserId},
    },
};

impl Agents {
    /// A person's conversations, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn conversations(&self, db: &TenantDb, user: UserId) -> Result<Vec<ConversationSummary>> {
        store::conversations(db, user).await
    }

    /// A person's conversation with its newest messages; `None` when there is none or it is somebody else's.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn conversation(&self, db: &TenantDb, user: UserId, id: ConversationId) -> Result<Option<Conversation>> {
        store::conversation(db, Some(user), id, MESSAGES).await
    }

    /// Deletes a person's conversation: its messages, its summaries, what runs of it wait for, and what was remembered from
    /// it. The audit log keeps what it has of its runs until its retention ends.
    ///
    /// # Errors
    /// `NotFound` when there is none or it is somebody else's; `Conflict` while an answer in it is being written.
    pub async fn delete_conversation(&self, db: &TenantDb, user: UserId, id: ConversationId) -> Result<()> {
        if store::conversation(db, Some(user), id, 1).await?.is_none() {
            return Err(Error::not_found("the conversation"));
        }
        if runs::is_unfinished(db, id).await? {
            return Err(still_answering());
        }
        let by = Actor::User { id: user };
        let remembered = match &self.shared.memory {
            Some(Recollection::Live(memory)) => memory.forget_conversation(db, id, by.clone()).await?,
            _ => 0,
        };
        let messages = store::delete_conversation(db, user, id).await?;
        let entry = NewEntry {
            actor: by,
            action: Action::ConversationDeleted,
            run: None,
            subject: Some(id.to_string()),
            detail: json!({"messages": messages, "memories": remembered}),
        };
        audit::append(db, &*self.clock, entry).await.map(|_| ())
    }

    pub(super) async fn store_question(
        &self,
        db: &TenantDb,
        conversation: ConversationId,
        run: RunId,
        agent: &str,
        question: &str,
    ) -> Result<()> {
        let stored = store::insert_message(db, conversation, &self.question(run, agent, question)).await?;
        stored.then_some(()).ok_or_else(|| Error::not_found("the conversation"))
    }

    pub(super) fn question(&self, run: RunId, agent: &str, question: &str) -> StoredMessage {
        StoredMessage {
            id: MessageId::generate(),
            author: Author::User,
            agent: Some(agent.to_owned()),
            state: MessageState::Complete,
            text: question.to_owned(),
            citations: Vec::new(),
            tool_calls: Vec::new(),
            model: None,
            quoting: false,
            problem: None,
            run,
            duration_ms: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            cost: None,
            created_at: self.clock.now(),
        }
    }
}
