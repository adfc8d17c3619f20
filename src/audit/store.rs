//! The tables `audit_entries` and `audit_checkpoints`. There is no statement here that changes or removes an entry.

use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt};
use sqlx::{FromRow, PgExecutor, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{
    chain::{Content, Sealed},
    checkpoint::Checkpoint,
    find::Filter,
    log::{Log, Of},
};
use crate::support::{Result, ids::RunId};

const COLUMNS: &str =
    "seq, CASE WHEN isfinite(at) THEN at END AS at, actor, action, run, subject, detail, previous, hash";

fn pool(log: &Log) -> &PgPool {
    match log.of() {
        Of::Tenant(db) => db.pool(),
        Of::Appliance(databases) => databases.control(),
    }
}

/// Puts entries behind the newest, sealed by `seal` for the place and the hash of that one: all of them or none. `None`
/// when somebody else took a place meanwhile.
pub(super) async fn add(log: &Log, seal: impl Fn(Head) -> Vec<Sealed>) -> Result<Option<Vec<Sealed>>> {
    let sealed = seal(head(pool(log)).await?);
    Ok(insert(pool(log), &sealed).await?.then_some(sealed))
}

/// As [`add`], while nobody else who adds in this way with the same `key` can.
pub(super) async fn add_alone(log: &Log, key: i64, seal: impl Fn(Head) -> Vec<Sealed>) -> Result<Option<Vec<Sealed>>> {
    let mut transaction = pool(log).begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(key).execute(&mut *transaction).await?;
    let sealed = seal(head(&mut *transaction).await?);
    if !insert(&mut *transaction, &sealed).await? {
        return Ok(None);
    }
    transaction.commit().await?;
    Ok(Some(sealed))
}

/// The entries that follow the place `after`, in ascending order, `limit` at most, read as fast as they are taken.
pub(super) fn page(log: &Log, after: i64, limit: i64) -> impl Stream<Item = Result<Sealed>> {
    sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM audit_entries WHERE seq > $1 ORDER BY seq LIMIT $2"
    )))
    .bind(after)
    .bind(limit)
    .fetch(pool(log))
    .map(|row| Ok(row?.into()))
}

