//! Signing in and out, setting up, and the extractors by which every other slice knows who is there.

mod account;
mod api;
pub mod code;
mod extract;
mod guard;
mod links;
mod local_path;
mod members;
pub mod oidc;
pub mod organisation;
pub mod people_api;
pub mod security;
mod sessions;
mod setup;
mod sign_in;
pub mod tokens;

use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};

pub use self::{
    account::{change_password, rename, show_account},
    api::{SessionApi, show_session},
    extract::{AccountsState, InTenant},
    guard::{Access, guard, require},
    links::{accept_invitation, reset_password, show_invitation, show_reset},
    local_path::LocalPath,
    members::{
        change_role, invite_by_form, remove_member, resume_member, revoke_invitation_by_form, show_invite, show_member,
        show_members, suspend_member,
    },
    sessions::{end_other_sessions, end_session, show_sessions, switch_tenant},
    setup::{complete_setup, show_setup},
    sign_in::{show_sign_in, sign_in, sign_out},
};
use super::{ClientInfo, NewSession};
use crate::{
    http::{
        context::RequestContext,
        cookie::{KitCookie, SetCookie},
        error::is_of_the_server,
        frame::Frame,
    },
    support::Result,
};

/// How long a form may stay open: a day.
const FORM_SECONDS: i64 = 24 * 60 * 60;
/// How long a browser is known: a year from the last time that it was given the cookie.
const BROWSER_SECONDS: i64 = 365 * 24 * 60 * 60;

/// Shows a form to somebody who may have no session: it is bound to the browser by a cookie of its own.
fn show_form(context: &RequestContext, form: impl FnOnce(Frame) -> Result<Response>) -> Result<Response> {
    let (context, binding) = context.with_form_binding();
    let form = form(Frame::public(&context, "Sign in"))?;
    let cookie =
        binding.map(|value| context.kit().set_cookie(KitCookie::FormBinding, &value, FORM_SECONDS)).transpose()?;
    Ok((AppendHeaders(cookie), form).into_response())
}

/// Hands the session to the browser and sends it on.
fn enter(context: &RequestContext, session: &NewSession, next: &str) -> Result<Response> {
    let known = session.browser.as_deref();
    let known = known.map(|token| context.kit().set_cookie(KitCookie::Browser, token, BROWSER_SECONDS)).transpose()?;
    let cookies = [Some(session_cookie(context, session)?), known];
    Ok((AppendHeaders(cookies.into_iter().flatten()), Redirect::to(next)).into_response())
}

/// The cookie of a session, for as long as the browser is to keep it.
fn session_cookie(context: &RequestContext, session: &NewSession) -> Result<SetCookie> {
    match session.seconds {
        Some(seconds) => context.kit().set_cookie(KitCookie::Session, &session.token, seconds),
        None => context.kit().set_cookie_until_closed(KitCookie::Session, &session.token),
    }
}

fn client(context: &RequestContext) -> ClientInfo {
    ClientInfo {
        address: context.client(),
        user_agent: context.user_agent().map(str::to_owned),
        previous: context.session_token().map(str::to_owned),
        browser: context.browser_token().map(str::to_owned),
        remember: false,
        invitation: None,
    }
}
