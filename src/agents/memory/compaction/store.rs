//! The table `compactions`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Compaction;
use crate::{
    db::TenantDb,
    support::{
        Result,
        ids::{ConversationId, MemoryId, MessageId, RunId, UserId},
    },
};

/// `until`, `messages`, `summary`, `tokens`, `made_at`.
type Row = (Uuid, i32, Option<String>, i32, DateTime<Utc>);

/// Where a conversation was condensed, in order.
pub(super) async fn all(db: &TenantDb, conversation: ConversationId) -> Result<Vec<Compaction>> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT until, messages, summary, tokens, made_at FROM compactions WHERE conversation = $1 ORDER BY until",
    )
    .bind(conversation.0)
    .fetch_all(db.pool())
    .await?;
    let compaction = |(until, messages, summary, tokens, made_at): Row| Compaction {
        until: MessageId(until),
        messages: messages.unsigned_abs(),
        summary,
        tokens: tokens.unsigned_abs(),
        made_at,
    };
    Ok(rows.into_iter().map(compaction).collect())
}

/// Keeps that a conversation was condensed, unless what it was made of was forgotten meanwhile. `before`: the summary that
/// went into it.
pub(super) async fn insert(
    db: &TenantDb,
    conversation: ConversationId,
    compaction: &Compaction,
    before: Option<MessageId>,
    facts: &[MemoryId],
    (run, model): (RunId, &str),
) -> Result<bool> {
    let written = sqlx::query(
        "INSERT INTO compactions (conversation, until, messages, summary, tokens, facts, run, model, made_at)
         SELECT id, $2, $3, $4, $5, $6, $7, $8, $9 FROM conversations
         WHERE id = $1 AND ($10::uuid IS NULL OR EXISTS (SELECT FROM compactions
                            WHERE conversation = $1 AND until = $10 AND summary IS NOT NULL))
         ON CONFLICT DO NOTHING",
    )
    .bind(conversation.0)
    .bind(compaction.until.0)
    .bind(i32::try_from(compaction.messages).unwrap_or(i32::MAX))
    .bind(&compaction.summary)
    .bind(i32::try_from(compaction.tokens).unwrap_or(i32::MAX))
    .bind(facts.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(run.0)
    .bind(model)
    .bind(compaction.made_at)
    .bind(before.map(|until| until.0))
    .execute(db.pool())
    .await?;
    Ok(written.rows_affected() == 1)
}

/// Drops the summaries of a person's conversations.
pub(in crate::agents::memory) async fn drop_all_of_person(db: &TenantDb, user: UserId) -> Result<()> {
    sqlx::query(
        "UPDATE compactions SET summary = NULL, facts = '{}'
         WHERE conversation IN (SELECT id FROM conversations WHERE user_id = $1)",
    )
    .bind(user.0)
    .execute(db.pool())
    .await?;
    Ok(())
}
