//! What the pages of the knowledge base show, made of documents and hits.

use super::{
    markdown,
    snippet::{self, Piece},
};
use crate::{
    http::format,
    knowledge::{Document, Documents, Hit, Passage, Status, extract::Kind},
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
    /// The folders above it, and its collection where there are several.
    pub(super) place: String,
    /// From 1.
    pub(super) version: i32,
    /// When a newer one took its place, for people.
    pub(super) superseded: Option<String>,
    /// The original's SHA-256, in hex.
    pub(super) sha256: String,
    /// Whether it can be stopped, and whether it can be tried again.
    pub(super) stoppable: bool,
    pub(super) retryable: bool,
    /// Whether the original can be opened in the browser.
    pub(super) showable: bool,
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
    pub(super) document_id: DocumentId,
    /// Where the passage stands in its document.
    pub(super) address: String,
    pub(super) title: String,
    pub(super) locator: Vec<Piece>,
    pub(super) pieces: Vec<Piece>,
    /// The page of the original, where the browser can open it there.
    pub(super) page: Option<i32>,
    /// Where its document is.
    pub(super) place: String,
    /// Why it was found, in lines.
    pub(super) why: Vec<String>,
    /// Where the same stands too: title and place.
    pub(super) same: Vec<(String, String)>,
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
        Status::Cancelled => ("Stopped".to_owned(), ""),
        Status::Superseded => ("Older version".to_owned(), ""),
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
    let place = [document.collection_name.as_str(), document.folder.as_str()];
    let place: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
    DocumentView {
        place: place.join(" / "),
        version: document.version,
        superseded: document.superseded_at.map(|at| format::ago(now, at)),
        sha256: document.sha256,
        stoppable: !document.status.is_final(),
        retryable: matches!(document.status, Status::Failed | Status::Cancelled),
        showable: document.media_type == Kind::Pdf.media_type(),
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
pub(super) fn count(found: &Documents) -> String {
    if found.total == 0 {
        return "No documents yet".to_owned();
    }
    let told = format!("{}, {}", format::count(found.total, "document"), format::count(found.passages, "passage"));
    match found.unfinished {
        0 => told,
        left => format!("{told}, {} to go", format::grouped(left)),
    }
}

/// A version of a document, as the list of its versions has it.
pub(super) struct Version {
    pub(super) id: DocumentId,
    pub(super) label: String,
    /// Whether it is the one shown.
    pub(super) shown: bool,
}

/// `Version 2, 4 minutes ago`
pub(super) fn version(document: &Document, shown: DocumentId, now: DateTime<Utc>) -> Version {
    let present = if document.status == Status::Ready { ", the present one" } else { "" };
    let label = format!("Version {}, {}{present}", document.version, format::ago(now, document.created_at));
    Version { id: document.id, label, shown: document.id == shown }
}

/// A passage as the document's page shows it.
pub(super) fn passage(passage: Passage, media_type: &str) -> PassageView {
    let html = (media_type == "text/markdown").then(|| markdown::render(without_headings(&passage.text)));
    PassageView { id: passage.id, locator: passage.locator, text: passage.text, html }
}

/// A passage that was found, with the words of the query marked.
pub(super) fn hit(hit: Hit, query: &str) -> HitView {
    let place = [hit.collection.as_str(), hit.folder.as_str()];
    let place: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
    HitView {
        page: hit.passage.page.filter(|_| hit.media_type == Kind::Pdf.media_type()),
        place: place.join(" / "),
        why: why(&hit),
        same: hit.same.into_iter().map(|same| (same.title, same.locator)).collect(),
        document_id: hit.passage.document,
        address: hit.passage.id.address(hit.passage.document),
        pieces: snippet::snippet(without_headings(&hit.passage.text), query),
        locator: snippet::snippet(&hit.passage.locator, query),
        title: hit.title,
    }
}

fn why(hit: &Hit) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(match hit.why.meaning {
        Some((place, similarity)) => format!("By meaning: number {place}, similarity {similarity:.2} of 1"),
        None => "By meaning: not among the nearest".to_owned(),
    });
    lines.push(match hit.why.words {
        Some((place, weight)) => {
            format!("By words: number {place}, weight {weight:.1}: {}", hit.why.matched.join(" · "))
        }
        None => "By words: not among the best".to_owned(),
    });
    lines.push(format!("Both together: {:.2} of 1", hit.score));
    lines
}

/// A refusal for a person: what happened to which file, and what to do.
pub(super) fn refusal(error: &Error) -> String {
    format!("Not added: {error}")
}
