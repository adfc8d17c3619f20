//! The tables `budgets`, `usage_months`, `usage_reservations` and `usage_days`.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor, Postgres, Transaction};
use uuid::Uuid;

use super::{Limit, Scope};
use crate::{db::TenantDb, support::Result};

/// What is kept of a month: a counter of the organisation (whose agent is empty) or of an agent.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Counter {
    pub(super) month: NaiveDate,
    pub(super) agent: String,
    pub(super) tokens: i64,
    pub(super) micros: i64,
    pub(super) reserved_tokens: i64,
    pub(super) reserved_micros: i64,
    pub(super) warned: bool,
}

/// What was set aside for a call.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Reserved {
    pub(super) id: Uuid,
    pub(super) month: NaiveDate,
    pub(super) agent: String,
    pub(super) tokens: i64,
    pub(super) micros: i64,
}

/// What is about to be set aside.
#[derive(Debug, Clone)]
pub(super) struct NewReserved {
    pub(super) reserved: Reserved,
    pub(super) model: String,
    pub(super) at: DateTime<Utc>,
}

/// Changes that are made together or not at all. Counters are locked before they are looked at.
pub(super) struct Changes(Transaction<'static, Postgres>);

impl Changes {
    pub(super) async fn begin(db: &TenantDb) -> Result<Self> {
        Ok(Self(db.pool().begin().await?))
    }

    pub(super) async fn commit(self) -> Result<()> {
        Ok(self.0.commit().await?)
    }

    /// Takes away what was set aside under these ids, and says what it was.
    pub(super) async fn release(&mut self, ids: &[Uuid]) -> Result<Vec<Reserved>> {
        release(&mut self.0, ids).await
    }

    /// Locks counters, making those that are not there, always in the same order.
    pub(super) async fn lock(&mut self, counters: &BTreeSet<(NaiveDate, String)>) -> Result<Vec<Counter>> {
        lock(&mut self.0, counters).await
    }

    /// Every bound that was set.
    pub(super) async fn limits(&mut self) -> Result<Vec<(Scope, Limit)>> {
        limits(&mut *self.0).await
    }

    /// Writes down counters that are locked, and what is set aside.
    pub(super) async fn write(&mut self, counters: &[&Counter], new: &[NewReserved]) -> Result<()> {
        write(&mut self.0, counters, new).await
    }

    /// Adds calls to their days.
    pub(super) async fn count(&mut self, days: &[DayRow]) -> Result<()> {
        insert_days(&mut *self.0, days).await
    }
}

/// Adds calls to their days. No two of `days` are of one day, agent, model and place; they come in that order.
pub(super) async fn count(db: &TenantDb, days: &[DayRow]) -> Result<()> {
    insert_days(db.pool(), days).await
}

async fn release(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Reserved>> {
    let released = sqlx::query_as(
        "DELETE FROM usage_reservations
         WHERE id IN (SELECT id FROM usage_reservations WHERE id = ANY($1) ORDER BY id FOR UPDATE)
         RETURNING id, month, agent, tokens, micros",
    );
    Ok(released.bind(ids).fetch_all(connection).await?)
}

async fn lock(connection: &mut PgConnection, counters: &BTreeSet<(NaiveDate, String)>) -> Result<Vec<Counter>> {
    let months: Vec<_> = counters.iter().map(|(month, _)| *month).collect();
    let agents: Vec<_> = counters.iter().map(|(_, agent)| &**agent).collect();
    let mut locked = try_lock(connection, &months, &agents).await?;
    if locked.len() < counters.len() {
        sqlx::query(
            "INSERT INTO usage_months (month, agent) SELECT * FROM unnest($1::date[], $2::text[]) ON CONFLICT DO NOTHING",
        )
        .bind(&months)
        .bind(&agents)
        .execute(&mut *connection)
        .await?;
        locked = try_lock(connection, &months, &agents).await?;
    }
    Ok(locked)
}

async fn try_lock(connection: &mut PgConnection, months: &[NaiveDate], agents: &[&str]) -> Result<Vec<Counter>> {
    let counters = sqlx::query_as(
        "SELECT month, agent, tokens, micros, reserved_tokens, reserved_micros, warned FROM usage_months
         WHERE (month, agent) IN (SELECT * FROM unnest($1::date[], $2::text[])) ORDER BY month, agent FOR UPDATE",
    );
    Ok(counters.bind(months).bind(agents).fetch_all(connection).await?)
}

async fn write(connection: &mut PgConnection, counters: &[&Counter], new: &[NewReserved]) -> Result<()> {
    let of = |number: fn(&Counter) -> i64| counters.iter().map(|counter| number(counter)).collect::<Vec<_>>();
    sqlx::query(
        "UPDATE usage_months m SET tokens = n.tokens, micros = n.micros, reserved_tokens = n.reserved_tokens,
                                   reserved_micros = n.reserved_micros, warned = n.warned
         FROM unnest($1::date[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[])
              AS n (month, agent, tokens, micros, reserved_tokens, reserved_micros, warned)
         WHERE m.month = n.month AND m.agent = n.agent",
    )
    .bind(counters.iter().map(|counter| counter.month).collect::<Vec<_>>())
    .bind(counters.iter().map(|counter| &*counter.agent).collect::<Vec<_>>())
    .bind(of(|counter| counter.tokens))
    .bind(of(|counter| counter.micros))
    .bind(of(|counter| counter.reserved_tokens))
    .bind(of(|counter| counter.reserved_micros))
    .bind(counters.iter().map(|counter| counter.warned).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await?;
    if new.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO usage_reservations (id, month, agent, model, tokens, micros, made_at)
         SELECT * FROM unnest($1::uuid[], $2::date[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::timestamptz[])",
    )
    .bind(new.iter().map(|new| new.reserved.id).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.reserved.month).collect::<Vec<_>>())
    .bind(new.iter().map(|new| &*new.reserved.agent).collect::<Vec<_>>())
    .bind(new.iter().map(|new| &*new.model).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.reserved.tokens).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.reserved.micros).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_days(executor: impl PgExecutor<'_>, days: &[DayRow]) -> Result<()> {
    let of = |number: fn(&DayRow) -> i64| days.iter().map(number).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO usage_days (day, agent, model, local, calls, unpriced, prompt_tokens, completion_tokens, micros)
         SELECT * FROM unnest($1::date[], $2::text[], $3::text[], $4::boolean[], $5::bigint[], $6::bigint[], $7::bigint[],
                              $8::bigint[], $9::bigint[])
         ON CONFLICT (day, agent, model, local) DO UPDATE
         SET calls = usage_days.calls + excluded.calls, unpriced = usage_days.unpriced + excluded.unpriced,
             prompt_tokens = usage_days.prompt_tokens + excluded.prompt_tokens,
             completion_tokens = usage_days.completion_tokens + excluded.completion_tokens,
             micros = usage_days.micros + excluded.micros",
    )
    .bind(days.iter().map(|day| day.day).collect::<Vec<_>>())
    .bind(days.iter().map(|day| &*day.agent).collect::<Vec<_>>())
    .bind(days.iter().map(|day| &*day.model).collect::<Vec<_>>())
    .bind(days.iter().map(|day| day.local).collect::<Vec<_>>())
    .bind(of(|day| day.calls))
    .bind(of(|day| day.unpriced))
    .bind(of(|day| day.prompt_tokens))
    .bind(of(|day| day.completion_tokens))
    .bind(of(|day| day.micros))
    .execute(executor)
    .await?;
    Ok(())
}

/// What was set aside before `before` and never settled, because the process ended.
pub(super) async fn forgotten(db: &TenantDb, before: DateTime<Utc>) -> Result<Vec<(Uuid, i64, i64)>> {
    let rows = sqlx::query_as("SELECT id, tokens, micros FROM usage_reservations WHERE made_at < $1");
    Ok(rows.bind(before).fetch_all(db.pool()).await?)
}

/// A call's day in a month's report.
#[derive(Debug, Clone, FromRow)]
pub(super) struct DayRow {
    pub(super) day: NaiveDate,
    pub(super) agent: String,
    pub(super) model: String,
    pub(super) local: bool,
    pub(super) calls: i64,
    pub(super) unpriced: i64,
    pub(super) prompt_tokens: i64,
    pub(super) completion_tokens: i64,
    pub(super) micros: i64,
}

/// All days of a month, in order.
pub(super) async fn days(db: &TenantDb, month: NaiveDate) -> Result<Vec<DayRow>> {
    let rows = sqlx::query_as(
        "SELECT day, agent, model, local, calls, unpriced, prompt_tokens, completion_tokens, micros FROM usage_days
         WHERE day >= $1 AND day < $1 + interval '1 month' ORDER BY day, agent, model, local",
    );
    Ok(rows.bind(month).fetch_all(db.pool()).await?)
}

/// A month's counter.
#[derive(Debug, Clone, FromRow)]
pub(super) struct MonthRow {
    pub(super) agent: String,
    pub(super) tokens: i64,
    pub(super) micros: i64,
    pub(super) reserved_tokens: i64,
    pub(super) reserved_micros: i64,
}

/// The month's counters, the organisation's first.
pub(super) async fn month(db: &TenantDb, month: NaiveDate) -> Result<Vec<MonthRow>> {
    let rows = sqlx::query_as(
        "SELECT agent, tokens, micros, reserved_tokens, reserved_micros FROM usage_months WHERE month = $1 ORDER BY agent",
    );
    Ok(rows.bind(month).fetch_all(db.pool()).await?)
}

#[derive(FromRow)]
struct BudgetRow {
    scope: String,
    tokens: Option<i64>,
    micros: Option<i64>,
}

/// Every bound that was set.
pub(super) async fn limits_of(db: &TenantDb) -> Result<Vec<(Scope, Limit)>> {
    limits(db.pool()).await
}

async fn limits(executor: impl PgExecutor<'_>) -> Result<Vec<(Scope, Limit)>> {
    let rows: Vec<BudgetRow> =
        sqlx::query_as("SELECT scope, tokens, micros FROM budgets ORDER BY scope").fetch_all(executor).await?;
    let limit = |row: BudgetRow| Ok((row.scope.parse()?, Limit { tokens: row.tokens, micros: row.micros }));
    rows.into_iter().map(limit).collect()
}

/// Sets a bound, or takes it away; returns what it was.
pub(super) async fn set_limit(
    db: &TenantDb,
    scope: &Scope,
    limit: Option<Limit>,
    now: DateTime<Utc>,
) -> Result<Option<Limit>> {
    let mut transaction = db.pool().begin().await?;
    let old: Option<BudgetRow> = sqlx::query_as("DELETE FROM budgets WHERE scope = $1 RETURNING scope, tokens, micros")
        .bind(scope.to_string())
        .fetch_optional(&mut *transaction)
        .await?;
    if let Some(Limit { tokens, micros }) = limit {
        sqlx::query("INSERT INTO budgets (scope, tokens, micros, updated_at) VALUES ($1, $2, $3, $4)")
            .bind(scope.to_string())
            .bind(tokens)
            .bind(micros)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
    }
    // A new bound has not been warned of.
    sqlx::query("UPDATE usage_months SET warned = false WHERE month = $1")
        .bind(month_of(now))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(old.map(|row| Limit { tokens: row.tokens, micros: row.micros }))
}

/// The first day of the month, in UTC.
pub(super) fn month_of(moment: DateTime<Utc>) -> NaiveDate {
    let day = moment.date_naive();
    day.with_day(1).unwrap_or(day)
}
