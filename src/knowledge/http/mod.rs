//! The knowledge base: its pages, which work without script, and its API.

mod answer;
mod api;
mod markdown;
mod snippet;
mod upload;
mod view;

use askama::Template;
use axum::{
    extract::{DefaultBodyLimit, Multipart, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

pub use api::{KnowledgeApi, add_documents, delete_document, list_documents, search_passages, show_passage};
use view::{DocumentView, HitView, PassageView};

use super::Knowledge;
use crate::{
    accounts::http::InTenant,
    audit::Actor,
    http::{
        self,
        context::RequestContext,
        extract::{Path, Query},
        frame::{Frame, Section},
    },
    support::{Error, Result, clock::SharedClock, ids::DocumentId},
};

/// How many passages a search shows.
const HITS: usize = 8;

/// What the handlers of the knowledge base need.
#[derive(Clone)]
pub struct KnowledgeState {
    /// The use cases.
    pub knowledge: Knowledge,
    /// The time.
    pub clock: SharedClock,
    /// The largest file accepted, in bytes.
    pub max_file_bytes: u64,
}

/// For the two routes that take files: the limit is kept for each file, while it is read.
pub fn upload_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::disable()
}

/// All documents, and what a search found.
#[derive(Template)]
#[template(path = "knowledge.html", config = "web/askama.toml")]
struct KnowledgePage {
    frame: Frame,
    count: String,
    query: String,
    hits: Vec<HitView>,
    refusals: Vec<String>,
    documents: Vec<DocumentView>,
    /// Whether the page should look again soon.
    busy: bool,
    max_file_mib: u64,
}

/// One document with its passages.
#[derive(Template)]
#[template(path = "document.html", config = "web/askama.toml")]
struct DocumentPage {
    frame: Frame,
    document: DocumentView,
    passages: Vec<PassageView>,
    busy: bool,
}

/// `?q=`
#[derive(Deserialize)]
pub struct SearchQuery {
    #[serde(default)]
    q: String,
}

/// `GET /knowledge`
pub async fn show_knowledge(
    State(state): State<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
    Query(search): Query<SearchQuery>,
) -> Result<Response> {
    knowledge_page(&state, &context, &tenant, search.q.trim(), Vec::new()).await
}

/// `POST /knowledge`: files from a browser without script. Shows what was refused; otherwise goes back to the list.
pub async fn add_documents_by_form(
    State(state): State<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
    form: Multipart,
) -> Result<Response> {
    let outcomes = upload::take(&state, &tenant, form).await?;
    let refusals: Vec<String> =
        outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err().map(view::refusal)).collect();
    if refusals.is_empty() {
        return Ok(Redirect::to("/knowledge").into_response());
    }
    knowledge_page(&state, &context, &tenant, "", refusals).await
}

/// `GET /knowledge/{document}`
pub async fn show_document(
    State(state): State<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
) -> Result<Response> {
    let found = state.knowledge.document(&tenant.db, id).await?;
    let document = found.ok_or_else(|| Error::not_found("the document"))?;
    let passages = state.knowledge.passages(&tenant.db, id).await?.into_iter();
    let passages = passages.map(|passage| view::passage(passage, &document.media_type)).collect();
    http::page(&DocumentPage {
        frame: tenant.signed_in.frame(&context, &document.title, Section::Knowledge),
        busy: view::is_busy(&document),
        document: view::document(document, state.clock.now()),
        passages,
    })
}

/// `POST /knowledge/{document}/delete`
pub async fn delete_document_by_form(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
) -> Result<Response> {
    state.knowledge.remove(&tenant.db, id, Actor::User { id: tenant.signed_in.user.id }).await?;
    Ok(Redirect::to("/knowledge").into_response())
}

/// `GET /knowledge/{document}/original`: the file as it was added. Always to be saved, never shown by the browser
/// in our name, whatever is in it.
pub async fn download_original(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
) -> Result<Response> {
    let found = state.knowledge.original(&tenant.db, id).await?;
    let (file_name, media_type, bytes) = found.ok_or_else(|| Error::not_found("the document"))?;
    let kind = HeaderValue::from_str(&media_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let disposition = HeaderValue::from_str(&attachment(&file_name)).map_err(Error::internal)?;
    let sandbox = HeaderValue::from_static("sandbox; default-src 'none'");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CONTENT_SECURITY_POLICY, sandbox),
    ];
    Ok((headers, bytes).into_response())
}

async fn knowledge_page(
    state: &KnowledgeState,
    context: &RequestContext,
    tenant: &InTenant,
    query: &str,
    refusals: Vec<String>,
) -> Result<Response> {
    let documents = state.knowledge.list(&tenant.db).await?;
    let hits = if query.is_empty() { Vec::new() } else { state.knowledge.search(&tenant.db, query, HITS).await? };
    let now = state.clock.now();
    http::page(&KnowledgePage {
        frame: tenant.signed_in.frame(context, "Knowledge", Section::Knowledge),
        count: view::count(&documents),
        query: query.to_owned(),
        hits: hits.into_iter().map(|hit| view::hit(hit, query)).collect(),
        refusals,
        busy: documents.iter().any(view::is_busy),
        documents: documents.into_iter().map(|document| view::document(document, now)).collect(),
        max_file_mib: state.max_file_bytes / (1024 * 1024),
    })
}

/// RFC 6266: a name for old browsers in plain letters, and the true one percent-encoded.
fn attachment(file_name: &str) -> String {
    use std::fmt::Write as _;
    let plain: String = file_name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ') { c } else { '_' })
        .collect();
    let mut encoded = String::new();
    for byte in file_name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_leave_its_header() {
        assert_eq!(
            attachment("a\"\r\nSet-Cookie: x ü.pdf"),
            "attachment; filename=\"a___Set-Cookie_ x _.pdf\"; filename*=UTF-8''a%22%0D%0ASet-Cookie%3A%20x%20%C3%BC.pdf"
        );
    }
}
