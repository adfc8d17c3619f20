//! The knowledge base as JSON.

use axum::{
    Json,
    extract::{Multipart, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{KnowledgeState, upload, view};
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

/// `POST /api/knowledge/documents`: fields `file`, any number. Answers what became of each, in order:
/// `{"files": [{"file", "already_there", "document"} | {"file", "error"}]}`; 202 when at least one was taken.
pub async fn add_documents(
    State(state): State<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
    form: Multipart,
) -> Result<Response> {
    let outcomes = upload::take(&state, &tenant, form).await?;
    let taken = outcomes.iter().any(|outcome| outcome.result.is_ok());
    let files: Vec<Value> = outcomes
        .iter()
        .map(|outcome| match &outcome.result {
            Ok(added) => json!({
                "file": outcome.name,
                "already_there": added.already_there,
                "document": view::document_json(&added.document),
            }),
            Err(error) => json!({ "file": outcome.name, "error": envelope(error, context.request_id())["error"] }),
        })
        .collect();
    let status = if taken { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(json!({ "files": files }))).into_response())
}

/// `GET /api/knowledge/documents`
pub async fn list_documents(State(state): State<KnowledgeState>, tenant: InTenant) -> Result<Response> {
    let documents = state.knowledge.list(&tenant.db).await?;
    let documents: Vec<Value> = documents.iter().map(view::document_json).collect();
    Ok(Json(json!({ "documents": documents })).into_response())
}

/// `DELETE /api/knowledge/documents/{id}`
pub async fn delete_document(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
) -> Result<Response> {
    state.knowledge.remove(&tenant.db, id, Actor::User { id: tenant.signed_in.user.id }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `?q=&limit=`
#[derive(Deserialize)]
pub struct Search {
    q: String,
    limit: Option<usize>,
}

/// `GET /api/knowledge/search`
pub async fn search_passages(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Query(search): Query<Search>,
) -> Result<Response> {
    let limit = search.limit.unwrap_or(LIMIT).clamp(1, MOST);
    let hits = state.knowledge.search(&tenant.db, &search.q, limit).await?;
    let hits: Vec<Value> = hits.iter().map(view::hit_json).collect();
    Ok(Json(json!({ "hits": hits })).into_response())
}

/// `GET /api/knowledge/passages/{id}`
pub async fn show_passage(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<PassageId>,
) -> Result<Response> {
    let found = state.knowledge.passage(&tenant.db, id).await?;
    let passage = found.ok_or_else(|| Error::not_found("the passage"))?;
    Ok(Json(json!({
        "id": passage.id,
        "document_id": passage.document,
        "ordinal": passage.ordinal,
        "locator": passage.locator,
        "text": passage.text,
    }))
    .into_response())
}
