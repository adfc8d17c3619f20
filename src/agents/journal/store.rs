//! The tables `runs` and `run_journal`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Record;
use crate::{
    db::TenantDb,
    support::{
        Error, Result,
        ids::{ConversationId, NodeId, RunId, UserId},
    },
};

/// For how long a run is a node's without a sign of life, in seconds. Renewed three times in that time.
pub(in crate::agents) const LEASE_SECONDS: f64 = 60.0;

/// A run as it is begun.
pub(in crate::agents) struct NewRun<'a> {
    pub(in crate::agents) id: RunId,
    pub(in crate::agents) agent: &'a str,
    pub(in crate::agents) conversation: ConversationId,
    pub(in crate::agents) user: UserId,
    /// What is needed to begin it, as JSON.
    pub(in crate::agents) asked: &'a str,
    pub(in crate::agents) node: NodeId,
    pub(in crate::agents) at: DateTime<Utc>,
    pub(in crate::agents) has_read: &'a [String],
}

/// A run that this node has taken over.
#[derive(Debug)]
pub(in crate::agents) struct Claimed {
    pub(in crate::agents) conversation: ConversationId,
    pub(in crate::agents) user: UserId,
    pub(in crate::agents) asked: String,
    pub(in crate::agents) has_read: Vec<String>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agents) enum RunState {
    /// A node works on it, or did when it was killed.
    Running,
    /// Somebody has to decide first.
    Waiting,
    /// It is over.
    Finished,
}

/// Begins a run. False when an answer is in the making in that conversation.
pub(in crate::agents) async fn begin(connection: &mut PgConnection, run: &NewRun<'_>) -> Result<bool> {
    let written = sqlx::query(
        "INSERT INTO runs (id, agent, conversation, user_id, asked, state, node, lease_until, started_at, has_read)
         VALUES ($1, $2, $3, $4, $5, 'running', $6, now() + make_interval(secs => $7), $8, $9)
         ON CONFLICT (conversation) WHERE state <> 'finished' DO NOTHING",
    )
    .bind(run.id.0)
    .bind(run.agent)
    .bind(run.conversation.0)
    .bind(run.user.0)
    .bind(run.asked)
    .bind(run.node.0)
    .bind(LEASE_SECONDS)
    .bind(run.at)
    .bind(json(run.has_read)?)
    .execute(connection)
    .await?;
    Ok(written.rows_affected() == 1)
}

/// Whether an answer is in the making in that conversation.
pub(in crate::agents) async fn is_unfinished(db: &TenantDb, conversation: ConversationId) -> Result<bool> {
    let found = "SELECT EXISTS (SELECT FROM runs WHERE conversation = $1 AND state <> 'finished')";
    Ok(sqlx::query_scalar(found).bind(conversation.0).fetch_one(db.pool()).await?)
}

/// What the runs of a conversation have read that others wrote.
pub(in crate::agents) async fn read_before(db: &TenantDb, conversation: ConversationId) -> Result<Vec<String>> {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT has_read FROM runs WHERE conversation = $1 AND has_read <> '[]' ORDER BY started_at DESC LIMIT 20",
    )
    .bind(conversation.0)
    .fetch_all(db.pool())
    .await?;
    let mut all = Vec::new();
    for name in rows.iter().flat_map(|row| serde_json::from_str::<Vec<String>>(row).unwrap_or_default()) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Ok(all)
}

/// Keeps what a run has read.
pub(in crate::agents) async fn set_read(db: &TenantDb, run: RunId, has_read: &[String]) -> Result<()> {
    let update = sqlx::query("UPDATE runs SET has_read = $2 WHERE id = $1");
    update.bind(run.0).bind(json(has_read)?).execute(db.pool()).await?;
    Ok(())
}

