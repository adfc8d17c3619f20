//! Who somebody is here that a provider vouches for: the policy of linking and joining.

use serde_json::json;

use super::{
    Joining, Provider,
    provider::Claims,
    rows::{self, NewIdentity},
};
use crate::{
    accounts::{
        Accounts, ClientInfo, EmailAddress, NewSession, Role, SignedIn, User,
        store::{self, invitations, members, second_factors},
    },
    audit::{Action, Actor},
    support::{
        Error, Result,
        ids::{IdentityId, TenantId, UserId},
    },
    tenants::Tenant,
};

/// What became of a journey.
#[derive(Debug)]
pub enum Arrival {
    /// Somebody is signed in, and goes on to a path of this server.
    In {
        /// Their session.
        session: NewSession,
        /// Where they were going, unchecked.
        next: String,
    },
    /// An identity has been linked to who is signed in.
    Linked,
}

/// A new person, and what makes them a member.
struct Newcomer<'a> {
    email: &'a EmailAddress,
    tenant: Tenant,
    role: Role,
    invitation: Option<crate::support::ids::InvitationId>,
}

impl Accounts {
    /// Links what a provider vouches for to who is signed in.
    pub(super) async fn link(&self, signed_in: &SignedIn, provider: &Provider, claims: &Claims) -> Result<()> {
        let mut transaction = store::begin(self.inner.db.control()).await?;
        let id = self.add_identity(&mut transaction, signed_in.user.id, provider, claims).await?;
        store::commit(transaction).await?;
        self.record_linked(&signed_in.tenant.id, signed_in.user.id, id, provider, "from a session").await
    }

    /// Signs in whom the identity belongs to; or whom the policy lets in.
    pub(super) async fn sign_in_as(
        &self,
        provider: &Provider,
        claims: Claims,
        next: &str,
        client: &ClientInfo,
    ) -> Result<Arrival> {
        let control = self.inner.db.control();
        let invitation = next.strip_prefix("/invitation/");
        let known = rows::find(control, &claims.issuer, &claims.subject).await?;
        let known = match known {
            None => self.take_in(provider, &claims, invitation).await?,
            known => known,
        };
        let (identity, user) = known.ok_or_else(|| {
            tracing::info!(provider = provider.name(), "nobody here has the identity of a sign-in");
            stranger(provider)
        })?;
        let Some(tenant) = second_factors::home(control, user).await? else { return Err(stranger(provider)) };
        rows::touch(control, identity, claims.email.as_deref(), self.inner.clock.now()).await?;
        let client = ClientInfo { invitation: invitation.map(str::to_owned), ..client.clone() };
        let session = self.enter(user, tenant, &client).await?;
        rows::mark_session(control, &crate::vault::TokenHash::of(&session.token), identity).await?;
        // Whoever has just accepted an invitation by coming has nothing more to do on its page.
        let next = if invitation.is_some() { "/" } else { next };
        Ok(Arrival::In { session, next: next.to_owned() })
    }

    /// Lets somebody in whose identity is new here, if an invitation or the policy says so: only ever by an address
    /// that the provider has verified.
    async fn take_in(
        &self,
        provider: &Provider,
        claims: &Claims,
        invitation: Option<&str>,
    ) -> Result<Option<(IdentityId, UserId)>> {
        let Some(email) = &claims.verified else { return Ok(None) };
        let control = self.inner.db.control();
        if let Some((user, has_second_factor)) = rows::account(control, email).await? {
            if !provider.link_verified_email || has_second_factor {
                return Ok(None);
            }
            let mut transaction = store::begin(control).await?;
            let id = self.add_identity(&mut transaction, user, provider, claims).await?;
            store::commit(transaction).await?;
            for tenant in rows::tenants_of(control, user).await? {
                self.record_linked(&tenant, user, id, provider, "by a verified address").await?;
            }
            return Ok(Some((id, user)));
        }
        let newcomer = match self.invited(invitation, email).await? {
            Some(newcomer) => Some(newcomer),
            None => self.joining(provider.joining.as_ref(), email).await?,
        };
        match newcomer {
            Some(newcomer) => self.add_newcomer(provider, claims, newcomer).await.map(Some),
            None => Ok(None),
        }
    }

