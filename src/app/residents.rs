//! What agents do when a tenant goes out of service, or a person is not let in any more. It is put together here, because
//! neither tenants nor accounts know agents.

use async_trait::async_trait;

use crate::{
    accounts::Departures,
    agents::{Agents, memory::Memory},
    audit::Actor,
    boardroom::Boardroom,
    db::Databases,
    support::ids::{TenantId, UserId},
    tenants::Resident,
};

#[async_trait]
impl Resident for Agents {
    /// Runs end with what they have, which is stored; whoever reads along sees why.
    async fn stop(&self, tenant: &TenantId) {
        self.stop_all_of(tenant).await;
    }
}

#[async_trait]
impl Resident for Boardroom {
    /// Meetings wait, and go on when the tenant is back.
    async fn stop(&self, tenant: &TenantId) {
        self.suspend(tenant);
    }
}

/// What agents have of people, as accounts know them.
pub struct ThingsOfPeople {
    /// Their runs.
    pub agents: Agents,
    /// What is remembered of them.
    pub memory: Memory,
    /// Where all that is kept.
    pub databases: Databases,
}

#[async_trait]
impl Departures for ThingsOfPeople {
    /// Runs end with what they have; those that wait for leave end, too. What is remembered of somebody who does not come back
    /// is forgotten.
    async fn departed(&self, tenant: &TenantId, user: UserId, for_good: bool) {
        match self.databases.tenant(tenant).await {
            Ok(db) => {
                self.agents.stop_all_of_person(&db, user).await;
                if for_good && let Err(error) = self.memory.forget_person(&db, user, Actor::System).await {
                    tracing::error!(%tenant, %user, %error, "what is remembered of somebody could not be forgotten");
                }
            }
            Err(error) => tracing::warn!(%tenant, %error, "the runs of somebody could not be stopped"),
        }
    }
}
