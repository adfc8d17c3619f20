//! The tables `agents` and `agent_versions`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, types::Json};

use crate::{audit::Actor, db::TenantDb, support::Result};

/// An agent as one version says it. `None` stands for what the appliance brings along.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub(super) struct Row {
    pub(super) agent: String,
    pub(super) version: i32,
    pub(super) name: Option<String>,
    pub(super) title: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) brief: Option<String>,
    pub(super) hue: Option<i16>,
    pub(super) route: Option<String>,
    pub(super) tools: Option<Vec<String>>,
    pub(super) soul: Option<String>,
    pub(super) enabled: bool,
    #[sqlx(json)]
    pub(super) made_by: Actor,
    pub(super) made_at: DateTime<Utc>,
    pub(super) note: String,
}

const SELECT: &str = "SELECT v.agent, v.version, v.name, v.title, v.summary, v.brief, v.hue, v.route, v.tools, v.soul,
                             v.enabled, v.made_by, v.made_at, v.note FROM agent_versions v ";

/// The version that holds, of each agent that has any, those added first first.
pub(super) async fn current(db: &TenantDb) -> Result<Vec<Row>> {
    let select =
        format!("{SELECT} JOIN agents a ON a.id = v.agent AND a.version = v.version ORDER BY a.added_at, a.id");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(select)).fetch_all(db.pool()).await?)
}

/// All versions of an agent, the newest first; 200 at most.
pub(super) async fn versions(db: &TenantDb, agent: &str) -> Result<Vec<Row>> {
    let select = format!("{SELECT} WHERE v.agent = $1 ORDER BY v.version DESC LIMIT 200");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(agent).fetch_all(db.pool()).await?)
}

/// One version of an agent.
pub(super) async fn version(db: &TenantDb, agent: &str, version: i32) -> Result<Option<Row>> {
    let select = format!("{SELECT} WHERE v.agent = $1 AND v.version = $2");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(agent).bind(version).fetch_optional(db.pool()).await?)
}

/// Writes the next version, which holds from then on. False when the newest is not the one before it (any more); then
/// nothing is written.
pub(super) async fn insert_version(db: &TenantDb, row: &Row) -> Result<bool> {
    let mut transaction = db.pool().begin().await?;
    let moved = if row.version == 1 {
        sqlx::query("INSERT INTO agents (id, version, added_at) VALUES ($1, 1, $2) ON CONFLICT DO NOTHING")
            .bind(&row.agent)
            .bind(row.made_at)
            .execute(&mut *transaction)
            .await?
    } else {
        sqlx::query("UPDATE agents SET version = $2 WHERE id = $1 AND version = $2 - 1")
            .bind(&row.agent)
            .bind(row.version)
            .execute(&mut *transaction)
            .await?
    };
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    insert(&mut *transaction, row).await?;
    transaction.commit().await?;
    Ok(true)
}

async fn insert(executor: impl PgExecutor<'_>, row: &Row) -> Result<()> {
    sqlx::query(
        "INSERT INTO agent_versions (agent, version, name, title, summary, brief, hue, route, tools, soul, enabled,
                                     made_by, made_at, note)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(&row.agent)
    .bind(row.version)
    .bind(&row.name)
    .bind(&row.title)
    .bind(&row.summary)
    .bind(&row.brief)
    .bind(row.hue)
    .bind(&row.route)
    .bind(&row.tools)
    .bind(&row.soul)
    .bind(row.enabled)
    .bind(Json(&row.made_by))
    .bind(row.made_at)
    .bind(&row.note)
    .execute(executor)
    .await?;
    Ok(())
}