    async fn invited<'a>(&self, token: Option<&str>, email: &'a EmailAddress) -> Result<Option<Newcomer<'a>>> {
        let Some(token) = token else { return Ok(None) };
        let Some(invited) = self.invitation(token).await? else { return Ok(None) };
        let (invitation, tenant) = (invited.invitation, invited.tenant);
        if !invitation.email.as_str().eq_ignore_ascii_case(email.as_str()) {
            return Ok(None);
        }
        Ok(Some(Newcomer { email, tenant, role: invitation.role, invitation: Some(invitation.id) }))
    }

    async fn joining<'a>(&self, joining: Option<&Joining>, email: &'a EmailAddress) -> Result<Option<Newcomer<'a>>> {
        let Some(joining) = joining else { return Ok(None) };
        let domain = email.as_str().rsplit_once('@').map_or("", |(_, domain)| domain);
        if !joining.domains.iter().any(|allowed| allowed == domain) {
            return Ok(None);
        }
        let tenant = self.inner.tenants.by_slug(&joining.tenant).await?;
        if tenant.is_none() {
            tracing::warn!(tenant = %joining.tenant, "the tenant that people shall join is not there");
        }
        Ok(tenant.map(|tenant| Newcomer { email, tenant, role: joining.role, invitation: None }))
    }

    async fn add_newcomer(
        &self,
        provider: &Provider,
        claims: &Claims,
        newcomer: Newcomer<'_>,
    ) -> Result<(IdentityId, UserId)> {
        let now = self.inner.clock.now();
        let Newcomer { email, tenant, role, invitation } = newcomer;
        let name = claims.name.as_deref().and_then(|name| super::super::checked_name(name).ok());
        let name = name.unwrap_or_else(|| email.as_str().split('@').next().unwrap_or_default().to_owned());
        let user = User { id: UserId::generate(), email: email.clone(), name, operator: false };
        let mut transaction = store::begin(self.inner.db.control()).await?;
        if let Some(invitation) = invitation
            && !invitations::take(&mut transaction, invitation, now).await?
        {
            return Err(stranger(provider));
        }
        if !rows::insert_user(&mut transaction, user.id, email, &user.name, now).await? {
            return Err(Error::conflict("Somebody with this address has just been added").remedy("Sign in again"));
        }
        members::insert_membership(&mut transaction, &user, &tenant, role, now).await?;
        let id = self.add_identity(&mut transaction, user.id, provider, claims).await?;
        store::commit(transaction).await?;
        let (by, subject) = (Actor::User { id: user.id }, user.id.to_string());
        let detail =
            json!({ "role": role, "new_account": true, "invitation": invitation, "provider": provider.name() });
        self.record(&tenant.id, by, Action::UserCreated, subject, detail).await?;
        self.record_linked(&tenant.id, user.id, id, provider, "with a new account").await?;
        Ok((id, user.id))
    }

    async fn add_identity(
        &self,
        transaction: &mut store::Transaction,
        user: UserId,
        provider: &Provider,
        claims: &Claims,
    ) -> Result<IdentityId> {
        let id = IdentityId::generate();
        let new = NewIdentity {
            id,
            user,
            issuer: &claims.issuer,
            subject: &claims.subject,
            provider: provider.name(),
            email: claims.email.as_deref(),
            now: self.inner.clock.now(),
        };
        rows::insert(transaction, &new).await?;
        Ok(id)
    }

    async fn record_linked(
        &self,
        tenant: &TenantId,
        user: UserId,
        identity: IdentityId,
        provider: &Provider,
        how: &str,
    ) -> Result<()> {
        let detail = json!({ "provider": provider.name(), "issuer": provider.issuer(), "how": how });
        self.record(tenant, Actor::User { id: user }, Action::IdentityLinked, identity.to_string(), detail).await
    }
}

/// Nothing here says whether an address has an account.
fn stranger(provider: &Provider) -> Error {
    let label = provider.label();
    Error::forbidden(format!("Nobody here is linked to your account at {label}")).remedy(format!(
        "Sign in with your password and link {label} under Account › Security, or ask for an invitation"
    ))
}
