//! What the page of usage says of agents. It is put together here, because models do not know agents.

use async_trait::async_trait;

use crate::{agents::Agents, db::TenantDb, models::budget::http::Staff, support::Result};

#[async_trait]
impl Staff for Agents {
    async fn names(&self, db: &TenantDb) -> Result<Vec<(String, String)>> {
        Ok(self.agents(db).await?.into_iter().map(|agent| (agent.id, agent.name)).collect())
    }
}
