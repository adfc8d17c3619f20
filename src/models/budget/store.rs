//! The tables `budgets`, `usage_months`, `usage_reservations` and `usage_days`.

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Limit, Scope};
use crate::{db::TenantDb, models::meter::Usage, support::Result};

/// What a call would take out of a month.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) id: Uuid,
    pub(super) agent: &'a str,
    pub(super) model: &'a str,
    pub(super) tokens: i64,
    /// None where the price is not known.
    pub(super) micros: Option<i64>,
    pub(super) now: DateTime<Utc>,
    /// What holds where the operator has set nothing for the organisation.
    pub(super) usual: Limit,
}

/// How a bound stood when a call was judged by it.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Judged {
    /// Empty for the whole organisation.
    pub(super) agent: String,
    /// Used and set aside until now.
    pub(super) tokens: i64,
    pub(super) micros: i64,
    pub(super) most_tokens: Option<i64>,
    pub(super) most_micros: Option<i64>,
    pub(super) tokens_fit: bool,
    pub(super) micros_fit: bool,
}

/// The bounds that hold for an agent: `capped (agent, tokens, micros)` of the organisation and of the agent. `$2` is the
/// agent, `$3` and `$4` what is usual.
macro_rules! capped {
    () => {
        "capped AS (
             SELECT '' AS agent,
                    least(min(tokens), CASE WHEN bool_or(scope = 'appliance') THEN NULL ELSE $3::bigint END) AS tokens,
                    least(min(micros), CASE WHEN bool_or(scope = 'appliance') THEN NULL ELSE $4::bigint END) AS micros
             FROM budgets WHERE scope IN ('appliance', 'organisation')
             UNION ALL
             SELECT $2, min(tokens), min(micros) FROM budgets WHERE scope = 'agent:' || $2
         )"
    };
}

/// Sets aside what a call may come to, if both bounds allow it, in one statement that locks the month's two rows: of calls
/// at the same moment, each sees what the one before it took. Returns how the bounds stood, the organisation's first.
pub(super) async fn reserve(db: &TenantDb, wanted: Wanted<'_>) -> Result<Vec<Judged>> {
    let judged = try_reserve(db, wanted).await?;
    if judged.len() == 2 {
        return Ok(judged);
    }
    sqlx::query("INSERT INTO usage_months (month, agent) VALUES ($1, ''), ($1, $2) ON CONFLICT DO NOTHING")
        .bind(month_of(wanted.now))
        .bind(wanted.agent)
        .execute(db.pool())
        .await?;
    try_reserve(db, wanted).await
}

async fn try_reserve(db: &TenantDb, wanted: Wanted<'_>) -> Result<Vec<Judged>> {
    let judged = sqlx::query_as(concat!(
        "WITH ",
        capped!(),
        ", locked AS (
             SELECT agent, tokens + reserved_tokens AS tokens, micros + reserved_micros AS micros
             FROM usage_months WHERE month = $1 AND agent IN ('', $2) ORDER BY agent FOR UPDATE
         ), judged AS (
             SELECT agent, l.tokens, l.micros, c.tokens AS most_tokens, c.micros AS most_micros,
                    coalesce(l.tokens + $5 <= c.tokens, true) AS tokens_fit,
                    c.micros IS NULL OR coalesce(l.micros + $6::bigint <= c.micros, false) AS micros_fit
             FROM locked l JOIN capped c USING (agent)
         ), verdict AS (
             SELECT count(*) = 2 AND bool_and(tokens_fit AND micros_fit) AS fits FROM judged
         ), taken AS (
             UPDATE usage_months SET reserved_tokens = reserved_tokens + $5,
                                     reserved_micros = reserved_micros + coalesce($6::bigint, 0)
             WHERE month = $1 AND agent IN ('', $2) AND (SELECT fits FROM verdict)
         ), kept AS (
             INSERT INTO usage_reservations (id, month, agent, model, tokens, micros, made_at)
             SELECT $7, $1, $2, $8, $5, coalesce($6::bigint, 0), $9 FROM verdict WHERE fits
         )
         SELECT agent, tokens, micros, most_tokens, most_micros, tokens_fit, micros_fit FROM judged ORDER BY agent"
    ))
    .bind(month_of(wanted.now))
    .bind(wanted.agent)
    .bind(wanted.usual.tokens)
    .bind(wanted.usual.micros)
    .bind(wanted.tokens)
    .bind(wanted.micros)
    .bind(wanted.id)
    .bind(wanted.model)
    .bind(wanted.now)
    .fetch_all(db.pool())
    .await?;
    Ok(judged)
}

