//! What is done to apalis's tables beside apalis's own queries.

use std::time::Duration;

use sqlx::{PgPool, postgres::types::PgInterval};

use crate::support::{Result, ids::TenantId};

/// Lets a failed job wait. Called while the job is still locked by its worker; the status comes from apalis after.
pub(super) async fn postpone(pool: &PgPool, id: &str, wait: Duration) -> Result<()> {
    let microseconds = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    sqlx::query("UPDATE apalis.jobs SET run_at = now() + $2 WHERE id = $1")
        .bind(id)
        .bind(PgInterval { months: 0, days: 0, microseconds })
        .execute(pool)
        .await?;
    Ok(())
}

/// Puts a job back as if nobody had taken it, to be looked at again after `wait`: the attempt does not count. Called by
/// the job's worker, whose own report then finds nothing to change.
pub(super) async fn park(pool: &PgPool, id: &str, wait: Duration) -> Result<()> {
    let microseconds = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    sqlx::query(
        "UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL, run_at = now() + $2 WHERE id = $1",
    )
    .bind(id)
    .bind(PgInterval { months: 0, days: 0, microseconds })
    .execute(pool)
    .await?;
    Ok(())
}

/// What a job carries is JSON with the tenant's id, which no other text could contain by chance.
pub(super) async fn wake(pool: &PgPool, tenant: &TenantId) -> Result<u64> {
    let woken = sqlx::query(
        "UPDATE apalis.jobs SET run_at = now()
         WHERE status IN ('Pending', 'Failed') AND run_at > now() AND position(convert_to($1, 'UTF8') IN job) > 0",
    )
    .bind(tenant.as_str())
    .execute(pool)
    .await?;
    Ok(woken.rows_affected())
}

/// What the jobs of a queue carry that are not done and not given up.
pub(super) async fn waiting(pool: &PgPool, queue: &str) -> Result<Vec<Vec<u8>>> {
    let payloads = sqlx::query_scalar(
        "SELECT job FROM apalis.jobs
         WHERE job_type = $1
           AND (status IN ('Pending', 'Queued', 'Running') OR (status = 'Failed' AND attempts < max_attempts))",
    )
    .bind(queue)
    .fetch_all(pool)
    .await?;
    Ok(payloads)
}

/// Removes a tenant's jobs, whatever has become of them.
pub(super) async fn forget(pool: &PgPool, tenant: &TenantId) -> Result<u64> {
    let removed = sqlx::query("DELETE FROM apalis.jobs WHERE position(convert_to($1, 'UTF8') IN job) > 0")
        .bind(tenant.as_str())
        .execute(pool)
        .await?;
    Ok(removed.rows_affected())
}

/// Gives back what workers whose names begin with `name` held when they were stopped. That attempt does not count.
pub(super) async fn release(pool: &PgPool, name: &str) -> Result<()> {
    sqlx::query(
        "UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL
         WHERE starts_with(lock_by, $1) AND status IN ('Queued', 'Running')",
    )
    .bind(name)
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives back what any worker holds. The attempt counts, because the job may be what ended the process.
pub(super) async fn recover(pool: &PgPool) -> Result<u64> {
    let recovered = sqlx::query(
        "UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL, attempts = attempts + 1
         WHERE status IN ('Queued', 'Running')",
    )
    .execute(pool)
    .await?;
    Ok(recovered.rows_affected())
}

/// Removes jobs that were done a day ago or given up a month ago, and workers that are long gone.
pub(super) async fn prune(pool: &PgPool) -> Result<()> {
    sqlx::query(
        "DELETE FROM apalis.jobs
         WHERE (status = 'Done' AND done_at < now() - interval '1 day')
            OR (status = 'Killed' AND done_at < now() - interval '30 days')",
    )
    .execute(pool)
    .await?;
    sqlx::query(
        "DELETE FROM apalis.workers w
         WHERE w.last_seen < now() - interval '1 day'
           AND NOT EXISTS (SELECT FROM apalis.jobs j WHERE j.lock_by = w.id)",
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// How many jobs of each queue are not done, for the tests' last look.
pub(super) async fn unfinished(pool: &PgPool) -> Result<Vec<(String, i64)>> {
    let counts = sqlx::query_as(
        "SELECT job_type, count(*) FROM apalis.jobs
         WHERE status IN ('Pending', 'Queued', 'Running') OR (status = 'Failed' AND attempts < max_attempts)
         GROUP BY job_type ORDER BY job_type",
    )
    .fetch_all(pool)
    .await?;
    Ok(counts)
}
