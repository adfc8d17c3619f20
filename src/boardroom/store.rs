//! The tables `meetings`, `contributions` and `next_actions`.

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use super::{Contribution, Meeting, MeetingSummary, Member, NextAction, State, Synthesis};
use crate::{
    agents::Citation,
    db::TenantDb,
    support::{
        Error, Result,
        ids::{MeetingId, NextActionId, RunId, UserId},
    },
};

pub(super) async fn insert(db: &TenantDb, meeting: &Meeting) -> Result<()> {
    sqlx::query(
        "INSERT INTO meetings (id, user_id, question, members, chair, state, shared, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(meeting.id.0)
    .bind(meeting.user.map(|user| user.0))
    .bind(&meeting.question)
    .bind(Json(&meeting.members))
    .bind(&meeting.chair)
    .bind(word(&meeting.state)?)
    .bind(meeting.shared)
    .bind(meeting.created_at)
    .execute(db.pool())
    .await?;
    Ok(())
}

/// How many meetings of a person go on.
pub(super) async fn running(db: &TenantDb, user: Option<UserId>) -> Result<i64> {
    let count =
        sqlx::query_scalar("SELECT count(*) FROM meetings WHERE state = 'running' AND user_id IS NOT DISTINCT FROM $1")
            .bind(user.map(|user| user.0))
            .fetch_one(db.pool())
            .await?;
    Ok(count)
}

/// Whether a meeting is there and not over.
pub(super) async fn is_running(db: &TenantDb, id: MeetingId) -> Result<bool> {
    let running = sqlx::query_scalar("SELECT EXISTS (SELECT FROM meetings WHERE id = $1 AND state = 'running')");
    Ok(running.bind(id.0).fetch_one(db.pool()).await?)
}

/// All meetings that are not over, for the start.
pub(super) async fn unfinished(db: &TenantDb) -> Result<Vec<MeetingId>> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM meetings WHERE state = 'running' ORDER BY id").fetch_all(db.pool()).await?;
    Ok(ids.into_iter().map(MeetingId).collect())
}

pub(super) async fn meetings(db: &TenantDb, user: Option<UserId>) -> Result<Vec<MeetingSummary>> {
    let rows = sqlx::query_as::<_, MeetingRow>(
        "SELECT * FROM meetings WHERE shared OR user_id IS NOT DISTINCT FROM $1 ORDER BY created_at DESC, id DESC LIMIT 100",
    )
    .bind(user.map(|user| user.0))
    .fetch_all(db.pool())
    .await?;
    let summary = |row: MeetingRow| {
        Ok(MeetingSummary {
            id: MeetingId(row.id),
            question: row.question,
            members: row.members.0,
            state: meant(&row.state)?,
            shared: row.shared,
            own: row.user_id.map(UserId) == user,
            created_at: row.created_at,
        })
    };
    rows.into_iter().map(summary).collect()
}

pub(super) async fn meeting(db: &TenantDb, id: MeetingId) -> Result<Option<Meeting>> {
    let row = sqlx::query_as::<_, MeetingRow>("SELECT * FROM meetings WHERE id = $1")
        .bind(id.0)
        .fetch_optional(db.pool())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let contributions = sqlx::query_as::<_, ContributionRow>(
        "SELECT * FROM contributions WHERE meeting = $1 ORDER BY array_position(ARRAY['positions', 'answers', 'synthesis'], round), created_at, agent",
    )
    .bind(id.0)
    .fetch_all(db.pool())
    .await?;
    let actions = sqlx::query_as::<_, ActionRow>("SELECT * FROM next_actions WHERE meeting = $1 ORDER BY position")
        .bind(id.0)
        .fetch_all(db.pool())
        .await?;
    Ok(Some(Meeting {
        id,
        user: row.user_id.map(UserId),
        question: row.question,
        members: row.members.0,
        chair: row.chair,
        state: meant(&row.state)?,
        problem: row.problem,
        shared: row.shared,
        created_at: row.created_at,
        ended_at: row.ended_at,
        contributions: contributions.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
        synthesis: row.synthesis.map(|synthesis| synthesis.0),
        actions: actions.into_iter().map(Into::into).collect(),
    }))
}

