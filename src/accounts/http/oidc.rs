//! Signing in through somebody else's page, and linking what one is there to one's account here.

use askama::Template;
use axum::{
    extract::State,
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{AccountsState, LocalPath, client, enter, extract, sign_in};
use crate::{
    accounts::{
        SignedIn,
        oidc::{Answer, Arrival, JOURNEY_SECONDS, Journey},
    },
    http::{
        context::RequestContext,
        cookie::{KitCookie, SetCookie},
        extract::{Path, Query},
        frame::Frame,
        page,
    },
    support::{Kind, Result, ids::IdentityId},
};

/// On the way to another page: a form of ours may not lead there, a page of ours may.
#[derive(Template)]
#[template(path = "onward.html", config = "web/askama.toml")]
struct OnwardPage {
    frame: Frame,
    label: String,
    address: String,
}

/// Where to go after signing in.
#[derive(Debug, Deserialize)]
pub struct DepartQuery {
    #[serde(default)]
    next: String,
}

/// What a provider sends along with a browser. Whatever else it sends does not matter.
#[derive(Deserialize)]
pub struct CallbackQuery {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// `GET /sign-in/with/{provider}`: on to the provider.
pub async fn depart(
    State(state): State<AccountsState>,
    context: RequestContext,
    Path(provider): Path<String>,
    Query(query): Query<DepartQuery>,
) -> Result<Response> {
    let next = LocalPath::or_start(&query.next);
    match state.accounts.depart(&provider, None, next.as_str(), &client(&context)).await {
        Ok(journey) => {
            Ok((AppendHeaders([cookie(&context, &journey)?]), Redirect::to(&journey.address)).into_response())
        }
        Err(error) if matches!(error.kind(), Kind::Internal | Kind::NotFound) => Err(error),
        Err(error) => sign_in::refused(&state, &context, &error),
    }
}

/// `GET /sign-in/with/{provider}/callback`: back from the provider. Signed in, or linked.
pub async fn arrive(
    State(state): State<AccountsState>,
    context: RequestContext,
    Path(provider): Path<String>,
    Query(query): Query<CallbackQuery>,
) -> Result<Response> {
    let answer = Answer { code: query.code, state: query.state, issuer: query.iss, error: query.error };
    let signed_in = extract::current(&state, &context).await?;
    let client = client(&context);
    let arrived = state.accounts.arrive(&provider, context.journey_token(), answer, signed_in.as_ref(), &client).await;
    let forget = AppendHeaders([context.kit().set_cookie(KitCookie::Journey, "", 0)?]);
    match arrived {
        Ok(Arrival::In { session, next }) => {
            let next = LocalPath::or_start(&next);
            Ok((forget, enter(&context, &session, next.as_str())?).into_response())
        }
        Ok(Arrival::Linked) => Ok((forget, Redirect::to("/account/security")).into_response()),
        Err(error) if matches!(error.kind(), Kind::Internal | Kind::NotFound) => Err(error),
        // Whoever is signed in gets a page of its own; there is nothing to sign in to.
        Err(error) if signed_in.is_some() => Err(error),
        Err(error) => Ok((forget, sign_in::refused(&state, &context, &error)?).into_response()),
    }
}

/// `POST /account/security/link/{provider}`: on to the provider, to link what one is there.
pub async fn link(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(provider): Path<String>,
) -> Result<Response> {
    let journey = state.accounts.depart(&provider, Some(&signed_in), "/account/security", &client(&context)).await?;
    let cookie = cookie(&context, &journey)?;
    let frame = Frame::public(&context, format!("On to {}", journey.label));
    Ok((AppendHeaders([cookie]), page(&OnwardPage { frame, label: journey.label, address: journey.address })?)
        .into_response())
}

/// `POST /account/security/unlink/{identity}`
pub async fn unlink(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    Path(identity): Path<IdentityId>,
) -> Result<Response> {
    state.accounts.unlink(&signed_in, identity).await?;
    Ok(Redirect::to("/account/security").into_response())
}

fn cookie(context: &RequestContext, journey: &Journey) -> Result<SetCookie> {
    context.kit().set_cookie(KitCookie::Journey, &journey.token, JOURNEY_SECONDS)
}
