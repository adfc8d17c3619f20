//! API tokens: one's own page, with the organisation's below it for whoever manages members, and the same as JSON.

use askama::Template;
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::AccountsState;
use crate::{
    accounts::{
        Permission, SignedIn,
        tokens::{ApiToken, Lifetime, Made, NewToken},
    },
    http::{
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::{self, Form, Path},
        format,
        frame::{Frame, Section},
        page,
    },
    support::{Error, Result, ids::ApiTokenId},
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(list_tokens, create_token, revoke_token, list_all_tokens, revoke_any_token),
    tags((name = "tokens", description = "API tokens: what programs come in with"))
)]
pub struct TokensApi;

/// One's own tokens, a form for another one, and the organisation's.
#[derive(Template)]
#[template(path = "tokens.html", config = "web/askama.toml")]
struct TokensPage {
    frame: Frame,
    /// The token that has just been made, shown this once.
    made: Option<Made>,
    /// Why none was made.
    error: Option<String>,
    /// What was typed for it.
    name: String,
    choices: Vec<ScopeChoice>,
    lifetimes: Vec<LifetimeChoice>,
    own: Vec<TokenView>,
    /// Those of everybody else, for whoever manages members.
    others: Option<Vec<TokenView>>,
}

struct ScopeChoice {
    name: &'static str,
    meaning: &'static str,
    chosen: bool,
}

struct LifetimeChoice {
    /// The number of days; empty for no limit.
    days: String,
    label: String,
    chosen: bool,
}

struct TokenView {
    id: ApiTokenId,
    name: String,
    owner: String,
    scopes: Vec<&'static str>,
    ends: String,
    ended: bool,
    used: String,
}

/// A token as a program asks for it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTokenBody {
    /// What it is for.
    name: String,
    /// What it shall carry; no more than one's own role does.
    scopes: Vec<Permission>,
    /// 30, 90 or 365. Left out: until it is revoked, which only owners may choose.
    expires_in_days: Option<u16>,
}

/// Tokens, the newest first.
#[derive(Serialize, ToSchema)]
pub struct Tokens {
    tokens: Vec<ApiToken>,
}

/// A token that has just been made.
#[derive(Serialize, ToSchema)]
pub struct TokenMade {
    /// What it is presented by, as `Authorization: Bearer aegis_…`. Nobody can learn it again.
    secret: String,
    /// What it is.
    token: ApiToken,
}

/// `GET /account/tokens`
pub async fn show_tokens(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
) -> Result<Response> {
    tokens_page(&state, &context, &signed_in, &Wanted::default(), Outcome::None).await
}

/// `POST /account/tokens`: makes one and shows it, this once.
pub async fn create_token_by_form(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response> {
    let wanted = Wanted::read(fields);
    let attempt = async {
        let new = wanted.parse()?;
        state.accounts.create_token(&signed_in.user, &signed_in.tenant, signed_in.role, new, signed_in.actor()).await
    };
    match attempt.await {
        Ok(made) => tokens_page(&state, &context, &signed_in, &Wanted::default(), Outcome::Made(made)).await,
        Err(error) if super::is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let outcome = Outcome::Refused(in_sentences(&error));
            Ok(form_refused(&error, tokens_page(&state, &context, &signed_in, &wanted, outcome).await?))
        }
    }
}

/// `POST /account/tokens/{token}/revoke`: one's own, or anybody's of the organisation for whoever manages members.
pub async fn revoke_token_by_form(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    Path(token): Path<ApiTokenId>,
) -> Result<Response> {
    let owner = (!signed_in.may(Permission::MembersManage)).then_some(signed_in.user.id);
    state.accounts.revoke_token(&signed_in.tenant, owner, token, signed_in.actor()).await?;
    Ok(Redirect::to("/account/tokens").into_response())
}

/// List one's own API tokens
#[utoipa::path(get, path = "/api/account/tokens", tag = "tokens", responses((status = 200, body = Tokens)))]
pub async fn list_tokens(State(state): State<AccountsState>, signed_in: SignedIn) -> Result<Json<Tokens>> {
    let tokens = state.accounts.tokens(&signed_in.tenant, Some(signed_in.user.id)).await?;
    Ok(Json(Tokens { tokens }))
}

/// Make an API token
///
/// In person only: a token makes no tokens.
#[utoipa::path(
    post,
    path = "/api/account/tokens",
    tag = "tokens",
    request_body = NewTokenBody,
    responses((status = 201, body = TokenMade))
)]
pub async fn create_token(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    extract::Json(body): extract::Json<NewTokenBody>,
) -> Result<(StatusCode, Json<TokenMade>)> {
    let lifetime = Lifetime::of_days(body.expires_in_days)?;
    let new = NewToken { name: body.name, scopes: body.scopes, lifetime };
    let SignedIn { user, tenant, role, .. } = &signed_in;
    let made = state.accounts.create_token(user, tenant, *role, new, signed_in.actor()).await?;
    Ok((StatusCode::CREATED, Json(TokenMade { secret: made.secret, token: made.token })))
}

