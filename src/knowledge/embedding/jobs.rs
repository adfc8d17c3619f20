//! The durable job that gives an organisation's passages the vectors that they need, and the sweep at the start.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    Embedding, Enqueue,
    work::{self, After},
};
use crate::{
    db::Databases,
    jobs::{Attempt, Failure, Handler, Job, Queue},
    support::{Error, Result, ids::TenantId},
    tenants::Tenants,
};

/// How long searches that began before a switch may take until the old vectors go.
const GRACE: Duration = Duration::from_secs(10);

/// See to one organisation's vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reembed {
    /// Whose.
    pub tenant: TenantId,
}

impl Job for Reembed {
    const QUEUE: &'static str = "knowledge.reembed";
    /// A model server may be away for weeks: with the longest wait of five minutes this is a month.
    const ATTEMPTS: u32 = 10_000;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant)
    }
}

#[async_trait]
impl Enqueue for Queue<Reembed> {
    async fn enqueue(&self, tenant: &TenantId) -> Result<()> {
        self.push(&Reembed { tenant: tenant.clone() }).await
    }
}

/// Does the jobs.
pub struct Reembedder {
    databases: Databases,
    embedding: Embedding,
    grace: Duration,
}

impl Reembedder {
    /// A handler for [`crate::jobs::Jobs::work`].
    pub fn new(databases: Databases, embedding: Embedding) -> Self {
        Self { databases, embedding, grace: GRACE }
    }

    /// Searches that began before a switch have this long to end.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    async fn see_to(&self, job: &Reembed) -> Result<()> {
        let db = self.databases.tenant(&job.tenant).await?;
        match work::work(&self.embedding, &self.databases, &db, self.grace).await? {
            After::Nothing => Ok(()),
            After::Again => self.embedding.enqueue(&db).await,
        }
    }
}

#[async_trait]
impl Handler<Reembed> for Reembedder {
    async fn run(&self, job: Reembed, _: Attempt) -> Result<(), Failure> {
        self.see_to(&job).await.map_err(Failure::Retry)
    }

    async fn given_up(&self, job: Reembed, reason: &Error) {
        let marked = async {
            let db = self.databases.tenant(&job.tenant).await?;
            work::give_up(&self.embedding, &db, reason).await
        };
        if let Err(error) = marked.await {
            tracing::error!(tenant = %job.tenant, %error, "a change of the embedding model that was given up could not be marked so");
        }
    }
}

/// Goes on with what is not finished, and moves organisations to the model that the configuration wants by now: for the
/// start. Gives how many organisations that were.
///
/// # Errors
/// When the database does not answer.
pub async fn resume(embedding: &Embedding, tenants: &Tenants) -> Result<usize> {
    let mut resumed = 0;
    for tenant in tenants.list().await? {
        let one = async { embedding.follow(&tenants.open(&tenant).await?).await };
        match one.await {
            Ok(followed) => resumed += usize::from(followed),
            // One that is not served now keeps nobody else waiting; it is looked at at the next start.
            Err(error) => {
                tracing::warn!(tenant = %tenant.id, %error, "an organisation's embedding model could not be looked at");
            }
        }
    }
    if resumed > 0 {
        tracing::info!(tenants = resumed, "documents get vectors of another embedding model");
    }
    Ok(resumed)
}
