//! Usage and budgets as JSON.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{UsageState, owners_scope};
use crate::{
    accounts::http::InTenant,
    http::extract::{self, Query},
    models::budget::{Limit, MonthUsage},
    support::Result,
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(show_usage_as_json, set_budget),
    tags((name = "usage", description = "What models were used for, what that cost, and how much it may"))
)]
pub struct UsageApi;

/// Which month.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// `2026-11`; the month in which we are unless told.
    #[param(pattern = "^2[0-9]{3}-(0[1-9]|1[0-2])$")]
    month: Option<String>,
}

/// A budget to be set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBudget {
    /// `organisation`, or `agent:luna`.
    #[schema(pattern = "^(organisation|agent:[a-z0-9-]{1,64})$")]
    scope: String,
    /// What may be spent in a month; none takes the budget away.
    limit: Option<Limit>,
}

/// A month's usage
///
/// By day, agent and model, with the budgets and how they stand. Costs are in millionths of the currency.
#[utoipa::path(
    get,
    path = "/api/usage",
    tag = "usage",
    params(Wanted),
    responses((status = 200, body = MonthUsage), (status = 400, description = "That is no month"))
)]
pub async fn show_usage_as_json(
    State(state): State<UsageState>,
    tenant: InTenant,
    Query(wanted): Query<Wanted>,
) -> Result<Json<MonthUsage>> {
    let month = wanted.month.map_or_else(|| Ok(state.budgets.this_month()), |month| month.parse())?;
    Ok(Json(state.budgets.usage(&tenant.db, month).await?))
}

/// Set a budget
///
/// In place of the one that was there. The operator's own bound holds beside it.
#[utoipa::path(
    post,
    path = "/api/budgets",
    tag = "usage",
    request_body = NewBudget,
    responses((status = 204, description = "It holds from the next call on"), (status = 400, description = "It is no budget"))
)]
pub async fn set_budget(
    State(state): State<UsageState>,
    tenant: InTenant,
    extract::Json(new): extract::Json<NewBudget>,
) -> Result<StatusCode> {
    let scope = owners_scope(&new.scope)?;
    state.budgets.set(&tenant.db, &scope, new.limit, tenant.signed_in.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
