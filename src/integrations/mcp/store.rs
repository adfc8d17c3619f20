//! The tables `mcp_servers`, `mcp_tools` and `mcp_grants`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Kind, Server, ServerTool, connection::Described};
use crate::{
    db::TenantDb,
    support::{Error, Result, ids::UserId},
};

/// All servers with their tools and who may use them, by name.
pub(super) async fn all(db: &TenantDb) -> Result<Vec<Server>> {
    let rows: Vec<ServerRow> = sqlx::query_as(
        "SELECT name, kind, target, headers, added_by, added_at, looked_at, problem FROM mcp_servers ORDER BY name",
    )
    .fetch_all(db.pool())
    .await?;
    let tools: Vec<ToolRow> = sqlx::query_as(
        "SELECT t.server, t.name, t.description, t.parameters, t.fingerprint, t.read_only, t.changed,
                coalesce(array_agg(g.agent ORDER BY g.agent) FILTER (WHERE g.agent IS NOT NULL), '{}') AS agents
         FROM mcp_tools t LEFT JOIN mcp_grants g ON g.server = t.server AND g.tool = t.name
         GROUP BY t.server, t.name ORDER BY t.server, t.name",
    )
    .fetch_all(db.pool())
    .await?;
    let mut servers = rows.into_iter().map(ServerRow::server).collect::<Result<Vec<_>>>()?;
    for tool in tools {
        if let Some(server) = servers.iter_mut().find(|server| server.name == tool.server) {
            server.tools.push(tool.tool()?);
        }
    }
    Ok(servers)
}

/// Adds a server. False when there is one of that name.
pub(super) async fn insert(db: &TenantDb, server: &Server) -> Result<bool> {
    let headers = serde_json::to_string(&server.headers).map_err(Error::internal)?;
    let done = sqlx::query(
        "INSERT INTO mcp_servers (name, kind, target, headers, added_by, added_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING",
    )
    .bind(&server.name)
    .bind(match server.kind {
        Kind::Http => "http",
        Kind::Command => "command",
    })
    .bind(&server.target)
    .bind(headers)
    .bind(server.added_by.0)
    .bind(server.added_at)
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a server with all that hangs on it. False when there is none.
pub(super) async fn remove(db: &TenantDb, name: &str) -> Result<bool> {
    let removal = sqlx::query("DELETE FROM mcp_servers WHERE name = $1").bind(name);
    Ok(removal.execute(db.pool()).await?.rows_affected() == 1)
}

/// Keeps what a look at a server showed. Tools that are gone are removed; of those that are described otherwise than before,
/// the new description holds, and nobody may use them any more.
pub(super) async fn looked(db: &TenantDb, server: &str, tools: &[Described], at: DateTime<Utc>) -> Result<()> {
    let mut transaction = db.pool().begin().await?;
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    sqlx::query("DELETE FROM mcp_tools WHERE server = $1 AND name <> ALL($2)")
        .bind(server)
        .bind(&names)
        .execute(&mut *transaction)
        .await?;
    for tool in tools {
        sqlx::query(
            "DELETE FROM mcp_grants g USING mcp_tools t
             WHERE g.server = $1 AND g.tool = $2 AND t.server = $1 AND t.name = $2 AND t.fingerprint <> $3",
        )
        .bind(server)
        .bind(&tool.name)
        .bind(&tool.fingerprint)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO mcp_tools (server, name, description, parameters, fingerprint) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (server, name) DO UPDATE
             SET description = $3, parameters = $4, fingerprint = $5, changed = false,
                 read_only = mcp_tools.read_only AND mcp_tools.fingerprint = $5",
        )
        .bind(server)
        .bind(&tool.name)
        .bind(&tool.description)
        .bind(tool.parameters.to_string())
        .bind(&tool.fingerprint)
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query("UPDATE mcp_servers SET looked_at = $2, problem = NULL WHERE name = $1")
        .bind(server)
        .bind(at)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Keeps why a server could not be looked at.
pub(super) async fn failed(db: &TenantDb, server: &str, problem: &str, at: DateTime<Utc>) -> Result<()> {
    let update = sqlx::query("UPDATE mcp_servers SET looked_at = $2, problem = $3 WHERE name = $1");
    update.bind(server).bind(at).bind(problem).execute(db.pool()).await?;
    Ok(())
}

/// The server describes this tool otherwise by now.
pub(super) async fn changed(db: &TenantDb, server: &str, tool: &str) -> Result<()> {
    let update = sqlx::query("UPDATE mcp_tools SET changed = true WHERE server = $1 AND name = $2");
    update.bind(server).bind(tool).execute(db.pool()).await?;
    Ok(())
}

/// Sets who may use a tool and whether it only reads. False when the tool is not there, or is not described as it was when
/// this was decided.
pub(super) async fn choose(
    db: &TenantDb,
    (server, tool): (&str, &str),
    fingerprint: &str,
    agents: &[String],
    read_only: bool,
) -> Result<bool> {
    let mut transaction = db.pool().begin().await?;
    let set = sqlx::query(
        "UPDATE mcp_tools SET read_only = $4 WHERE server = $1 AND name = $2 AND fingerprint = $3 AND NOT changed",
    );
    let set = set.bind(server).bind(tool).bind(fingerprint).bind(read_only).execute(&mut *transaction).await?;
    if set.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("DELETE FROM mcp_grants WHERE server = $1 AND tool = $2")
        .bind(server)
        .bind(tool)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "INSERT INTO mcp_grants (server, tool, agent) SELECT $1, $2, unnest($3::text[]) ON CONFLICT DO NOTHING",
    )
    .bind(server)
    .bind(tool)
    .bind(agents)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(true)
}

#[derive(FromRow)]
struct ServerRow {
    name: String,
    kind: String,
    target: String,
    headers: String,
    added_by: Uuid,
    added_at: DateTime<Utc>,
    looked_at: Option<DateTime<Utc>>,
    problem: Option<String>,
}

impl ServerRow {
    fn server(self) -> Result<Server> {
        let headers: BTreeMap<String, String> = serde_json::from_str(&self.headers).map_err(Error::internal)?;
        Ok(Server {
            name: self.name,
            kind: if self.kind == "http" { Kind::Http } else { Kind::Command },
            target: self.target,
            headers,
            added_by: UserId(self.added_by),
            added_at: self.added_at,
            looked_at: self.looked_at,
            problem: self.problem,
            tools: Vec::new(),
        })
    }
}

#[derive(FromRow)]
struct ToolRow {
    server: String,
    name: String,
    description: String,
    parameters: String,
    fingerprint: String,
    read_only: bool,
    changed: bool,
    agents: Vec<String>,
}

impl ToolRow {
    fn tool(self) -> Result<ServerTool> {
        Ok(ServerTool {
            parameters: serde_json::from_str(&self.parameters).map_err(Error::internal)?,
            name: self.name,
            description: self.description,
            fingerprint: self.fingerprint,
            read_only: self.read_only,
            changed: self.changed,
            agents: self.agents,
        })
    }
}
