//! What stands before a route: each is declared with who may come in.

use std::{fmt, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::request::Parts,
    middleware::Next,
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};

use super::{AccountsState, session_cookie};
use crate::{
    accounts::{Permission, SignedIn, Via},
    http::{context::RequestContext, cookie::SetCookie, csrf},
    support::{Error, Result},
};

/// Who may come in at a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: there is nothing to protect, or the handler checks a token of its own.
    Open,
    /// Whoever is signed in, by a session or by an API token.
    SignedIn,
    /// Whoever is signed in with a browser: what concerns one's own account is out of every API token's reach.
    InPerson,
    /// Whoever has this permission in the organisation that they are signed in to.
    Needs(Permission),
    /// The appliance's operators, in person.
    Operator,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::SignedIn => f.write_str("signed in"),
            Self::InPerson => f.write_str("in person"),
            Self::Needs(permission) => permission.fmt(f),
            Self::Operator => f.write_str("operator"),
        }
    }
}

/// Lets through whom `Access` lets in. The handler's own extractors then find who it is without asking again.
pub async fn guard(State((state, access)): State<(AccountsState, Access)>, request: Request, next: Next) -> Response {
    if access == Access::Open {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let signed_in = match SignedIn::from_request_parts(&mut parts, &state).await {
        Ok(signed_in) => signed_in,
        Err(refusal) => return refusal.into_response(),
    };
    let cookie = match renew(&state, &signed_in, &mut parts).await {
        Ok(cookie) => cookie,
        Err(error) => return error.into_response(),
    };
    if signed_in.must_enrol && !leads_to_a_second_factor(parts.uri.path()) {
        return (AppendHeaders(cookie), enrol_first(&state, &signed_in, &mut parts).await).into_response();
    }
    let response = match allowed(&signed_in, access) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => error.into_response(),
    };
    (AppendHeaders(cookie), response).into_response()
}

/// What is reached without the second factor that the organisation asks for: setting it up, and going away.
fn leads_to_a_second_factor(path: &str) -> bool {
    let path = path.strip_prefix("/api").unwrap_or(path);
    matches!(path, "/sign-out" | "/switch" | "/account/security") || path.starts_with("/account/security/")
}

async fn enrol_first(state: &AccountsState, signed_in: &SignedIn, parts: &mut Parts) -> Response {
    match RequestContext::from_request_parts(parts, state).await {
        Ok(context) if context.is_page_view() => Redirect::to("/account/security").into_response(),
        Ok(_) => Error::forbidden(format!("{} asks everybody for a second factor", signed_in.tenant.name))
            .remedy("Set yours up under Account › Security")
            .into_response(),
        Err(error) => error.into_response(),
    }
}

/// Gives a session whose rights have changed a new token. Only a page may bring it: what else a page asks for carries a
/// CSRF token that is bound to the token before.
async fn renew(state: &AccountsState, signed_in: &SignedIn, parts: &mut Parts) -> Result<Option<SetCookie>> {
    let Via::Session { id, renew: true, elsewhere, .. } = &signed_in.via else { return Ok(None) };
    let context = RequestContext::from_request_parts(parts, state).await?;
    let Some(token) = context.session_token().filter(|_| context.is_page_view()) else { return Ok(None) };
    let Some(new) = state.accounts.renew(*id, token).await? else { return Ok(None) };
    let via = Via::Session { id: *id, csrf: csrf::token(&new.token), renew: false, elsewhere: elsewhere.clone() };
    parts.extensions.insert(Arc::new(SignedIn { via, ..signed_in.clone() }));
    session_cookie(&context, &new).map(Some)
}

fn allowed(signed_in: &SignedIn, access: Access) -> Result<()> {
    match access {
        Access::Open | Access::SignedIn => Ok(()),
        Access::InPerson if signed_in.session().is_some() => Ok(()),
        Access::InPerson => Err(Error::forbidden("This is for people, and an API token is none")
            .remedy("Sign in with a browser and do it there")),
        Access::Needs(permission) => require(signed_in, permission),
        Access::Operator if signed_in.is_operator() => Ok(()),
        Access::Operator => Err(Error::forbidden("This is for the operators of the appliance")
            .remedy("Ask whoever runs this server; `aegis user operator` makes somebody one")),
    }
}

/// For handlers that need more than their route says, depending on what is asked.
///
/// # Errors
/// `Forbidden`, saying what is missing.
pub fn require(signed_in: &SignedIn, permission: Permission) -> Result<()> {
    if signed_in.may(permission) {
        return Ok(());
    }
    let meaning = permission.meaning();
    Err(if signed_in.role.may(permission) {
        Error::forbidden(format!("This API token may not {meaning}"))
            .remedy(format!("Make one with the scope {permission}"))
    } else {
        Error::forbidden(format!("As {} of {} you may not {meaning}", signed_in.role, signed_in.tenant.name))
            .remedy("Ask an owner of the organisation")
    })
}
