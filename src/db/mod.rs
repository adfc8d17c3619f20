//! The only place that opens database connections: one pool for the control schema, one small pool for
//! each tenant that is in use, under that tenant's own role.

use sqlx::PgPool;

use crate::support::ids::TenantId;

/// A tenant's database: connections that are that tenant's role and can reach nothing else.
///
/// It is had from the request's tenant or the job's tenant, never from an id in a body.
#[derive(Debug, Clone)]
pub struct TenantDb {
    tenant: TenantId,
    pool: PgPool,
}

impl TenantDb {
    /// Whose data this is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Connections as the tenant's role. Only `store.rs` files use it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}
