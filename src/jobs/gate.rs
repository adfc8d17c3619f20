//! Which tenants' jobs may run: told by whoever knows the tenants.

use async_trait::async_trait;

use crate::support::{Result, ids::TenantId};

/// What becomes of a tenant's job now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It runs.
    Run,
    /// The tenant is out of service for a while: the job waits, and loses none of its attempts.
    Wait,
    /// The tenant is gone: the job ends, and nobody misses it.
    Drop,
}

/// Knows which tenants are in service.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// What becomes of a job of this tenant.
    ///
    /// # Errors
    /// When it cannot be known now; the job is tried again later.
    async fn admit(&self, tenant: &TenantId) -> Result<Admission>;
}

/// All tenants are in service: for queues whose jobs belong to none.
pub(super) struct Everybody;

#[async_trait]
impl Gate for Everybody {
    async fn admit(&self, _: &TenantId) -> Result<Admission> {
        Ok(Admission::Run)
    }
}