/// Says that the node still works on the run. False when it is not its own any more.
pub(in crate::agents) async fn renew(db: &TenantDb, run: RunId, node: NodeId) -> Result<bool> {
    let renewed = sqlx::query(
        "UPDATE runs SET lease_until = now() + make_interval(secs => $3)
         WHERE id = $1 AND node = $2 AND state = 'running'",
    );
    Ok(renewed.bind(run.0).bind(node.0).bind(LEASE_SECONDS).execute(db.pool()).await?.rows_affected() == 1)
}

/// Runs that somebody should go on with: those of nodes that show no sign of life, and those that nobody has to decide
/// about any more. `alone`: this is the only node, so whatever it does not work on itself was left by one that ended.
pub(in crate::agents) async fn unfinished(db: &TenantDb, node: NodeId, alone: bool) -> Result<Vec<RunId>> {
    let rows: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM runs
         WHERE (state = 'running' AND node <> $1 AND ($2 OR lease_until < now()))
            OR (state = 'waiting' AND NOT EXISTS (SELECT FROM approvals WHERE run = runs.id AND state = 'pending'))
         ORDER BY id",
    )
    .bind(node.0)
    .bind(alone)
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(RunId).collect())
}

/// Takes a run over, if it is to be had. Of several nodes one gets it.
pub(in crate::agents) async fn claim(db: &TenantDb, run: RunId, node: NodeId, alone: bool) -> Result<Option<Claimed>> {
    claimed(
        db,
        run,
        node,
        alone,
        "(state = 'running' AND node <> $2 AND ($3 OR lease_until < now()))
         OR (state = 'waiting' AND NOT EXISTS (SELECT FROM approvals WHERE run = runs.id AND state = 'pending'))",
    )
    .await
}

/// Takes over a run of that person that waits, whatever it waits for.
pub(in crate::agents) async fn claim_waiting(
    db: &TenantDb,
    run: RunId,
    node: NodeId,
    user: UserId,
) -> Result<Option<Claimed>> {
    if state(db, run, user).await? != Some(RunState::Waiting) {
        return Ok(None);
    }
    claimed(db, run, node, true, "state = 'waiting' AND $3").await
}

async fn claimed(db: &TenantDb, run: RunId, node: NodeId, alone: bool, which: &str) -> Result<Option<Claimed>> {
    let row = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(format!(
        "UPDATE runs SET state = 'running', node = $2, lease_until = now() + make_interval(secs => $4)
         WHERE id = $1 AND ({which}) RETURNING conversation, user_id, asked, has_read"
    )))
    .bind(run.0)
    .bind(node.0)
    .bind(alone)
    .bind(LEASE_SECONDS)
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(|row| Claimed {
        conversation: ConversationId(row.conversation),
        user: UserId(row.user_id),
        asked: row.asked,
        has_read: serde_json::from_str(&row.has_read).unwrap_or_default(),
    }))
}

/// Puts a run down until somebody has decided. False when it is not this node's any more.
pub(in crate::agents) async fn wait(db: &TenantDb, run: RunId, node: NodeId) -> Result<bool> {
    let put =
        sqlx::query("UPDATE runs SET state = 'waiting', node = NULL WHERE id = $1 AND node = $2 AND state = 'running'");
    Ok(put.bind(run.0).bind(node.0).execute(db.pool()).await?.rows_affected() == 1)
}

/// Puts a run down for the next process. It is nobody's: whoever starts first goes on with it.
pub(in crate::agents) async fn leave(db: &TenantDb, run: RunId, node: NodeId) -> Result<()> {
    let left = sqlx::query("UPDATE runs SET node = $3, lease_until = now() WHERE id = $1 AND node = $2");
    left.bind(run.0).bind(node.0).bind(Uuid::nil()).execute(db.pool()).await?;
    Ok(())
}

/// Ends a run, as part of what is stored at its end. False when it is not this node's any more.
pub(in crate::agents) async fn finish(
    connection: &mut PgConnection,
    run: RunId,
    node: NodeId,
    last_entry: &str,
) -> Result<bool> {
    let finished = sqlx::query(
        "UPDATE runs SET state = 'finished', node = NULL, last_entry = $3
         WHERE id = $1 AND node = $2 AND state = 'running'",
    );
    if finished.bind(run.0).bind(node.0).bind(last_entry).execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("DELETE FROM run_journal WHERE run = $1").bind(run.0).execute(connection).await?;
    Ok(true)
}

