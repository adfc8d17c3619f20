//! What agents do when a tenant goes out of service, or a person is not let in any more. It is put together here, because
//! neither tenants nor accounts know agents.

use async_trait::async_trait;

use crate::{
    accounts::Departures,
    agents::Agents,
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

/// The runs of people, as accounts know them.
pub struct RunsOfPeople {
    /// Whose runs they are.
    pub agents: Agents,
    /// Where they are kept.
    pub databases: Databases,
}

#[async_trait]
impl Departures for RunsOfPeople {
    /// Runs end with what they have; those that wait for leave end, too.
    async fn departed(&self, tenant: &TenantId, user: UserId) {
        match self.databases.tenant(tenant).await {
            Ok(db) => self.agents.stop_all_of_person(&db, user).await,
            Err(error) => tracing::warn!(%tenant, %error, "the runs of somebody could not be stopped"),
        }
    }
}
