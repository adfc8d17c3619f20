//! Accounts, as the operator at the command line sees them.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, App, find_tenant};
use crate::accounts::{EmailAddress, Password, Role};

#[derive(Deserialize)]
pub(super) struct NewUser {
    email: String,
    tenant: String,
    role: Role,
    name: Option<String>,
    password: String,
}

pub(super) async fn create_user(State(app): State<App>, Json(new): Json<NewUser>) -> Answer {
    let email: EmailAddress = new.email.parse()?;
    let password = Password::chosen(&new.password)?;
    let tenant = find_tenant(&app, &new.tenant).await?;
    let name = new.name.unwrap_or_else(|| email.to_string().split('@').next().unwrap_or_default().to_owned());
    let user = app.accounts.create_user(&email, &name, password, &tenant, new.role).await?;
    Ok(Json(json!({
        "id": user.id, "email": user.email, "name": user.name, "tenant": tenant.slug, "role": new.role,
    })))
}
