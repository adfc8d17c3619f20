//! Invitations: a link that makes one person, known by their e-mail address, a member of one organisation.
//!
//! It works once and for a week, and only for that address: a new person chooses name and password with it, somebody
//! who has an account signs in first, by all that signing in asks for.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Accounts, By, ClientInfo, EmailAddress, NewSession, Role, SignedIn, User, checked_name,
    store::{self, invitations, members, users},
};
use crate::{
    audit::{Action, Actor},
    support::{
        Error, Kind, Result,
        ids::{InvitationId, UserId},
    },
    tenants::Tenant,
    vault::{Token, TokenHash},
};

/// How long an invitation is good.
const LIFETIME: TimeDelta = TimeDelta::days(7);

/// An invitation that nobody has accepted yet.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Invitation {
    /// Which.
    pub id: InvitationId,
    /// Whom it invites.
    pub email: EmailAddress,
    /// As what.
    pub role: Role,
    /// The name of whoever invited them; `null` for the appliance's operator.
    pub invited_by: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when it is good.
    pub expires_at: DateTime<Utc>,
}

/// An invitation as the person sees it who holds its link.
#[derive(Debug, Clone)]
pub struct Invited {
    /// What it says.
    pub invitation: Invitation,
    /// The organisation that it leads to.
    pub tenant: Tenant,
    /// Whether the address has an account already.
    pub has_account: bool,
}

/// What a new person chooses.
#[derive(Debug, Clone, Copy)]
pub struct NewPerson<'a> {
    /// What they want to be called.
    pub name: &'a str,
    /// Their password.
    pub password: &'a str,
}

impl Accounts {
    /// Invites somebody. An earlier invitation of the same person is good no more. Also gives the token for the
    /// address `/invitation/{token}`, which nobody can learn again.
    ///
    /// # Errors
    /// `Forbidden` when the role of whoever invites does not reach so far; `Conflict` when the person belongs to the
    /// organisation already.
    pub async fn invite(
        &self,
        by: By<'_>,
        tenant: &Tenant,
        email: &EmailAddress,
        role: Role,
    ) -> Result<(Invitation, Token)> {
        let inner = &*self.inner;
        if !by.may_grant(role) {
            return Err(Error::forbidden(format!("Your role does not allow to invite somebody as {role}"))
                .remedy("Ask an owner of the organisation"));
        }
        if members::is_member(inner.db.control(), &tenant.id, email).await? {
            return Err(Error::conflict(format!("{email} belongs to {} already", tenant.name)));
        }
        let (token, now) = (Token::generate(), inner.clock.now());
        let (inviter, name) = match by {
            By::Member(signed_in) => (Some(signed_in.user.id), Some(signed_in.user.name.clone())),
            By::Operator => (None, None),
        };
        let invitation = Invitation {
            id: InvitationId::generate(),
            email: email.clone(),
            role,
            invited_by: name,
            created_at: now,
            expires_at: now + LIFETIME,
        };
        invitations::replace(inner.db.control(), &tenant.id, &invitation, inviter, &token.hash()).await?;
        let detail = json!({ "email": email, "role": role, "expires_at": invitation.expires_at });
        self.record(&tenant.id, by.actor(), Action::MemberInvited, invitation.id.to_string(), detail).await?;
        Ok((invitation, token))
    }

