//! The knowledge base: documents go in, passages that know their page or heading come out, found by meaning
//! and by words.
//!
//! The originals stay in the tenant's own database. Files are read by a child process with limits ([`extract`]),
//! cut into passages ([`chunk`]), embedded, and searched by vector and full text together ([`Knowledge::search`]).

mod chunk;
pub mod extract;
pub mod http;
mod ingest;
pub mod jobs;
mod store;
pub mod tools;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use self::extract::Kind;
use crate::{
    audit::{self, Action, Actor, NewEntry},
    config,
    db::TenantDb,
    egress,
    models::embedding::EmbeddingModel,
    support::{
        Clock, Error, Kind as ErrorKind, Result,
        clock::SharedClock,
        ids::{DocumentId, PassageId, TenantId},
    },
};

/// Characters of a file name that are kept.
const NAME_CHARS: usize = 200;
/// Characters of a question that are searched for.
const QUESTION_CHARS: usize = 2000;
/// The most hits that one search gives.
const MOST_HITS: usize = 50;

/// How far a document has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Stored, waiting for a worker.
    Queued,
    /// Its text is being extracted.
    Reading,
    /// Its passages are being embedded; the progress says how many are.
    Embedding,
    /// It can be searched.
    Ready,
    /// It cannot be read; the error says why. The original is kept.
    Failed,
}

impl Status {
    const ALL: [Self; 5] = [Self::Queued, Self::Reading, Self::Embedding, Self::Ready, Self::Failed];

    /// `queued`, `reading`, `embedding`, `ready`, `failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Reading => "reading",
            Self::Embedding => "embedding",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen to the document by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ready | Self::Failed)
    }

    fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == name);
        found.ok_or_else(|| Error::internal(format!("no such status: {name}")))
    }
}

/// A document of the knowledge base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// Its identifier.
    pub id: DocumentId,
    /// The name under which it was uploaded.
    pub title: String,
    /// Its media type, by content.
    pub media_type: String,
    /// The original's size.
    pub bytes: i64,
    /// The original's SHA-256, in hex.
    pub sha256: String,
    /// How far it has come.
    pub status: Status,
    /// Why it failed, as a sentence for a person; before the end, what the next attempt waits for.
    pub error: Option<String>,
    /// Passages embedded, of how many. The second is 0 until the file has been read.
    pub progress: (i32, i32),
    /// How many passages it has; 0 until the file has been read.
    pub passages: i32,
    /// How many pages it has, for formats that have pages.
    pub pages: Option<i32>,
    /// When it was uploaded.
    pub created_at: DateTime<Utc>,
    /// Since when it can be searched.
    pub ready_at: Option<DateTime<Utc>>,
}

/// A passage of a document: as much text as the embedding model reads at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passage {
    /// Its identifier.
    pub id: PassageId,
    /// Its document.
    pub document: DocumentId,
    /// Its place in the document, from 0.
    pub ordinal: i32,
    /// Where it stands: `page 3`, `Leave › Parental leave`, `lines 10–24`, `part 2`.
    pub locator: String,
    /// What it says.
    pub text: String,
}

/// A passage that a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// The passage.
    pub passage: Passage,
    /// Its document's title.
    pub title: String,
    /// From 0 to 1, where 1 is the best by vector and by words alike. Comparable within one search only.
    pub score: f32,
}

/// A file that somebody gives to the knowledge base.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its name; folders in it are ignored.
    pub file_name: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Who gives it.
    pub by: Actor,
}

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Added {
    /// The document, new or known.
    pub document: Document,
    /// The same bytes were there before; nothing was stored. A document that had failed is tried again.
    pub already_there: bool,
}

/// Puts documents on the way to [`Knowledge::ingest`], durably.
#[async_trait]
pub trait Enqueue: Send + Sync + 'static {
    /// Asks for one document to be ingested. Asking twice does no harm.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn enqueue(&self, tenant: &TenantId, document: DocumentId) -> Result<()>;
}

