//! Signing in through somebody else's page: OpenID Connect, by authorization code with PKCE.
//!
//! | what | how |
//! |---|---|
//! | who somebody is | issuer and subject together, never the e-mail address: another person may have it tomorrow |
//! | the browser that went is the one that comes back | a random token in a cookie, good once and for ten minutes. State, nonce and the PKCE verifier are derived from it and the appliance's key, so that neither the database nor the browser knows them |
//! | the provider that was asked is the one that answers | each has an address of its own to come back to; the answer's `iss` (RFC 9207) and the ID token's `iss` must be the issuer's |
//! | the ID token is genuine | signed by one of the provider's keys with an asymmetric algorithm, for us alone (`aud`), in time (`exp`, `iat`), with our nonce |
//! | an identity is linked | from a signed-in session; or by an invitation, by `link_verified_email` or by `join_domains`, and then only with an address that the provider says it has verified |
//!
//! Somebody who comes in this way is not asked for a second factor of ours: the provider has its own, and whoever
//! configures one trusts it with that. Only an account that has a second factor here is never linked by its e-mail
//! address. Signing out is local: it ends the session here and not the one at the provider.

mod arrival;
mod journey;
mod provider;

use std::{collections::BTreeMap, fmt, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use self::provider::Provider;
pub use self::{
    arrival::Arrival,
    journey::{Answer, JOURNEY_SECONDS, Journey},
};
use super::{Accounts, Role, SignedIn, store::identities as rows};
use crate::{
    audit::Action,
    config,
    egress::Egress,
    support::{
        Error, Kind, Result,
        clock::SharedClock,
        ids::{IdentityId, UserId},
    },
    tenants::Slug,
};

/// A person as a provider knows them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Identity {
    /// Which.
    pub id: IdentityId,
    /// The provider's name in the configuration.
    pub provider: String,
    /// The issuer's address.
    pub issuer: String,
    /// The person's address there, as it was when it was last used.
    pub email: Option<String>,
    /// When it was linked.
    pub linked_at: DateTime<Utc>,
    /// When somebody last came in by it.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A button: a provider that one may sign in through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name in addresses.
    pub name: String,
    /// Its name for people.
    pub label: String,
}

/// The providers of the configuration. Cheap to clone.
#[derive(Clone, Default)]
pub struct Providers(Arc<BTreeMap<String, Provider>>);

/// Who becomes a member by their address alone.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    tenant: Slug,
    role: Role,
    domains: Vec<String>,
}

impl Providers {
    /// Those of the configuration. Nothing is asked of them before somebody signs in.
    ///
    /// # Errors
    /// `Invalid` when a setting cannot be used, or a secret cannot be read.
    pub fn new(
        settings: &BTreeMap<String, config::Oidc>,
        public_url: &str,
        egress: &Egress,
        clock: &SharedClock,
    ) -> Result<Self> {
        let provider = |(name, settings): (&String, &config::Oidc)| {
            Ok((name.clone(), Provider::new(name, settings, public_url, egress.clone(), clock.clone())?))
        };
        Ok(Self(Arc::new(settings.iter().map(provider).collect::<Result<_>>()?)))
    }

    fn find(&self, name: &str) -> Result<&Provider> {
        self.0.get(name).ok_or_else(|| Error::not_found("the sign-in page of that name"))
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Accounts {
    /// The providers that one may sign in through, by name.
    pub fn offers(&self) -> Vec<Offer> {
        let offer =
            |(name, provider): (&String, &Provider)| Offer { name: name.clone(), label: provider.label().to_owned() };
        self.inner.providers.0.iter().map(offer).collect()
    }

    /// The identities that are linked to somebody's account, the oldest first.
    pub async fn identities(&self, user: UserId) -> Result<Vec<Identity>> {
        rows::of_user(self.inner.db.control(), user).await
    }

    /// Unlinks one of one's identities; sessions that began with it end.
    ///
    /// # Errors
    /// `NotFound` when it is none of one's own, `Conflict` when it is the only way in.
    pub async fn unlink(&self, signed_in: &SignedIn, identity: IdentityId) -> Result<()> {
        match rows::delete(self.inner.db.control(), signed_in.user.id, identity).await? {
            None => Err(Error::new(Kind::NotFound, "There is no such linked identity")),
            Some(false) => Err(Error::conflict("This is your only way to sign in")
                .remedy("Get a password first: whoever runs this server can make you a link for one")),
            Some(true) => {
                let (tenant, subject) = (&signed_in.tenant.id, identity.to_string());
                self.record(tenant, signed_in.actor(), Action::IdentityUnlinked, subject, serde_json::json!({})).await
            }
        }
    }
}
