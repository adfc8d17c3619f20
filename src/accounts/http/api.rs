//! The session as JSON.

use axum::Json;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use crate::{
    accounts::{Permission, Role, SignedIn, User},
    tenants::Slug,
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(paths(show_session), tags((name = "account", description = "Oneself")))]
pub struct SessionApi;

/// Who one is signed in as.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionAnswer {
    user: User,
    tenant: SessionTenant,
    role: Role,
    /// What one may do here: the role's permissions, as far as the API token carries them.
    permissions: Vec<&'static str>,
    /// For the header `x-csrf-token` of requests that change something; empty with an API token, which needs none.
    csrf_token: String,
}

/// The organisation that the session works in.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionTenant {
    slug: Slug,
    name: String,
}

/// Show who is signed in
#[utoipa::path(get, path = "/api/session", tag = "account", responses((status = 200, body = SessionAnswer)))]
pub async fn show_session(signed_in: SignedIn) -> Json<SessionAnswer> {
    let permissions = Permission::ALL.into_iter().filter(|permission| signed_in.may(*permission));
    Json(SessionAnswer {
        permissions: permissions.map(Permission::name).collect(),
        csrf_token: signed_in.csrf().to_owned(),
        tenant: SessionTenant { slug: signed_in.tenant.slug, name: signed_in.tenant.name },
        role: signed_in.role,
        user: signed_in.user,
    })
}
