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
mod intake;
pub mod jobs;
mod language;
pub mod search;
mod store;
pub mod tools;
pub mod uploads;
pub mod watch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use serde_json::json;

use self::embedding::Embedding;
pub use self::{
    collections::{Collection, CollectionDraft, Reader, Rights},
    document::{Added, Document, Documents, Listing, Original, Passage, Status, Upload},
    intake::Enqueue,
    search::{Filter, Hit},
};
use crate::{
    audit::{self, Action, Actor, NewEntry},
    config,
    db::TenantDb,
    egress,
    support::{
        Clock, Error, Result,
        clock::SharedClock,
        ids::{DocumentId, PassageId},
    },
};

/// The use cases of the knowledge base. Cheap to clone.
#[derive(Clone)]
pub struct Knowledge {
    inner: Arc<Inner>,
}

struct Inner {
    settings: config::Knowledge,
    embedding: Embedding,
    queue: Box<dyn Enqueue>,
    stranded: intake::Stranded,
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
        Self {
            inner: Arc::new(Inner {
                settings,
                embedding,
                queue: Box::new(queue),
                stranded: intake::Stranded::default(),
                clock,
                program,
            }),
        }
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

    /// The original.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn original(&self, id: DocumentId) -> Result<Option<Original>> {
        let Some(document) = self.document(id).await? else { return Ok(None) };
        let Document { title, media_type, bytes, .. } = document;
        // Whoever reads the parts holds the tenant's connections for as long.
        let held = self.db.clone();
        let parts = store::original(held.pool(), id);
        let parts = parts.inspect(move |_| {
            let _ = &held;
        });
        Ok(Some(Original { title, media_type, bytes, parts: parts.boxed() }))
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
}
