//! The knowledge base as JSON.

use axum::{
    Json,
    extract::{Multipart, State},
    http::StatusCode,
};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{
    KnowledgeState,
    answer::{Documents, Hits, PassageAnswer, Uploaded, UploadedFile},
    upload,
};
use crate::{
    accounts::http::InTenant,
    audit::Actor,
    http::{
        context::RequestContext,
        error::envelope,
        extract::{Path, Query},
    },
    support::{
        Error, Result,
        ids::{DocumentId, PassageId},
    },
};

/// How many passages a search gives unless told.
const LIMIT: usize = 10;
/// The most that it gives.
const MOST: usize = 50;

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(add_documents, list_documents, delete_document, search_passages, show_passage),
    tags((name = "knowledge", description = "Documents and what they say"))
)]
pub struct KnowledgeApi;

/// Files to add.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read as a stream")]
struct Files {
    /// Any number of files: PDF, DOCX, Markdown, text.
    #[schema(content_media_type = "application/octet-stream")]
    file: Vec<String>,
}

/// Add documents
///
/// They are read and embedded in the background. Answers what became of each file, in order; 202 when at least one
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

/// List documents
#[utoipa::path(
    get,
    path = "/api/knowledge/documents",
    tag = "knowledge",
    responses((status = 200, description = "By name", body = Documents))
)]
pub async fn list_documents(State(state): State<KnowledgeState>, tenant: InTenant) -> Result<Json<Documents>> {
    let documents = state.knowledge.list(&tenant.db).await?;
    Ok(Json(Documents { documents: documents.into_iter().map(Into::into).collect() }))
}

/// Delete a document
///
/// With its original, its passages and their vectors.
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
    state.knowledge.remove(&tenant.db, id, Actor::User { id: tenant.signed_in.user.id }).await?;
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
}

/// Search passages
///
/// By meaning and by word.
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
    let hits = state.knowledge.search(&tenant.db, &search.q, limit).await?;
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
    let found = state.knowledge.passage(&tenant.db, id).await?;
    Ok(Json(found.ok_or_else(|| Error::not_found("the passage"))?.into()))
}
