//! The same for programs. An API token does not reach it: operators come in person.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{OperatorState, PAGE, not_ones_own};
use crate::{
    accounts::SignedIn,
    http::extract::{self, Path, Query},
    operator::Overview,
    support::{Result, ids::TenantId},
    tenants::Renaming,
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(
        list_tenants,
        create_tenant,
        show_tenant_as_json,
        rename_tenant,
        suspend_tenant,
        resume_tenant,
        delete_tenant,
        undelete_tenant
    ),
    tags((name = "operator", description = "All organisations, for the appliance's operators"))
)]
pub struct OperatorApi;

/// Organisations by slug.
#[derive(Serialize, ToSchema)]
pub struct TenantList {
    tenants: Vec<Overview>,
    /// Where the list goes on: `?after=`.
    after: Option<String>,
}

/// Which part of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// The slug behind which to begin.
    #[serde(default)]
    #[param(required = false)]
    after: String,
}

/// A new organisation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenantBody {
    /// What people call it.
    name: String,
    /// What commands and addresses call it: 3 to 40 characters of a-z, 0-9 and -.
    slug: String,
}

/// Other names; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameBody {
    /// What people call it.
    name: Option<String>,
    /// What commands and addresses call it.
    slug: Option<String>,
}

/// Why it is suspended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendBody {
    /// For the record.
    #[serde(default)]
    reason: String,
}

/// What confirms a deletion.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteBody {
    /// The organisation's slug.
    confirm: String,
}

/// List organisations
#[utoipa::path(get, path = "/api/operator/tenants", tag = "operator", params(ListQuery), responses((status = 200, body = TenantList)))]
pub async fn list_tenants(
    State(state): State<OperatorState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<TenantList>> {
    let mut tenants = state.operator.list(&query.after, PAGE + 1).await?;
    let more = tenants.len() > PAGE;
    tenants.truncate(PAGE);
    let after = tenants.last().filter(|_| more).map(|last| last.slug.clone());
    Ok(Json(TenantList { tenants, after }))
}

/// Create an organisation
#[utoipa::path(post, path = "/api/operator/tenants", tag = "operator", request_body = NewTenantBody, responses((status = 201, body = Overview)))]
pub async fn create_tenant(
    State(state): State<OperatorState>,
    signed_in: SignedIn,
    extract::Json(body): extract::Json<NewTenantBody>,
) -> Result<(StatusCode, Json<Overview>)> {
    let tenant = state.tenants.create_by(&body.slug.parse()?, &body.name, &signed_in.actor()).await?;
    Ok((StatusCode::CREATED, Json(state.operator.one(&tenant.id).await?)))
}

/// Show an organisation
#[utoipa::path(get, path = "/api/operator/tenants/{tenant}", tag = "operator", params(("tenant" = String, Path)), responses((status = 200, body = Overview)))]
pub async fn show_tenant_as_json(
    State(state): State<OperatorState>,
    Path(id): Path<TenantId>,
) -> Result<Json<Overview>> {
    Ok(Json(state.operator.one(&id).await?))
}

/// Rename an organisation
#[utoipa::path(post, path = "/api/operator/tenants/{tenant}/rename", tag = "operator", params(("tenant" = String, Path)), request_body = RenameBody, responses((status = 200, body = Overview)))]
pub async fn rename_tenant(
    State(state): State<OperatorState>,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
    extract::Json(body): extract::Json<RenameBody>,
) -> Result<Json<Overview>> {
    let renaming = Renaming { name: body.name, slug: body.slug.map(|slug| slug.parse()).transpose()? };
    state.tenants.rename(&id, renaming, &signed_in.actor()).await?;
    Ok(Json(state.operator.one(&id).await?))
}

/// Suspend an organisation
///
/// It is out of service at once: nobody gets in, nothing runs, everything is kept.
#[utoipa::path(post, path = "/api/operator/tenants/{tenant}/suspend", tag = "operator", params(("tenant" = String, Path)), request_body = SuspendBody, responses((status = 200, body = Overview)))]
pub async fn suspend_tenant(
    State(state): State<OperatorState>,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
    extract::Json(body): extract::Json<SuspendBody>,
) -> Result<Json<Overview>> {
    not_ones_own(&signed_in, &id)?;
    state.tenants.suspend(&id, &body.reason, &signed_in.actor()).await?;
    Ok(Json(state.operator.one(&id).await?))
}

/// Take a suspended organisation back into service
#[utoipa::path(post, path = "/api/operator/tenants/{tenant}/resume", tag = "operator", params(("tenant" = String, Path)), responses((status = 200, body = Overview)))]
pub async fn resume_tenant(
    State(state): State<OperatorState>,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
) -> Result<Json<Overview>> {
    state.tenants.resume(&id, &signed_in.actor()).await?;
    Ok(Json(state.operator.one(&id).await?))
}

/// Delete an organisation
///
/// It is out of service at once, and removed with everything in it when its grace period is over.
#[utoipa::path(post, path = "/api/operator/tenants/{tenant}/delete", tag = "operator", params(("tenant" = String, Path)), request_body = DeleteBody, responses((status = 200, body = Overview)))]
pub async fn delete_tenant(
    State(state): State<OperatorState>,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
    extract::Json(body): extract::Json<DeleteBody>,
) -> Result<Json<Overview>> {
    not_ones_own(&signed_in, &id)?;
    state.tenants.delete(&id, &body.confirm, false, &signed_in.actor()).await?;
    Ok(Json(state.operator.one(&id).await?))
}

/// Take a deleted organisation back, while its grace period lasts
#[utoipa::path(post, path = "/api/operator/tenants/{tenant}/undelete", tag = "operator", params(("tenant" = String, Path)), responses((status = 200, body = Overview)))]
pub async fn undelete_tenant(
    State(state): State<OperatorState>,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
) -> Result<Json<Overview>> {
    state.tenants.undelete(&id, &signed_in.actor()).await?;
    Ok(Json(state.operator.one(&id).await?))
}
