//! `/v1/models`: the agents, as OpenAI's clients list models.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{super::Problem, DeveloperState, agent};
use crate::{accounts::http::InTenant, agents::soul::AgentInfo, http::extract::Path};

/// When agents were made is not told: OpenAI's clients want a number, so it is the same for all.
const CREATED: i64 = 1_735_689_600;

/// An agent as a model.
#[derive(Serialize, ToSchema)]
pub struct ModelObject {
    /// How it is addressed: `atlas`.
    id: String,
    /// `model`
    object: &'static str,
    /// Seconds since 1970; always the same.
    created: i64,
    /// `aegis`
    owned_by: &'static str,
    /// Its name: `Atlas`.
    name: String,
    /// What it is for.
    description: String,
}

/// The agents.
#[derive(Serialize, ToSchema)]
pub struct ModelList {
    /// `list`
    object: &'static str,
    /// One for each agent.
    data: Vec<ModelObject>,
}

impl From<AgentInfo> for ModelObject {
    fn from(info: AgentInfo) -> Self {
        let description = format!("{}. {}", info.title, info.summary);
        Self { id: info.id, object: "model", created: CREATED, owned_by: "aegis", name: info.name, description }
    }
}

/// List agents as models
#[utoipa::path(get, path = "/v1/models", tag = "openai", responses((status = 200, body = ModelList)))]
pub async fn list_models(State(state): State<DeveloperState>, tenant: InTenant) -> Result<Json<ModelList>, Problem> {
    let agents = state.agents.agents(&tenant.db).await?;
    Ok(Json(ModelList { object: "list", data: agents.into_iter().map(ModelObject::from).collect() }))
}

/// Show an agent as a model
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    tag = "openai",
    params(("model" = String, Path, description = "The agent: `atlas` or `agent:atlas`")),
    responses((status = 200, body = ModelObject))
)]
pub async fn show_model(
    State(state): State<DeveloperState>,
    tenant: InTenant,
    Path(model): Path<String>,
) -> Result<Json<ModelObject>, Problem> {
    let id = agent(&state, &tenant, &model).await?;
    Ok(Json(state.agents.profile(&tenant.db, &id).await?.info.into()))
}
