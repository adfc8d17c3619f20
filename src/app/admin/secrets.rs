//! Secrets and the keys that protect them, as the operator at the command line sees them.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::{Answer, App, open};
use crate::{
    audit::Actor,
    secrets::{By, SecretName},
    support::{Error, Result},
    vault::{Passphrase, SecretText, keyring::Protection},
};

/// `GET /tenants/{slug}/secrets`
pub(super) async fn list_secrets(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let db = open(&app, &slug).await?;
    told(&app.secrets.list(&db).await?)
}

/// A secret to be set. Not `Debug`: it holds the value.
#[derive(Deserialize)]
pub(super) struct NewSecret {
    name: String,
    value: String,
}

/// `POST /tenants/{slug}/secrets`
pub(super) async fn set_secret(State(app): State<App>, Path(slug): Path<String>, Json(new): Json<NewSecret>) -> Answer {
    let db = open(&app, &slug).await?;
    let name: SecretName = new.name.parse()?;
    told(&app.secrets.set(&db, name, SecretText::new(new.value), By::operator()).await?)
}

/// `DELETE /tenants/{slug}/secrets/{name}`
pub(super) async fn delete_secret(State(app): State<App>, Path((slug, name)): Path<(String, String)>) -> Answer {
    let db = open(&app, &slug).await?;
    let name: SecretName = name.parse()?;
    app.secrets.delete(&db, &name, Actor::Operator).await?;
    Ok(Json(json!({ "name": name })))
}

/// `POST /tenants/{slug}/key/rotate`
pub(super) async fn rotate_tenant_key(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let db = open(&app, &slug).await?;
    told(&app.secrets.rotate_tenant(&db, Actor::Operator).await?)
}

/// `GET /key`
pub(super) async fn show_key(State(app): State<App>) -> Answer {
    told(&app.secrets.key_status().await?)
}

/// In a task of its own: a command that is interrupted does not interrupt it.
pub(super) async fn rotate_appliance_key(State(app): State<App>) -> Answer {
    let secrets = app.secrets.clone();
    let rotation = tokio::spawn(async move { secrets.rotate_appliance(Actor::Operator).await });
    told(&rotation.await.map_err(Error::internal)??)
}

/// Without a passphrase the configured one is taken.
#[derive(Deserialize)]
pub(super) struct Protect {
    passphrase: Option<String>,
}

/// `POST /key/protect`
pub(super) async fn protect_key(State(app): State<App>, Json(protect): Json<Protect>) -> Answer {
    let configured = app.config.vault.passphrase.as_ref();
    let passphrase = match (protect.passphrase, configured) {
        (Some(passphrase), _) => passphrase,
        (None, Some(configured)) => configured.read()?,
        (None, None) => {
            return Err(Error::invalid("no passphrase was given, and none is configured")
                .remedy("run it on a terminal, or with --passphrase-stdin")
                .into());
        }
    };
    let as_configured = configured
        .and_then(|secret| secret.read().ok())
        .is_some_and(|text| text.as_bytes().ct_eq(passphrase.as_bytes()).into());
    let protection = app.secrets.protect(Some(Passphrase::chosen(passphrase)?)).await?;
    Ok(protected(protection, as_configured))
}

/// `POST /key/unprotect`
pub(super) async fn unprotect_key(State(app): State<App>) -> Answer {
    Ok(protected(app.secrets.protect(None).await?, app.config.vault.passphrase.is_none()))
}

/// `as_configured`: whether the next start finds what it needs in the configuration.
fn protected(protection: Protection, as_configured: bool) -> Json<Value> {
    Json(json!({ "protection": protection, "as_configured": as_configured }))
}

fn told(answer: &impl serde::Serialize) -> Answer {
    let value: Result<Value> = serde_json::to_value(answer).map_err(Error::internal);
    Ok(Json(value?))
}
