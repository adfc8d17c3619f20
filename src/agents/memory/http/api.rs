//! What is remembered, as JSON.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{MemoryState, subject, viewer};
use crate::{
    accounts::http::InTenant,
    agents::memory::{Fact, FactKind},
    audit::Actor,
    http::extract::{self, Path, Query},
    support::{Result, ids::MemoryId},
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(list_memories, add_memory, change_memory, confirm_memory, forget_memory, forget_everything),
    tags((name = "memory", description = "What agents remember of oneself, of their own work and for everybody"))
)]
pub struct MemoryApi;

/// What is remembered.
#[derive(Serialize, ToSchema)]
pub struct Memories {
    memories: Vec<Fact>,
}

/// What to look for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// What it is about, in words or by meaning; everything otherwise.
    #[serde(default)]
    #[param(required = false, max_length = 2000)]
    q: String,
}

/// Something to be remembered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMemory {
    /// One sentence, 8 to 500 characters.
    #[schema(min_length = 1, max_length = 2000)]
    text: String,
    /// `fact` unless told otherwise.
    #[serde(default)]
    kind: FactKind,
    /// `me` (unless told otherwise), `organisation`, or `agent:` and its id; the latter two need `agents:manage`.
    #[serde(default)]
    about: String,
}

/// What something shall say.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedMemory {
    /// One sentence, 8 to 500 characters.
    #[schema(min_length = 1, max_length = 2000)]
    text: String,
    #[serde(default)]
    kind: FactKind,
}

/// How much was forgotten.
#[derive(Serialize, ToSchema)]
pub struct Forgotten {
    forgotten: usize,
}

/// List what is remembered
///
/// Of oneself, and what agents tell everybody. Never of somebody else.
#[utoipa::path(
    get, path = "/api/memory", tag = "memory", params(Search), responses((status = 200, body = Memories))
)]
pub async fn list_memories(
    State(state): State<MemoryState>,
    tenant: InTenant,
    Query(search): Query<Search>,
) -> Result<Json<Memories>> {
    let memories = state.memory.list(&tenant.db, viewer(&tenant.signed_in), &search.q).await?;
    Ok(Json(Memories { memories }))
}

/// Have something remembered
///
/// What says nearly the same as something that is known takes its place.
#[utoipa::path(
    post, path = "/api/memory", tag = "memory", request_body = NewMemory, responses((status = 201, body = Fact))
)]
pub async fn add_memory(
    State(state): State<MemoryState>,
    tenant: InTenant,
    extract::Json(body): extract::Json<NewMemory>,
) -> Result<(StatusCode, Json<Fact>)> {
    let subject = subject(&state, &tenant, &body.about).await?;
    let fact = state.memory.add(&tenant.db, viewer(&tenant.signed_in), subject, body.text, body.kind).await?;
    Ok((StatusCode::CREATED, Json(fact)))
}

/// Change what is remembered
#[utoipa::path(
    post, path = "/api/memory/{memory}", tag = "memory", params(("memory" = MemoryId, Path)),
    request_body = ChangedMemory, responses((status = 200, body = Fact))
)]
pub async fn change_memory(
    State(state): State<MemoryState>,
    tenant: InTenant,
    Path(id): Path<MemoryId>,
    extract::Json(body): extract::Json<ChangedMemory>,
) -> Result<Json<Fact>> {
    Ok(Json(state.memory.change(&tenant.db, viewer(&tenant.signed_in), id, &body.text, body.kind).await?))
}

/// Confirm what an agent noted
///
/// From then on it is told to everybody whom it concerns.
#[utoipa::path(
    post, path = "/api/memory/{memory}/confirm", tag = "memory", params(("memory" = MemoryId, Path)),
    responses((status = 200, body = Fact))
)]
pub async fn confirm_memory(
    State(state): State<MemoryState>,
    tenant: InTenant,
    Path(id): Path<MemoryId>,
) -> Result<Json<Fact>> {
    Ok(Json(state.memory.confirm(&tenant.db, viewer(&tenant.signed_in), id).await?))
}

/// Forget something
#[utoipa::path(
    delete, path = "/api/memory/{memory}", tag = "memory", params(("memory" = MemoryId, Path)),
    responses((status = 204, description = "It is forgotten"))
)]
pub async fn forget_memory(
    State(state): State<MemoryState>,
    tenant: InTenant,
    Path(id): Path<MemoryId>,
) -> Result<StatusCode> {
    state.memory.forget(&tenant.db, viewer(&tenant.signed_in), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forget everything about oneself
///
/// What is remembered of oneself, what was learned in one's conversations, and the summaries of those.
#[utoipa::path(delete, path = "/api/memory", tag = "memory", responses((status = 200, body = Forgotten)))]
pub async fn forget_everything(State(state): State<MemoryState>, tenant: InTenant) -> Result<Json<Forgotten>> {
    let user = tenant.signed_in.user.id;
    let forgotten = state.memory.forget_person(&tenant.db, user, Actor::User { id: user }).await?;
    Ok(Json(Forgotten { forgotten }))
}
