//! Signing in and out.

use askama::Template;
use axum::{
    extract::State,
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{AccountsState, LocalPath, client, code, enter, extract, is_of_the_server, show_form};
use crate::{
    accounts::{ClientInfo, Password, SignedIn, oidc::Offer, second_factor::Entered},
    http::{
        context::RequestContext,
        cookie::KitCookie,
        error::{form_refused, in_sentences},
        extract::{Form, Query},
        frame::Frame,
        page,
    },
    support::{Error, Result},
};

/// The page for signing in.
#[derive(Template)]
#[template(path = "sign_in.html", config = "web/askama.toml")]
struct SignInPage {
    frame: Frame,
    /// What was typed before.
    email: String,
    /// Where to go afterwards.
    next: String,
    /// Whether the browser shall stay signed in.
    remember: bool,
    /// Why it did not work.
    error: Option<String>,
    /// Other people's pages that one may sign in through.
    offers: Vec<Offer>,
}

/// Where to go after signing in.
#[derive(Debug, Deserialize)]
pub struct SignInQuery {
    #[serde(default)]
    next: String,
}

/// The form for signing in.
#[derive(Deserialize)]
pub struct SignInForm {
    email: String,
    password: String,
    #[serde(default)]
    next: String,
    /// Present when the box is ticked.
    remember: Option<String>,
}

/// `GET /sign-in`: the form; whoever is signed in already goes on, and a new appliance is set up first.
pub async fn show_sign_in(
    State(state): State<AccountsState>,
    context: RequestContext,
    Query(query): Query<SignInQuery>,
) -> Result<Response> {
    let next = LocalPath::or_start(&query.next);
    if extract::current(&state, &context).await?.is_some() {
        return Ok(Redirect::to(next.as_str()).into_response());
    }
    if !state.accounts.is_set_up().await? {
        return Ok(Redirect::to("/setup").into_response());
    }
    show_form(&context, |frame| page(&SignInPage::new(&state, frame, &next)))
}

/// The page again, with why signing in elsewhere did not work.
pub(super) fn refused(state: &AccountsState, context: &RequestContext, error: &Error) -> Result<Response> {
    let start = LocalPath::or_start("/");
    let form = show_form(context, |frame| {
        page(&SignInPage { error: Some(in_sentences(error)), ..SignInPage::new(state, frame, &start) })
    })?;
    Ok(form_refused(error, form))
}

impl SignInPage {
    fn new(state: &AccountsState, frame: Frame, next: &LocalPath) -> Self {
        let (next, offers) = (next.as_str().to_owned(), state.accounts.offers());
        Self { frame, email: String::new(), next, remember: false, error: None, offers }
    }
}

/// `POST /sign-in`: a new session, and on to where the person was going.
pub async fn sign_in(
    State(state): State<AccountsState>,
    context: RequestContext,
    Form(form): Form<SignInForm>,
) -> Result<Response> {
    let next = LocalPath::or_start(&form.next);
    let attempt = async {
        let email = form.email.parse()?;
        let client = ClientInfo {
            remember: form.remember.is_some(),
            invitation: next.invitation().map(str::to_owned),
            ..client(&context)
        };
        state.accounts.sign_in(&email, Password::presented(&form.password), &client).await
    };
    match attempt.await {
        Ok(Entered::In(session)) => enter(&context, &session, next.as_str()),
        Ok(Entered::Code(pending)) => code::ask(&context, &pending, &next),
        Err(error) if context.wants_json() || is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let form = SignInPage {
                email: form.email,
                remember: form.remember.is_some(),
                error: Some(in_sentences(&error)),
                ..SignInPage::new(&state, Frame::public(&context, "Sign in"), &next)
            };
            Ok(form_refused(&error, page(&form)?))
        }
    }
}

/// `POST /sign-out`: ends the session and forgets the cookie.
pub async fn sign_out(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
) -> Result<Response> {
    if let Some(session) = signed_in.session() {
        state.accounts.sign_out(session).await?;
    }
    let forget = context.kit().set_cookie(KitCookie::Session, "", 0)?;
    Ok((AppendHeaders([forget]), Redirect::to("/sign-in")).into_response())
}
