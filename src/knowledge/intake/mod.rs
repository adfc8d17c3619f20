//! Documents on their way in: a file is stored and queued, stopped, tried again.
//!
//! The documents' table says what is to be done and the queue who does it. Between the two something may fail, so whoever
//! writes the one without having written the other leaves the tenant's name, and its documents are compared with the queue.

mod store;

use std::{
    collections::{BTreeSet, HashSet},
    mem,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    Knowledge, Library,
    document::{self, Added, Document, Upload},
    extract::Kind,
};
use crate::{
    audit::{Action, Actor},
    db::TenantDb,
    support::{
        Error, Kind as ErrorKind, Result,
        ids::{CollectionId, DocumentId, TenantId},
    },
};

/// Puts documents on the way to [`Knowledge::ingest`], durably.
#[async_trait]
pub trait Enqueue: Send + Sync + 'static {
    /// Asks for one document to be ingested. Asking twice does no harm.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn enqueue(&self, tenant: &TenantId, document: DocumentId) -> Result<()>;

    /// The tenant's documents that are on the way already.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn enqueued(&self, tenant: &TenantId) -> Result<HashSet<DocumentId>>;
}

/// Tenants of which a document may wait that no job stands for.
#[derive(Debug, Default)]
pub(super) struct Stranded(Mutex<BTreeSet<TenantId>>);

impl Stranded {
    /// For the time between a document's row and its job: unless it is settled, the tenant is looked at.
    fn doubt<'a>(&'a self, tenant: &'a TenantId) -> Doubt<'a> {
        Doubt { stranded: self, tenant }
    }

    /// This tenant's documents are to be compared with the queue.
    pub(super) fn note(&self, tenant: &TenantId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone());
    }

    /// The tenants that are to be looked at; whoever asks does so.
    pub(super) fn take(&self) -> BTreeSet<TenantId> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Leaves the tenant's name when it is dropped, as a request that nobody waits for any more is.
struct Doubt<'a> {
    stranded: &'a Stranded,
    tenant: &'a TenantId,
}

impl Doubt<'_> {
    /// The job is in the queue.
    fn settle(self) {
        mem::forget(self);
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        self.stranded.note(self.tenant);
    }
}

impl Knowledge {
    /// Asks for everything of this tenant that is not finished and not on the way any more; the table is the truth, not
    /// the queue. Gives how many documents that were.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn resume(&self, db: &TenantDb) -> Result<usize> {
        let mut lost = store::unfinished(db.pool()).await?;
        if !lost.is_empty() {
            let enqueued = self.inner.queue.enqueued(db.tenant()).await?;
            lost.retain(|id| !enqueued.contains(id));
        }
        for id in &lost {
            self.inner.queue.enqueue(db.tenant(), *id).await?;
        }
        Ok(lost.len())
    }

    /// Takes the names of tenants of which a document may have been left without a job: for [`Knowledge::resume`].
    pub fn stranded(&self) -> BTreeSet<TenantId> {
        self.inner.stranded.take()
    }

    /// Leaves a tenant's name, to be taken by [`Knowledge::stranded`].
    pub fn strand(&self, tenant: &TenantId) {
        self.inner.stranded.note(tenant);
    }

    pub(super) fn check_size(&self, file_name: &str, bytes: usize) -> Result<()> {
        let most = self.inner.settings.max_file_mib;
        if bytes as u64 <= most << 20 {
            return Ok(());
        }
        let size = (bytes as u64).div_ceil(1 << 20);
        Err(Error::new(ErrorKind::TooLarge, format!("{file_name} has {size} MiB; at most {most} MiB are accepted"))
            .remedy("split it, or raise knowledge.max_file_mib"))
    }
}