/// The last entry of a run is in the audit log.
pub(in crate::agents) async fn is_written(db: &TenantDb, run: RunId) -> Result<()> {
    sqlx::query("UPDATE runs SET last_entry = NULL WHERE id = $1").bind(run.0).execute(db.pool()).await?;
    Ok(())
}

/// Runs whose last entry may not be in the audit log, with the entry.
pub(in crate::agents) async fn unwritten(db: &TenantDb) -> Result<Vec<(RunId, String)>> {
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT id, last_entry FROM runs WHERE last_entry IS NOT NULL ORDER BY id")
            .fetch_all(db.pool())
            .await?;
    Ok(rows.into_iter().map(|(run, entry)| (RunId(run), entry)).collect())
}

/// How a run of that person stands.
pub(in crate::agents) async fn state(db: &TenantDb, run: RunId, user: UserId) -> Result<Option<RunState>> {
    let state: Option<String> = sqlx::query_scalar("SELECT state FROM runs WHERE id = $1 AND user_id = $2")
        .bind(run.0)
        .bind(user.0)
        .fetch_optional(db.pool())
        .await?;
    Ok(state.map(|state| match state.as_str() {
        "running" => RunState::Running,
        "waiting" => RunState::Waiting,
        _ => RunState::Finished,
    }))
}

/// Whether any run waits.
pub(in crate::agents) async fn anything_waits(db: &TenantDb) -> Result<bool> {
    let found = "SELECT EXISTS (SELECT FROM runs WHERE state = 'waiting')";
    Ok(sqlx::query_scalar(found).fetch_one(db.pool()).await?)
}

/// A person's runs that wait.
pub(in crate::agents) async fn waiting_of(db: &TenantDb, user: UserId) -> Result<Vec<RunId>> {
    let rows: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM runs WHERE user_id = $1 AND state = 'waiting'")
        .bind(user.0)
        .fetch_all(db.pool())
        .await?;
    Ok(rows.into_iter().map(RunId).collect())
}

/// Everything that a run has written down, in order, and the last place.
pub(super) async fn records(db: &TenantDb, run: RunId) -> Result<(Vec<Record>, i64)> {
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT seq, payload FROM run_journal WHERE run = $1 ORDER BY seq")
        .bind(run.0)
        .fetch_all(db.pool())
        .await?;
    let last = rows.last().map_or(0, |(seq, _)| *seq);
    let records = rows.iter().map(|(_, payload)| serde_json::from_str(payload).map_err(Error::internal));
    Ok((records.collect::<Result<_>>()?, last))
}

/// Writes something down. False when its place is taken.
pub(super) async fn write(db: &TenantDb, run: RunId, seq: i64, record: &Record) -> Result<bool> {
    let kind = match record {
        Record::Searched { .. } => "searched",
        Record::Remembered { .. } => "remembered",
        Record::Replied(_) => "replied",
        Record::Began { .. } => "began",
        Record::Ended { .. } => "ended",
    };
    let payload = serde_json::to_string(record).map_err(Error::internal)?;
    let written = sqlx::query(
        "INSERT INTO run_journal (run, seq, kind, payload) VALUES ($1, $2, $3, $4) ON CONFLICT (run, seq) DO NOTHING",
    );
    Ok(written.bind(run.0).bind(seq).bind(kind).bind(payload).execute(db.pool()).await?.rows_affected() == 1)
}

fn json(names: &[String]) -> Result<String> {
    serde_json::to_string(names).map_err(Error::internal)
}

#[derive(FromRow)]
struct Row {
    conversation: Uuid,
    user_id: Uuid,
    asked: String,
    has_read: String,
}
