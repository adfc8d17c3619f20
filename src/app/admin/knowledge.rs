//! A tenant's documents and agents, as the operator at the command line uses them.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, App, open};
use crate::{
    agents::Ask,
    audit::Actor,
    db::TenantDb,
    knowledge::{Document, Library, Listing, Reader, Upload},
    support::{
        Error, Result,
        ids::{CollectionId, DocumentId},
    },
};

/// `GET /tenants/{slug}/knowledge/documents`
pub(super) async fn list_documents(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let db = open(&app, &slug).await?;
    let library = library(&app, &db);
    let (mut listing, mut all) = (Listing::default(), Vec::new());
    loop {
        let found = library.list(&listing).await?;
        if found.documents.is_empty() {
            return Ok(Json(all.into()));
        }
        all.extend(found.documents.iter().map(document_json));
        listing.page += 1;
    }
}

/// What the uploaded file is called.
#[derive(Deserialize)]
pub(super) struct FileName {
    name: String,
    collection: Option<String>,
}

/// `POST /tenants/{slug}/knowledge/documents`
pub(super) async fn add_document(
    State(app): State<App>,
    Path(slug): Path<String>,
    Query(file): Query<FileName>,
    bytes: Bytes,
) -> Answer {
    let db = open(&app, &slug).await?;
    let library = library(&app, &db);
    let collection = match &file.collection {
        None => None,
        Some(name) => Some(find_collection(&library, name).await?),
    };
    let upload = Upload::new(file.name, bytes.into(), Actor::Operator).into_collection(collection);
    let added = library.add(upload).await?;
    Ok(Json(json!({ "document": document_json(&added.document), "already_there": added.already_there })))
}

/// `GET /tenants/{slug}/knowledge/documents/{id}`
pub(super) async fn show_document(State(app): State<App>, Path((slug, id)): Path<(String, DocumentId)>) -> Answer {
    let db = open(&app, &slug).await?;
    Ok(Json(document_json(&find_document(&app, &db, id).await?)))
}

/// `DELETE /tenants/{slug}/knowledge/documents/{id}`
pub(super) async fn remove_document(State(app): State<App>, Path((slug, id)): Path<(String, DocumentId)>) -> Answer {
    let db = open(&app, &slug).await?;
    let document = find_document(&app, &db, id).await?;
    library(&app, &db).remove(id, Actor::Operator).await?;
    Ok(Json(document_json(&document)))
}

/// `POST /tenants/{slug}/knowledge/documents/{id}/cancel`
pub(super) async fn cancel_document(State(app): State<App>, Path((slug, id)): Path<(String, DocumentId)>) -> Answer {
    let db = open(&app, &slug).await?;
    Ok(Json(document_json(&library(&app, &db).cancel(id, Actor::Operator).await?)))
}

/// `POST /tenants/{slug}/knowledge/documents/{id}/retry`
pub(super) async fn retry_document(State(app): State<App>, Path((slug, id)): Path<(String, DocumentId)>) -> Answer {
    let db = open(&app, &slug).await?;
    Ok(Json(document_json(&library(&app, &db).retry(id).await?)))
}

/// `POST /tenants/{slug}/knowledge/retry`
pub(super) async fn retry_failed(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let db = open(&app, &slug).await?;
    Ok(Json(json!({ "queued": library(&app, &db).retry_failed(None).await? })))
}

async fn find_document(app: &App, db: &TenantDb, id: DocumentId) -> Result<Document> {
    library(app, db).document(id).await?.ok_or_else(|| Error::not_found("the document"))
}

/// The operator sees every collection.
fn library<'a>(app: &'a App, db: &'a TenantDb) -> Library<'a> {
    app.knowledge.open(db, Reader::everything())
}

/// A collection by its name, whatever its case.
async fn find_collection(library: &Library<'_>, name: &str) -> Result<CollectionId> {
    let collections = library.collections().await?;
    let found = collections.iter().find(|collection| collection.name.to_lowercase() == name.to_lowercase());
    let names = || collections.iter().map(|collection| collection.name.as_str()).collect::<Vec<_>>().join(", ");
    let missing = || Error::not_found("the collection").remedy(format!("there are: {}", names()));
    found.map(|collection| collection.id).ok_or_else(missing)
}

fn document_json(document: &Document) -> Value {
    let (done, total) = document.progress;
    json!({
        "id": document.id, "title": document.title, "status": document.status, "passages": document.passages,
        "pages": document.pages, "bytes": document.bytes, "error": document.error,
        "progress_done": done, "progress_total": total, "created_at": document.created_at,
        "collection": document.collection_name, "folder": document.folder, "version": document.version,
    })
}

/// What is searched for, and how many passages are wanted.
#[derive(Deserialize)]
pub(super) struct Search {
    q: String,
    limit: usize,
}

/// `GET /tenants/{slug}/knowledge/search`
pub(super) async fn search(State(app): State<App>, Path(slug): Path<String>, Query(search): Query<Search>) -> Answer {
    let db = open(&app, &slug).await?;
    let hits = library(&app, &db).search(&search.q, search.limit).await?;
    Ok(Json(
        hits.iter()
            .map(|hit| {
                json!({
                    "document": hit.title, "locator": hit.passage.locator, "score": hit.score, "text": hit.passage.text,
                })
            })
            .collect(),
    ))
}

/// A question to an agent.
#[derive(Deserialize)]
pub(super) struct Question {
    agent: String,
    question: String,
}

/// Streams the run's events, one JSON object a line.
pub(super) async fn ask(
    State(app): State<App>,
    Path(slug): Path<String>,
    Json(question): Json<Question>,
) -> Answer<Response> {
    let db = open(&app, &slug).await?;
    let ask = Ask::new(question.agent, question.question, Actor::Operator);
    let run = app.agents.ask(&db, ask).await?;
    let lines = run.events.map(|event| {
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        Ok::<_, serde_json::Error>(line)
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}
