//! What the appliance's operators see of tenants: that they exist, in which state, how large they are and when something
//! last happened there. Never what is in them. And the models that all of them use.

pub mod http;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    accounts::SignedIn,
    db::Databases,
    support::{Error, Result, ids::TenantId},
    tenants::{Record, State, Tenants},
};

/// The table whose rows are counted for the list.
const DOCUMENTS: &str = "documents";

/// A tenant in the operator's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// What its schema and roles are named by.
    pub id: String,
    /// What commands and addresses call it.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// Where it is in its life.
    pub state: State,
    /// Since when it is suspended.
    pub suspended_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Why.
    pub suspended_reason: Option<String>,
    /// When its removal begins.
    pub delete_after: Option<chrono::DateTime<chrono::Utc>>,
    /// When it was created.
    pub created_at: chrono::DateTime<chrono::Utc>,
    /// How many people belong to it.
    pub members: i64,
    /// How many documents it keeps.
    pub documents: i64,
    /// Bytes of its tables and indexes.
    pub bytes: i64,
    /// When something was last written into its audit log.
    pub last_activity: Option<chrono::DateTime<chrono::Utc>>,
    /// Whether its tables could not be brought up to date, so that it is not served.
    pub refused: bool,
}

/// The use cases of operators. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    tenants: Tenants,
    databases: Databases,
}

impl Operator {
    /// Over these tenants.
    pub fn new(tenants: Tenants, databases: Databases) -> Self {
        Self { tenants, databases }
    }

    /// Tenants by slug, those that follow `after`, `limit` at most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, after: &str, limit: usize) -> Result<Vec<Overview>> {
        self.with_figures(self.tenants.records(after, limit).await?).await
    }

    /// One tenant.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn one(&self, id: &TenantId) -> Result<Overview> {
        let overview = self.with_figures(vec![self.tenants.record(id).await?]).await?;
        overview.into_iter().next().ok_or_else(|| Error::not_found("the organisation"))
    }

    async fn with_figures(&self, records: Vec<Record>) -> Result<Vec<Overview>> {
        let ids: Vec<TenantId> = records.iter().map(|record| record.tenant.id.clone()).collect();
        let figures = self.databases.figures(&ids, DOCUMENTS).await?;
        let refused = self.databases.refused();
        Ok(records
            .into_iter()
            .zip(figures)
            .map(|(record, figures)| Overview {
                refused: refused.iter().any(|(id, _)| *id == record.tenant.id),
                id: record.tenant.id.to_string(),
                slug: record.tenant.slug.to_string(),
                name: record.tenant.name,
                state: record.state,
                suspended_at: record.suspended_at,
                suspended_reason: record.suspended_reason,
                delete_after: record.delete_after,
                created_at: record.tenant.created_at,
                members: record.members,
                documents: figures.rows,
                bytes: figures.bytes,
                last_activity: figures.last_activity,
            })
            .collect())
    }
}

/// Whoever takes away the organisation that they are signed in to would lock themselves out of these pages.
fn not_ones_own(signed_in: &SignedIn, id: &TenantId) -> Result<()> {
    if signed_in.tenant.id != *id {
        return Ok(());
    }
    Err(Error::conflict("you are signed in to this organisation, and would be shut out of this page with it")
        .remedy("switch to another organisation first, or use `aegis tenant` on the server"))
}
