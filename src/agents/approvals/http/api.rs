//! Approvals as JSON.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

use super::{ApprovalsState, decider};
use crate::{
    accounts::http::InTenant,
    agents::approvals::{Approval, Decision},
    http::extract,
    support::{Result, ids::ApprovalId},
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(list_approvals, show_approval, decide_approval),
    tags((name = "approvals", description = "What agents have asked leave for"))
)]
pub struct ApprovalsApi;

/// What one may decide, and what was decided last.
#[derive(Serialize, ToSchema)]
pub struct Approvals {
    /// The oldest first.
    pending: Vec<Approval>,
    /// The newest first.
    decided: Vec<Approval>,
}

/// What is decided.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It is done.
    Allow,
    /// It is not done.
    Deny,
}

/// A decision.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionBody {
    decision: Word,
    /// What is sent in place of what the agent wanted to send.
    #[schema(value_type = Option<Object>)]
    arguments: Option<Value>,
    /// Whether the agent need not ask again for this tool. Needs `agents:manage`.
    #[serde(default)]
    always: bool,
    /// Why it is denied; the agent reads it.
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

/// List approvals
///
/// What is asked in one's own runs; in anybody's with `approvals:decide`.
#[utoipa::path(get, path = "/api/approvals", tag = "approvals", responses((status = 200, body = Approvals)))]
pub async fn list_approvals(State(state): State<ApprovalsState>, tenant: InTenant) -> Result<Json<Approvals>> {
    let (pending, decided) = state.agents.approvals(&tenant.db, decider(&tenant.signed_in)).await?;
    Ok(Json(Approvals { pending, decided }))
}

/// Show an approval
#[utoipa::path(
    get,
    path = "/api/approvals/{approval}",
    tag = "approvals",
    params(("approval" = ApprovalId, Path)),
    responses((status = 200, body = Approval))
)]
pub async fn show_approval(
    State(state): State<ApprovalsState>,
    tenant: InTenant,
    extract::Path(id): extract::Path<ApprovalId>,
) -> Result<Json<Approval>> {
    Ok(Json(state.agents.approval(&tenant.db, decider(&tenant.signed_in), id).await?))
}

/// Allow or deny
///
/// The run goes on as soon as nothing else in it waits. 409 when it is decided already or too late.
#[utoipa::path(
    post,
    path = "/api/approvals/{approval}",
    tag = "approvals",
    params(("approval" = ApprovalId, Path)),
    request_body = DecisionBody,
    responses((status = 200, body = Approval))
)]
pub async fn decide_approval(
    State(state): State<ApprovalsState>,
    tenant: InTenant,
    extract::Path(id): extract::Path<ApprovalId>,
    extract::Json(body): extract::Json<DecisionBody>,
) -> Result<Json<Approval>> {
    let decision = match body.decision {
        Word::Allow => Decision::Allow { edited: body.arguments, always: body.always },
        Word::Deny => Decision::Deny { reason: body.reason },
    };
    Ok(Json(state.agents.decide(&tenant.db, decider(&tenant.signed_in), id, decision).await?))
}
