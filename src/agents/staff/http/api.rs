//! The staff as JSON.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{StaffState, view::Card};
use crate::{
    accounts::http::InTenant,
    agents::{
        soul::AgentInfo,
        staff::{Draft, Member, Reason, Version},
    },
    http::extract::{self, Path},
    support::Result,
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(
        list_agents, show_agent_as_json, create_agent, super::import::import_agent, change_agent, list_agent_versions,
        restore_agent, set_agent_state
    ),
    tags((name = "agents", description = "Who the agents are"))
)]
pub struct StaffApi;

/// An agent.
#[derive(Serialize, ToSchema)]
pub struct AgentView {
    #[serde(flatten)]
    info: AgentInfo,
    /// Who it is in a sentence, for small models.
    brief: String,
    /// The route of models; none for the default one.
    route: Option<String>,
    /// The tools that it is offered.
    tools: Vec<String>,
    /// Its newest version; 0 for one that nobody has changed.
    version: u32,
    /// Whether it can be asked.
    enabled: bool,
    /// Whether it comes with the appliance.
    built_in: bool,
    /// Where it stands, in words.
    origin: String,
    /// Its profile; in a list it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    soul: Option<String>,
}

impl AgentView {
    pub(super) fn of(member: Member) -> Self {
        let origin = Card::of(&member).origin;
        let Member { profile, enabled, built_in, .. } = member;
        Self {
            info: profile.info,
            brief: profile.brief,
            route: profile.route,
            tools: profile.tools.0,
            version: profile.version,
            soul: Some(profile.soul.text().to_owned()),
            enabled,
            built_in,
            origin,
        }
    }
}

/// All agents.
#[derive(Serialize, ToSchema)]
pub struct AgentList {
    agents: Vec<AgentView>,
}

/// The versions of an agent, the newest first.
#[derive(Serialize, ToSchema)]
pub struct Versions {
    versions: Vec<Version>,
}

/// An agent to be changed.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChangedAgent)]
pub struct Changed {
    /// The version that the change was begun with.
    version: u32,
    /// The agent as it shall be.
    #[serde(flatten)]
    draft: Draft,
}

/// A version that shall hold again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// The newest version, as far as is known.
    base: u32,
    /// The one that shall hold; 0 is the agent as it comes with the appliance.
    version: u32,
}

/// Whether an agent can be asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentState {
    enabled: bool,
}

/// List the agents
#[utoipa::path(get, path = "/api/agents", tag = "agents", responses((status = 200, body = AgentList)))]
pub async fn list_agents(State(state): State<StaffState>, tenant: InTenant) -> Result<Json<AgentList>> {
    let members = state.agents.staff().members(&tenant.db).await?;
    let agents = members.into_iter().map(|member| AgentView { soul: None, ..AgentView::of(member) }).collect();
    Ok(Json(AgentList { agents }))
}

/// Show an agent
#[utoipa::path(
    get, path = "/api/agents/{agent}", tag = "agents",
    params(("agent" = String, Path)), responses((status = 200, body = AgentView))
)]
pub async fn show_agent_as_json(
    State(state): State<StaffState>,
    tenant: InTenant,
    Path(id): Path<String>,
) -> Result<Json<AgentView>> {
    Ok(Json(AgentView::of(state.agents.staff().member(&tenant.db, &id).await?)))
}

/// Add an agent
///
/// Its id is made of its name.
#[utoipa::path(
    post, path = "/api/agents", tag = "agents", request_body = Draft, responses((status = 201, body = AgentView))
)]
pub async fn create_agent(
    State(state): State<StaffState>,
    tenant: InTenant,
    extract::Json(draft): extract::Json<Draft>,
) -> Result<(StatusCode, Json<AgentView>)> {
    let by = tenant.signed_in.actor();
    let member = state.agents.staff().add(&tenant.db, &draft.id(), &draft, Reason::Created, by).await?;
    Ok((StatusCode::CREATED, Json(AgentView::of(member))))
}

/// Change an agent
///
/// 409 when somebody else changed it meanwhile; then nothing is overwritten.
#[utoipa::path(
    post, path = "/api/agents/{agent}", tag = "agents", params(("agent" = String, Path)),
    request_body = Changed, responses((status = 200, body = AgentView))
)]
pub async fn change_agent(
    State(state): State<StaffState>,
    tenant: InTenant,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<Changed>,
) -> Result<Json<AgentView>> {
    let by = tenant.signed_in.actor();
    let member = state.agents.staff().change(&tenant.db, &id, body.version, &body.draft, Reason::Changed, by).await?;
    Ok(Json(AgentView::of(member)))
}

/// List the versions of an agent
#[utoipa::path(
    get, path = "/api/agents/{agent}/versions", tag = "agents",
    params(("agent" = String, Path)), responses((status = 200, body = Versions))
)]
pub async fn list_agent_versions(
    State(state): State<StaffState>,
    tenant: InTenant,
    Path(id): Path<String>,
) -> Result<Json<Versions>> {
    Ok(Json(Versions { versions: state.agents.staff().versions(&tenant.db, &id).await? }))
}

/// Make an earlier version hold again
#[utoipa::path(
    post, path = "/api/agents/{agent}/restore", tag = "agents", params(("agent" = String, Path)),
    request_body = Restored, responses((status = 200, body = AgentView))
)]
pub async fn restore_agent(
    State(state): State<StaffState>,
    tenant: InTenant,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<Restored>,
) -> Result<Json<AgentView>> {
    let by = tenant.signed_in.actor();
    let member = state.agents.staff().restore(&tenant.db, &id, body.base, body.version, by).await?;
    Ok(Json(AgentView::of(member)))
}

/// Switch an agent on or off
#[utoipa::path(
    post, path = "/api/agents/{agent}/state", tag = "agents", params(("agent" = String, Path)),
    request_body = AgentState, responses((status = 204, description = "It is so"))
)]
pub async fn set_agent_state(
    State(state): State<StaffState>,
    tenant: InTenant,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<AgentState>,
) -> Result<StatusCode> {
    state.agents.staff().set_enabled(&tenant.db, &id, body.enabled, tenant.signed_in.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
