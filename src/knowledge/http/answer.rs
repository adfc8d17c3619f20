//! What the API of the knowledge base answers with.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::error::Refusal,
    knowledge::{
        Document, Hit, Passage, Status,
        search::{Same, Why},
    },
    support::ids::{CollectionId, DocumentId, PassageId},
};

/// A page of documents.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the field's name is the API's")]
pub struct Documents {
    pub(super) documents: Vec<DocumentAnswer>,
    /// How many there are on all pages.
    pub(super) total: i64,
    /// How many of all are still on their way to be searched.
    pub(super) unfinished: i64,
    /// How many of all have failed.
    pub(super) failed: i64,
}

/// What is tried again.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueuedAgain {
    /// How many documents.
    pub(super) queued: usize,
}

/// A document of the knowledge base, in one of its versions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Document)]
pub struct DocumentAnswer {
    id: DocumentId,
    /// Its file's name.
    title: String,
    /// The folders above it where it came from; empty at the top.
    folder: String,
    collection: CollectionId,
    /// The same for all versions of a document.
    series: DocumentId,
    /// From 1.
    version: i32,
    media_type: String,
    bytes: i64,
    /// Of the original, in hexadecimal.
    sha256: String,
    /// Of its words, for full-text search; none until it has been read.
    language: Option<String>,
    status: Status,
    /// Why it failed, for a person.
    error: Option<String>,
    progress: Progress,
    passages: i32,
    pages: Option<i32>,
    created_at: DateTime<Utc>,
    /// When it could be searched first.
    ready_at: Option<DateTime<Utc>>,
    /// When a newer version took its place.
    superseded_at: Option<DateTime<Utc>>,
}

/// How many passages have been embedded, of how many; the total is 0 until the file has been read.
#[derive(Debug, Serialize, ToSchema)]
pub struct Progress {
    done: i32,
    total: i32,
}

/// What became of each file that was sent, in order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Uploaded {
    pub(super) files: Vec<UploadedFile>,
}

/// A file that was taken, or why it was not.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum UploadedFile {
    /// It is in the knowledge base.
    Taken {
        /// Its name.
        file: String,
        /// Whether these bytes had been there already.
        already_there: bool,
        /// What it became.
        document: Box<DocumentAnswer>,
    },
    /// It is not.
    Refused {
        /// Its name.
        file: String,
        /// Why.
        error: Refusal,
    },
}

/// The passages that a search found, the best first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hits {
    pub(super) hits: Vec<HitAnswer>,
}

/// A passage that a search found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Hit)]
pub struct HitAnswer {
    document_id: DocumentId,
    /// The document's name.
    document: String,
    /// The folders above it.
    folder: String,
    /// The name of its collection.
    collection: String,
    version: i32,
    passage_id: PassageId,
    /// Where in the document: `page 3`.
    locator: String,
    /// Of this search only; higher is better.
    score: f32,
    text: String,
    why: WhyAnswer,
    /// Passages that say the same, nearly word for word.
    same: Vec<SameAnswer>,
}

/// How a passage came to be found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Why)]
pub struct WhyAnswer {
    /// Its place among the nearest by meaning; none when it is not among them.
    meaning: Option<Placed>,
    /// Its place among the best by words; none when it is not among them.
    words: Option<Placed>,
    /// The question's words that it has, as they are searched.
    matched: Vec<String>,
}

/// A place in one of the two lists that a search puts together.
#[derive(Debug, Serialize, ToSchema)]
pub struct Placed {
    /// From 1.
    place: i64,
    /// By meaning the cosine similarity to the question; by words the sum of their rarity.
    weight: f32,
}

/// A passage that says the same as a hit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Same)]
pub struct SameAnswer {
    document_id: DocumentId,
    /// The document's name.
    document: String,
    passage_id: PassageId,
    /// Where in the document.
    locator: String,
}

/// A passage of a document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Passage)]
pub struct PassageAnswer {
    id: PassageId,
    document_id: DocumentId,
    /// Its place in the document, from 0.
    ordinal: i32,
    /// Where in the document: `page 3`.
    locator: String,
    text: String,
}

impl From<Document> for DocumentAnswer {
    fn from(document: Document) -> Self {
        let (done, total) = document.progress;
        Self {
            id: document.id,
            title: document.title,
            folder: document.folder,
            collection: document.collection,
            series: document.series,
            version: document.version,
            media_type: document.media_type,
            bytes: document.bytes,
            sha256: document.sha256,
            language: document.language,
            status: document.status,
            error: document.error,
            progress: Progress { done, total },
            passages: document.passages,
            pages: document.pages,
            created_at: document.created_at,
            ready_at: document.ready_at,
            superseded_at: document.superseded_at,
        }
    }
}

impl From<Hit> for HitAnswer {
    fn from(hit: Hit) -> Self {
        Self {
            document_id: hit.passage.document,
            document: hit.title,
            folder: hit.folder,
            collection: hit.collection,
            version: hit.version,
            passage_id: hit.passage.id,
            locator: hit.passage.locator,
            score: hit.score,
            text: hit.passage.text,
            why: hit.why.into(),
            same: hit.same.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Why> for WhyAnswer {
    fn from(why: Why) -> Self {
        let placed = |(place, weight)| Placed { place, weight };
        Self { meaning: why.meaning.map(placed), words: why.words.map(placed), matched: why.matched }
    }
}

impl From<Same> for SameAnswer {
    fn from(same: Same) -> Self {
        let Same { passage, document, title, locator } = same;
        Self { document_id: document, document: title, passage_id: passage, locator }
    }
}

impl From<Passage> for PassageAnswer {
    fn from(passage: Passage) -> Self {
        Self {
            id: passage.id,
            document_id: passage.document,
            ordinal: passage.ordinal,
            locator: passage.locator,
            text: passage.text,
        }
    }
}