/// Revoke one of one's own API tokens
#[utoipa::path(
    delete,
    path = "/api/account/tokens/{token}",
    tag = "tokens",
    params(("token" = ApiTokenId, Path)),
    responses((status = 204, description = "It stopped working"))
)]
pub async fn revoke_token(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    Path(token): Path<ApiTokenId>,
) -> Result<StatusCode> {
    state.accounts.revoke_token(&signed_in.tenant, Some(signed_in.user.id), token, signed_in.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the organisation's API tokens
#[utoipa::path(get, path = "/api/tokens", tag = "tokens", responses((status = 200, body = Tokens)))]
pub async fn list_all_tokens(State(state): State<AccountsState>, signed_in: SignedIn) -> Result<Json<Tokens>> {
    Ok(Json(Tokens { tokens: state.accounts.tokens(&signed_in.tenant, None).await? }))
}

/// Revoke any API token of the organisation
#[utoipa::path(
    delete,
    path = "/api/tokens/{token}",
    tag = "tokens",
    params(("token" = ApiTokenId, Path)),
    responses((status = 204, description = "It stopped working"))
)]
pub async fn revoke_any_token(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    Path(token): Path<ApiTokenId>,
) -> Result<StatusCode> {
    state.accounts.revoke_token(&signed_in.tenant, None, token, signed_in.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

enum Outcome {
    None,
    Made(Made),
    Refused(String),
}

/// The form as it was filled in.
struct Wanted {
    name: String,
    scopes: Vec<String>,
    days: String,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { name: String::new(), scopes: Vec::new(), days: "90".to_owned() }
    }
}

impl Wanted {
    fn read(fields: Vec<(String, String)>) -> Self {
        let mut wanted = Self { days: String::new(), ..Self::default() };
        for (field, value) in fields {
            match field.as_str() {
                "name" => wanted.name = value,
                "scope" => wanted.scopes.push(value),
                "days" => wanted.days = value,
                _ => {}
            }
        }
        wanted
    }

    fn parse(&self) -> Result<NewToken> {
        let scopes = self.scopes.iter().map(|scope| scope.parse()).collect::<Result<_>>()?;
        let days = Some(self.days.as_str()).filter(|days| !days.is_empty());
        let days =
            days.map(|days| days.parse().map_err(|_| Error::invalid("The number of days is none"))).transpose()?;
        Ok(NewToken { name: self.name.clone(), scopes, lifetime: Lifetime::of_days(days)? })
    }
}

async fn tokens_page(
    state: &AccountsState,
    context: &RequestContext,
    signed_in: &SignedIn,
    wanted: &Wanted,
    outcome: Outcome,
) -> Result<Response> {
    let now = state.accounts.inner.clock.now();
    let manages = signed_in.may(Permission::MembersManage);
    let tokens = state.accounts.tokens(&signed_in.tenant, (!manages).then_some(signed_in.user.id)).await?;
    let (own, others): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|token| token.owner.id == signed_in.user.id);
    let views = |tokens: Vec<ApiToken>| tokens.into_iter().map(|token| view(token, now)).collect::<Vec<_>>();
    let (made, error) = match outcome {
        Outcome::None => (None, None),
        Outcome::Made(made) => (Some(made), None),
        Outcome::Refused(error) => (None, Some(error)),
    };
    let scopes = Permission::ALL.into_iter().filter(|scope| signed_in.role.may(*scope));
    let choice = |scope: Permission| ScopeChoice {
        name: scope.name(),
        meaning: scope.meaning(),
        chosen: wanted.scopes.iter().any(|chosen| chosen == scope.name()),
    };
    let unlimited = signed_in.role == crate::accounts::Role::Owner;
    let lifetimes = Lifetime::CHOICES.into_iter().filter(|choice| unlimited || choice.days().is_some());
    page(&TokensPage {
        frame: signed_in.frame(context, "API tokens", Section::Elsewhere),
        made,
        error,
        name: wanted.name.clone(),
        choices: scopes.map(choice).collect(),
        lifetimes: lifetimes.map(|choice| lifetime(choice, &wanted.days)).collect(),
        own: views(own),
        others: manages.then(|| views(others)),
    })
}

fn lifetime(choice: Lifetime, chosen: &str) -> LifetimeChoice {
    let days = choice.days().map(|days| days.to_string()).unwrap_or_default();
    let label = choice.days().map_or_else(|| "Never".to_owned(), |days| format!("In {days} days"));
    LifetimeChoice { chosen: days == chosen, days, label }
}

fn view(token: ApiToken, now: DateTime<Utc>) -> TokenView {
    let ended = token.expires_at.is_some_and(|end| end <= now);
    let ends = match token.expires_at {
        None => "Never expires".to_owned(),
        Some(end) => format!("{} {}", if ended { "Expired" } else { "Expires" }, end.format("%-d %B %Y")),
    };
    TokenView {
        id: token.id,
        name: token.name,
        owner: token.owner.name,
        scopes: token.scopes.into_iter().map(Permission::name).collect(),
        ends,
        ended,
        used: token
            .last_used_at
            .map_or_else(|| "Never used".to_owned(), |used| format!("Used {}", format::ago(now, used))),
    }
}
