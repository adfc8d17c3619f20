//! Usage and budgets, as the operator at the command line sees them.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;

use super::{Answer, App, open};
use crate::{
    audit::Actor,
    models::budget::{Limit, MonthUsage, Scope},
};

/// Which month; the one in which we are unless told.
#[derive(Deserialize)]
pub(super) struct Wanted {
    month: Option<String>,
}

/// `GET /tenants/{slug}/usage`
pub(super) async fn show_usage(
    State(app): State<App>,
    Path(slug): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answer<Json<MonthUsage>> {
    let db = open(&app, &slug).await?;
    let month = wanted.month.map_or_else(|| Ok(app.budgets.this_month()), |month| month.parse())?;
    Ok(Json(app.budgets.usage(&db, month).await?))
}

/// A bound to be set; none takes it away.
#[derive(Deserialize)]
pub(super) struct NewBudget {
    agent: Option<String>,
    limit: Option<Limit>,
}

/// The operator's own bound of the organisation, or one of an agent.
pub(super) async fn set_budget(
    State(app): State<App>,
    Path(slug): Path<String>,
    Json(new): Json<NewBudget>,
) -> Answer<Json<MonthUsage>> {
    let db = open(&app, &slug).await?;
    let scope = match new.agent {
        Some(agent) => format!("agent:{agent}").parse()?,
        None => Scope::Appliance,
    };
    app.budgets.set(&db, &scope, new.limit, Actor::Operator).await?;
    Ok(Json(app.budgets.usage(&db, app.budgets.this_month()).await?))
}
