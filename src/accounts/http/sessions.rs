//! Where one is signed in, and in which organisation.

use askama::Template;
use axum::{
    extract::State,
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{AccountsState, enter};
use crate::{
    accounts::{SessionInfo, SignedIn},
    http::{
        context::RequestContext,
        cookie::KitCookie,
        extract::{Form, Path, Query},
        format,
        frame::{Frame, Section},
        page,
    },
    support::{Result, ids::SessionId},
};

/// The page of one's sessions.
#[derive(Template)]
#[template(path = "sessions.html", config = "web/askama.toml")]
struct SessionsPage {
    frame: Frame,
    tab: &'static str,
    email: String,
    sessions: Vec<SessionRow>,
    /// How many others there are.
    others: usize,
    /// How many were just ended.
    ended: Option<usize>,
    /// Whether to tell in which organisation a session works.
    several: bool,
}

struct SessionRow {
    id: SessionId,
    browser: String,
    address: String,
    organisation: String,
    started: Moment,
    seen: Moment,
    current: bool,
}

/// A moment for people and for machines.
pub(super) struct Moment {
    pub(super) told: String,
    pub(super) at: String,
}

impl Moment {
    /// A moment, told from now.
    pub(super) fn ago(now: DateTime<Utc>, then: DateTime<Utc>) -> Self {
        Self { told: format::ago(now, then), at: format::machine(then) }
    }
}

/// How many sessions were just ended.
#[derive(Debug, Deserialize)]
pub struct SessionsQuery {
    ended: Option<usize>,
}

/// The form that moves the session to another organisation.
#[derive(Debug, Deserialize)]
pub struct SwitchForm {
    tenant: String,
}

/// `GET /account/sessions`: where one is signed in.
pub async fn show_sessions(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Query(query): Query<SessionsQuery>,
) -> Result<Response> {
    let now = state.accounts.now();
    let sessions = state.accounts.sessions_of(&signed_in).await?;
    page(&SessionsPage {
        frame: signed_in.frame(&context, "Sessions", Section::Elsewhere),
        tab: "sessions",
        email: signed_in.user.email.to_string(),
        others: sessions.iter().filter(|session| !session.current).count(),
        ended: query.ended,
        several: !signed_in.elsewhere().is_empty(),
        sessions: sessions.into_iter().map(|session| row(session, now)).collect(),
    })
}

/// `POST /account/sessions/{session}/end`: ends one; one's own leads to the sign-in page.
pub async fn end_session(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(session): Path<SessionId>,
) -> Result<Response> {
    state.accounts.end_session(&signed_in, session).await?;
    if signed_in.session() == Some(session) {
        let forget = context.kit().set_cookie(KitCookie::Session, "", 0)?;
        return Ok((AppendHeaders([forget]), Redirect::to("/sign-in")).into_response());
    }
    Ok(Redirect::to("/account/sessions?ended=1").into_response())
}

/// `POST /account/sessions/end-others`: ends all but this one.
pub async fn end_other_sessions(State(state): State<AccountsState>, signed_in: SignedIn) -> Result<Response> {
    let ended = state.accounts.end_other_sessions(&signed_in).await?;
    Ok(Redirect::to(&format!("/account/sessions?ended={ended}")).into_response())
}

/// `POST /switch`: on in another organisation, from its start.
pub async fn switch_tenant(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<SwitchForm>,
) -> Result<Response> {
    let session = state.accounts.switch(&signed_in, &form.tenant.parse()?).await?;
    enter(&context, &session, "/")
}

fn row(session: SessionInfo, now: DateTime<Utc>) -> SessionRow {
    SessionRow {
        id: session.id,
        browser: session.browser,
        address: session.address.unwrap_or_else(|| "unknown address".to_owned()),
        organisation: session.organisation,
        started: Moment::ago(now, session.started_at),
        seen: Moment::ago(now, session.last_seen_at),
        current: session.current,
    }
}
