//! The table `approvals`.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Approval, ApprovalState, Because};
use crate::{
    db::TenantDb,
    support::{
        Error, Result,
        ids::{ApprovalId, ConversationId, RunId, UserId},
    },
};

const COLUMNS: &str = "approvals.id, run, conversation, call, tool, approvals.agent, arguments, edited, because, \
                       approvals.has_read, approvals.user_id, approvals.state, reason, asked_at, expires_at, decided_at, \
                       decided_by";
const FROM: &str = "FROM approvals JOIN runs ON runs.id = approvals.run";

/// Keeps it. One that is there for the call stays as it is.
pub(in crate::agents) async fn insert(db: &TenantDb, approval: &Approval) -> Result<()> {
    sqlx::query(
        "INSERT INTO approvals (id, run, call, tool, agent, arguments, because, has_read, user_id, state, asked_at,
                                expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'pending', $10, $11)",
    )
    .bind(approval.id.0)
    .bind(approval.run.0)
    .bind(&approval.call)
    .bind(&approval.tool)
    .bind(&approval.agent)
    .bind(approval.arguments.to_string())
    .bind(match approval.because {
        Because::Rule => "rule",
        Because::Untrusted => "untrusted",
    })
    .bind(serde_json::to_string(&approval.has_read).map_err(Error::internal)?)
    .bind(approval.asked_by.0)
    .bind(approval.asked_at)
    .bind(approval.expires_at)
    .execute(db.pool())
    .await?;
    Ok(())
}

/// That of a call.
pub(in crate::agents) async fn of_call(db: &TenantDb, run: RunId, call: &str) -> Result<Option<Approval>> {
    let statement = format!("SELECT {COLUMNS} {FROM} WHERE run = $1 AND call = $2");
    let row = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(run.0).bind(call);
    row.fetch_optional(db.pool()).await?.map(Row::open).transpose()
}

pub(super) async fn one(db: &TenantDb, id: ApprovalId) -> Result<Option<Approval>> {
    let statement = format!("SELECT {COLUMNS} {FROM} WHERE approvals.id = $1");
    let row = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(id.0);
    row.fetch_optional(db.pool()).await?.map(Row::open).transpose()
}

/// Those that wait; of one person's runs, or of all.
pub(super) async fn pending(db: &TenantDb, whose: Option<UserId>) -> Result<Vec<Approval>> {
    let statement = format!(
        "SELECT {COLUMNS} {FROM} WHERE approvals.state = 'pending' AND ($1::uuid IS NULL OR approvals.user_id = $1)
         ORDER BY asked_at, approvals.id LIMIT 200"
    );
    let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(whose.map(|user| user.0));
    rows.fetch_all(db.pool()).await?.into_iter().map(Row::open).collect()
}

pub(super) async fn pending_in(db: &TenantDb, conversation: ConversationId) -> Result<Vec<Approval>> {
    let statement = format!(
        "SELECT {COLUMNS} {FROM} WHERE approvals.state = 'pending' AND conversation = $1 ORDER BY asked_at, approvals.id"
    );
    let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(conversation.0);
    rows.fetch_all(db.pool()).await?.into_iter().map(Row::open).collect()
}

/// Those that do not wait any more, the newest first.
pub(super) async fn decided(db: &TenantDb, whose: Option<UserId>, limit: i64) -> Result<Vec<Approval>> {
    let statement = format!(
        "SELECT {COLUMNS} {FROM} WHERE approvals.state <> 'pending' AND ($1::uuid IS NULL OR approvals.user_id = $1)
         ORDER BY decided_at DESC, approvals.id DESC LIMIT $2"
    );
    let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(whose.map(|user| user.0)).bind(limit);
    rows.fetch_all(db.pool()).await?.into_iter().map(Row::open).collect()
}

pub(super) async fn count_pending(db: &TenantDb, whose: Option<UserId>, now: DateTime<Utc>) -> Result<i64> {
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM approvals WHERE state = 'pending' AND expires_at > $2 AND ($1::uuid IS NULL OR user_id = $1)",
    );
    Ok(count.bind(whose.map(|user| user.0)).bind(now).fetch_one(db.pool()).await?)
}

/// Keeps a decision. False when it does not wait any more.
pub(super) async fn decide(db: &TenantDb, decided: &Approval) -> Result<bool> {
    let update = sqlx::query(
        "UPDATE approvals SET state = $2, edited = $3, reason = $4, decided_at = $5, decided_by = $6
         WHERE id = $1 AND state = 'pending' AND expires_at > $5",
    );
    let written = update
        .bind(decided.id.0)
        .bind(if decided.state == ApprovalState::Allowed { "allowed" } else { "denied" })
        .bind(decided.edited.as_ref().map(ToString::to_string))
        .bind(&decided.reason)
        .bind(decided.decided_at)
        .bind(decided.decided_by.map(|user| user.0))
        .execute(db.pool())
        .await?;
    Ok(written.rows_affected() == 1)
}

/// Ends those whose time is over.
pub(super) async fn expire(db: &TenantDb, now: DateTime<Utc>) -> Result<Vec<Approval>> {
    let statement = format!(
        "WITH ended AS (UPDATE approvals SET state = 'expired', decided_at = $1
                        WHERE state = 'pending' AND expires_at <= $1 RETURNING *)
         SELECT {COLUMNS} FROM ended AS approvals JOIN runs ON runs.id = approvals.run"
    );
    let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(now);
    rows.fetch_all(db.pool()).await?.into_iter().map(Row::open).collect()
}

/// Ends those of a run that is over.
pub(in crate::agents) async fn withdraw(db: &TenantDb, run: RunId, now: DateTime<Utc>) -> Result<Vec<Approval>> {
    let statement = format!(
        "WITH ended AS (UPDATE approvals SET state = 'withdrawn', decided_at = $2
                        WHERE state = 'pending' AND run = $1 RETURNING *)
         SELECT {COLUMNS} FROM ended AS approvals JOIN runs ON runs.id = approvals.run"
    );
    let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(run.0).bind(now);
    rows.fetch_all(db.pool()).await?.into_iter().map(Row::open).collect()
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    run: Uuid,
    conversation: Uuid,
    call: String,
    tool: String,
    agent: String,
    arguments: String,
    edited: Option<String>,
    because: String,
    has_read: String,
    user_id: Uuid,
    state: String,
    reason: Option<String>,
    asked_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
    decided_by: Option<Uuid>,
}

impl Row {
    fn open(self) -> Result<Approval> {
        let read = |text: &str| serde_json::from_str(text).map_err(Error::internal);
        Ok(Approval {
            id: ApprovalId(self.id),
            run: RunId(self.run),
            conversation: ConversationId(self.conversation),
            call: self.call,
            tool: self.tool,
            agent: self.agent,
            arguments: read(&self.arguments)?,
            edited: self.edited.as_deref().map(read).transpose()?,
            because: if self.because == "rule" { Because::Rule } else { Because::Untrusted },
            has_read: serde_json::from_str(&self.has_read).map_err(Error::internal)?,
            asked_by: UserId(self.user_id),
            state: match self.state.as_str() {
                "pending" => ApprovalState::Pending,
                "allowed" => ApprovalState::Allowed,
                "denied" => ApprovalState::Denied,
                "expired" => ApprovalState::Expired,
                _ => ApprovalState::Withdrawn,
            },
            reason: self.reason,
            asked_at: self.asked_at,
            expires_at: self.expires_at,
            decided_at: self.decided_at,
            decided_by: self.decided_by.map(UserId),
        })
    }
}
