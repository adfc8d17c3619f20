//! What the API of the knowledge base answers with.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::error::Refusal,
    knowledge::{Document, Hit, Passage, Status},
    support::ids::{DocumentId, PassageId},
};

/// All documents.
#[derive(Debug, Serialize, ToSchema)]
pub struct Documents {
    pub(super) documents: Vec<DocumentAnswer>,
}

/// A document of the knowledge base.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Document)]
pub struct DocumentAnswer {
    id: DocumentId,
    /// Its file's name.
    title: String,
    media_type: String,
    bytes: i64,
    /// Of the original, in hexadecimal.
    sha256: String,
    status: Status,
    /// Why it failed, for a person.
    error: Option<String>,
    progress: Progress,
    passages: i32,
    pages: Option<i32>,
    created_at: DateTime<Utc>,
    /// When it could be searched first.
    ready_at: Option<DateTime<Utc>>,
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
    passage_id: PassageId,
    /// Where in the document: `page 3`.
    locator: String,
    /// Of this search only; higher is better.
    score: f32,
    text: String,
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
            media_type: document.media_type,
            bytes: document.bytes,
            sha256: document.sha256,
            status: document.status,
            error: document.error,
            progress: Progress { done, total },
            passages: document.passages,
            pages: document.pages,
            created_at: document.created_at,
            ready_at: document.ready_at,
        }
    }
}

impl From<Hit> for HitAnswer {
    fn from(hit: Hit) -> Self {
        Self {
            document_id: hit.passage.document,
            document: hit.title,
            passage_id: hit.passage.id,
            locator: hit.passage.locator,
            score: hit.score,
            text: hit.passage.text,
        }
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