/// The use cases of the knowledge base. Cheap to clone.
#[derive(Clone)]
pub struct Knowledge {
    inner: Arc<Inner>,
}

struct Inner {
    settings: config::Knowledge,
    model: Arc<dyn EmbeddingModel>,
    queue: Box<dyn Enqueue>,
    clock: SharedClock,
    program: PathBuf,
}

impl Knowledge {
    /// The knowledge base with its embedding model. `program` is this binary, which is run again as
    /// `program __extract` to read files.
    pub fn new(
        settings: config::Knowledge,
        model: Arc<dyn EmbeddingModel>,
        queue: impl Enqueue,
        clock: SharedClock,
        program: PathBuf,
    ) -> Self {
        Self { inner: Arc::new(Inner { settings, model, queue: Box::new(queue), clock, program }) }
    }

    /// Stores a file and puts it on the way to be ingested.
    ///
    /// The same bytes are stored once. Another file under the name of a document that is there replaces that
    /// document in the moment in which it can be searched itself; until then the old one answers.
    ///
    /// # Errors
    /// `TooLarge` over the configured size; `Invalid` when its type cannot be read, with the types that can.
    pub async fn add(&self, db: &TenantDb, upload: Upload) -> Result<Added> {
        let Upload { file_name, bytes, by } = upload;
        let file_name = clean_name(&file_name);
        self.check_size(&file_name, bytes.len())?;
        let kind = Kind::of(&file_name, &bytes).map_err(|failure| Error::invalid(format!("{file_name}: {failure}")))?;
        let (bytes, sha256) = tokio::task::spawn_blocking(move || {
            let sha256 = Sha256::digest(&bytes);
            (bytes, sha256)
        })
        .await
        .map_err(Error::internal)?;
        let id = DocumentId::generate();
        let new = store::NewDocument {
            id,
            file_name: &file_name,
            media_type: kind.media_type(),
            sha256: &sha256,
            bytes: &bytes,
            by: &by,
            at: self.inner.clock.now(),
        };
        if store::insert(db.pool(), &new).await? {
            let detail = json!({ "title": file_name, "bytes": bytes.len(), "sha256": hex::encode(sha256), "media_type": kind.media_type() });
            self.record(db, by, Action::DocumentAdded, id, detail).await?;
            self.inner.queue.enqueue(db.tenant(), id).await?;
            let document = self.document(db, id).await?.ok_or_else(|| Error::not_found("the document"))?;
            return Ok(Added { document, already_there: false });
        }
        let known = store::document_of_content(db.pool(), &sha256).await?;
        let mut document = known.ok_or_else(|| {
            // It was deleted between our attempt and our question.
            Error::conflict("the document was just being deleted").remedy("upload it again")
        })?;
        if store::retry(db.pool(), document.id).await? {
            self.inner.queue.enqueue(db.tenant(), document.id).await?;
            document = self.document(db, document.id).await?.unwrap_or(document);
        }
        Ok(Added { document, already_there: true })
    }

    /// All documents, the newest first.
    pub async fn list(&self, db: &TenantDb) -> Result<Vec<Document>> {
        store::documents(db.pool()).await
    }

    /// One document.
    pub async fn document(&self, db: &TenantDb, id: DocumentId) -> Result<Option<Document>> {
        store::document(db.pool(), id).await
    }

    /// The original: file name, media type, bytes.
    pub async fn original(&self, db: &TenantDb, id: DocumentId) -> Result<Option<(String, String, Vec<u8>)>> {
        let Some(document) = self.document(db, id).await? else { return Ok(None) };
        let bytes = Vec::with_capacity(usize::try_from(document.bytes).unwrap_or_default());
        let bytes = store::original(db.pool(), id)
            .try_fold(bytes, async |mut bytes, part| {
                bytes.extend(part);
                Ok(bytes)
            })
            .await?;
        Ok(Some((document.title, document.media_type, bytes)))
    }