impl Library<'_> {
    /// Stores a file and puts it on the way to be ingested.
    ///
    /// The same bytes are stored once, and are one document of a collection unless they come under the name of another.
    /// Another file of the name and folder of a document that is in the collection is its next version: it takes the old
    /// one's place in the moment in which it can be searched itself; until then the old one answers. Of several that are
    /// on their way the one given last stays.
    ///
    /// # Errors
    /// `TooLarge` over the configured size; `Invalid` when its type cannot be read, with the types that can; `NotFound`
    /// for a collection that the reader may not see.
    pub async fn add(&self, upload: Upload) -> Result<Added> {
        let Upload { file_name, bytes, collection, by } = upload;
        let (folder, file_name) = document::place(&file_name);
        self.knowledge.check_size(&file_name, bytes.len())?;
        let kind = Kind::of(&file_name, &bytes).map_err(|failure| Error::invalid(format!("{file_name}: {failure}")))?;
        let collection = self.destination(collection).await?;
        let (bytes, sha256) = tokio::task::spawn_blocking(move || {
            let sha256 = Sha256::digest(&bytes);
            (bytes, sha256)
        })
        .await
        .map_err(Error::internal)?;
        let id = DocumentId::generate();
        let new = store::NewDocument {
            id,
            collection,
            folder: &folder,
            file_name: &file_name,
            media_type: kind.media_type(),
            sha256: &sha256,
            bytes: &bytes,
            by: &by,
            at: self.knowledge.clock().now(),
        };
        let doubt = self.knowledge.inner.stranded.doubt(self.db.tenant());
        let (id, already_there) = match store::insert(self.db.pool(), &new).await? {
            None => {
                let detail = json!({
                    "title": file_name, "folder": folder, "collection": collection, "bytes": bytes.len(),
                    "sha256": hex::encode(sha256), "media_type": kind.media_type(),
                });
                self.knowledge.record(self.db, by, Action::DocumentAdded, id, detail).await?;
                self.enqueue(id).await?;
                (id, false)
            }
            Some(known) => {
                if known.again {
                    self.enqueue(known.id).await?;
                } else if !known.status.is_final() {
                    // Its job may have been lost.
                    self.knowledge.strand(self.db.tenant());
                }
                (known.id, true)
            }
        };
        doubt.settle();
        // Somebody else may have deleted it already.
        let gone = || Error::conflict("the document was just being deleted").remedy("upload it again");
        Ok(Added { document: self.document(id).await?.ok_or_else(gone)?, already_there })
    }

    /// Stops a document that is on its way to be searched. The original is kept, so that it can be tried again.
    ///
    /// # Errors
    /// `NotFound` when there is none that the reader may see; `Conflict` when it is not on its way.
    pub async fn cancel(&self, id: DocumentId, by: Actor) -> Result<Document> {
        let document = self.existing(id).await?;
        if !store::cancel(self.db.pool(), id).await? {
            return Err(Error::conflict(format!("{} is not being read", document.title)));
        }
        let detail = json!({ "title": document.title });
        self.knowledge.record(self.db, by, Action::DocumentCancelled, id, detail).await?;
        self.existing(id).await
    }

    /// Tries a document again that failed or was cancelled.
    ///
    /// # Errors
    /// `NotFound` when there is none that the reader may see; `Conflict` when it did not fail.
    pub async fn retry(&self, id: DocumentId) -> Result<Document> {
        let document = self.existing(id).await?;
        let doubt = self.knowledge.inner.stranded.doubt(self.db.tenant());
        if !store::retry(self.db.pool(), id).await? {
            return Err(Error::conflict(format!("{} has not failed", document.title)));
        }
        self.enqueue(id).await?;
        doubt.settle();
        self.existing(id).await
    }

    /// Tries all documents again that failed, of one collection or of all. Gives how many that are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn retry_failed(&self, collection: Option<CollectionId>) -> Result<usize> {
        let doubt = self.knowledge.inner.stranded.doubt(self.db.tenant());
        let again = store::retry_failed(self.db.pool(), &self.reader, collection).await?;
        for id in &again {
            self.enqueue(*id).await?;
        }
        doubt.settle();
        Ok(again.len())
    }

    async fn enqueue(&self, id: DocumentId) -> Result<()> {
        self.knowledge.inner.queue.enqueue(self.db.tenant(), id).await
    }
}