/// Stores a contribution, once: what is there already stays. False when it was, or when the meeting is gone.
pub(super) async fn contribute(db: &TenantDb, meeting: MeetingId, contribution: &Contribution) -> Result<bool> {
    let stored = sqlx::query(
        "INSERT INTO contributions (meeting, round, agent, state, run, text, citations, model, quoting, problem, duration_ms, created_at)
         SELECT id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM meetings WHERE id = $1
         ON CONFLICT (meeting, round, agent) DO NOTHING",
    )
    .bind(meeting.0)
    .bind(word(&contribution.round)?)
    .bind(&contribution.agent)
    .bind(word(&contribution.state)?)
    .bind(contribution.run.map(|run| run.0))
    .bind(&contribution.text)
    .bind(Json(&contribution.citations))
    .bind(&contribution.model)
    .bind(contribution.quoting)
    .bind(&contribution.problem)
    .bind(i64::try_from(contribution.duration_ms).unwrap_or(i64::MAX))
    .bind(contribution.created_at)
    .execute(db.pool())
    .await?;
    Ok(stored.rows_affected() == 1)
}

/// Ends a meeting with its outcome. False when it was over already.
pub(super) async fn finish(
    db: &TenantDb,
    id: MeetingId,
    synthesis: &Synthesis,
    actions: &[NextAction],
    problem: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let mut transaction = db.pool().begin().await?;
    let ended = sqlx::query(
        "UPDATE meetings SET state = 'finished', synthesis = $2, problem = $3, ended_at = $4 WHERE id = $1 AND state = 'running'",
    )
    .bind(id.0)
    .bind(Json(synthesis))
    .bind(problem)
    .bind(now)
    .execute(&mut *transaction)
    .await?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    for (position, action) in (0_i16..).zip(actions) {
        sqlx::query("INSERT INTO next_actions (id, meeting, position, owner, agent, what, due) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(action.id.0)
            .bind(id.0)
            .bind(position)
            .bind(&action.owner)
            .bind(&action.agent)
            .bind(&action.what)
            .bind(&action.due)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Ends a meeting without an outcome. False when it was over already.
pub(super) async fn end(
    db: &TenantDb,
    id: MeetingId,
    state: State,
    problem: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let ended =
        sqlx::query("UPDATE meetings SET state = $2, problem = $3, ended_at = $4 WHERE id = $1 AND state = 'running'")
            .bind(id.0)
            .bind(word(&state)?)
            .bind(problem)
            .bind(now)
            .execute(db.pool())
            .await?;
    Ok(ended.rows_affected() == 1)
}

pub(super) async fn share(db: &TenantDb, id: MeetingId, shared: bool) -> Result<bool> {
    let changed =
        sqlx::query("UPDATE meetings SET shared = $2 WHERE id = $1").bind(id.0).bind(shared).execute(db.pool()).await?;
    Ok(changed.rows_affected() == 1)
}

pub(super) async fn delete(db: &TenantDb, id: MeetingId) -> Result<bool> {
    let deleted = sqlx::query("DELETE FROM meetings WHERE id = $1").bind(id.0).execute(db.pool()).await?;
    Ok(deleted.rows_affected() == 1)
}

/// The word that a value is stored as: that of the API.
fn word(value: &impl Serialize) -> Result<String> {
    match serde_json::to_value(value).map_err(Error::internal)? {
        serde_json::Value::String(word) => Ok(word),
        _ => Err(Error::internal("a value that is no word")),
    }
}

fn meant<T: DeserializeOwned>(word: &str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).map_err(Error::internal)
}

#[derive(FromRow)]
struct MeetingRow {
    id: Uuid,
    user_id: Option<Uuid>,
    question: String,
    members: Json<Vec<Member>>,
    chair: String,
    state: String,
    problem: Option<String>,
    shared: bool,
    synthesis: Option<Json<Synthesis>>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct ContributionRow {
    round: String,
    agent: String,
    state: String,
    run: Option<Uuid>,
    text: String,
    citations: Json<Vec<Citation>>,
    model: Option<String>,
    quoting: bool,
    problem: Option<String>,
    duration_ms: i64,
    created_at: DateTime<Utc>,
}

impl TryFrom<ContributionRow> for Contribution {
    type Error = Error;

    fn try_from(row: ContributionRow) -> Result<Self> {
        Ok(Self {
            round: meant(&row.round)?,
            agent: row.agent,
            state: meant(&row.state)?,
            run: row.run.map(RunId),
            text: row.text,
            citations: row.citations.0,
            model: row.model,
            quoting: row.quoting,
            problem: row.problem,
            duration_ms: row.duration_ms.unsigned_abs(),
            created_at: row.created_at,
        })
    }
}

#[derive(FromRow)]
struct ActionRow {
    id: Uuid,
    owner: String,
    agent: Option<String>,
    what: String,
    due: String,
}

impl From<ActionRow> for NextAction {
    fn from(row: ActionRow) -> Self {
        let ActionRow { id, owner, agent, what, due } = row;
        Self { id: NextActionId(id), owner, agent, what, due }
    }
}
