//! The tables `conversations` and `messages`.

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::{FromRow, PgExecutor, error::DatabaseError, types::Json};
use uuid::Uuid;

use super::{
    citations::Citation,
    conversation::{Author, Conversation, ConversationSummary, MessageState, StoredMessage},
    event::ToolCallSummary,
    journal::store::{self as runs, NewRun},
};
use crate::{
    db::TenantDb,
    models::meter::Cost,
    support::{
        Result,
        ids::{ConversationId, MessageId, NodeId, RunId, UserId},
    },
};

/// A person's conversations, the one last written to first; 200 at most.
pub(super) async fn conversations(db: &TenantDb, user: UserId) -> Result<Vec<ConversationSummary>> {
    let rows = sqlx::query_as::<_, ConversationRow>(
        "SELECT id, user_id, agent, title, created_at, updated_at FROM conversations
         WHERE user_id = $1 ORDER BY updated_at DESC, id DESC LIMIT 200",
    )
    .bind(user.0)
    .fetch_all(db.pool())
    .await?;
    let summary = |row: ConversationRow| ConversationSummary {
        id: ConversationId(row.id),
        title: row.title,
        agent: row.agent,
        updated_at: row.updated_at,
    };
    Ok(rows.into_iter().map(summary).collect())
}

/// A conversation if it is that person's (or nobody's, for `None`), with its newest messages, `limit` at most.
pub(super) async fn conversation(
    db: &TenantDb,
    user: Option<UserId>,
    id: ConversationId,
    limit: i64,
) -> Result<Option<Conversation>> {
    let row = sqlx::query_as::<_, ConversationRow>(
        "SELECT id, user_id, agent, title, created_at, updated_at FROM conversations
         WHERE id = $1 AND user_id IS NOT DISTINCT FROM $2",
    )
    .bind(id.0)
    .bind(user.map(|user| user.0))
    .fetch_optional(db.pool())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let messages = sqlx::query_as::<_, MessageRow>(
        "SELECT * FROM (SELECT id, speaker, state, text, citations, tool_calls, model, quoting, problem, run, duration_ms,
                               prompt_tokens, completion_tokens, created_at, agent, cost
                        FROM messages WHERE conversation = $1 ORDER BY id DESC LIMIT $2) newest ORDER BY id",
    )
    .bind(id.0)
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    Ok(Some(Conversation {
        id: ConversationId(row.id),
        user: row.user_id.map(UserId),
        title: row.title,
        agent: row.agent,
        created_at: row.created_at,
        updated_at: row.updated_at,
        messages: messages.into_iter().map(Into::into).collect(),
    }))
}

