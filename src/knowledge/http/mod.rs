//! The knowledge base: its pages, which work without script, and its API.

mod answer;
mod api;
mod collections;
mod markdown;
mod original;
mod resumable;
mod snippet;
mod upload;
mod view;

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{DefaultBodyLimit, Multipart, State},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

pub use api::{
    KnowledgeApi, add_documents, cancel_document, delete_document, list_documents, retry_document, retry_failed,
    search_passages, show_passage,
};
pub use collections::{
    Colleagues, CollectionsApi, change_collection, change_collection_by_form, create_collection,
    create_collection_by_form, list_collections, remove_collection, remove_collection_by_form, show_collections,
};
pub use original::download_original;
pub use resumable::{UploadsApi, append_upload, begin_upload, drop_upload, show_upload};
use view::{DocumentView, HitView, PassageView, Version};

use super::{Collection, Filter, Knowledge, Library, Listing, Reader, Status, extract::Kind};
use crate::{
    accounts::{Permission, http::InTenant},
    audit::Actor,
    http::{
        self,
        context::RequestContext,
        extract::{Form, Path, Query},
        frame::{Frame, Section},
    },
    support::{
        Error, Result,
        clock::SharedClock,
        ids::{CollectionId, DocumentId, PassageId},
    },
};

/// Passages of a document on one page.
const PASSAGES: i32 = 200;
/// How many passages a search shows.
const HITS: usize = 10;

/// What the handlers of the knowledge base need.
#[derive(Clone)]
pub struct KnowledgeState {
    /// The use cases.
    pub knowledge: Knowledge,
    /// The time.
    pub clock: SharedClock,
    /// The agents that a collection may be opened to.
    pub colleagues: Arc<dyn Colleagues>,
    /// The largest file accepted, in bytes.
    pub max_file_bytes: u64,
}

impl KnowledgeState {
    /// The documents that the person behind a request may see.
    fn library<'a>(&'a self, tenant: &'a InTenant) -> Library<'a> {
        self.knowledge.open(&tenant.db, Reader::person(tenant.signed_in.role))
    }
}

/// For the two routes that take files: the limit is kept for each file, while it is read.
pub fn upload_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::disable()
}

/// Documents, and what a search found.
#[derive(Template)]
#[template(path = "knowledge.html", config = "web/askama.toml")]
struct KnowledgePage {
    frame: Frame,
    count: String,
    asked: Asked,
    collections: Vec<Collection>,
    hits: Vec<HitView>,
    /// The name of the one document that is searched, when it is one.
    within: Option<String>,
    refusals: Vec<String>,
    documents: Vec<DocumentView>,
    /// How many of the list failed.
    failed: i64,
    /// Addresses of this page of the list without what is searched for, and of those before and after it.
    here: String,
    earlier: Option<String>,
    later: Option<String>,
    /// Whether the page should look again soon.
    busy: bool,
    may_write: bool,
    may_manage: bool,
    max_file_mib: u64,
}

/// One document with its passages.
#[derive(Template)]
#[template(path = "document.html", config = "web/askama.toml")]
struct DocumentPage {
    frame: Frame,
    document: DocumentView,
    passages: Vec<PassageView>,
    /// The ordinals with which the parts before and after this one begin.
    earlier: Option<i32>,
    later: Option<i32>,
    versions: Vec<Version>,
    busy: bool,
    may_write: bool,
}

/// What a page of the knowledge base is asked for, `?q=…&collection=…&document=…&kind=…&name=…&page=…&why=on`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Asked {
    /// What is searched for in the text.
    #[serde(default)]
    q: String,
    /// Only this collection.
    #[serde(default)]
    collection: String,
    /// Only this document.
    #[serde(default)]
    document: String,
    /// Only this format, by its usual extension.
    #[serde(default)]
    kind: String,
    /// Only documents with this in their name.
    #[serde(default)]
    name: String,
    /// Whether to say why each passage was found.
    #[serde(default)]
    why: String,
    /// Which page of the list, from 0.
    #[serde(default)]
    page: u32,
}

impl Asked {
    fn collection(&self) -> Result<Option<CollectionId>> {
        if self.collection.is_empty() { Ok(None) } else { self.collection.parse().map(Some) }
    }

    fn document(&self) -> Result<Option<DocumentId>> {
        if self.document.is_empty() { Ok(None) } else { self.document.parse().map(Some) }
    }

    fn filter(&self) -> Result<Filter> {
        Ok(Filter {
            collections: self.collection()?.into_iter().collect(),
            documents: self.document()?.into_iter().collect(),
            kinds: Kind::of_extension(&self.kind).into_iter().collect(),
            name: self.name.clone(),
        })
    }

    fn is_collection(&self, collection: &Collection) -> bool {
        self.collection == collection.id.to_string()
    }

    /// Whether the list leaves documents out by what they are called.
    fn is_narrow(&self) -> bool {
        !self.name.is_empty()
    }

    /// The address of a page of the same list.
    fn at(&self, page: u32) -> String {
        let kept = [("collection", &self.collection), ("name", &self.name)].into_iter();
        let kept = kept.filter(|(_, value)| !value.is_empty());
        let kept: Vec<String> =
            kept.map(|(key, value)| format!("{key}={}&", http::format::percent_encoded(value))).collect();
        format!("/knowledge?{}page={page}", kept.concat())
    }
}