/// A call that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used<'a> {
    pub(super) agent: &'a str,
    pub(super) model: &'a str,
    pub(super) local: bool,
    pub(super) usage: Usage,
    /// None where the price is not known.
    pub(super) micros: Option<i64>,
    pub(super) now: DateTime<Utc>,
}

/// Adds a call to its day.
pub(super) async fn count(db: &TenantDb, used: Used<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO usage_days (day, agent, model, local, calls, unpriced, prompt_tokens, completion_tokens, micros)
         VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8)
         ON CONFLICT (day, agent, model, local) DO UPDATE
         SET calls = usage_days.calls + 1, unpriced = usage_days.unpriced + excluded.unpriced,
             prompt_tokens = usage_days.prompt_tokens + excluded.prompt_tokens,
             completion_tokens = usage_days.completion_tokens + excluded.completion_tokens,
             micros = usage_days.micros + excluded.micros",
    )
    .bind(used.now.date_naive())
    .bind(used.agent)
    .bind(used.model)
    .bind(used.local)
    .bind(i64::from(used.micros.is_none()))
    .bind(i64::from(used.usage.prompt_tokens))
    .bind(i64::from(used.usage.completion_tokens))
    .bind(used.micros.unwrap_or_default())
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Turns what was set aside into what was used: `tokens` and `micros`, which may be nothing. False when it was settled
/// before.
pub(super) async fn settle(db: &TenantDb, id: Uuid, tokens: i64, micros: i64) -> Result<bool> {
    let settled = sqlx::query(
        "WITH gone AS (
             DELETE FROM usage_reservations WHERE id = $1 RETURNING month, agent, tokens, micros
         ), locked AS (
             SELECT m.month, m.agent, g.tokens, g.micros FROM usage_months m
             JOIN gone g ON m.month = g.month AND m.agent IN ('', g.agent) ORDER BY m.agent FOR UPDATE OF m
         )
         UPDATE usage_months m
         SET tokens = m.tokens + $2, micros = m.micros + $3,
             reserved_tokens = m.reserved_tokens - l.tokens, reserved_micros = m.reserved_micros - l.micros
         FROM locked l WHERE m.month = l.month AND m.agent = l.agent",
    )
    .bind(id)
    .bind(tokens)
    .bind(micros)
    .execute(db.pool())
    .await?;
    Ok(settled.rows_affected() > 0)
}

/// What was set aside before `before` and never settled, because the process ended.
pub(super) async fn forgotten(db: &TenantDb, before: DateTime<Utc>) -> Result<Vec<(Uuid, i64, i64)>> {
    let rows = sqlx::query_as("SELECT id, tokens, micros FROM usage_reservations WHERE made_at < $1");
    Ok(rows.bind(before).fetch_all(db.pool()).await?)
}

/// Marks those of the organisation and the agent whose use has just passed `percent` of a bound, and says which.
pub(super) async fn newly_near(
    db: &TenantDb,
    agent: &str,
    now: DateTime<Utc>,
    usual: Limit,
    percent: u8,
) -> Result<Vec<String>> {
    let near = sqlx::query_scalar(concat!(
        "WITH ",
        capped!(),
        " UPDATE usage_months m SET warned = true FROM capped c
         WHERE m.month = $1 AND m.agent = c.agent AND NOT m.warned
           AND (m.tokens * 100 >= c.tokens * $5 OR m.micros * 100 >= c.micros * $5)
         RETURNING m.agent"
    ));
    let near = near
        .bind(month_of(now))
        .bind(agent)
        .bind(usual.tokens)
        .bind(usual.micros)
        .bind(i64::from(percent))
        .fetch_all(db.pool())
        .await?;
    Ok(near)
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
pub(super) async fn limits(db: &TenantDb) -> Result<Vec<(Scope, Limit)>> {
    let rows: Vec<BudgetRow> =
        sqlx::query_as("SELECT scope, tokens, micros FROM budgets ORDER BY scope").fetch_all(db.pool()).await?;
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
