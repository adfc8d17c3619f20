//! What the chat says about the knowledge base before the first question, and which agents a collection may be opened to.
//! It is put together here, because neither agents nor knowledge names the other.

use async_trait::async_trait;

use crate::{
    accounts::Role,
    agents::{Agents, http::Shelf},
    db::TenantDb,
    knowledge::{Knowledge, Reader, http::Colleagues},
    support::Result,
};

/// How many titles an empty chat is told.
const TITLES: usize = 4;

#[async_trait]
impl Shelf for Knowledge {
    async fn shelf(&self, db: &TenantDb, role: Role) -> Result<(usize, Vec<String>)> {
        self.open(db, Reader::person(role)).newest(TITLES).await
    }
}

#[async_trait]
impl Colleagues for Agents {
    async fn colleagues(&self, db: &TenantDb) -> Result<Vec<(String, String)>> {
        Ok(self.agents(db).await?.into_iter().map(|agent| (agent.id, agent.name)).collect())
    }
}
