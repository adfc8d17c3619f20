//! What the knowledge base holds: documents, their versions, their passages.

use chrono::{DateTime, Utc};
use futures::{TryStreamExt as _, stream::BoxStream};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;
use utoipa::ToSchema;

use crate::{
    audit::Actor,
    support::{
        Error, Result,
        ids::{CollectionId, DocumentId, PassageId},
    },
};

/// Characters of a file name, and of the folders above it, that are kept.
const NAME_CHARS: usize = 200;
/// What separates folders, as it is kept.
const SEPARATOR: &str = "/";

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
    /// Somebody stopped it before it could be searched. The original is kept.
    Cancelled,
    /// A newer version took its place. It is found no more; what was cited from it can still be opened.
    Superseded,
}

impl Status {
    const ALL: [Self; 7] =
        [Self::Queued, Self::Reading, Self::Embedding, Self::Ready, Self::Failed, Self::Cancelled, Self::Superseded];

    /// `queued`, `reading`, `embedding`, `ready`, `failed`, `cancelled`, `superseded`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Reading => "reading",
            Self::Embedding => "embedding",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }

    /// Whether nothing more will happen to the document by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Reading | Self::Embedding)
    }

    pub(super) fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == name);
        found.ok_or_else(|| Error::internal(format!("no such status: {name}")))
    }
}

/// A document of the knowledge base, in one of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// This version's identifier.
    pub id: DocumentId,
    /// The name under which it was uploaded.
    pub title: String,
    /// The folders above it where it came from, `HR/Leave`; empty at the top.
    pub folder: String,
    /// The collection that it is in.
    pub collection: CollectionId,
    /// That collection's name.
    pub collection_name: String,
    /// The same for all versions of a document.
    pub series: DocumentId,
    /// Counts from 1. Until it can be searched it is not settled.
    pub version: i32,
    /// When a newer version took its place.
    pub superseded_at: Option<DateTime<Utc>>,
    /// Its media type, by content.
    pub media_type: String,
    /// The original's size.
    pub bytes: i64,
    /// The original's SHA-256, in hex.
    pub sha256: String,
    /// The text-search configuration of its language, `english`; `simple` where that is not known. `None` until it has
    /// been read.
    pub language: Option<String>,
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
    /// The page of the file, from 1, for formats that have pages; what is printed on it is in the locator.
    pub page: Option<i32>,
    /// What it says.
    pub text: String,
}

/// A document's file as it was given.
pub struct Original {
    /// Its name.
    pub title: String,
    /// Its media type, by content.
    pub media_type: String,
    /// Its size in bytes.
    pub bytes: i64,
    /// Its content, in parts of at most 1 MiB.
    pub parts: BoxStream<'static, Result<Vec<u8>>>,
}

impl Original {
    /// The whole content.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn collect(self) -> Result<Vec<u8>> {
        let whole = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or_default());
        let all = self.parts.try_fold(whole, async |mut whole, part| {
            whole.extend(part);
            Ok(whole)
        });
        all.await
    }
}

/// A file that somebody gives to the knowledge base.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its name; folders in it are kept apart as [`Document::folder`].
    pub file_name: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Where it goes; `None`: the default collection.
    pub collection: Option<CollectionId>,
    /// Who gives it.
    pub by: Actor,
}

impl Upload {
    /// A file for the default collection.
    pub fn new(file_name: impl Into<String>, bytes: Vec<u8>, by: Actor) -> Self {
        Self { file_name: file_name.into(), bytes, collection: None, by }
    }

    /// The same for another collection.
    #[must_use]
    pub fn into_collection(self, collection: impl Into<Option<CollectionId>>) -> Self {
        Self { collection: collection.into(), ..self }
    }
}

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Added {
    /// The document, new or known.
    pub document: Document,
    /// The same bytes were there before; nothing was stored. A document that had failed, or was cancelled, is tried again.
    pub already_there: bool,
}

/// Which documents of a collection a list shows.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Only those of this collection.
    pub collection: Option<CollectionId>,
    /// Only those whose name or folder has this in it, whatever its case.
    pub name: String,
    /// Which page, from 0, of [`Listing::PAGE`] documents.
    pub page: u32,
}

impl Listing {
    /// Documents on a page.
    pub const PAGE: u32 = 100;
}

/// A page of documents, the newest first, and the sums over all that the listing fits.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    /// One page.
    pub documents: Vec<Document>,
    /// How many there are on all pages.
    pub total: i64,
    /// How many passages they have.
    pub passages: i64,
    /// How many are still on their way to be searched.
    pub unfinished: i64,
    /// How many have failed.
    pub failed: i64,
}

/// Folders and name of a file as they are kept: no `..`, no control characters, not too long.
pub(super) fn place(file_name: &str) -> (String, String) {
    let mut parts: Vec<String> = file_name.split(['/', '\\']).map(cleaned).collect();
    let name = parts.pop().unwrap_or_default();
    parts.retain(|part| !matches!(part.as_str(), "" | "." | ".."));
    // A drive's letter is no folder.
    if parts.first().is_some_and(|first| first.len() == 2 && first.ends_with(':')) {
        parts.remove(0);
    }
    let name = if matches!(name.as_str(), "" | "." | "..") { "untitled".to_owned() } else { name };
    (last(&parts.join(SEPARATOR)), last(&name))
}

fn cleaned(part: &str) -> String {
    // Composed: some systems write an accent apart from its letter, and it is the same name.
    let part: String = part.nfc().filter(|c| !c.is_control()).collect();
    part.trim().to_owned()
}

/// The end is kept, because the extension is there.
fn last(text: &str) -> String {
    text.chars().skip(text.chars().count().saturating_sub(NAME_CHARS)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_a_name_and_never_a_path() {
        let told = |name: &str| {
            let (folder, name) = place(name);
            format!("{folder}|{name}")
        };
        assert_eq!(told("../../etc/passwd.txt"), "etc|passwd.txt");
        assert_eq!(told("C:\\Users\\me\\a b.docx"), "Users/me|a b.docx");
        assert_eq!(told("HR//Leave/./policy.md"), "HR/Leave|policy.md");
        assert_eq!(told("dir/"), "dir|untitled");
        assert_eq!(told("a\0b\n.txt"), "|ab.txt");
        assert_eq!(told("Cafe\u{301}/Mu\u{308}ll.txt"), "Café|Müll.txt");
        assert_eq!(place(&format!("{}.pdf", "x".repeat(500))).1.chars().count(), NAME_CHARS);
    }
}
