//! Servers of other people's tools: their page under the settings, which works without script, and their API.

mod api;

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};

pub use api::{McpApi, add_mcp_server, choose_mcp_tool, list_mcp_servers, look_at_mcp_server, remove_mcp_server};

use super::{Kind, NewServer, Server, ServerTool, Servers};
use crate::{
    accounts::http::InTenant,
    agents::{Agents, soul::AgentInfo},
    http::{
        self,
        context::RequestContext,
        error::{form_refused, in_sentences, is_of_the_server},
        extract::Form,
        frame::{Frame, Section},
    },
    support::{Error, Result},
};

/// What the handlers of servers need.
#[derive(Clone)]
pub struct McpState {
    /// The use cases.
    pub servers: Servers,
    /// The agents, among whom is chosen.
    pub agents: Agents,
}

/// All servers with their tools, and the form to add one.
#[derive(Template)]
#[template(path = "mcp.html", config = "web/askama.toml")]
struct McpPage {
    frame: Frame,
    tab: &'static str,
    servers: Vec<Server>,
    agents: Vec<AgentInfo>,
    commands: Vec<String>,
    /// What was typed before, by the fields' names.
    typed: BTreeMap<String, String>,
    error: Option<String>,
}

impl McpPage {
    fn typed(&self, field: &str) -> &str {
        self.typed.get(field).map_or("", String::as_str)
    }

    fn uses(tool: &ServerTool, agent: &AgentInfo) -> bool {
        tool.agents.contains(&agent.id)
    }
}

/// `GET /settings/mcp`
pub async fn show_mcp(State(state): State<McpState>, context: RequestContext, tenant: InTenant) -> Result<Response> {
    http::page(&page(&state, &context, &tenant, BTreeMap::new(), None).await?)
}

/// `POST /settings/mcp`: adds, looks at or removes a server, or says who may use a tool, as the field `do` says.
pub async fn change_mcp_by_form(
    State(state): State<McpState>,
    context: RequestContext,
    tenant: InTenant,
    Form(form): Form<BTreeMap<String, String>>,
) -> Result<Response> {
    match change(&state, &tenant, &form).await {
        Ok(()) => Ok(Redirect::to("/settings/mcp").into_response()),
        Err(error) if context.wants_json() || is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let shown = page(&state, &context, &tenant, form, Some(in_sentences(&error))).await?;
            Ok(form_refused(&error, http::page(&shown)?))
        }
    }
}

async fn change(state: &McpState, tenant: &InTenant, form: &BTreeMap<String, String>) -> Result<()> {
    let McpState { servers, agents } = state;
    let (db, by) = (&tenant.db, tenant.signed_in.user.id);
    let field = |name: &str| form.get(name).map(|value| value.trim()).unwrap_or_default();
    let server = field("server");
    match field("do") {
        "look" => servers.look(db, by, server).await,
        "remove" => servers.remove(db, by, server).await,
        "choose" => {
            let chosen: Vec<String> =
                form.keys().filter_map(|name| name.strip_prefix("agent:")).map(str::to_owned).collect();
            let reads = !field("read_only").is_empty();
            servers.choose((db, agents), by, (server, field("tool")), field("fingerprint"), (&chosen, reads)).await
        }
        "add" => {
            let command = field("command");
            let (kind, target) =
                if command.is_empty() { (Kind::Http, field("address")) } else { (Kind::Command, command) };
            let header = (field("header"), field("secret"));
            let headers = match header {
                ("", "") => BTreeMap::new(),
                (header, secret) => BTreeMap::from([(header.to_owned(), secret.to_owned())]),
            };
            let new = NewServer { name: field("name").to_owned(), kind, target: target.to_owned(), headers };
            servers.add(db, by, new).await
        }
        _ => Err(Error::invalid("The form does not say what to do").remedy("Load the page again")),
    }
}

async fn page(
    state: &McpState,
    context: &RequestContext,
    tenant: &InTenant,
    typed: BTreeMap<String, String>,
    error: Option<String>,
) -> Result<McpPage> {
    Ok(McpPage {
        frame: tenant.signed_in.frame(context, "Settings", Section::Settings),
        tab: "mcp",
        servers: state.servers.list(&tenant.db).await?,
        agents: state.agents.agents(&tenant.db).await?,
        commands: state.servers.commands().map(str::to_owned).collect(),
        typed: if typed.get("do").is_some_and(|done| done == "add") { typed } else { BTreeMap::new() },
        error,
    })
}
