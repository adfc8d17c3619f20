//! Who is there: what handlers of every slice take as arguments.

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};

use super::LocalPath;
use crate::{
    accounts::{Accounts, Permission, SignedIn},
    db::{Databases, TenantDb},
    http::{
        context::RequestContext,
        frame::{ActiveTenant, Frame, Person, Section},
        middleware::record_tenant,
    },
    support::{Error, Kind},
};

/// What the extractors need of the router's state: implement `FromRef` to give it.
#[derive(Clone)]
pub struct AccountsState {
    /// Who may come in.
    pub accounts: Accounts,
    /// Where the tenants' data is.
    pub databases: Databases,
}

/// A signed-in person together with the data of the organisation that they work in. This is how a handler comes to a
/// tenant's data, and there is no other way.
#[derive(Debug, Clone)]
pub struct InTenant {
    /// Who.
    pub signed_in: SignedIn,
    /// The organisation's data.
    pub db: TenantDb,
}

/// Why nobody comes in: an error, or the way to the sign-in page.
pub enum Refusal {
    /// For programs, and when something broke.
    Error(Error),
    /// For people who are not signed in.
    SignIn(LocalPath),
}

impl SignedIn {
    /// The frame of a page in `section`.
    pub fn frame(&self, context: &RequestContext, title: impl Into<String>, section: Section) -> Frame {
        Frame {
            nav: section,
            sections: Section::RAIL.into_iter().filter(|section| self.sees(*section)).collect(),
            person: Some(Person {
                name: self.user.name.clone(),
                email: self.user.email.as_str().to_owned(),
                role: self.role.name(),
            }),
            tenant: Some(ActiveTenant { name: self.tenant.name.clone(), slug: self.tenant.slug.as_str().to_owned() }),
            elsewhere: self
                .elsewhere()
                .iter()
                .map(|other| ActiveTenant { name: other.name.clone(), slug: other.slug.clone() })
                .collect(),
            csrf: self.csrf().to_owned(),
            ..Frame::public(context, title)
        }
    }

    /// Whether the rail leads there: the same permission as its page's route.
    fn sees(&self, section: Section) -> bool {
        match section {
            Section::Chat | Section::Agents | Section::Boardroom | Section::Memory => self.may(Permission::ChatRead),
            Section::Members => self.may(Permission::MembersRead),
            Section::Approvals => self.may(Permission::ChatWrite),
            Section::Knowledge => self.may(Permission::KnowledgeRead),
            Section::Usage => self.may(Permission::UsageRead),
            Section::Audit => self.may(Permission::AuditRead),
            Section::Settings => self.may(Permission::SecretsManage),
            Section::Tenants | Section::Models => self.is_operator(),
            Section::Elsewhere => false,
        }
    }
}

impl<S> FromRequestParts<S> for SignedIn
where
    S: Send + Sync,
    AccountsState: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        if let Some(known) = parts.extensions.get::<Arc<Self>>() {
            return Ok(known.as_ref().clone());
        }
        let context = RequestContext::from_request_parts(parts, state).await?;
        let Some(signed_in) = current(&AccountsState::from_ref(state), &context).await? else {
            return Err(if context.wants_json() {
                Error::new(Kind::Unauthenticated, "Nobody is signed in").remedy("Sign in").into()
            } else {
                Refusal::SignIn(LocalPath::or_start(context.return_path()))
            });
        };
        record_tenant(&signed_in.tenant.id);
        parts.extensions.insert(Arc::new(signed_in.clone()));
        Ok(signed_in)
    }
}

impl<S> FromRequestParts<S> for InTenant
where
    S: Send + Sync,
    AccountsState: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let signed_in = SignedIn::from_request_parts(parts, state).await?;
        let db = AccountsState::from_ref(state).databases.tenant(&signed_in.tenant.id).await?;
        Ok(Self { signed_in, db })
    }
}

/// Who the request's session is, if it carries one that has not ended; or whose API token it shows, which then must be
/// good, and counts alone.
pub(super) async fn current(state: &AccountsState, context: &RequestContext) -> Result<Option<SignedIn>, Error> {
    match (context.bearer(), context.session_token()) {
        (Some(token), _) => state.accounts.bearer(token, context.client()).await.map(Some),
        (None, Some(token)) => state.accounts.session(token).await,
        (None, None) => Ok(None),
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Error(error) => {
                let mut response = error.into_response();
                if response.status() == StatusCode::UNAUTHORIZED {
                    // RFC 9110 wants it with every 401; browsers show no dialog for this scheme.
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                }
                response
            }
            Self::SignIn(path) => Redirect::to(&path.through_sign_in()).into_response(),
        }
    }
}
