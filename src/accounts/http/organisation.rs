//! The organisation's own settings: its name.

use askama::Template;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{AccountsState, is_of_the_server};
use crate::{
    accounts::{Permission, SignedIn},
    http::{
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::{self, Form, Query},
        format,
        frame::{Frame, Section},
        page,
    },
    support::Result,
    tenants::Tenant,
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(show_organisation, rename_organisation),
    tags((name = "organisation", description = "The organisation that one is signed in to"))
)]
pub struct OrganisationApi;

/// Name, short name, id.
#[derive(Template)]
#[template(path = "settings.html", config = "web/askama.toml")]
struct SettingsPage {
    frame: Frame,
    tab: &'static str,
    name: String,
    slug: String,
    id: String,
    created: String,
    created_at: String,
    may_rename: bool,
    saved: bool,
    error: Option<String>,
}

/// `?saved=1`
#[derive(Deserialize)]
pub struct SettingsQuery {
    #[serde(default)]
    saved: String,
}

/// The form for another name.
#[derive(Deserialize)]
pub struct OrganisationForm {
    name: String,
}

/// The organisation.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganisationSettings)]
pub struct Organisation {
    id: String,
    /// What commands and addresses call it.
    slug: String,
    /// What people call it.
    name: String,
    created_at: DateTime<Utc>,
}

/// Another name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganisationBody {
    /// What people call it.
    name: String,
}

/// `GET /settings`
pub async fn show_settings(
    context: RequestContext,
    signed_in: SignedIn,
    Query(query): Query<SettingsQuery>,
) -> Result<Response> {
    page(&SettingsPage { saved: !query.saved.is_empty(), ..settings_page(&context, &signed_in) })
}

/// `POST /settings`: gives the organisation another name.
pub async fn rename_organisation_by_form(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<OrganisationForm>,
) -> Result<Response> {
    match state.accounts.rename_organisation(&signed_in, &form.name).await {
        Ok(_) => Ok(Redirect::to("/settings?saved=1").into_response()),
        Err(error) if context.wants_json() || is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let shown = settings_page(&context, &signed_in);
            let shown = SettingsPage { name: form.name, error: Some(in_sentences(&error)), ..shown };
            Ok(form_refused(&error, page(&shown)?))
        }
    }
}

/// Show the organisation
#[utoipa::path(get, path = "/api/settings", tag = "organisation", responses((status = 200, body = Organisation)))]
pub async fn show_organisation(signed_in: SignedIn) -> Json<Organisation> {
    Json(organisation(signed_in.tenant))
}

/// Rename the organisation
#[utoipa::path(
    post,
    path = "/api/settings",
    tag = "organisation",
    request_body = OrganisationBody,
    responses((status = 200, body = Organisation))
)]
pub async fn rename_organisation(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    extract::Json(body): extract::Json<OrganisationBody>,
) -> Result<Json<Organisation>> {
    Ok(Json(organisation(state.accounts.rename_organisation(&signed_in, &body.name).await?)))
}

fn settings_page(context: &RequestContext, signed_in: &SignedIn) -> SettingsPage {
    let tenant = &signed_in.tenant;
    SettingsPage {
        frame: signed_in.frame(context, "Settings", Section::Settings),
        tab: "organisation",
        name: tenant.name.clone(),
        slug: tenant.slug.to_string(),
        id: tenant.id.to_string(),
        created: tenant.created_at.format("%-d %B %Y").to_string(),
        created_at: format::machine(tenant.created_at),
        may_rename: signed_in.may(Permission::SettingsManage),
        saved: false,
        error: None,
    }
}

fn organisation(tenant: Tenant) -> Organisation {
    let Tenant { id, slug, name, created_at } = tenant;
    Organisation { id: id.to_string(), slug: slug.to_string(), name, created_at }
}