    /// The invitations of an organisation that can still be accepted, the newest first.
    pub async fn invitations(&self, tenant: &Tenant) -> Result<Vec<Invitation>> {
        invitations::list(self.inner.db.control(), &tenant.id, self.inner.clock.now()).await
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// `NotFound` when there is none of this id in the organisation; `Forbidden` when the role of whoever asks does not
    /// reach so far.
    pub async fn revoke_invitation(&self, by: By<'_>, tenant: &Tenant, id: InvitationId) -> Result<()> {
        let missing = || Error::not_found("the invitation");
        let all = self.invitations(tenant).await?;
        let invitation = all.into_iter().find(|invitation| invitation.id == id).ok_or_else(missing)?;
        if !by.may_grant(invitation.role) {
            return Err(Error::forbidden(format!("Your role does not reach to an invitation as {}", invitation.role))
                .remedy("Ask an owner of the organisation"));
        }
        if !invitations::delete(self.inner.db.control(), &tenant.id, id).await? {
            return Err(missing());
        }
        let detail = json!({ "email": invitation.email, "role": invitation.role });
        self.record(&tenant.id, by.actor(), Action::InvitationRevoked, id.to_string(), detail).await
    }

    /// What the invitation with this token says; `None` when it is not good, or no longer.
    pub async fn invitation(&self, token: &str) -> Result<Option<Invited>> {
        let inner = &*self.inner;
        invitations::by_token(inner.db.control(), &TokenHash::of(token), inner.clock.now()).await
    }

    /// Accepts an invitation as somebody who has no account yet: makes it, and signs them in.
    ///
    /// # Errors
    /// `NotFound` when the invitation is not good, or no longer; `Conflict` when the address has an account; `Invalid`
    /// when name or password will not do.
    pub async fn accept_as_new(&self, token: &str, new: NewPerson<'_>, client: &ClientInfo) -> Result<NewSession> {
        let inner = &*self.inner;
        let invited = self.invitation(token).await?.ok_or_else(not_good)?;
        let email = invited.invitation.email.clone();
        let user = User { id: UserId::generate(), email, name: checked_name(new.name)?, operator: false };
        let password = self.checked_password(new.password, &user, &[&invited.tenant]).await?;
        let hash = inner.passwords.hash(password).await?;
        let now = inner.clock.now();
        let mut transaction = store::begin(inner.db.control()).await?;
        if !invitations::take(&mut transaction, invited.invitation.id, now).await? {
            return Err(not_good());
        }
        if !users::insert_user(&mut transaction, &user, &hash, now).await? {
            return Err(Error::conflict("There is an account for this address already")
                .remedy("Open the invitation again and sign in with it"));
        }
        members::insert_membership(&mut transaction, &user, &invited.tenant, invited.invitation.role, now).await?;
        store::commit(transaction).await?;
        self.record_joined(&user, &invited, true).await?;
        self.begin_session(user.id, &invited.tenant.id, client).await
    }

    /// Accepts an invitation as who is signed in, and moves the session to the organisation.
    ///
    /// # Errors
    /// As for [`Accounts::accept_as_new`]; `Forbidden` when it is for somebody else.
    pub async fn accept(&self, signed_in: &SignedIn, token: &str) -> Result<NewSession> {
        let tenant = self.join(signed_in.user.id, token).await?;
        self.switch(signed_in, &tenant.slug).await
    }

    /// Makes a person a member by an invitation that is for them.
    pub(super) async fn join(&self, user: UserId, token: &str) -> Result<Tenant> {
        let inner = &*self.inner;
        let invited = self.invitation(token).await?.ok_or_else(not_good)?;
        let now = inner.clock.now();
        let mut transaction = store::begin(inner.db.control()).await?;
        let person = users::user_by_email(&mut transaction, &invited.invitation.email).await;
        let person = match person {
            Ok(person) if person.id == user => person,
            Ok(_) => return Err(not_yours(&invited)),
            Err(error) if error.kind() == Kind::NotFound => return Err(not_yours(&invited)),
            Err(error) => return Err(error),
        };
        if !invitations::take(&mut transaction, invited.invitation.id, now).await? {
            return Err(not_good());
        }
        members::insert_membership(&mut transaction, &person, &invited.tenant, invited.invitation.role, now).await?;
        store::commit(transaction).await?;
        self.record_joined(&person, &invited, false).await?;
        Ok(invited.tenant)
    }

    async fn record_joined(&self, user: &User, invited: &Invited, new: bool) -> Result<()> {
        let Invited { invitation, tenant, .. } = invited;
        let detail = json!({ "invitation": invitation.id, "role": invitation.role, "new_account": new });
        self.record(&tenant.id, Actor::User { id: user.id }, Action::UserCreated, user.id.to_string(), detail).await
    }
}

fn not_good() -> Error {
    Error::new(Kind::NotFound, "This invitation is not good, or no longer")
        .remedy("Each works once, for a week; ask whoever sent it for another one")
}

fn not_yours(invited: &Invited) -> Error {
    Error::forbidden(format!("This invitation is for {}", invited.invitation.email))
        .remedy("Sign out, then open it again")
}
