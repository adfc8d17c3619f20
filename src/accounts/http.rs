//! Signing in and out, setting up, and the extractors by which every other slice knows who is there.

mod api;
mod extract;
mod guard;
mod local_path;
mod setup;
mod sign_in;
pub mod tokens;

use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};

pub use self::{
    api::{SessionApi, show_session},
    extract::{AccountsState, InTenant},
    guard::{Access, guard, require},
    local_path::LocalPath,
    setup::{complete_setup, show_setup},
    sign_in::{show_sign_in, sign_in, sign_out},
};
use super::{ClientInfo, NewSession};
use crate::{
    http::{context::RequestContext, cookie::KitCookie, frame::Frame},
    support::{Kind, Result},
};

/// How long a form may stay open: a day.
const FORM_SECONDS: i64 = 24 * 60 * 60;

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
    let cookie = context.kit().set_cookie(KitCookie::Session, &session.token, session.seconds)?;
    Ok((AppendHeaders([cookie]), Redirect::to(next)).into_response())
}

fn client(context: &RequestContext) -> ClientInfo {
    ClientInfo {
        address: context.client(),
        user_agent: context.user_agent().map(str::to_owned),
        previous: context.session_token().map(str::to_owned),
    }
}

/// Whether the form cannot help: the error has a page of its own.
fn is_of_the_server(kind: Kind) -> bool {
    matches!(kind, Kind::Internal | Kind::Unavailable | Kind::NotFound)
}
