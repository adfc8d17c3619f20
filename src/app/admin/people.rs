//! Accounts, as the operator at the command line sees them.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, App, find_tenant};
use crate::{
    accounts::{By, EmailAddress, Password, Person, Role},
    audit::Actor,
    support::{Error, Result},
};

/// A person who gets an account.
#[derive(Deserialize)]
pub(super) struct NewUser {
    email: String,
    tenant: String,
    role: Role,
    name: Option<String>,
    password: String,
}

/// `POST /users`
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

/// Whose people; everybody's unless told.
#[derive(Deserialize)]
pub(super) struct OfTenant {
    tenant: Option<String>,
}

/// `GET /users`
pub(super) async fn list_people(State(app): State<App>, Query(of): Query<OfTenant>) -> Answer {
    let tenant = match of.tenant {
        Some(slug) => Some(find_tenant(&app, &slug).await?),
        None => None,
    };
    let people = app.accounts.people(tenant.as_ref()).await?;
    Ok(Json(serde_json::to_value(people).map_err(Error::internal)?))
}

/// `GET /users/{email}`
pub(super) async fn show_person(State(app): State<App>, Path(email): Path<String>) -> Answer {
    answer(app.accounts.person(&email.parse()?).await)
}

/// Who is invited where, and as what.
#[derive(Deserialize)]
pub(super) struct Invite {
    email: String,
    tenant: String,
    role: Role,
}

/// `POST /invitations`
pub(super) async fn invite(State(app): State<App>, Json(invite): Json<Invite>) -> Answer {
    let tenant = find_tenant(&app, &invite.tenant).await?;
    let (invitation, token) = app.accounts.invite(By::Operator, &tenant, &invite.email.parse()?, invite.role).await?;
    Ok(Json(json!({
        "email": invitation.email, "tenant": tenant.slug, "role": invitation.role,
        "link": app.kit.link(&format!("/invitation/{}", token.reveal())), "expires_at": invitation.expires_at,
    })))
}

/// `POST /users/{email}/reset`
pub(super) async fn reset(State(app): State<App>, Path(email): Path<String>) -> Answer {
    let reset = app.accounts.make_reset(&email.parse()?).await?;
    Ok(Json(json!({
        "email": reset.user.email, "link": app.kit.link(&format!("/reset/{}", reset.token.reveal())),
        "expires_at": reset.expires_at,
    })))
}

/// On or off.
#[derive(Deserialize)]
pub(super) struct Switch {
    on: bool,
}

/// `POST /users/{email}/operator`
pub(super) async fn set_operator(
    State(app): State<App>,
    Path(email): Path<String>,
    Json(switch): Json<Switch>,
) -> Answer {
    answer(app.accounts.set_operator(&email.parse()?, switch.on).await)
}

/// `DELETE /users/{email}/second-factor`
pub(super) async fn remove_second_factor(State(app): State<App>, Path(email): Path<String>) -> Answer {
    let email: EmailAddress = email.parse()?;
    let removed = app.accounts.reset_second_factor(&email, Actor::Operator).await?;
    Ok(Json(json!({ "email": email, "removed": removed })))
}

/// `POST /users/{email}/suspended`
pub(super) async fn set_suspended(
    State(app): State<App>,
    Path(email): Path<String>,
    Json(switch): Json<Switch>,
) -> Answer {
    answer(app.accounts.suspend_person(&email.parse()?, switch.on).await)
}

/// `DELETE /users/{email}`
pub(super) async fn remove_person(
    State(app): State<App>,
    Path(email): Path<String>,
    Query(of): Query<OfTenant>,
) -> Answer {
    let email: EmailAddress = email.parse()?;
    let Some(slug) = of.tenant else { return answer(app.accounts.remove_person(&email).await) };
    let tenant = find_tenant(&app, &slug).await?;
    app.accounts.remove_from(&email, &tenant).await?;
    answer(app.accounts.person(&email).await)
}

fn answer(person: Result<Person>) -> Answer {
    Ok(Json(serde_json::to_value(person?).map_err(Error::internal)?))
}
