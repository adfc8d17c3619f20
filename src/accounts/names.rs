//! What people are called, for whoever shows what they did.

use super::{Accounts, store};
use crate::support::{
    Result,
    ids::{TenantId, UserId},
};

impl Accounts {
    /// The names of the people who belong to an organisation, by name, and of those in `others` who have an account.
    pub async fn names(&self, tenant: &TenantId, others: &[UserId]) -> Result<Vec<(UserId, String)>> {
        store::names::names(self.inner.db.control(), tenant, others).await
    }
}
