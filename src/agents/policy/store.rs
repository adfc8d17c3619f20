//! The table `tool_policies`.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{AfterUntrusted, Policy, Rule};
use crate::{
    db::TenantDb,
    support::{Result, ids::UserId},
};

/// All rules, by tool and agent.
pub(in crate::agents) async fn all(db: &TenantDb) -> Result<Vec<Policy>> {
    let rows = sqlx::query_as::<_, Row>(
        "SELECT tool, agent, rule, after_untrusted, set_by, set_at FROM tool_policies ORDER BY tool, agent",
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub(super) async fn one(db: &TenantDb, tool: &str, agent: Option<&str>) -> Result<Option<Policy>> {
    let row = sqlx::query_as::<_, Row>(
        "SELECT tool, agent, rule, after_untrusted, set_by, set_at FROM tool_policies WHERE tool = $1 AND agent = $2",
    );
    Ok(row.bind(tool).bind(agent.unwrap_or_default()).fetch_optional(db.pool()).await?.map(Into::into))
}

pub(super) async fn set(db: &TenantDb, policy: &Policy) -> Result<()> {
    sqlx::query(
        "INSERT INTO tool_policies (tool, agent, rule, after_untrusted, set_by, set_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tool, agent) DO UPDATE SET rule = $3, after_untrusted = $4, set_by = $5, set_at = $6",
    )
    .bind(&policy.tool)
    .bind(policy.agent.as_deref().unwrap_or_default())
    .bind(match policy.rule {
        Rule::Allow => "allow",
        Rule::Ask => "ask",
        Rule::Deny => "deny",
    })
    .bind(match policy.after_untrusted {
        AfterUntrusted::Allow => "allow",
        AfterUntrusted::Ask => "ask",
    })
    .bind(policy.set_by.0)
    .bind(policy.set_at)
    .execute(db.pool())
    .await?;
    Ok(())
}

pub(super) async fn remove(db: &TenantDb, tool: &str, agent: Option<&str>) -> Result<()> {
    let removal = sqlx::query("DELETE FROM tool_policies WHERE tool = $1 AND agent = $2");
    removal.bind(tool).bind(agent.unwrap_or_default()).execute(db.pool()).await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    tool: String,
    agent: String,
    rule: String,
    after_untrusted: String,
    set_by: Uuid,
    set_at: DateTime<Utc>,
}

impl From<Row> for Policy {
    fn from(row: Row) -> Self {
        Self {
            tool: row.tool,
            agent: Some(row.agent).filter(|agent| !agent.is_empty()),
            rule: match row.rule.as_str() {
                "allow" => Rule::Allow,
                "deny" => Rule::Deny,
                _ => Rule::Ask,
            },
            after_untrusted: if row.after_untrusted == "allow" { AfterUntrusted::Allow } else { AfterUntrusted::Ask },
            set_by: UserId(row.set_by),
            set_at: row.set_at,
        }
    }
}
