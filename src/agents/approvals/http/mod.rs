//! What agents have asked leave for: its page, which works without script, and its API.

mod api;
pub(in crate::agents) mod view;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

pub use api::{ApprovalsApi, decide_approval, list_approvals, show_approval};
use view::Card;

use super::{Decider, Decision};
use crate::{
    accounts::{Accounts, Permission, SignedIn, http::InTenant},
    agents::Agents,
    http::{
        self,
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::{Form, Path},
        frame::{Frame, Section},
    },
    support::{
        Error, Kind, Result,
        clock::SharedClock,
        ids::{ApprovalId, UserId},
    },
};

/// What the handlers of approvals need.
#[derive(Clone)]
pub struct ApprovalsState {
    /// The use cases.
    pub agents: Agents,
    /// For names.
    pub accounts: Accounts,
    /// The time.
    pub clock: SharedClock,
}

/// What waits, and what was decided last.
#[derive(Template)]
#[template(path = "approvals.html", config = "web/askama.toml")]
struct ApprovalsPage {
    frame: Frame,
    pending: Vec<Card>,
    decided: Vec<Card>,
    /// Why a decision was not taken.
    error: Option<String>,
}

/// A decision as a form sends it.
#[derive(Deserialize)]
pub struct DecisionForm {
    decision: String,
    #[serde(default)]
    arguments: String,
    #[serde(default)]
    reason: String,
    /// `chat` from the card in a conversation.
    #[serde(default)]
    from: String,
}

/// `GET /approvals`
pub async fn show_approvals(
    State(state): State<ApprovalsState>,
    context: RequestContext,
    tenant: InTenant,
) -> Result<Response> {
    http::page(&page(&state, &context, &tenant).await?)
}

/// `POST /approvals/{approval}`: allows or denies it.
pub async fn decide_by_form(
    State(state): State<ApprovalsState>,
    context: RequestContext,
    tenant: InTenant,
    Path(id): Path<ApprovalId>,
    Form(form): Form<DecisionForm>,
) -> Result<Response> {
    let by = decider(&tenant.signed_in);
    let decided = async {
        let asked = state.agents.approval(&tenant.db, by, id).await?;
        let decision = decision(&form, &asked.arguments)?;
        state.agents.decide(&tenant.db, by, id, decision).await
    };
    match decided.await {
        Ok(approval) if form.from == "chat" => {
            Ok(Redirect::to(&format!("/chat/{}", approval.conversation)).into_response())
        }
        Ok(_) => Ok(Redirect::to("/approvals").into_response()),
        Err(error)
            if context.wants_json() || matches!(error.kind(), Kind::Internal | Kind::Unavailable | Kind::NotFound) =>
        {
            Err(error)
        }
        Err(error) => {
            let mut page = page(&state, &context, &tenant).await?;
            page.error = Some(in_sentences(&error));
            if let Some(card) = page.pending.iter_mut().find(|card| card.id == id) {
                form.arguments.clone_into(&mut card.editable);
                form.reason.clone_into(&mut card.reason);
                card.open = true;
            }
            Ok(form_refused(&error, http::page(&page)?))
        }
    }
}

fn decision(form: &DecisionForm, asked: &serde_json::Value) -> Result<Decision> {
    if form.decision == "deny" {
        return Ok(Decision::Deny { reason: Some(form.reason.clone()) });
    }
    if !matches!(form.decision.as_str(), "allow" | "always") {
        return Err(Error::invalid("Nothing was decided").remedy("Allow or deny it"));
    }
    let edited = match form.arguments.trim() {
        "" => None,
        text => {
            let edited: serde_json::Value = serde_json::from_str(text).map_err(|wrong| {
                Error::invalid(format!("What is to be sent is not JSON any more: {wrong}"))
                    .remedy("Correct it, or allow it as it was")
            })?;
            Some(edited).filter(|edited| edited != asked)
        }
    };
    Ok(Decision::Allow { edited, always: form.decision == "always" })
}

/// What somebody who is signed in may decide.
pub(in crate::agents) fn decider(signed_in: &SignedIn) -> Decider {
    Decider {
        user: signed_in.user.id,
        anybodys: signed_in.may(Permission::ApprovalsDecide),
        manages: signed_in.may(Permission::AgentsManage),
    }
}

async fn page(state: &ApprovalsState, context: &RequestContext, tenant: &InTenant) -> Result<ApprovalsPage> {
    let by = decider(&tenant.signed_in);
    let (pending, decided) = state.agents.approvals(&tenant.db, by).await?;
    let people: Vec<UserId> = pending
        .iter()
        .chain(&decided)
        .flat_map(|approval| [Some(approval.asked_by), approval.decided_by])
        .flatten()
        .collect();
    let names = state.accounts.names(tenant.db.tenant(), &people).await?;
    let agents = state.agents.agents(&tenant.db).await?;
    let now = state.clock.now();
    let card = |approval| view::card(approval, by, &agents, &names, now);
    let mut frame = tenant.signed_in.frame(context, "Approvals", Section::Approvals);
    frame.waiting = i64::try_from(pending.len()).unwrap_or(i64::MAX);
    Ok(ApprovalsPage {
        frame,
        pending: pending.into_iter().map(card).collect(),
        decided: decided.into_iter().map(card).collect(),
        error: None,
    })
}