/// The entries of a run, in ascending order.
pub(super) async fn of_run(log: &Log, run: RunId) -> Result<Vec<Sealed>> {
    let statement = format!("SELECT {COLUMNS} FROM audit_entries WHERE run = $1 ORDER BY seq");
    let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(run.0).fetch_all(pool(log)).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// One entry.
pub(super) async fn entry(log: &Log, seq: i64) -> Result<Option<Sealed>> {
    let statement = format!("SELECT {COLUMNS} FROM audit_entries WHERE seq = $1");
    let row = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(seq).fetch_optional(pool(log)).await?;
    Ok(row.map(Into::into))
}

/// The newest entry of an action.
pub(super) async fn newest_of(log: &Log, action: &str) -> Result<Option<Sealed>> {
    let statement = format!("SELECT {COLUMNS} FROM audit_entries WHERE action = $1 ORDER BY seq DESC LIMIT 1");
    let row = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(action).fetch_optional(pool(log)).await?;
    Ok(row.map(Into::into))
}

/// The newest entries that fit, from those below `below` down to `floor`, newest first.
pub(super) async fn find(log: &Log, filter: &Filter, below: i64, floor: i64, limit: i64) -> Result<Vec<Sealed>> {
    let mut query = QueryBuilder::<Postgres>::new(format!("SELECT {COLUMNS} FROM audit_entries WHERE seq < "));
    query.push_bind(below).push(" AND seq >= ").push_bind(floor);
    if let Some(run) = filter.run {
        query.push(" AND run = ").push_bind(run.0);
    }
    if let Some(action) = &filter.action {
        // `run` stands for all of `run.started`, `run.finished` …
        query.push(" AND (action = ").push_bind(action.clone());
        query.push(" OR starts_with(action, ").push_bind(format!("{action}.")).push("))");
    }
    if !filter.actors.is_empty() {
        query.push(" AND actor = ANY(").push_bind(filter.actors.clone()).push(")");
    }
    if let Some(since) = filter.since {
        query.push(" AND at >= ").push_bind(since);
    }
    if let Some(until) = filter.until {
        query.push(" AND at < ").push_bind(until);
    }
    if let Some(text) = &filter.text {
        let text = text.to_lowercase();
        query.push(" AND (strpos(lower(detail), ").push_bind(text.clone());
        query.push(") > 0 OR strpos(lower(subject), ").push_bind(text).push(") > 0)");
    }
    query.push(" ORDER BY seq DESC LIMIT ").push_bind(limit);
    let rows = query.build_query_as::<Row>().fetch_all(pool(log)).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// The first and the last place of the log; `None` when it is empty.
pub(super) async fn range(log: &Log) -> Result<Option<(i64, i64)>> {
    let range: (Option<i64>, Option<i64>) =
        sqlx::query_as("SELECT min(seq), max(seq) FROM audit_entries").fetch_one(pool(log)).await?;
    Ok(range.0.zip(range.1))
}

/// The place before the first entry that was written at `before` or later: all entries up to there are older. `None`
/// when all entries are.
pub(super) async fn last_before(log: &Log, before: DateTime<Utc>) -> Result<Option<i64>> {
    let first: Option<i64> = sqlx::query_scalar("SELECT min(seq) FROM audit_entries WHERE at >= $1")
        .bind(before)
        .fetch_one(pool(log))
        .await?;
    Ok(first.map(|seq| seq - 1))
}

/// The hash of the entry at a place, be it still there or the last that a checkpoint stands for. `Removed` when a
/// checkpoint says that it is gone.
pub(super) async fn at_place(log: &Log, seq: i64) -> Result<AtPlace> {
    let (hash, removed): (Option<Vec<u8>>, bool) = sqlx::query_as(
        "SELECT (SELECT hash FROM audit_entries WHERE seq = $1), EXISTS (SELECT FROM audit_checkpoints WHERE seq >= $1)",
    )
    .bind(seq)
    .fetch_one(pool(log))
    .await?;
    Ok(match hash {
        Some(hash) => AtPlace::Hash(hash),
        None if removed => AtPlace::Removed,
        None => AtPlace::Nothing,
    })
}

/// What is at a place of the log.
pub(super) enum AtPlace {
    /// An entry with this hash.
    Hash(Vec<u8>),
    /// A checkpoint says that it was removed.
    Removed,
    /// Nothing.
    Nothing,
}

/// All checkpoints, the oldest first.
pub(super) async fn checkpoints(log: &Log) -> Result<Vec<Checkpoint>> {
    let rows: Vec<CheckpointRow> = sqlx::query_as(
        "SELECT seq, hash, CASE WHEN isfinite(at) THEN at END AS at, removed, signature FROM audit_checkpoints ORDER BY seq",
    )
    .fetch_all(pool(log))
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// The place and the hash of the newest entry; `None` when there is none.
type Head = Option<(i64, Vec<u8>)>;

async fn head(executor: impl PgExecutor<'_>) -> Result<Head> {
    let head = sqlx::query_as("SELECT seq, hash FROM audit_entries ORDER BY seq DESC LIMIT 1");
    Ok(head.fetch_optional(executor).await?)
}

/// False when a place is taken; then none of them is in the log.
async fn insert(executor: impl PgExecutor<'_>, entries: &[Sealed]) -> Result<bool> {
    fn column<'a, T>(entries: &'a [Sealed], of: impl Fn(&'a Sealed) -> T) -> Vec<T> {
        entries.iter().map(of).collect()
    }
    // One statement for any number of entries, so that one plan serves them all.
    let written = sqlx::query(
        "INSERT INTO audit_entries (seq, at, actor, action, run, subject, detail, previous, hash)
         SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[],
                              $8::bytea[], $9::bytea[])",
    )
    .bind(column(entries, |entry| entry.seq))
    .bind(column(entries, |entry| entry.content.at))
    .bind(column(entries, |entry| &*entry.content.actor))
    .bind(column(entries, |entry| &*entry.content.action))
    .bind(column(entries, |entry| entry.content.run))
    .bind(column(entries, |entry| entry.content.subject.as_deref()))
    .bind(column(entries, |entry| &*entry.content.detail))
    .bind(column(entries, |entry| &*entry.previous))
    .bind(column(entries, |entry| &*entry.hash))
    .execute(executor)
    .await;
    match written {
        Ok(_) => Ok(true),
        Err(error) if is_taken(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

#[derive(FromRow)]
struct Row {
    seq: i64,
    at: Option<DateTime<Utc>>,
    actor: String,
    action: String,
    run: Option<Uuid>,
    subject: Option<String>,
    detail: String,
    previous: Vec<u8>,
    hash: Vec<u8>,
}

impl From<Row> for Sealed {
    fn from(row: Row) -> Self {
        let Row { seq, at, actor, action, run, subject, detail, previous, hash } = row;
        Self { seq, content: Content { at, actor, action, run, subject, detail }, previous, hash }
    }
}

#[derive(FromRow)]
struct CheckpointRow {
    seq: i64,
    hash: Vec<u8>,
    at: Option<DateTime<Utc>>,
    removed: i64,
    signature: String,
}

impl From<CheckpointRow> for Checkpoint {
    fn from(row: CheckpointRow) -> Self {
        let CheckpointRow { seq, hash, at, removed, signature } = row;
        // A moment that is none was never signed.
        Self { seq, hash, at: at.unwrap_or(DateTime::<Utc>::MIN_UTC), removed, signature }
    }
}
