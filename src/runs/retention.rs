//! How long entries are kept: once a day, what is older is removed from every log.

use std::time::Duration;

use chrono::TimeDelta;

use super::Runs;
use crate::{
    audit::{Actor, Log},
    support::{Kind, Result},
    tenants::Tenants,
};

/// After a start there is more urgent work.
const FIRST: Duration = Duration::from_mins(5);
const EVERY: Duration = Duration::from_hours(24);

/// Removes, each day, what is older than so many days; nothing at all for 0. Several nodes may do it at once: the second
/// finds nothing to remove. Ends when it is dropped.
pub async fn daily(runs: Runs, tenants: Tenants, days: u32) {
    if days == 0 {
        return;
    }
    tokio::time::sleep(FIRST).await;
    loop {
        match once(&runs, &tenants, days).await {
            Ok(removed) => tracing::info!(removed, days, "old entries of the audit logs were removed"),
            Err(error) => tracing::error!(%error, "old entries of the audit logs could not be removed; tomorrow again"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Removes what is older than so many days from every log. Returns how many entries that were. A log that is broken is
/// left as it is, and said so; so is one that cannot be reached.
///
/// # Errors
/// When the database does not answer.
pub async fn once(runs: &Runs, tenants: &Tenants, days: u32) -> Result<i64> {
    let before = runs.now() - TimeDelta::days(i64::from(days));
    let mut removed = of_log(runs, Log::of_appliance(&runs.0.databases), before).await?;
    for tenant in tenants.list().await? {
        let shortened = async {
            let db = runs.0.databases.tenant(&tenant.id).await?;
            of_log(runs, (&db).into(), before).await
        };
        match shortened.await {
            Ok(count) => removed += count,
            // It may just have been suspended; the others' turn comes all the same.
            Err(error) => tracing::error!(tenant = %tenant.id, %error, "an audit log was not shortened"),
        }
    }
    Ok(removed)
}

async fn of_log(runs: &Runs, log: Log, before: chrono::DateTime<chrono::Utc>) -> Result<i64> {
    match runs.prune(&log, Actor::System, before).await {
        Ok(pruned) => Ok(pruned.map_or(0, |pruned| pruned.removed)),
        Err(error) if error.kind() == Kind::Conflict => {
            tracing::error!(log = log.name(), %error, "an audit log was not shortened");
            Ok(0)
        }
        Err(error) => Err(error),
    }
}
