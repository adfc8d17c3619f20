//! The knowledge base as JSON.

use axum::{
    Json,
    extract::{Multipart, State},
    http::StatusCode,
};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{
    KnowledgeState, actor,
    answer::{DocumentAnswer, Documents, Hits, PassageAnswer, QueuedAgain, Uploaded, UploadedFile},
    upload,
};
use crate::{
    accounts::http::InTenant,
    http::{
        context::RequestContext,
        error::envelope,
        extract::{Path, Query},
    },
    knowledge::{Filter, Listing, extract::Kind},
    support::{
        Error, Result,
        ids::{CollectionId, DocumentId, PassageId},
    },
};

/// How many passages a search gives unless told.
const LIMIT: usize = 10;
/// The most that it gives.
const MOST: usize = 50;

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(
        add_documents,
        list_documents,
        delete_document,
        cancel_document,
        retry_document,
        retry_failed,
        search_passages,
        show_passage
    ),
    tags((name = "knowledge", description = "Documents and what they say"))
)]
pub struct KnowledgeApi;

/// Files to add.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read as a stream")]
struct Files {
    /// Before the files: the collection that they go into. Without it, the default one.
    collection: Option<CollectionId>,
    /// Any number of files: PDF, DOCX, XLSX, PPTX, HTML, CSV, Markdown, text.
    #[schema(content_media_type = "application/octet-stream")]
    file: Vec<String>,
}

/// Add documents
///
/// They are read and embedded in the background. A file of the name of a document that is there is its next version. A
/// name with folders in it, `HR/Leave/policy.md`, keeps them. Answers what became of each file, in order; 202 when at least one
/// was taken.
#[utoipa::path(
    post,
    path = "/api/knowledge/documents",
    tag = "knowledge",
    request_body(content = Files, content_type = "multipart/form-data"),
    responses((status = 202, body = Uploaded), (status = 200, description = "None was taken", body = Uploaded))
)]
pub async fn add_documents(
    State(state): State<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
    form: Multipart,
) -> Result<(StatusCode, Json<Uploaded>)> {
    let outcomes = upload::take(&state, &tenant, form).await?;
    let taken = outcomes.iter().any(|outcome| outcome.result.is_ok());
    let files = outcomes
        .into_iter()
        .map(|outcome| match outcome.result {
            Ok(added) => UploadedFile::Taken {
                file: outcome.name,
                already_there: added.already_there,
                document: Box::new(added.document.into()),
            },
            Err(error) => {
                UploadedFile::Refused { file: outcome.name, error: envelope(&error, context.request_id()).error }
            }
        })
        .collect();
    Ok((if taken { StatusCode::ACCEPTED } else { StatusCode::OK }, Json(Uploaded { files })))
}

/// Which documents.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Listed {
    /// Only those of this collection.
    collection: Option<CollectionId>,
    /// Only those with this in their name or folder.
    name: Option<String>,
    /// Which page, from 0, of 100 documents each.
    page: Option<u32>,
}

/// List documents
///
/// The newest first, without older versions.
#[utoipa::path(
    get,
    path = "/api/knowledge/documents",
    tag = "knowledge",
    params(Listed),
    responses((status = 200, body = Documents))
)]
pub async fn list_documents(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Query(listed): Query<Listed>,
) -> Result<Json<Documents>> {
    let Listed { collection, name, page } = listed;
    let listing = Listing { collection, name: name.unwrap_or_default(), page: page.unwrap_or_default() };
    let found = state.library(&tenant).list(&listing).await?;
    let documents = found.documents.into_iter().map(Into::into).collect();
    Ok(Json(Documents { documents, total: found.total, unfinished: found.unfinished, failed: found.failed }))
}

