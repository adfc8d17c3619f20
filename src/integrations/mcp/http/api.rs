//! The API of servers of other people's tools.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::McpState;
use crate::{
    accounts::http::InTenant,
    http::extract::{self, Path},
    integrations::mcp::{Kind, NewServer, Server},
    support::Result,
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(list_mcp_servers, add_mcp_server, look_at_mcp_server, choose_mcp_tool, remove_mcp_server),
    tags((name = "mcp", description = "Servers of other people's tools, and which agents may use them"))
)]
pub struct McpApi;

/// The servers.
#[derive(Serialize, ToSchema)]
pub struct McpServers {
    servers: Vec<Server>,
    /// The programs that the operator allows as servers.
    commands: Vec<String>,
}

/// A server that is to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMcpServer {
    /// What its tools' names begin with.
    #[schema(pattern = "^[a-z][a-z0-9-]{0,31}$")]
    name: String,
    /// How it is reached.
    kind: Kind,
    /// The address, or the command's name.
    #[schema(min_length = 1, max_length = 2000)]
    target: String,
    /// Headers that it is shown, each with the name of the secret that holds the value.
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// Who may use a tool.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct McpChoice {
    /// The tool, as its server calls it.
    tool: String,
    /// The fingerprint of the description that was looked at.
    fingerprint: String,
    /// The agents; none: nobody.
    agents: Vec<String>,
    /// Whether it only reads, so that no leave is asked for it.
    #[serde(default)]
    read_only: bool,
}

/// List the servers
#[utoipa::path(get, path = "/api/mcp", tag = "mcp", responses((status = 200, body = McpServers)))]
pub async fn list_mcp_servers(State(state): State<McpState>, tenant: InTenant) -> Result<Json<McpServers>> {
    shown(&state, &tenant).await
}

/// Add a server
///
/// It is asked for its tools at once; what goes wrong then stands in its `problem`. No agent may use anything of it yet.
#[utoipa::path(
    post, path = "/api/mcp", tag = "mcp", request_body = NewMcpServer, responses((status = 200, body = McpServers))
)]
pub async fn add_mcp_server(
    State(state): State<McpState>,
    tenant: InTenant,
    extract::Json(body): extract::Json<NewMcpServer>,
) -> Result<Json<McpServers>> {
    let NewMcpServer { name, kind, target, headers } = body;
    let new = NewServer { name, kind, target, headers };
    state.servers.add(&tenant.db, tenant.signed_in.user.id, new).await?;
    shown(&state, &tenant).await
}

/// Ask a server for its tools
///
/// A tool that is described otherwise than before loses everybody who could use it.
#[utoipa::path(
    post, path = "/api/mcp/{server}/look", tag = "mcp", params(("server" = String, Path, description = "The server")),
    responses((status = 200, body = McpServers))
)]
pub async fn look_at_mcp_server(
    State(state): State<McpState>,
    tenant: InTenant,
    Path(server): Path<String>,
) -> Result<Json<McpServers>> {
    state.servers.look(&tenant.db, tenant.signed_in.user.id, &server).await?;
    shown(&state, &tenant).await
}

/// Say who may use a tool
#[utoipa::path(
    post, path = "/api/mcp/{server}/tools", tag = "mcp", params(("server" = String, Path, description = "The server")),
    request_body = McpChoice, responses((status = 200, body = McpServers))
)]
pub async fn choose_mcp_tool(
    State(state): State<McpState>,
    tenant: InTenant,
    Path(server): Path<String>,
    extract::Json(body): extract::Json<McpChoice>,
) -> Result<Json<McpServers>> {
    let McpChoice { tool, fingerprint, agents, read_only } = body;
    let by = tenant.signed_in.user.id;
    let who = (&tenant.db, &state.agents);
    state.servers.choose(who, by, (&server, &tool), &fingerprint, (&agents, read_only)).await?;
    shown(&state, &tenant).await
}

/// Remove a server
#[utoipa::path(
    delete, path = "/api/mcp/{server}", tag = "mcp", params(("server" = String, Path, description = "The server")),
    responses((status = 200, body = McpServers))
)]
pub async fn remove_mcp_server(
    State(state): State<McpState>,
    tenant: InTenant,
    Path(server): Path<String>,
) -> Result<Json<McpServers>> {
    state.servers.remove(&tenant.db, tenant.signed_in.user.id, &server).await?;
    shown(&state, &tenant).await
}

async fn shown(state: &McpState, tenant: &InTenant) -> Result<Json<McpServers>> {
    let servers = state.servers.list(&tenant.db).await?;
    Ok(Json(McpServers { servers, commands: state.servers.commands().map(str::to_owned).collect() }))
}
