//! One's own security: the second factor, and, for owners, whether everybody must have one.

use askama::Template;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{AccountsState, client, is_of_the_server};
use crate::{
    accounts::{
        Password, Permission, SignedIn,
        oidc::{Identity, Offer},
        second_factor::{Enrolment, Standing},
    },
    http::{
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::Form,
        format,
        frame::{Frame, Section},
        page,
    },
    support::{Result, ids::IdentityId},
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(paths(show_standing), tags((name = "security", description = "How one's own account is protected")))]
pub struct SecurityApi;

/// The page.
#[derive(Template)]
#[template(path = "security.html", config = "web/askama.toml")]
struct SecurityPage {
    frame: Frame,
    /// Which of the tabs is the current one.
    tab: &'static str,
    email: String,
    standing: Standing,
    /// Since when there is a second factor.
    since: String,
    /// What the app needs, while it is being set up.
    enrolment: Option<Enrolment>,
    /// Recovery codes that have just been made, shown this once.
    codes: Option<Vec<String>>,
    /// Why the last thing was refused, and which.
    refused: Option<(Which, String)>,
    /// Whether nothing else can be reached without a second factor.
    must_enrol: bool,
    /// Whether the organisation asks for one.
    required: bool,
    /// Whether the person may change that.
    may_require: bool,
    identities: Vec<IdentityView>,
    /// Where more can be linked.
    offers: Vec<Offer>,
}

/// A linked identity.
struct IdentityView {
    id: IdentityId,
    label: String,
    email: String,
    linked: String,
    used: String,
}

/// Which form was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Confirm,
    Codes,
    Remove,
    Require,
}

/// Password and code.
#[derive(Deserialize)]
pub struct BothForm {
    password: String,
    code: String,
}

/// Whether everybody must have a second factor.
#[derive(Debug, Deserialize)]
pub struct RequireForm {
    /// Present when the box is ticked.
    required: Option<String>,
}

/// How one's own account is protected.
#[derive(Serialize, ToSchema)]
pub struct Security {
    second_factor: Standing,
    /// Whether the organisation asks for a second factor.
    second_factor_required: bool,
    /// Who one is at other sign-in pages.
    identities: Vec<Identity>,
}

/// Show one's second factor
#[utoipa::path(get, path = "/api/account/security", tag = "security", responses((status = 200, body = Security)))]
pub async fn show_standing(State(state): State<AccountsState>, signed_in: SignedIn) -> Result<Json<Security>> {
    Ok(Json(Security {
        second_factor: state.accounts.second_factor(signed_in.user.id).await?,
        second_factor_required: state.accounts.requires_second_factor(&signed_in.tenant).await?,
        identities: state.accounts.identities(signed_in.user.id).await?,
    }))
}

/// `GET /account/security`
pub async fn show_security(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
) -> Result<Response> {
    security_page(&state, &context, &signed_in, None, None).await
}

/// `POST /account/security/enrol`: begins to set a second factor up.
pub async fn enrol(State(state): State<AccountsState>, signed_in: SignedIn) -> Result<Response> {
    state.accounts.begin_second_factor(&signed_in.user).await?;
    Ok(Redirect::to("/account/security").into_response())
}

/// `POST /account/security/confirm`: turns it on, and shows the recovery codes.
pub async fn confirm(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<BothForm>,
) -> Result<Response> {
    let password = Password::presented(&form.password);
    let done = state.accounts.confirm_second_factor(&signed_in, password, &form.code, &client(&context)).await;
    show_codes(&state, &context, signed_in, done, Which::Confirm).await
}

/// `POST /account/security/codes`: new recovery codes.
pub async fn renew_codes(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<BothForm>,
) -> Result<Response> {
    let password = Password::presented(&form.password);
    let done = state.accounts.renew_recovery_codes(&signed_in, password, &form.code, &client(&context)).await;
    show_codes(&state, &context, signed_in, done, Which::Codes).await
}

