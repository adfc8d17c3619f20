//! The operator's pages: plain forms, which work without script.

mod api;
pub mod models;
mod view;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

pub use self::api::{
    OperatorApi, create_tenant, delete_tenant, list_tenants, rename_tenant, resume_tenant, show_tenant_as_json,
    suspend_tenant, undelete_tenant,
};
use self::view::{DeedView, TenantView};
use super::{Operator, not_ones_own};
use crate::{
    accounts::{Accounts, By, EmailAddress, Role, SignedIn},
    http::{
        context::RequestContext,
        error::{form_refused, in_sentences, is_of_the_server},
        extract::{Form, Path, Query},
        format,
        frame::{Frame, Section},
        page,
    },
    support::{Error, Result, clock::SharedClock, ids::TenantId},
    tenants::{Renaming, Tenant, Tenants},
};

/// Tenants on one page.
const PAGE: usize = 50;
/// Deeds beside a tenant.
const DEEDS: usize = 20;

/// What the handlers need.
#[derive(Clone)]
pub struct OperatorState {
    /// What operators see.
    pub operator: Operator,
    /// What they do.
    pub tenants: Tenants,
    /// Who is invited to them.
    pub accounts: Accounts,
    /// How many days a deleted tenant can be taken back.
    pub grace_days: u32,
    /// The time.
    pub clock: SharedClock,
}

/// All tenants, and a form for another one.
#[derive(Template)]
#[template(path = "tenants.html", config = "web/askama.toml")]
struct TenantsPage {
    frame: Frame,
    count: String,
    tenants: Vec<TenantView>,
    /// Where the list goes on.
    after: Option<String>,
    /// Why none was created.
    error: Option<String>,
    name: String,
    slug: String,
    owner: String,
}

/// One tenant, and what can be done with it.
#[derive(Template)]
#[template(path = "tenant.html", config = "web/askama.toml")]
struct TenantPage {
    frame: Frame,
    tenant: TenantView,
    /// Whether the operator is signed in to it.
    own: bool,
    deeds: Vec<DeedView>,
    /// How long a deleted tenant can be taken back.
    grace: String,
    /// The link for an owner who has just been invited, shown this once.
    link: Option<String>,
    invited: String,
    error: Option<String>,
}

/// `?after=SLUG`
#[derive(Deserialize)]
pub struct After {
    #[serde(default)]
    after: String,
}

/// The form for a new tenant.
#[derive(Deserialize)]
pub struct NewTenantForm {
    name: String,
    slug: String,
    /// The first owner's address; empty to invite somebody later.
    #[serde(default)]
    owner: String,
}

/// The form for an invitation.
#[derive(Deserialize)]
pub struct InvitationForm {
    email: String,
}

/// The form for other names.
#[derive(Deserialize)]
pub struct NamesForm {
    name: String,
    slug: String,
}

/// The form for a suspension.
#[derive(Deserialize)]
pub struct ReasonForm {
    #[serde(default)]
    reason: String,
}

/// The form for a deletion.
#[derive(Deserialize)]
pub struct DeletionForm {
    confirm: String,
}

/// `GET /operator/tenants`
pub async fn show_tenants(
    State(state): State<OperatorState>,
    context: RequestContext,
    signed_in: SignedIn,
    Query(query): Query<After>,
) -> Result<Response> {
    page(&tenants_page(&state, &context, &signed_in, &query.after).await?)
}

/// `POST /operator/tenants`
pub async fn create_tenant_by_form(
    State(state): State<OperatorState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<NewTenantForm>,
) -> Result<Response> {
    let created = async {
        let slug = form.slug.trim().parse()?;
        // Before anything is created, because a wrong address would leave an organisation without an owner.
        let owner = Some(form.owner.trim()).filter(|owner| !owner.is_empty()).map(str::parse::<EmailAddress>);
        let owner = owner.transpose()?;
        let tenant = state.tenants.create_by(&slug, &form.name, &signed_in.actor()).await?;
        Ok::<_, Error>((tenant, owner))
    };
    match created.await {
        Ok((tenant, Some(owner))) => invite(&state, &context, &signed_in, &tenant, &owner).await,
        Ok((tenant, None)) => Ok(Redirect::to(&format!("/operator/tenants/{}", tenant.id)).into_response()),
        Err(error) if is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let shown = tenants_page(&state, &context, &signed_in, "").await?;
            let NewTenantForm { name, slug, owner } = form;
            let shown = TenantsPage { error: Some(in_sentences(&error)), name, slug, owner, ..shown };
            Ok(form_refused(&error, page(&shown)?))
        }
    }
}

/// `POST /operator/tenants/{tenant}/invite`: a link for an owner, shown this once.
pub async fn invite_owner_by_form(
    State(state): State<OperatorState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
    Form(form): Form<InvitationForm>,
) -> Result<Response> {
    let tenant = state.tenants.by_id(&id).await?.ok_or_else(|| Error::not_found("the organisation"))?;
    match form.email.parse() {
        Ok(owner) => invite(&state, &context, &signed_in, &tenant, &owner).await,
        Err(error) => answer(&state, &context, &signed_in, &id, Err(error)).await,
    }
}

