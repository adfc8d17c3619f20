//! What the pages of the knowledge base show, made of documents and hits.

use super::{
    markdown,
    snippet::{self, Piece},
};
use crate::{
    http::format,
    knowledge::{Document, Hit, Passage, Status},
    support::{
        Error,
        ids::{DocumentId, PassageId},
        text::without_headings,
    },
};
use chrono::{DateTime, Utc};

/// A document as a row, and as the head of its page.
pub(super) struct DocumentView {
    /// The document.
    pub(super) id: DocumentId,
    /// Its name.
    pub(super) title: String,
    /// Pages; empty where there are none.
    pub(super) pages: String,
    /// Passages; empty until it has been read.
    pub(super) passages: String,
    /// Size, pages and passages in one line.
    pub(super) facts: String,
    /// What is being done with it: `Ready`, `Embedding 51 of 88`.
    pub(super) state: String,
    /// How the state looks: `ready`, `busy`, `failed` or nothing.
    pub(super) state_class: &'static str,
    /// Percent, while it is read.
    pub(super) progress: Option<i64>,
    /// Why it failed.
    pub(super) error: Option<String>,
    /// When it was added, for machines.
    pub(super) at: String,
    /// The same for people.
    pub(super) when: String,
    /// What goes with it when it is deleted: `its 42 passages`.
    pub(super) lost: String,
}

/// A passage on its document's page.
pub(super) struct PassageView {
    pub(super) id: PassageId,
    pub(super) locator: String,
    /// As it was written.
    pub(super) text: String,
    /// The same as safe HTML, for Markdown.
    pub(super) html: Option<String>,
}

/// A passage that a search found.
pub(super) struct HitView {
    pub(super) document_id: String,
    pub(super) passage_id: String,
    pub(super) title: String,
    pub(super) locator: String,
    pub(super) pieces: Vec<Piece>,
}

/// Whether something is still to happen to the document.
pub(super) fn is_busy(document: &Document) -> bool {
    !document.status.is_final()
}

/// A document as a row.
pub(super) fn document(document: Document, now: DateTime<Utc>) -> DocumentView {
    let (done, total) = document.progress;
    let (state, state_class) = match document.status {
        Status::Queued => ("Queued".to_owned(), ""),
        Status::Reading => ("Reading".to_owned(), "busy"),
        Status::Embedding if total > 0 => (format!("Embedding {done} of {total}"), "busy"),
        Status::Embedding => ("Embedding".to_owned(), "busy"),
        Status::Ready => ("Ready".to_owned(), "ready"),
        Status::Failed => ("Failed".to_owned(), "failed"),
    };
    let progress =
        (document.status == Status::Embedding && total > 0).then(|| i64::from(done) * 100 / i64::from(total));
    let passages = i64::from(document.passages);
    let mut facts = vec![format::size(document.bytes)];
    facts.extend(document.pages.map(|pages| format::count(i64::from(pages), "page")));
    if passages > 0 {
        facts.push(format::count(passages, "passage"));
    }
    let lost = if passages > 0 {
        format!("its {}", format::count(passages, "passage"))
    } else {
        "what was read of it".to_owned()
    };
    DocumentView {
        id: document.id,
        title: document.title,
        pages: document.pages.map(|pages| pages.to_string()).unwrap_or_default(),
        passages: if passages > 0 { passages.to_string() } else { String::new() },
        facts: facts.join(" · "),
        state,
        state_class,
        progress,
        error: document.error,
        at: format::machine(document.created_at),
        when: format::ago(now, document.created_at),
        lost,
    }
}

/// `5 documents, 215 passages`
pub(super) fn count(documents: &[Document]) -> String {
    if documents.is_empty() {
        return "No documents yet".to_owned();
    }
    let passages: i64 = documents.iter().map(|document| i64::from(document.passages)).sum();
    let number = i64::try_from(documents.len()).unwrap_or(i64::MAX);
    format!("{}, {}", format::count(number, "document"), format::count(passages, "passage"))
}

/// A passage as the document's page shows it.
pub(super) fn passage(passage: Passage, media_type: &str) -> PassageView {
    let html = (media_type == "text/markdown").then(|| markdown::render(without_headings(&passage.text)));
    PassageView { id: passage.id, locator: passage.locator, text: passage.text, html }
}

/// A passage that was found, with the words of the query marked.
pub(super) fn hit(hit: Hit, query: &str) -> HitView {
    HitView {
        document_id: hit.passage.document.to_string(),
        passage_id: hit.passage.id.to_string(),
        pieces: snippet::snippet(without_headings(&hit.passage.text), query),
        locator: hit.passage.locator,
        title: hit.title,
    }
}

/// A refusal for a person: what happened to which file, and what to do.
pub(super) fn refusal(error: &Error) -> String {
    format!("Not added: {error}")
}
