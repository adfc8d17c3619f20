//! The table `audit_entries`. There is no statement here that changes or removes an entry.

use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt};
use sqlx::{FromRow, PgExecutor};
use uuid::Uuid;

use super::chain::{Content, Sealed};
use crate::{
    db::TenantDb,
    support::{Result, ids::RunId},
};

/// Puts an entry behind the newest, sealed by `seal` for the place and the hash of that one. `None` when somebody else
/// took the place meanwhile.
pub(super) async fn add(db: &TenantDb, seal: impl Fn(Head) -> Sealed) -> Result<Option<Sealed>> {
    let sealed = seal(head(db.pool()).await?);
    Ok(insert(db.pool(), &sealed).await?.then_some(sealed))
}

/// As [`add`], while nobody else who adds in this way with the same `key` can; up to `tries` times, since those who come
/// without the lock can still be first.
pub(super) async fn add_alone(
    db: &TenantDb,
    key: i64,
    tries: usize,
    seal: impl Fn(Head) -> Sealed,
) -> Result<Option<Sealed>> {
    let mut transaction = db.pool().begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(key).execute(&mut *transaction).await?;
    for _ in 0..tries {
        let sealed = seal(head(&mut *transaction).await?);
        if insert(&mut *transaction, &sealed).await? {
            transaction.commit().await?;
            return Ok(Some(sealed));
        }
    }
    Ok(None)
}

/// The entries that follow the place `after`, in ascending order, `limit` at most, read as fast as they are taken.
pub(super) fn page(db: &TenantDb, after: i64, limit: i64) -> impl Stream<Item = Result<Sealed>> {
    sqlx::query_as::<_, Row>(
        "SELECT seq, CASE WHEN isfinite(at) THEN at END AS at, actor, action, run, subject, detail, previous, hash
         FROM audit_entries WHERE seq > $1 ORDER BY seq LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch(db.pool())
    .map(|row| Ok(row?.into()))
}

/// The entries of a run, in ascending order.
pub(super) async fn of_run(db: &TenantDb, run: RunId) -> Result<Vec<Sealed>> {
    let rows = sqlx::query_as::<_, Row>(
        "SELECT seq, CASE WHEN isfinite(at) THEN at END AS at, actor, action, run, subject, detail, previous, hash
         FROM audit_entries WHERE run = $1 ORDER BY seq",
    )
    .bind(run.0)
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// The place and the hash of the newest entry; `None` when there is none.
type Head = Option<(i64, Vec<u8>)>;

async fn head(executor: impl PgExecutor<'_>) -> Result<Head> {
    let head = sqlx::query_as("SELECT seq, hash FROM audit_entries ORDER BY seq DESC LIMIT 1");
    Ok(head.fetch_optional(executor).await?)
}

/// False when the entry's place is taken.
async fn insert(executor: impl PgExecutor<'_>, entry: &Sealed) -> Result<bool> {
    let written = sqlx::query(
        "INSERT INTO audit_entries (seq, at, actor, action, run, subject, detail, previous, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (seq) DO NOTHING",
    )
    .bind(entry.seq)
    .bind(entry.content.at)
    .bind(&entry.content.actor)
    .bind(&entry.content.action)
    .bind(entry.content.run)
    .bind(&entry.content.subject)
    .bind(&entry.content.detail)
    .bind(&entry.previous)
    .bind(&entry.hash)
    .execute(executor)
    .await?;
    Ok(written.rows_affected() == 1)
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
