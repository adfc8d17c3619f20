//! One's own account: name and password.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{AccountsState, client, enter, is_of_the_server};
use crate::{
    accounts::{ClientInfo, NewSession, Password, SignedIn},
    http::{
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::{Form, Query},
        frame::{Frame, Section},
        page,
    },
    support::{Error, Result},
};

/// The page of one's own account.
#[derive(Template)]
#[template(path = "account.html", config = "web/askama.toml")]
struct AccountPage {
    frame: Frame,
    /// Which of the tabs is the current one.
    tab: &'static str,
    email: String,
    /// What one is called, or wanted to be called.
    name: String,
    /// What has just been done: `name` or `password`.
    done: String,
    /// Why the name was refused.
    name_error: Option<String>,
    /// Why the password was refused.
    password_error: Option<String>,
}

/// What has just been done.
#[derive(Debug, Deserialize)]
pub struct AccountQuery {
    #[serde(default)]
    done: String,
}

/// The form for the name.
#[derive(Debug, Deserialize)]
pub struct NameForm {
    name: String,
}

/// The form for the password.
#[derive(Deserialize)]
pub struct PasswordForm {
    current: String,
    new: String,
}

impl AccountPage {
    fn new(signed_in: &SignedIn, context: &RequestContext) -> Self {
        Self {
            frame: signed_in.frame(context, "Account", Section::Elsewhere),
            tab: "account",
            email: signed_in.user.email.to_string(),
            name: signed_in.user.name.clone(),
            done: String::new(),
            name_error: None,
            password_error: None,
        }
    }
}

/// `GET /account`: name, address, password.
pub async fn show_account(
    context: RequestContext,
    signed_in: SignedIn,
    Query(query): Query<AccountQuery>,
) -> Result<Response> {
    page(&AccountPage { done: query.done, ..AccountPage::new(&signed_in, &context) })
}

/// `POST /account`: another name.
pub async fn rename(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<NameForm>,
) -> Result<Response> {
    match state.accounts.rename(&signed_in, &form.name).await {
        Ok(()) => Ok(Redirect::to("/account?done=name").into_response()),
        Err(error) => refused(error, &context, |told| AccountPage {
            name: form.name,
            name_error: Some(told),
            ..AccountPage::new(&signed_in, &context)
        }),
    }
}

/// `POST /account/password`: another password; the session gets a new token and all others end.
pub async fn change_password(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<PasswordForm>,
) -> Result<Response> {
    match try_change(&state, &signed_in, &form, &client(&context)).await {
        Ok(session) => enter(&context, &session, "/account?done=password"),
        Err(error) => refused(error, &context, |told| AccountPage {
            password_error: Some(told),
            ..AccountPage::new(&signed_in, &context)
        }),
    }
}

async fn try_change(
    state: &AccountsState,
    signed_in: &SignedIn,
    form: &PasswordForm,
    client: &ClientInfo,
) -> Result<NewSession> {
    state.accounts.change_password(signed_in, Password::presented(&form.current), &form.new, client).await
}

/// The page again, with what was wrong.
fn refused(error: Error, context: &RequestContext, shown: impl FnOnce(String) -> AccountPage) -> Result<Response> {
    if context.wants_json() || is_of_the_server(error.kind()) {
        return Err(error);
    }
    let shown = page(&shown(in_sentences(&error)))?;
    Ok(form_refused(&error, shown))
}