/// `GET /knowledge`
pub async fn show_knowledge(
    State(state): State<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
    Query(mut asked): Query<Asked>,
) -> Result<Response> {
    asked.q = asked.q.trim().to_owned();
    asked.name = asked.name.trim().chars().take(200).collect();
    knowledge_page(&state, &context, &tenant, asked, Vec::new()).await
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
    knowledge_page(&state, &context, &tenant, Asked::default(), refusals).await
}

/// Which part of a document, `?from=200` or `?passage=…`.
#[derive(Deserialize)]
pub struct Part {
    /// The ordinal of a passage.
    from: Option<i32>,
    /// A passage, which says more.
    passage: Option<PassageId>,
}

/// `GET /knowledge/{document}`
pub async fn show_document(
    State(state): State<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
    Query(part): Query<Part>,
) -> Result<Response> {
    let library = state.library(&tenant);
    let document = library.document(id).await?.ok_or_else(|| Error::not_found("the document"))?;
    let named = match part.passage {
        Some(passage) => library.passage(passage).await?.filter(|passage| passage.document == id),
        None => None,
    };
    let from = named.map_or(part.from.unwrap_or_default(), |passage| passage.ordinal).max(0) / PASSAGES * PASSAGES;
    let last = from.saturating_add(PASSAGES - 1);
    let passages = library.passages_between(id, from, last).await?.into_iter();
    let passages = passages.map(|passage| view::passage(passage, &document.media_type)).collect();
    let now = state.clock.now();
    let versions = library.versions(document.series).await?;
    let versions = versions.into_iter().map(|version| view::version(&version, id, now)).collect();
    http::page(&DocumentPage {
        frame: tenant.signed_in.frame(&context, &document.title, Section::Knowledge),
        busy: view::is_busy(&document),
        may_write: tenant.signed_in.may(Permission::KnowledgeWrite),
        earlier: (from > 0).then_some(from - PASSAGES),
        later: (last < document.passages - 1).then_some(last + 1),
        document: view::document(document, now),
        passages,
        versions,
    })
}

/// `POST /knowledge/{document}/delete`
pub async fn delete_document_by_form(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
) -> Result<Response> {
    state.library(&tenant).remove(id, actor(&tenant)).await?;
    Ok(Redirect::to("/knowledge").into_response())
}

/// `POST /knowledge/{document}/cancel`
pub async fn cancel_document_by_form(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
) -> Result<Response> {
    // Whatever it was, the page shows what it is now.
    let cancelled = state.library(&tenant).cancel(id, actor(&tenant)).await;
    unless_settled(cancelled.map(|document| document.status))
}

/// `POST /knowledge/{document}/retry`
pub async fn retry_document_by_form(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
) -> Result<Response> {
    unless_settled(state.library(&tenant).retry(id).await.map(|document| document.status))
}

/// Which collection, or nothing for all.
#[derive(Deserialize)]
pub struct Which {
    #[serde(default)]
    collection: String,
}

/// `POST /knowledge/retry`: everything that failed, of a collection or of all.
pub async fn retry_failed_by_form(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Form(which): Form<Which>,
) -> Result<Response> {
    let asked = Asked { collection: which.collection, ..Asked::default() };
    state.library(&tenant).retry_failed(asked.collection()?).await?;
    Ok(Redirect::to(&asked.at(0)).into_response())
}

/// A button that came too late (the document was ready meanwhile) is no error for a person: the list tells.
fn unless_settled(done: Result<Status>) -> Result<Response> {
    match done {
        Err(error) if error.kind() != crate::support::Kind::Conflict => Err(error),
        _ => Ok(Redirect::to("/knowledge").into_response()),
    }
}

async fn knowledge_page(
    state: &KnowledgeState,
    context: &RequestContext,
    tenant: &InTenant,
    asked: Asked,
    refusals: Vec<String>,
) -> Result<Response> {
    let library = state.library(tenant);
    let listing = Listing { collection: asked.collection()?, name: asked.name.clone(), page: asked.page };
    let found = library.list(&listing).await?;
    let hits =
        if asked.q.is_empty() { Vec::new() } else { library.search_in(&asked.filter()?, &asked.q, HITS).await? };
    let within = match asked.document()? {
        None => None,
        Some(id) => Some(library.document(id).await?.ok_or_else(|| Error::not_found("the document"))?.title),
    };
    let now = state.clock.now();
    let shown = u64::from(asked.page) * u64::from(Listing::PAGE) + found.documents.len() as u64;
    http::page(&KnowledgePage {
        frame: tenant.signed_in.frame(context, "Knowledge", Section::Knowledge),
        count: view::count(&found),
        hits: hits.into_iter().map(|hit| view::hit(hit, &asked.q)).collect(),
        within,
        refusals,
        busy: found.unfinished > 0,
        failed: found.failed,
        here: asked.at(asked.page),
        earlier: asked.page.checked_sub(1).map(|page| asked.at(page)),
        later: i64::try_from(shown).is_ok_and(|shown| shown < found.total).then(|| asked.at(asked.page + 1)),
        documents: found.documents.into_iter().map(|document| view::document(document, now)).collect(),
        collections: library.collections().await?,
        may_write: tenant.signed_in.may(Permission::KnowledgeWrite),
        may_manage: tenant.signed_in.may(Permission::KnowledgeManage),
        max_file_mib: state.max_file_bytes / (1024 * 1024),
        asked,
    })
}

fn actor(tenant: &InTenant) -> Actor {
    tenant.signed_in.actor()
}