/// Deletes a person's conversation with whatever hangs on it. Says how many messages it had.
pub(super) async fn delete_conversation(db: &TenantDb, user: UserId, id: ConversationId) -> Result<i64> {
    let mut transaction = db.pool().begin().await?;
    let messages: i64 = sqlx::query_scalar("SELECT count(*) FROM messages WHERE conversation = $1")
        .bind(id.0)
        .fetch_one(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM conversations WHERE id = $1 AND user_id = $2")
        .bind(id.0)
        .bind(user.0)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(messages)
}

/// Begins a conversation.
pub(super) async fn insert_conversation(
    db: &TenantDb,
    id: ConversationId,
    user: Option<UserId>,
    agent: &str,
    title: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO conversations (id, user_id, agent, title, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(id.0)
    .bind(user.map(|user| user.0))
    .bind(agent)
    .bind(title)
    .bind(now)
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Adds a message. False when the conversation is gone.
pub(super) async fn insert_message(
    db: &TenantDb,
    conversation: ConversationId,
    message: &StoredMessage,
) -> Result<bool> {
    insert(db.pool(), conversation, message).await
}

/// Adds a question and begins the run that answers it. False when an answer is in the making there, or the conversation is
/// gone; then nothing is kept.
pub(super) async fn begin_run(db: &TenantDb, run: &NewRun<'_>, question: &StoredMessage) -> Result<bool> {
    let mut transaction = db.pool().begin().await?;
    if !runs::begin(&mut transaction, run).await? || !insert(&mut *transaction, run.conversation, question).await? {
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}

/// Adds an answer and ends its run, whose last entry `last_entry` is to be written next. False when the run is not this
/// node's any more, or the conversation is gone; then nothing is kept.
pub(super) async fn finish_run(
    db: &TenantDb,
    conversation: ConversationId,
    answer: &StoredMessage,
    node: NodeId,
    last_entry: &str,
) -> Result<bool> {
    let mut transaction = db.pool().begin().await?;
    if !runs::finish(&mut transaction, answer.run, node, last_entry).await?
        || !insert(&mut *transaction, conversation, answer).await?
    {
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}

async fn insert(executor: impl PgExecutor<'_>, conversation: ConversationId, message: &StoredMessage) -> Result<bool> {
    let written = sqlx::query(
        "WITH conversation AS (UPDATE conversations SET updated_at = $15 WHERE id = $2 RETURNING id)
         INSERT INTO messages (id, conversation, speaker, state, text, citations, tool_calls, model, quoting, problem, run,
                               duration_ms, prompt_tokens, completion_tokens, created_at, agent, cost)
         SELECT $1, id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17 FROM conversation",
    )
    .bind(message.id.0)
    .bind(conversation.0)
    .bind(speaker(message.author))
    .bind(state(message.state))
    .bind(&message.text)
    .bind(Json(&message.citations))
    .bind(Json(&message.tool_calls))
    .bind(&message.model)
    .bind(message.quoting)
    .bind(&message.problem)
    .bind(message.run.0)
    .bind(i64::try_from(message.duration_ms).unwrap_or(i64::MAX))
    .bind(i64::from(message.prompt_tokens))
    .bind(i64::from(message.completion_tokens))
    .bind(message.created_at)
    .bind(&message.agent)
    .bind(message.cost.as_ref().map(Json))
    .execute(executor)
    .await?;
    Ok(written.rows_affected() == 1)
}

/// The time that clocks in a time zone show; `None` when there is no zone of that name. The database has the rules of all.
pub(super) async fn local_time(db: &TenantDb, at: DateTime<Utc>, zone: &str) -> Result<Option<NaiveDateTime>> {
    let told = sqlx::query_scalar("SELECT $1::timestamptz AT TIME ZONE $2").bind(at).bind(zone).fetch_one(db.pool());
    match told.await {
        Ok(local) => Ok(Some(local)),
        // invalid_parameter_value: it is no zone.
        Err(error) if error.as_database_error().and_then(DatabaseError::code).as_deref() == Some("22023") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn speaker(author: Author) -> &'static str {
    match author {
        Author::User => "user",
        Author::Agent => "agent",
    }
}

fn state(state: MessageState) -> &'static str {
    match state {
        MessageState::Complete => "complete",
        MessageState::Stopped => "stopped",
        MessageState::Failed => "failed",
    }
}

#[derive(FromRow)]
struct ConversationRow {
    id: Uuid,
    user_id: Option<Uuid>,
    agent: String,
    title: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct MessageRow {
    id: Uuid,
    speaker: String,
    state: String,
    text: String,
    citations: Json<Vec<Citation>>,
    tool_calls: Json<Vec<ToolCallSummary>>,
    model: Option<String>,
    quoting: bool,
    problem: Option<String>,
    run: Uuid,
    duration_ms: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    cost: Option<Json<Cost>>,
    created_at: DateTime<Utc>,
    agent: Option<String>,
}

impl From<MessageRow> for StoredMessage {
    fn from(row: MessageRow) -> Self {
        Self {
            id: MessageId(row.id),
            agent: row.agent,
            author: if row.speaker == "user" { Author::User } else { Author::Agent },
            state: match row.state.as_str() {
                "complete" => MessageState::Complete,
                "stopped" => MessageState::Stopped,
                _ => MessageState::Failed,
            },
            text: row.text,
            citations: row.citations.0,
            tool_calls: row.tool_calls.0,
            model: row.model,
            quoting: row.quoting,
            problem: row.problem,
            run: RunId(row.run),
            duration_ms: row.duration_ms.unsigned_abs(),
            prompt_tokens: u32::try_from(row.prompt_tokens).unwrap_or(u32::MAX),
            completion_tokens: u32::try_from(row.completion_tokens).unwrap_or(u32::MAX),
            cost: row.cost.map(|cost| cost.0),
            created_at: row.created_at,
        }
    }
}
