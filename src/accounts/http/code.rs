//! The second step of signing in: the page that asks for a code.

use askama::Template;
use axum::{
    extract::State,
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{AccountsState, LocalPath, client, enter, is_of_the_server, show_form};
use crate::{
    accounts::{
        ClientInfo,
        second_factor::{PENDING_SECONDS, Pending},
    },
    http::{
        context::RequestContext,
        cookie::KitCookie,
        error::{form_refused, in_sentences},
        extract::{Form, Query},
        frame::Frame,
        page,
    },
    support::{Kind, Result},
};

/// The page that asks for a code.
#[derive(Template)]
#[template(path = "code.html", config = "web/askama.toml")]
struct CodePage {
    frame: Frame,
    /// Where to go afterwards.
    next: String,
    /// Why it did not work.
    error: Option<String>,
    /// Whether this page cannot help any more.
    over: bool,
}

/// Where to go afterwards.
#[derive(Debug, Deserialize)]
pub struct CodeQuery {
    #[serde(default)]
    next: String,
}

/// The form for the code.
#[derive(Deserialize)]
pub struct CodeForm {
    code: String,
    #[serde(default)]
    next: String,
}

/// Sends a browser whose password was right on to the question for a code.
pub(super) fn ask(context: &RequestContext, pending: &Pending, next: &LocalPath) -> Result<Response> {
    let cookie = context.kit().set_cookie(KitCookie::Pending, &pending.token, PENDING_SECONDS)?;
    Ok((AppendHeaders([cookie]), Redirect::to(&next.through("/sign-in/code"))).into_response())
}

/// `GET /sign-in/code`: the form, for a browser whose password was right within the last five minutes.
pub async fn show_code(
    State(state): State<AccountsState>,
    context: RequestContext,
    Query(query): Query<CodeQuery>,
) -> Result<Response> {
    let next = LocalPath::or_start(&query.next);
    let is_pending = match context.pending_token() {
        Some(token) => state.accounts.is_pending(token).await?,
        None => false,
    };
    if !is_pending {
        return Ok(Redirect::to(&next.through_sign_in()).into_response());
    }
    show_form(&context, |frame| page(&CodePage { frame, next: next.as_str().to_owned(), error: None, over: false }))
}

/// `POST /sign-in/code`: a new session, and on to where the person was going.
pub async fn check_code(
    State(state): State<AccountsState>,
    context: RequestContext,
    Form(form): Form<CodeForm>,
) -> Result<Response> {
    let next = LocalPath::or_start(&form.next);
    let client = ClientInfo { invitation: next.invitation().map(str::to_owned), ..client(&context) };
    let token = context.pending_token().unwrap_or_default();
    match state.accounts.complete_sign_in(token, &form.code, &client).await {
        Ok(session) => {
            let forget = context.kit().set_cookie(KitCookie::Pending, "", 0)?;
            Ok((AppendHeaders([forget]), enter(&context, &session, next.as_str())?).into_response())
        }
        Err(error) if context.wants_json() || is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let frame = Frame::public(&context, "Sign in");
            let over = error.kind() == Kind::Unauthenticated;
            let next = if over { next.through_sign_in() } else { next.as_str().to_owned() };
            Ok(form_refused(&error, page(&CodePage { frame, next, error: Some(in_sentences(&error)), over })?))
        }
    }
}
