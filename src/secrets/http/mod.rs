//! The organisation's secrets: their page, which works without script, and their API. No answer holds a value.

mod api;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use serde::Deserialize;

pub use api::{SecretsApi, delete_secret, list_secrets, set_secret};

use super::{By, Secret, SecretName, Secrets};
use crate::{
    accounts::{SignedIn, http::InTenant},
    http::{
        self,
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::{Form, Path},
        format,
        frame::{Frame, Section},
    },
    support::{Kind, Result, clock::SharedClock},
    vault::SecretText,
};

/// What the handlers of secrets need.
#[derive(Clone)]
pub struct SecretsState {
    /// The use cases.
    pub secrets: Secrets,
    /// The time.
    pub clock: SharedClock,
}

/// All secrets, and the form to set one.
#[derive(Template)]
#[template(path = "secrets.html", config = "web/askama.toml")]
struct SecretsPage {
    frame: Frame,
    /// Which of the settings' tabs it is.
    tab: &'static str,
    count: String,
    secrets: Vec<SecretView>,
    /// The name that was typed before.
    name: String,
    /// Why it was refused.
    error: Option<String>,
}

/// A secret as a row.
struct SecretView {
    name: SecretName,
    set_by: String,
    set_at: String,
    set: String,
    /// Empty: never.
    used_at: String,
    used: String,
}

/// The form to set a secret. Not `Debug`: it holds the value.
#[derive(Deserialize)]
pub struct SecretForm {
    name: String,
    value: String,
}

/// `GET /settings/secrets`
pub async fn show_secrets(
    State(state): State<SecretsState>,
    context: RequestContext,
    tenant: InTenant,
) -> Result<Response> {
    http::page(&secrets_page(&state, &context, &tenant, String::new(), None).await?)
}

/// `POST /settings/secrets`: sets one. What was refused is said on the page, which does not repeat the value.
pub async fn set_secret_by_form(
    State(state): State<SecretsState>,
    context: RequestContext,
    tenant: InTenant,
    Form(form): Form<SecretForm>,
) -> Result<Response> {
    // A form sends line breaks as CR LF, whatever was pasted; keys in PEM are not that.
    let value = SecretText::new(form.value.replace("\r\n", "\n"));
    let set = async { state.secrets.set(&tenant.db, form.name.trim().parse()?, value, by(&tenant.signed_in)).await };
    match set.await {
        Ok(_) => Ok(Redirect::to("/settings/secrets").into_response()),
        Err(error) if matches!(error.kind(), Kind::Internal | Kind::Unavailable) => Err(error),
        Err(error) => {
            // Whoever typed the value where the name belongs does not want it shown.
            let name = form.name.trim().parse().map_or_else(|_| String::new(), |name: SecretName| name.to_string());
            let page = secrets_page(&state, &context, &tenant, name, Some(in_sentences(&error))).await?;
            Ok(form_refused(&error, http::page(&page)?))
        }
    }
}

/// `POST /settings/secrets/{name}/delete`
pub async fn delete_secret_by_form(
    State(state): State<SecretsState>,
    tenant: InTenant,
    Path(name): Path<SecretName>,
) -> Result<Response> {
    state.secrets.delete(&tenant.db, &name, tenant.signed_in.actor()).await?;
    Ok(Redirect::to("/settings/secrets").into_response())
}

async fn secrets_page(
    state: &SecretsState,
    context: &RequestContext,
    tenant: &InTenant,
    name: String,
    error: Option<String>,
) -> Result<SecretsPage> {
    let secrets = state.secrets.list(&tenant.db).await?;
    let now = state.clock.now();
    Ok(SecretsPage {
        frame: tenant.signed_in.frame(context, "Secrets", Section::Settings),
        tab: "secrets",
        count: format::count(i64::try_from(secrets.len()).unwrap_or(i64::MAX), "secret"),
        secrets: secrets.into_iter().map(|secret| view(secret, now)).collect(),
        name,
        error,
    })
}

fn view(secret: Secret, now: DateTime<Utc>) -> SecretView {
    let Secret { name, set_at, set_by, last_used_at } = secret;
    SecretView {
        name,
        set_by,
        set_at: format::machine(set_at),
        set: format::ago(now, set_at),
        used_at: last_used_at.map(format::machine).unwrap_or_default(),
        used: last_used_at.map_or_else(|| "never".to_owned(), |used| format::ago(now, used)),
    }
}

fn by(signed_in: &SignedIn) -> By {
    By { actor: signed_in.actor(), name: signed_in.user.name.clone() }
}
