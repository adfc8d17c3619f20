//! The durable job that makes documents searchable, and the sweep that finds those which lost theirs.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{Enqueue, Knowledge};
use crate::{
    db::Databases,
    jobs::{Attempt, Failure, Handler, Job, Queue},
    support::{
        Error, Kind, Result,
        ids::{DocumentId, TenantId},
    },
    tenants::Tenants,
};

/// Ingest one document of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestDocument {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub document: DocumentId,
}

impl Job for IngestDocument {
    const QUEUE: &'static str = "knowledge.ingest";
    /// With the queue's growing waits this takes some twenty minutes. Where it is a model server that does not answer, a
    /// new job begins then.
    const ATTEMPTS: u32 = 12;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant)
    }
}

#[async_trait]
impl Enqueue for Queue<IngestDocument> {
    async fn enqueue(&self, tenant: &TenantId, document: DocumentId) -> Result<()> {
        self.push(&IngestDocument { tenant: tenant.clone(), document }).await
    }

    async fn enqueued(&self, tenant: &TenantId) -> Result<HashSet<DocumentId>> {
        let waiting = self.waiting().await?.into_iter();
        Ok(waiting.filter(|job| job.tenant == *tenant).map(|job| job.document).collect())
    }
}

/// How often tenants are looked at whose documents may have lost their job.
const RESUME_EVERY: Duration = Duration::from_mins(1);
/// After a start there is more urgent work than old versions.
const FIRST_PURGE: Duration = Duration::from_mins(10);
const PURGE_EVERY: Duration = Duration::from_hours(24);

/// Does the jobs.
pub struct Ingester {
    databases: Databases,
    knowledge: Knowledge,
}

impl Ingester {
    /// A handler for [`crate::jobs::Jobs::work`].
    pub fn new(databases: Databases, knowledge: Knowledge) -> Self {
        Self { databases, knowledge }
    }

    async fn ingest(&self, job: &IngestDocument) -> Result<()> {
        let db = self.databases.tenant(&job.tenant).await?;
        self.knowledge.ingest(&db, job.document).await
    }
}

#[async_trait]
impl Handler<IngestDocument> for Ingester {
    async fn run(&self, job: IngestDocument, _: Attempt) -> Result<(), Failure> {
        // What the file is to blame for has ended in the document's state and is no error; the rest may pass.
        self.ingest(&job).await.map_err(Failure::Retry)
    }

    async fn given_up(&self, job: IngestDocument, reason: &Error) {
        // A model server that is away all night has nothing to do with the document, whose text waits to be embedded.
        if reason.kind() == Kind::Unavailable {
            return self.knowledge.strand(&job.tenant);
        }
        let marked = async {
            let db = self.databases.tenant(&job.tenant).await?;
            self.knowledge.give_up(&db, job.document, reason).await
        };
        if let Err(error) = marked.await {
            tracing::error!(document = %job.document, %error, "a document that was given up could not be marked as failed");
        }
    }
}

/// Queues whatever no worker has finished, for all tenants: for the start, before the workers run. The documents'
/// table is the truth; a crash between storing a document and queueing it must not strand it. Gives how many.
///
/// # Errors
/// When the database does not answer.
pub async fn resume(knowledge: &Knowledge, tenants: &Tenants) -> Result<usize> {
    let mut resumed = 0;
    for tenant in tenants.list().await? {
        let one = async { knowledge.resume(&tenants.open(&tenant).await?).await };
        match one.await {
            Ok(count) => resumed += count,
            // One that is not served now keeps nobody else waiting.
            Err(error) => {
                tracing::warn!(tenant = %tenant.id, %error, "unfinished documents could not be looked for yet");
                knowledge.strand(&tenant.id);
            }
        }
    }
    if resumed > 0 {
        tracing::info!(documents = resumed, "documents that were not finished are queued again");
    }
    Ok(resumed)
}

/// Queues, each minute, the documents of tenants that may have lost their job. Ends when it is dropped.
pub async fn keep_resuming(knowledge: Knowledge, tenants: Tenants) {
    loop {
        tokio::time::sleep(RESUME_EVERY).await;
        resume_stranded(&knowledge, &tenants).await;
    }
}

/// Queues the documents of tenants that may have lost their job, and gives how many.
pub async fn resume_stranded(knowledge: &Knowledge, tenants: &Tenants) -> usize {
    let mut resumed = 0;
    for id in knowledge.stranded() {
        let one = async {
            match tenants.by_id(&id).await? {
                Some(tenant) => knowledge.resume(&tenants.open(&tenant).await?).await,
                None => Ok(0),
            }
        };
        match one.await {
            Ok(count) => resumed += count,
            Err(error) => {
                tracing::debug!(tenant = %id, %error, "unfinished documents could not be looked for; in a minute again");
                knowledge.strand(&id);
            }
        }
    }
    resumed
}

/// Removes, each day, the versions whose place was taken more than so many days ago (none at all for 0), and uploads
/// that nobody has gone on with for a day. Ends when it is dropped.
pub async fn purge_daily(knowledge: Knowledge, tenants: Tenants, days: u32) {
    tokio::time::sleep(FIRST_PURGE).await;
    loop {
        if let Err(error) = purge(&knowledge, &tenants, days).await {
            tracing::error!(%error, "old versions of documents could not be removed; tomorrow again");
        }
        tokio::time::sleep(PURGE_EVERY).await;
    }
}

async fn purge(knowledge: &Knowledge, tenants: &Tenants, days: u32) -> Result<()> {
    let now = knowledge.clock().now();
    let before = (days > 0).then(|| now - TimeDelta::days(i64::from(days)));
    for tenant in tenants.list().await? {
        let one = async {
            let db = tenants.open(&tenant).await?;
            knowledge.drop_stale_uploads(&db, now - TimeDelta::days(1)).await?;
            match before {
                Some(before) => knowledge.purge(&db, before).await,
                None => Ok(0),
            }
        };
        match one.await {
            Ok(0) => {}
            Ok(versions) => tracing::info!(tenant = %tenant.id, versions, "old versions of documents were removed"),
            // It may just have been suspended; the others' turn comes all the same.
            Err(error) => tracing::warn!(tenant = %tenant.id, %error, "old versions could not be looked for"),
        }
    }
    Ok(())
}
