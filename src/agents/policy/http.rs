//! What agents may do without asking: the page under the settings, which works without script, and its API.

use askama::Template;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{AfterUntrusted, Policy, Rule, ToolInfo};
use crate::{
    accounts::http::InTenant,
    agents::{approvals::http::ApprovalsState, soul::AgentInfo, tool::Effects},
    http::{
        self,
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::{self, Form},
        frame::{Frame, Section},
    },
    support::{Kind, Result},
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(list_tools, set_policy),
    tags((name = "tools", description = "What agents can call, and what they may do without asking"))
)]
pub struct ToolsApi;

/// The tools and the rules.
#[derive(Serialize, ToSchema)]
pub struct Tools {
    tools: Vec<ToolInfo>,
    policies: Vec<Policy>,
}

/// A rule to be set, or to be taken back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyBody {
    /// The tool's name.
    #[schema(min_length = 1, max_length = 200)]
    tool: String,
    /// For one agent; left out: for all that have no rule of their own.
    agent: Option<String>,
    /// Left out: the usual holds again.
    rule: Option<Rule>,
    /// What `allow` means in a run that has read what others wrote.
    #[serde(default)]
    after_untrusted: AfterUntrusted,
}

/// The table of tools and rules.
#[derive(Template)]
#[template(path = "tools.html", config = "web/askama.toml")]
struct ToolsPage {
    frame: Frame,
    tab: &'static str,
    tools: Vec<Row>,
    agents: Vec<AgentInfo>,
    error: Option<String>,
}

/// A tool with its rules.
struct Row {
    name: String,
    description: String,
    /// What it does, in words.
    does: &'static str,
    /// Whether what it gives back taints a run.
    untrusted: bool,
    outside: bool,
    /// That of all agents.
    all: Choice,
    /// Those of single agents.
    own: Vec<(AgentInfo, Choice)>,
}

/// What is chosen in a form.
struct Choice {
    /// `usual`, `allow`, `ask`, `deny`
    rule: &'static str,
    trusted: bool,
    /// What the usual is, in words.
    usual: &'static str,
}

/// A rule as a form sends it.
#[derive(Deserialize)]
pub struct PolicyForm {
    tool: String,
    #[serde(default)]
    agent: String,
    rule: String,
    #[serde(default)]
    trusted: String,
}

/// `GET /settings/tools`
pub async fn show_tools(
    State(state): State<ApprovalsState>,
    context: RequestContext,
    tenant: InTenant,
) -> Result<Response> {
    http::page(&page(&state, &context, &tenant, None).await?)
}

/// `POST /settings/tools`: sets a rule, or takes it back.
pub async fn set_policy_by_form(
    State(state): State<ApprovalsState>,
    context: RequestContext,
    tenant: InTenant,
    Form(form): Form<PolicyForm>,
) -> Result<Response> {
    let rule = match form.rule.as_str() {
        "allow" => Some(Rule::Allow),
        "ask" => Some(Rule::Ask),
        "deny" => Some(Rule::Deny),
        _ => None,
    };
    let after = if form.trusted.is_empty() { AfterUntrusted::Ask } else { AfterUntrusted::Allow };
    let agent = Some(form.agent.as_str()).filter(|agent| !agent.is_empty());
    let user = tenant.signed_in.user.id;
    let rule = rule.map(|rule| (rule, after));
    match state.agents.set_policy(&tenant.db, user, &form.tool, agent, rule).await {
        Ok(()) => Ok(Redirect::to("/settings/tools").into_response()),
        Err(error) if context.wants_json() || matches!(error.kind(), Kind::Internal | Kind::Unavailable) => Err(error),
        Err(error) => {
            let shown = page(&state, &context, &tenant, Some(in_sentences(&error))).await?;
            Ok(form_refused(&error, http::page(&shown)?))
        }
    }
}

/// List tools
///
/// The tools that agents here can call, and the rules that were set for them.
#[utoipa::path(get, path = "/api/tools", tag = "tools", responses((status = 200, body = Tools)))]
pub async fn list_tools(State(state): State<ApprovalsState>, tenant: InTenant) -> Result<Json<Tools>> {
    Ok(Json(tools(&state, &tenant).await?))
}

/// Set a rule
#[utoipa::path(
    post,
    path = "/api/tools/policies",
    tag = "tools",
    request_body = PolicyBody,
    responses((status = 200, body = Tools))
)]
pub async fn set_policy(
    State(state): State<ApprovalsState>,
    tenant: InTenant,
    extract::Json(body): extract::Json<PolicyBody>,
) -> Result<Json<Tools>> {
    let PolicyBody { tool, agent, rule, after_untrusted } = body;
    let user = tenant.signed_in.user.id;
    let rule = rule.map(|rule| (rule, after_untrusted));
    state.agents.set_policy(&tenant.db, user, &tool, agent.as_deref(), rule).await?;
    Ok(Json(tools(&state, &tenant).await?))
}

async fn tools(state: &ApprovalsState, tenant: &InTenant) -> Result<Tools> {
    Ok(Tools {
        tools: state.agents.tools(&tenant.db, tenant.signed_in.user.id).await?,
        policies: state.agents.policies(&tenant.db).await?,
    })
}

async fn page(
    state: &ApprovalsState,
    context: &RequestContext,
    tenant: &InTenant,
    error: Option<String>,
) -> Result<ToolsPage> {
    let Tools { tools, policies } = tools(state, tenant).await?;
    let agents = state.agents.agents(&tenant.db).await?;
    let mut rows: Vec<Row> = tools.into_iter().map(|tool| row(tool, &policies, &agents)).collect();
    // A tool that is not there now may come back: its rules stay in sight.
    for policy in &policies {
        if rows.iter().all(|row| row.name != policy.tool) {
            let (name, effects) = (policy.tool.clone(), Effects::Outside);
            let gone = ToolInfo { name, description: "Not there at the moment.".to_owned(), effects, untrusted: false };
            rows.push(row(gone, &policies, &agents));
        }
    }
    let frame = tenant.signed_in.frame(context, "Settings", Section::Settings);
    Ok(ToolsPage { frame, tab: "tools", tools: rows, agents, error })
}

fn row(tool: ToolInfo, policies: &[Policy], agents: &[AgentInfo]) -> Row {
    let usual = if tool.effects == Effects::Outside { "ask" } else { "allow" };
    let of = |agent: Option<&str>, usual| {
        let set = policies.iter().find(|policy| policy.tool == tool.name && policy.agent.as_deref() == agent);
        Choice {
            rule: set.map_or("usual", |policy| word(policy.rule)),
            trusted: set.is_some_and(|policy| policy.after_untrusted == AfterUntrusted::Allow),
            usual,
        }
    };
    let own = agents.iter().filter(|agent| {
        policies.iter().any(|policy| policy.tool == tool.name && policy.agent.as_deref() == Some(&agent.id))
    });
    Row {
        all: of(None, usual),
        own: own.map(|agent| (agent.clone(), of(Some(&agent.id), "as for all"))).collect(),
        does: match tool.effects {
            Effects::None => "reads",
            Effects::Own => "changes what agents keep",
            Effects::Outside => "reaches outside",
        },
        untrusted: tool.untrusted,
        outside: tool.effects == Effects::Outside,
        description: tool.description,
        name: tool.name,
    }
}

fn word(rule: Rule) -> &'static str {
    match rule {
        Rule::Allow => "allow",
        Rule::Ask => "ask",
        Rule::Deny => "deny",
    }
}