/// `GET /operator/tenants/{tenant}`
pub async fn show_tenant(
    State(state): State<OperatorState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
) -> Result<Response> {
    page(&tenant_page(&state, &context, &signed_in, &id).await?)
}

/// `POST /operator/tenants/{tenant}/rename`
pub async fn rename_tenant_by_form(
    State(state): State<OperatorState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
    Form(form): Form<NamesForm>,
) -> Result<Response> {
    let done = async {
        let renaming = Renaming { name: Some(form.name), slug: Some(form.slug.trim().parse()?) };
        state.tenants.rename(&id, renaming, &signed_in.actor()).await.map(drop)
    };
    answer(&state, &context, &signed_in, &id, done.await).await
}

/// `POST /operator/tenants/{tenant}/suspend`
pub async fn suspend_tenant_by_form(
    State(state): State<OperatorState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
    Form(form): Form<ReasonForm>,
) -> Result<Response> {
    let done = async {
        not_ones_own(&signed_in, &id)?;
        state.tenants.suspend(&id, &form.reason, &signed_in.actor()).await.map(drop)
    };
    answer(&state, &context, &signed_in, &id, done.await).await
}

/// `POST /operator/tenants/{tenant}/resume`
pub async fn resume_tenant_by_form(
    State(state): State<OperatorState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
) -> Result<Response> {
    let done = state.tenants.resume(&id, &signed_in.actor()).await.map(drop);
    answer(&state, &context, &signed_in, &id, done).await
}

/// `POST /operator/tenants/{tenant}/delete`
pub async fn delete_tenant_by_form(
    State(state): State<OperatorState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
    Form(form): Form<DeletionForm>,
) -> Result<Response> {
    let done = async {
        not_ones_own(&signed_in, &id)?;
        state.tenants.delete(&id, &form.confirm, false, &signed_in.actor()).await.map(drop)
    };
    answer(&state, &context, &signed_in, &id, done.await).await
}

/// `POST /operator/tenants/{tenant}/undelete`
pub async fn undelete_tenant_by_form(
    State(state): State<OperatorState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(id): Path<TenantId>,
) -> Result<Response> {
    let done = state.tenants.undelete(&id, &signed_in.actor()).await.map(drop);
    answer(&state, &context, &signed_in, &id, done).await
}

async fn invite(
    state: &OperatorState,
    context: &RequestContext,
    signed_in: &SignedIn,
    tenant: &Tenant,
    owner: &EmailAddress,
) -> Result<Response> {
    match state.accounts.invite(By::Operator, tenant, owner, Role::Owner).await {
        Ok((_, token)) => page(&TenantPage {
            link: Some(context.kit().link(&format!("/invitation/{}", token.reveal()))),
            invited: owner.to_string(),
            ..tenant_page(state, context, signed_in, &tenant.id).await?
        }),
        Err(error) => answer(state, context, signed_in, &tenant.id, Err(error)).await,
    }
}

/// Back to the tenant's page; or the page with what was wrong.
async fn answer(
    state: &OperatorState,
    context: &RequestContext,
    signed_in: &SignedIn,
    id: &TenantId,
    done: Result<()>,
) -> Result<Response> {
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/operator/tenants/{id}")).into_response()),
        Err(error) if is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let mut shown = tenant_page(state, context, signed_in, id).await?;
            shown.error = Some(in_sentences(&error));
            Ok(form_refused(&error, page(&shown)?))
        }
    }
}

async fn tenants_page(
    state: &OperatorState,
    context: &RequestContext,
    signed_in: &SignedIn,
    after: &str,
) -> Result<TenantsPage> {
    let mut tenants = state.operator.list(after, PAGE + 1).await?;
    let more = tenants.len() > PAGE;
    tenants.truncate(PAGE);
    let all: i64 = state.tenants.counts().await?.values().sum();
    let now = state.clock.now();
    Ok(TenantsPage {
        frame: signed_in.frame(context, "Tenants", Section::Tenants),
        count: format::count(all, "organisation"),
        after: tenants.last().filter(|_| more).map(|last| last.slug.clone()),
        tenants: tenants.into_iter().map(|tenant| TenantView::new(tenant, now)).collect(),
        error: None,
        name: String::new(),
        slug: String::new(),
        owner: String::new(),
    })
}

async fn tenant_page(
    state: &OperatorState,
    context: &RequestContext,
    signed_in: &SignedIn,
    id: &TenantId,
) -> Result<TenantPage> {
    let now = state.clock.now();
    let tenant = TenantView::new(state.operator.one(id).await?, now);
    let deeds = state.tenants.deeds(Some(id), DEEDS).await?;
    Ok(TenantPage {
        frame: signed_in.frame(context, tenant.name.clone(), Section::Tenants),
        own: signed_in.tenant.id == *id,
        deeds: deeds.into_iter().map(|deed| DeedView::new(deed, now)).collect(),
        tenant,
        grace: format::count(i64::from(state.grace_days), "day"),
        link: None,
        invited: String::new(),
        error: None,
    })
}
