//! What agents do when a tenant goes out of service. It is put together here, because tenants know no agents.

use async_trait::async_trait;

use crate::{agents::Agents, support::ids::TenantId, tenants::Resident};

#[async_trait]
impl Resident for Agents {
    /// Runs end with what they have, which is stored; whoever reads along sees why.
    async fn stop(&self, tenant: &TenantId) {
        self.stop_all_of(tenant).await;
    }
}
