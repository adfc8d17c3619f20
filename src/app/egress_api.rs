//! `GET /api/egress`: what the appliance may reach outside, for its operators.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use crate::egress::{Allowed, Egress};

/// The API's description.
#[derive(OpenApi)]
#[openapi(paths(list_allowed), tags((name = "appliance", description = "The appliance itself")))]
pub struct EgressApi;

/// Everything that may be reached.
#[derive(Serialize, ToSchema)]
pub struct AllowList {
    allowed: Vec<Allowed>,
}

/// List what may be reached
///
/// Every address that a request of the appliance may go to, and the setting that allows it. Anything else is refused.
#[utoipa::path(get, path = "/api/egress", tag = "appliance", responses((status = 200, body = AllowList)))]
pub async fn list_allowed(State(egress): State<Egress>) -> Json<AllowList> {
    Json(AllowList { allowed: egress.allowed() })
}