    /// Deletes a document: the original, its passages, their vectors.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn remove(&self, db: &TenantDb, id: DocumentId, by: Actor) -> Result<()> {
        let Some(title) = store::delete(db.pool(), id).await? else { return Err(Error::not_found("the document")) };
        self.record(db, by, Action::DocumentRemoved, id, json!({ "title": title })).await
    }

    /// A document's passages, in order.
    pub async fn passages(&self, db: &TenantDb, id: DocumentId) -> Result<Vec<Passage>> {
        self.passages_between(db, id, 0, i32::MAX).await
    }

    /// A document's passages from one ordinal to another, both included.
    pub async fn passages_between(&self, db: &TenantDb, id: DocumentId, from: i32, to: i32) -> Result<Vec<Passage>> {
        store::passages(db.pool(), id, from, to).await
    }

    /// One passage.
    pub async fn passage(&self, db: &TenantDb, id: PassageId) -> Result<Option<Passage>> {
        store::passage(db.pool(), id).await
    }

    /// The passages that fit `question` best, by meaning and by words, best first; at most `limit`, at most 50.
    ///
    /// When the embedding model does not answer, words alone decide, and the log says so.
    pub async fn search(&self, db: &TenantDb, question: &str, limit: usize) -> Result<Vec<Hit>> {
        let question: String = question.trim().chars().filter(|c| *c != '\0').take(QUESTION_CHARS).collect();
        if question.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let model = &self.inner.model;
        let vector = match egress::on_behalf_of(db.tenant(), None, model.embed_query(&question)).await {
            Ok(vector) => Some(vector),
            Err(error) => {
                tracing::warn!(%error, "searching by words alone, because the embedding model does not answer");
                None
            }
        };
        let search = store::Search {
            question: &question,
            vector: vector.as_deref(),
            model: &model.name(),
            dimensions: vector.as_ref().map_or(model.dimensions(), Vec::len),
            limit: i64::try_from(limit.min(MOST_HITS)).unwrap_or(1),
        };
        store::search(db.pool(), &search).await
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
    pub async fn give_up(&self, db: &TenantDb, id: DocumentId, error: &Error) -> Result<()> {
        ingest::give_up(self, db, id, error).await
    }

    /// Asks again for everything of this tenant that is not finished; the table is the truth, not the queue.
    /// Gives how many documents that were.
    pub async fn resume(&self, db: &TenantDb) -> Result<usize> {
        let unfinished = store::unfinished(db.pool()).await?;
        for id in &unfinished {
            self.inner.queue.enqueue(db.tenant(), *id).await?;
        }
        Ok(unfinished.len())
    }

    fn model(&self) -> Arc<dyn EmbeddingModel> {
        Arc::clone(&self.inner.model)
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
        subject: DocumentId,
        detail: serde_json::Value,
    ) -> Result<()> {
        let entry = NewEntry { actor, action, run: None, subject: Some(subject.to_string()), detail };
        audit::append(db, self.clock(), entry).await?;
        Ok(())
    }
}

/// The last component, without control characters, not too long.
fn clean_name(file_name: &str) -> String {
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let name = name.trim();
    let count = name.chars().count();
    if name.is_empty() || name == "." || name == ".." {
        return "untitled".to_owned();
    }
    // The end is kept, because the extension is there.
    if count > NAME_CHARS { name.chars().skip(count - NAME_CHARS).collect() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_a_name_and_never_a_path() {
        assert_eq!(clean_name("../../etc/passwd.txt"), "passwd.txt");
        assert_eq!(clean_name("C:\\Users\\me\\a b.docx"), "a b.docx");
        assert_eq!(clean_name("dir/"), "untitled");
        assert_eq!(clean_name(&format!("{}.pdf", "x".repeat(500))).chars().count(), NAME_CHARS);
    }
}
