//! Models, as the operator at the command line sees them.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use serde::Deserialize;

use super::{Answer, App};
use crate::{
    audit::Actor,
    models::catalogue::{Overview, Trial},
};

pub(super) async fn list_models(State(app): State<App>) -> Json<Overview> {
    Json(app.catalogue.overview().await)
}

#[derive(Deserialize)]
pub(super) struct Tried {
    name: String,
}

pub(super) async fn test_model(State(app): State<App>, Json(tried): Json<Tried>) -> Answer<Json<Trial>> {
    Ok(Json(app.catalogue.test(&tried.name, &Actor::Operator).await?))
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    server: String,
    model: String,
}

/// A line for each step; when the reader goes away, what it began is stopped.
pub(super) async fn pull_model(State(app): State<App>, Json(wanted): Json<Wanted>) -> Answer<Response> {
    let attached = app.catalogue.pull_attached(&wanted.server, &wanted.model, &Actor::Operator)?;
    let lines = attached.progress().map(|pull| {
        serde_json::to_vec(&pull).map(|mut line| {
            line.push(b'\n');
            line
        })
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}
