//! Doors that a link opens once: an invitation, and a new password.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{AccountsState, client, enter, extract, is_of_the_server, show_form};
use crate::{
    accounts::{ClientInfo, Invited, NewPerson, NewSession, Role, SignedIn},
    http::{
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::{Form, Path},
        frame::Frame,
        page,
    },
    support::{Error, Kind, Result},
};

/// The page that an invitation leads to.
#[derive(Template)]
#[template(path = "invitation.html", config = "web/askama.toml")]
struct InvitationPage {
    frame: Frame,
    token: String,
    organisation: String,
    email: String,
    role: Role,
    /// Who sent it.
    by: Option<String>,
    who: Who,
    /// What was typed before.
    name: String,
    error: Option<String>,
}

/// Who opens an invitation.
enum Who {
    /// Somebody without an account, who makes one.
    New,
    /// Somebody with an account, who has to sign in first.
    Known,
    /// The invited person, signed in.
    Signed,
    /// Somebody else, signed in as this address.
    Other(String),
}

/// The page that a link for a new password leads to.
#[derive(Template)]
#[template(path = "reset.html", config = "web/askama.toml")]
struct ResetPage {
    frame: Frame,
    token: String,
    email: String,
    /// Whether the password is set.
    done: bool,
    error: Option<String>,
}

/// What a new person chooses; empty for somebody who is signed in.
#[derive(Deserialize)]
pub struct InvitationForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    remember: Option<String>,
}

/// The form for a new password.
#[derive(Deserialize)]
pub struct ResetForm {
    password: String,
}

/// `GET /invitation/{token}`: what it is for, and the way in.
pub async fn show_invitation(
    State(state): State<AccountsState>,
    context: RequestContext,
    Path(token): Path<String>,
) -> Result<Response> {
    let invited = state.accounts.invitation(&token).await?.ok_or_else(not_good)?;
    let signed_in = extract::current(&state, &context).await?;
    show_form(&context, |frame| page(&invitation_page(frame, token, &invited, signed_in.as_ref())))
}

/// `POST /invitation/{token}`: in, as a new person or as who is signed in.
pub async fn accept_invitation(
    State(state): State<AccountsState>,
    context: RequestContext,
    Path(token): Path<String>,
    Form(form): Form<InvitationForm>,
) -> Result<Response> {
    let invited = state.accounts.invitation(&token).await?.ok_or_else(not_good)?;
    let signed_in = extract::current(&state, &context).await?;
    match try_accept(&state, &context, &token, &form, signed_in.as_ref()).await {
        Ok(session) => enter(&context, &session, "/"),
        Err(error) if context.wants_json() || is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let frame = Frame::public(&context, "Invitation");
            let shown = invitation_page(frame, token, &invited, signed_in.as_ref());
            let shown = page(&InvitationPage { name: form.name, error: Some(in_sentences(&error)), ..shown })?;
            Ok(form_refused(&error, shown))
        }
    }
}

/// `GET /reset/{token}`: the form for a new password.
pub async fn show_reset(
    State(state): State<AccountsState>,
    context: RequestContext,
    Path(token): Path<String>,
) -> Result<Response> {
    let user = state.accounts.reset_of(&token).await?.ok_or_else(bad_link)?;
    let email = user.email.to_string();
    show_form(&context, |frame| page(&ResetPage { frame: titled(frame), token, email, done: false, error: None }))
}

/// `POST /reset/{token}`: sets it. Whoever has it signs in with it, by all that signing in asks for.
pub async fn reset_password(
    State(state): State<AccountsState>,
    context: RequestContext,
    Path(token): Path<String>,
    Form(form): Form<ResetForm>,
) -> Result<Response> {
    let user = state.accounts.reset_of(&token).await?.ok_or_else(bad_link)?;
    let frame = titled(Frame::public(&context, ""));
    let shown = ResetPage { frame, token, email: user.email.to_string(), done: false, error: None };
    match state.accounts.reset_password(&shown.token, &form.password).await {
        Ok(_) => page(&ResetPage { done: true, ..shown }),
        Err(error) if context.wants_json() || is_of_the_server(error.kind()) => Ok(error.into_response()),
        Err(error) => {
            let shown = page(&ResetPage { error: Some(in_sentences(&error)), ..shown })?;
            Ok(form_refused(&error, shown))
        }
    }
}

async fn try_accept(
    state: &AccountsState,
    context: &RequestContext,
    token: &str,
    form: &InvitationForm,
    signed_in: Option<&SignedIn>,
) -> Result<NewSession> {
    if let Some(signed_in) = signed_in.filter(|signed_in| signed_in.session().is_some()) {
        return state.accounts.accept(signed_in, token).await;
    }
    let client = ClientInfo { remember: form.remember.is_some(), ..client(context) };
    let new = NewPerson { name: &form.name, password: &form.password };
    state.accounts.accept_as_new(token, new, &client).await
}

fn invitation_page(frame: Frame, token: String, invited: &Invited, signed_in: Option<&SignedIn>) -> InvitationPage {
    let email = &invited.invitation.email;
    let who = match signed_in {
        Some(signed_in) if signed_in.user.email.as_str().eq_ignore_ascii_case(email.as_str()) => Who::Signed,
        Some(signed_in) => Who::Other(signed_in.user.email.to_string()),
        None if invited.has_account => Who::Known,
        None => Who::New,
    };
    InvitationPage {
        frame: Frame { title: format!("Join {}", invited.tenant.name), ..frame },
        token,
        organisation: invited.tenant.name.clone(),
        email: email.to_string(),
        role: invited.invitation.role,
        by: invited.invitation.invited_by.clone(),
        who,
        name: String::new(),
        error: None,
    }
}

fn titled(frame: Frame) -> Frame {
    Frame { title: "New password".to_owned(), ..frame }
}

fn not_good() -> Error {
    Error::new(Kind::NotFound, "This invitation is not good, or no longer")
        .remedy("Each works once, for a week; ask whoever sent it for another one")
}

fn bad_link() -> Error {
    Error::new(Kind::NotFound, "This link is not good, or no longer")
        .remedy("Each works once, for a day; whoever runs this server can make you another one")
}
