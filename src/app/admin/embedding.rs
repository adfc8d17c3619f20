//! The embedding model of a tenant's documents, as the operator at the command line sees and changes it.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;

use super::{Answer, App, open};
use crate::{audit::Actor, knowledge::embedding::http::EmbeddingState};

/// Which model; the configuration's unless told.
#[derive(Deserialize)]
pub(super) struct Wanted {
    model: Option<String>,
}

/// `GET /tenants/{slug}/embedding`
pub(super) async fn show_embedding(State(app): State<App>, Path(slug): Path<String>) -> Answer<Json<EmbeddingState>> {
    let db = open(&app, &slug).await?;
    let shown = app.knowledge.embedding().state(&db).await?;
    Ok(Json(EmbeddingState::of(shown, app.clock.now())))
}

/// `POST /tenants/{slug}/embedding`: the operator may name any model that the configuration can open.
pub(super) async fn change_embedding(
    State(app): State<App>,
    Path(slug): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Answer<Json<EmbeddingState>> {
    let db = open(&app, &slug).await?;
    let changed = app.knowledge.embedding().change(&db, wanted.model.as_deref(), Actor::Operator).await?;
    Ok(Json(EmbeddingState::of(changed, app.clock.now())))
}

/// `POST /tenants/{slug}/embedding/cancel`
pub(super) async fn cancel_reembedding(
    State(app): State<App>,
    Path(slug): Path<String>,
) -> Answer<Json<EmbeddingState>> {
    let db = open(&app, &slug).await?;
    let changed = app.knowledge.embedding().cancel(&db, Actor::Operator).await?;
    Ok(Json(EmbeddingState::of(changed, app.clock.now())))
}
