//! Whether the process lives and whether it can work: for systemd, proxies and people.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::support::Result;

/// Tells whether the appliance can answer requests; the application gives it.
#[async_trait]
pub trait Readiness: Send + Sync + 'static {
    /// Succeeds when everything that a request needs is there.
    ///
    /// # Errors
    /// `Unavailable`, with what is missing.
    async fn check(&self) -> Result<()>;
}

/// A readiness check as a router's state.
#[derive(Clone)]
pub struct Ready(pub Arc<dyn Readiness>);

/// `GET /healthz`: the process answers.
pub async fn show_health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: the appliance can work; otherwise 503 and what is missing.
pub async fn show_readiness(State(ready): State<Ready>) -> Result<Json<Value>> {
    ready.0.check().await?;
    Ok(Json(json!({ "status": "ready" })))
}
