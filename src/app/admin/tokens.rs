//! API tokens, as the operator at the command line sees them.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, App, find_tenant};
use crate::{
    accounts::{
        EmailAddress, Permission,
        tokens::{ApiToken, Lifetime, NewToken},
    },
    audit::Actor,
    support::{Result, ids::ApiTokenId},
};

/// An API token to be made.
#[derive(Deserialize)]
pub(super) struct NewTokenBody {
    user: EmailAddress,
    name: String,
    scopes: Vec<String>,
    days: Option<u16>,
}

/// `GET /tenants/{slug}/tokens`
pub(super) async fn list_tokens(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let tenant = find_tenant(&app, &slug).await?;
    let tokens = app.accounts.tokens(&tenant, None).await?;
    Ok(Json(tokens.iter().map(token_json).collect()))
}

/// `POST /tenants/{slug}/tokens`
pub(super) async fn create_token(
    State(app): State<App>,
    Path(slug): Path<String>,
    Json(new): Json<NewTokenBody>,
) -> Answer {
    let tenant = find_tenant(&app, &slug).await?;
    let (user, role) = app.accounts.token_owner(&tenant, &new.user).await?;
    let scopes = new.scopes.iter().map(|scope| scope.parse::<Permission>()).collect::<Result<_>>()?;
    let new = NewToken { name: new.name, scopes, lifetime: Lifetime::of_days(new.days)? };
    let made = app.accounts.create_token(&user, &tenant, role, new, Actor::Operator).await?;
    let mut token = token_json(&made.token);
    token["secret"] = json!(made.secret);
    Ok(Json(token))
}

/// `DELETE /tenants/{slug}/tokens/{id}`
pub(super) async fn revoke_token(State(app): State<App>, Path((slug, id)): Path<(String, ApiTokenId)>) -> Answer {
    let tenant = find_tenant(&app, &slug).await?;
    let revoked = app.accounts.revoke_token(&tenant, None, id, Actor::Operator).await?;
    Ok(Json(token_json(&revoked)))
}

fn token_json(token: &ApiToken) -> Value {
    json!({
        "id": token.id, "name": token.name, "user": token.owner.email, "scopes": token.scopes,
        "created_at": token.created_at, "expires_at": token.expires_at, "last_used_at": token.last_used_at,
    })
}