/// Stop a document
///
/// One that is still on its way to be searched. The original is kept.
#[utoipa::path(
    post,
    path = "/api/knowledge/documents/{document}/cancel",
    tag = "knowledge",
    params(("document" = DocumentId, Path)),
    responses((status = 200, body = DocumentAnswer))
)]
pub async fn cancel_document(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
) -> Result<Json<DocumentAnswer>> {
    Ok(Json(state.library(&tenant).cancel(id, actor(&tenant)).await?.into()))
}

/// Try a document again
///
/// One that failed or was stopped.
#[utoipa::path(
    post,
    path = "/api/knowledge/documents/{document}/retry",
    tag = "knowledge",
    params(("document" = DocumentId, Path)),
    responses((status = 200, body = DocumentAnswer))
)]
pub async fn retry_document(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
) -> Result<Json<DocumentAnswer>> {
    Ok(Json(state.library(&tenant).retry(id).await?.into()))
}

/// Which documents that failed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Retried {
    /// Only those of this collection.
    collection: Option<CollectionId>,
}

/// Try all documents again that failed
#[utoipa::path(
    post,
    path = "/api/knowledge/retry",
    tag = "knowledge",
    params(Retried),
    responses((status = 202, body = QueuedAgain))
)]
pub async fn retry_failed(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Query(retried): Query<Retried>,
) -> Result<(StatusCode, Json<QueuedAgain>)> {
    let queued = state.library(&tenant).retry_failed(retried.collection).await?;
    Ok((StatusCode::ACCEPTED, Json(QueuedAgain { queued })))
}

/// Delete a document
///
/// With all its versions, their originals, passages and vectors. Of an older version, that one alone.
#[utoipa::path(
    delete,
    path = "/api/knowledge/documents/{document}",
    tag = "knowledge",
    params(("document" = DocumentId, Path)),
    responses((status = 204, description = "It is gone"))
)]
pub async fn delete_document(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
) -> Result<StatusCode> {
    state.library(&tenant).remove(id, actor(&tenant)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A search.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Words or a whole question.
    q: String,
    /// How many passages, at most 50; 10 unless told.
    #[param(minimum = 1, maximum = 50)]
    limit: Option<usize>,
    /// Only in this collection.
    collection: Option<CollectionId>,
    /// Only in this document, in its present version.
    document: Option<DocumentId>,
    /// Only in documents of this format, by its usual extension: `pdf`.
    kind: Option<String>,
    /// Only in documents whose name or folder has this in it.
    name: Option<String>,
}

/// Search passages
///
/// By meaning and by word, with why each was found.
#[utoipa::path(
    get,
    path = "/api/knowledge/search",
    tag = "knowledge",
    params(Search),
    responses((status = 200, body = Hits))
)]
pub async fn search_passages(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Query(search): Query<Search>,
) -> Result<Json<Hits>> {
    let limit = search.limit.unwrap_or(LIMIT).clamp(1, MOST);
    let kinds = match &search.kind {
        None => Vec::new(),
        Some(extension) => {
            let kind = Kind::of_extension(extension);
            vec![kind.ok_or_else(|| Error::invalid("There is no such format").remedy("name it as its files end: pdf"))?]
        }
    };
    let filter = Filter {
        collections: search.collection.into_iter().collect(),
        documents: search.document.into_iter().collect(),
        kinds,
        name: search.name.unwrap_or_default(),
    };
    let hits = state.library(&tenant).search_in(&filter, &search.q, limit).await?;
    Ok(Json(Hits { hits: hits.into_iter().map(Into::into).collect() }))
}

/// Show a passage
#[utoipa::path(
    get,
    path = "/api/knowledge/passages/{passage}",
    tag = "knowledge",
    params(("passage" = PassageId, Path)),
    responses((status = 200, body = PassageAnswer))
)]
pub async fn show_passage(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<PassageId>,
) -> Result<Json<PassageAnswer>> {
    let found = state.library(&tenant).passage(id).await?;
    Ok(Json(found.ok_or_else(|| Error::not_found("the passage"))?.into()))
}
