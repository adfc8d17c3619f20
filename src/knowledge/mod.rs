//! The knowledge base: documents go in, passages that know their page or heading come out, found by meaning
//! and by words.
//!
//! The originals stay in the tenant's own database. Files are read by a child process with limits ([`extract`]),
//! cut into passages ([`chunk`]), embedded ([`ingest`]), and searched by vector and full text together ([`search`]).
//! Whoever asks does so through a [`Library`], which knows what they may read ([`collections`]).

mod chunk;
pub mod collections;
mod document;
pub mod embedding;
pub mod extract;
pub mod http;
mod ingest;
pub mod jobs;
mod language;
pub mod search;
mod store;
pub mod tools;
pub mod uploads;
pub mod watch;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};

pub use self::{
    collections::{Collection, CollectionDraft, Reader, Rights},
    document::{Added, Document, Documents, Listing, Passage, Status, Upload},
    search::{Filter, Hit},
};
use self::{embedding::Embedding, extract::Kind};
use crate::{
    audit::{self, Action, Actor, NewEntry},
    config,
    db::TenantDb,
    egress,
    support::{
        Clock, Error, Kind as ErrorKind, Result,
        clock::SharedClock,
        ids::{DocumentId, PassageId, TenantId},
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

/// The use cases of the knowledge base. Cheap to clone.
#[derive(Clone)]
pub struct Knowledge {
    inner: Arc<Inner>,
}

struct Inner {
    settings: config::Knowledge,
    embedding: Embedding,
    queue: Box<dyn Enqueue>,
    clock: SharedClock,
    program: PathBuf,
}

/// A tenant's knowledge base as one reader sees it.
pub struct Library<'a> {
    knowledge: &'a Knowledge,
    db: &'a TenantDb,
    reader: Reader,
}

impl Knowledge {
    /// The knowledge base with its embedding models. `program` is this binary, which is run again as
    /// `program __extract` to read files.
    pub fn new(
        settings: config::Knowledge,
        embedding: Embedding,
        queue: impl Enqueue,
        clock: SharedClock,
        program: PathBuf,
    ) -> Self {
        Self { inner: Arc::new(Inner { settings, embedding, queue: Box::new(queue), clock, program }) }
    }

    /// A tenant's documents as `reader` may see them.
    pub fn open<'a>(&'a self, db: &'a TenantDb, reader: Reader) -> Library<'a> {
        Library { knowledge: self, db, reader }
    }

    /// The job's body: makes a stored document searchable, or says in the document why that cannot be. Going on
    /// after an interruption, and running twice, do no harm.
    ///
    /// # Errors
    /// Only what trying again later may mend: the database, the embedding model.
    pub async fn ingest(&self, db: &TenantDb, id: DocumentId) -> Result<()> {
        egress::on_behalf_of(db.tenant(), None, ingest::ingest(self, db, id)).await
    }

    /// For the job when its last attempt has failed with `error`: the document ends as failed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn give_up(&self, db: &TenantDb, id: DocumentId, error: &Error) -> Result<()> {
        ingest::give_up(self, db, id, error).await
    }

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

    /// Removes the versions for good whose place was taken before `moment`. Gives how many that were.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn purge(&self, db: &TenantDb, moment: DateTime<Utc>) -> Result<usize> {
        let mut purged = 0;
        // Some at a time: a version may have many passages.
        loop {
            let old = store::superseded_before(db.pool(), moment).await?;
            if old.is_empty() {
                return Ok(purged);
            }
            store::delete(db.pool(), &old).await?;
            for id in &old {
                let detail = json!({ "versions": [id], "superseded_before": moment });
                self.record(db, Actor::System, Action::DocumentRemoved, id, detail).await?;
            }
            purged += old.len();
        }
    }

    /// The embedding models of the documents.
    pub fn embedding(&self) -> &Embedding {
        &self.inner.embedding
    }

    fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    fn program(&self) -> &Path {
        &self.inner.program
    }

    fn settings(&self) -> &config::Knowledge {
        &self.inner.settings
    }

    fn check_size(&self, file_name: &str, bytes: usize) -> Result<()> {
        let most = self.inner.settings.max_file_mib;
        if bytes as u64 <= most << 20 {
            return Ok(());
        }
        let size = (bytes as u64).div_ceil(1 << 20);
        Err(Error::new(ErrorKind::TooLarge, format!("{file_name} has {size} MiB; at most {most} MiB are accepted"))
            .remedy("split it, or raise knowledge.max_file_mib"))
    }

    async fn record(
        &self,
        db: &TenantDb,
        actor: Actor,
        action: Action,
        subject: impl ToString,
        detail: serde_json::Value,
    ) -> Result<()> {
        let entry = NewEntry { actor, action, run: None, subject: Some(subject.to_string()), detail };
        audit::append(db, self.clock(), entry).await?;
        Ok(())
    }
}

