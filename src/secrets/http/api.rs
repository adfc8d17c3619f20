//! Secrets as JSON.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{SecretsState, by};
use crate::{
    accounts::http::InTenant,
    http::extract::{self, Path},
    secrets::{Secret, SecretName},
    support::Result,
    vault::SecretText,
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(list_secrets, set_secret, delete_secret),
    tags((name = "secrets", description = "What integrations keep to themselves"))
)]
pub struct SecretsApi;

/// All secrets.
#[derive(Serialize, ToSchema)]
pub struct SecretList {
    secrets: Vec<Secret>,
}

/// A secret to be set. Not `Debug`: it holds the value.
#[derive(Deserialize, ToSchema)]
pub struct NewSecret {
    name: SecretName,
    /// The value, at most 64 KiB. No answer ever repeats it.
    #[schema(write_only)]
    value: String,
}

/// List secrets
///
/// Their names, who set them and when they were last used; never their values.
#[utoipa::path(
    get,
    path = "/api/secrets",
    tag = "secrets",
    responses((status = 200, description = "All secrets, by name", body = SecretList))
)]
pub async fn list_secrets(State(state): State<SecretsState>, tenant: InTenant) -> Result<Json<SecretList>> {
    Ok(Json(SecretList { secrets: state.secrets.list(&tenant.db).await? }))
}

/// Set a secret
///
/// In place of the one that had the name. It is encrypted, and never shown again.
#[utoipa::path(
    post,
    path = "/api/secrets",
    tag = "secrets",
    request_body = NewSecret,
    responses(
        (status = 201, description = "It is set", body = Secret),
        (status = 400, description = "The name or the value cannot be taken"),
        (status = 409, description = "There are too many already"),
        (status = 413, description = "The value is larger than 64 KiB"),
    )
)]
pub async fn set_secret(
    State(state): State<SecretsState>,
    tenant: InTenant,
    extract::Json(new): extract::Json<NewSecret>,
) -> Result<(StatusCode, Json<Secret>)> {
    let value = SecretText::new(new.value);
    let secret = state.secrets.set(&tenant.db, new.name, value, by(&tenant.signed_in)).await?;
    Ok((StatusCode::CREATED, Json(secret)))
}

/// Delete a secret
///
/// For good; whatever uses it stops working.
#[utoipa::path(
    delete,
    path = "/api/secrets/{name}",
    tag = "secrets",
    params(("name" = SecretName, Path, description = "The secret's name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is none of this name"),
    )
)]
pub async fn delete_secret(
    State(state): State<SecretsState>,
    tenant: InTenant,
    Path(name): Path<SecretName>,
) -> Result<StatusCode> {
    state.secrets.delete(&tenant.db, &name, tenant.signed_in.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
