//! Which log is meant: a tenant's, or the appliance's own. Both are chains of the same kind.

use std::sync::Arc;

use crate::db::{Beside, Databases, LogOwner, TenantDb, Witness};

/// A log. A cheap handle.
#[derive(Debug, Clone)]
pub struct Log(Of);

/// Whose log it is.
#[derive(Debug, Clone)]
pub(super) enum Of {
    Tenant(TenantDb),
    Appliance(Databases),
}

impl Log {
    /// The appliance's own log, for what concerns no tenant, or all of them: its configuration, its operators.
    pub fn of_appliance(databases: &Databases) -> Self {
        Self(Of::Appliance(databases.clone()))
    }

    /// What the log is called: the tenant's id, or `appliance`.
    pub fn name(&self) -> &str {
        match &self.0 {
            Of::Tenant(db) => db.tenant().as_str(),
            Of::Appliance(_) => "appliance",
        }
    }

    /// Whose log it is.
    pub(super) fn of(&self) -> &Of {
        &self.0
    }

    /// What is kept in memory for the log.
    pub(super) fn beside(&self) -> &Beside {
        match &self.0 {
            Of::Tenant(db) => db.beside(),
            Of::Appliance(databases) => databases.beside(),
        }
    }

    /// Whose log it is, as heads and checkpoints name it.
    pub(super) fn owner(&self) -> LogOwner {
        match &self.0 {
            Of::Tenant(db) => LogOwner::Tenant(db.tenant().clone()),
            Of::Appliance(_) => LogOwner::Appliance,
        }
    }

    /// Who keeps the head outside the database, if somebody does.
    pub(super) fn witness(&self) -> Option<&Arc<dyn Witness>> {
        match &self.0 {
            Of::Tenant(db) => db.witness(),
            Of::Appliance(databases) => databases.witness(),
        }
    }
}

impl From<&TenantDb> for Log {
    fn from(db: &TenantDb) -> Self {
        Self(Of::Tenant(db.clone()))
    }
}

impl From<&Log> for Log {
    fn from(log: &Log) -> Self {
        log.clone()
    }
}