impl Library<'_> {
    /// Stores a file and puts it on the way to be ingested.
    ///
    /// The same bytes are stored once. Another file of the name and folder of a document that is in the collection is
    /// its next version: it takes the old one's place in the moment in which it can be searched itself; until then the
    /// old one answers.
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
        if store::insert(self.db.pool(), &new).await? {
            let detail = json!({
                "title": file_name, "folder": folder, "collection": collection, "bytes": bytes.len(),
                "sha256": hex::encode(sha256), "media_type": kind.media_type(),
            });
            self.knowledge.record(self.db, by, Action::DocumentAdded, id, detail).await?;
            self.enqueue(id).await?;
            return Ok(Added { document: self.existing(id).await?, already_there: false });
        }
        let known = store::document_of_content(self.db.pool(), collection, &sha256).await?;
        let known = known.ok_or_else(|| {
            // It was deleted between our attempt and our question.
            Error::conflict("the document was just being deleted").remedy("upload it again")
        })?;
        if store::retry(self.db.pool(), known).await? {
            self.enqueue(known).await?;
        }
        Ok(Added { document: self.existing(known).await?, already_there: true })
    }

    /// A page of the documents, without their older versions, the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, listing: &Listing) -> Result<Documents> {
        store::list(self.db.pool(), &self.reader, listing).await
    }

    /// How many documents can be searched, and the titles of the newest few.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn newest(&self, titles: usize) -> Result<(usize, Vec<String>)> {
        store::newest(self.db.pool(), &self.reader, titles).await
    }

    /// One document, in whatever version.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn document(&self, id: DocumentId) -> Result<Option<Document>> {
        store::document(self.db.pool(), &self.reader, id).await
    }

    /// All versions of a document that can be opened, the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn versions(&self, series: DocumentId) -> Result<Vec<Document>> {
        store::versions(self.db.pool(), &self.reader, series).await
    }

    /// The original: file name, media type, bytes.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn original(&self, id: DocumentId) -> Result<Option<(String, String, Vec<u8>)>> {
        let Some(document) = self.document(id).await? else { return Ok(None) };
        let bytes = Vec::with_capacity(usize::try_from(document.bytes).unwrap_or_default());
        let bytes = store::original(self.db.pool(), id)
            .try_fold(bytes, async |mut bytes, part| {
                bytes.extend(part);
                Ok(bytes)
            })
            .await?;
        Ok(Some((document.title, document.media_type, bytes)))
    }

    /// Deletes a document for good: all its versions, their originals, passages and vectors. Of an older version, that
    /// one alone.
    ///
    /// # Errors
    /// `NotFound` when there is none that the reader may see.
    pub async fn remove(&self, id: DocumentId, by: Actor) -> Result<()> {
        let document = self.existing(id).await?;
        let mut gone = vec![id];
        if document.status != Status::Superseded {
            let versions = store::series(self.db.pool(), document.series).await?;
            gone.extend(versions.into_iter().filter(|version| *version != id));
        }
        if store::delete(self.db.pool(), &gone).await? == 0 {
            return Err(Error::not_found("the document"));
        }
        let detail = json!({ "title": document.title, "versions": gone });
        self.knowledge.record(self.db, by, Action::DocumentRemoved, id, detail).await
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
        if !store::retry(self.db.pool(), id).await? {
            return Err(Error::conflict(format!("{} has not failed", document.title)));
        }
        self.enqueue(id).await?;
        self.existing(id).await
    }

    /// A document's passages, in order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn passages(&self, id: DocumentId) -> Result<Vec<Passage>> {
        self.passages_between(id, 0, i32::MAX).await
    }

    /// A document's passages from one ordinal to another, both included.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn passages_between(&self, id: DocumentId, from: i32, to: i32) -> Result<Vec<Passage>> {
        store::passages(self.db.pool(), &self.reader, id, from, to).await
    }

    /// One passage.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn passage(&self, id: PassageId) -> Result<Option<Passage>> {
        store::passage(self.db.pool(), &self.reader, id).await
    }

    async fn existing(&self, id: DocumentId) -> Result<Document> {
        self.document(id).await?.ok_or_else(|| Error::not_found("the document"))
    }

    async fn enqueue(&self, id: DocumentId) -> Result<()> {
        self.knowledge.inner.queue.enqueue(self.db.tenant(), id).await
    }
}