/// `POST /account/security/remove`: turns it off.
pub async fn remove(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<BothForm>,
) -> Result<Response> {
    let password = Password::presented(&form.password);
    let done = state.accounts.remove_second_factor(&signed_in, password, &form.code, &client(&context)).await;
    go_back(&state, &context, &signed_in, done, Which::Remove).await
}

/// `POST /account/security/require`: whether everybody must have one.
pub async fn require(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<RequireForm>,
) -> Result<Response> {
    super::guard::require(&signed_in, Permission::SettingsManage)?;
    let done = state.accounts.require_second_factor(&signed_in, form.required.is_some()).await;
    go_back(&state, &context, &signed_in, done, Which::Require).await
}

async fn show_codes(
    state: &AccountsState,
    context: &RequestContext,
    signed_in: SignedIn,
    done: Result<Vec<String>>,
    form: Which,
) -> Result<Response> {
    match done {
        Ok(codes) => {
            let signed_in = SignedIn { must_enrol: false, ..signed_in };
            security_page(state, context, &signed_in, Some(codes), None).await
        }
        Err(error) if is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let refused = Some((form, in_sentences(&error)));
            Ok(form_refused(&error, security_page(state, context, &signed_in, None, refused).await?))
        }
    }
}

async fn go_back(
    state: &AccountsState,
    context: &RequestContext,
    signed_in: &SignedIn,
    done: Result<()>,
    form: Which,
) -> Result<Response> {
    match done {
        Ok(()) => Ok(Redirect::to("/account/security").into_response()),
        Err(error) if is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let refused = Some((form, in_sentences(&error)));
            Ok(form_refused(&error, security_page(state, context, signed_in, None, refused).await?))
        }
    }
}

async fn security_page(
    state: &AccountsState,
    context: &RequestContext,
    signed_in: &SignedIn,
    codes: Option<Vec<String>>,
    refused: Option<(Which, String)>,
) -> Result<Response> {
    let standing = state.accounts.second_factor(signed_in.user.id).await?;
    let (offers, now) = (state.accounts.offers(), state.accounts.now());
    let since = match standing {
        Standing::On { since, .. } => since.format("%-d %B %Y").to_string(),
        Standing::Off | Standing::SettingUp => String::new(),
    };
    page(&SecurityPage {
        frame: signed_in.frame(context, "Security", Section::Elsewhere),
        tab: "security",
        email: signed_in.user.email.to_string(),
        standing,
        since,
        enrolment: state.accounts.enrolment(&signed_in.user).await?,
        codes,
        refused,
        must_enrol: signed_in.must_enrol,
        required: state.accounts.requires_second_factor(&signed_in.tenant).await?,
        may_require: signed_in.may(Permission::SettingsManage),
        identities: state
            .accounts
            .identities(signed_in.user.id)
            .await?
            .into_iter()
            .map(|identity| view(identity, &offers, now))
            .collect(),
        offers,
    })
}

fn view(identity: Identity, offers: &[Offer], now: DateTime<Utc>) -> IdentityView {
    let label = offers.iter().find(|offer| offer.name == identity.provider).map(|offer| offer.label.clone());
    IdentityView {
        id: identity.id,
        label: label.unwrap_or(identity.issuer),
        email: identity.email.unwrap_or_default(),
        linked: identity.linked_at.format("%-d %B %Y").to_string(),
        used: identity
            .last_used_at
            .map_or_else(|| "Never used".to_owned(), |used| format!("Used {}", format::ago(now, used))),
    }
}

impl SecurityPage {
    /// Why this form was refused, if it was.
    fn refusal(&self, form: &str) -> Option<&str> {
        let (refused, why) = self.refused.as_ref()?;
        let name = match refused {
            Which::Confirm => "confirm",
            Which::Codes => "codes",
            Which::Remove => "remove",
            Which::Require => "require",
        };
        (name == form).then_some(why)
    }
}
