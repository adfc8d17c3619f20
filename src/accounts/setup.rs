//! Setting up: the first owner of a new appliance, through a token that only the server's log has shown.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;

use super::{Accounts, ClientInfo, EmailAddress, NewSession, Password, Role, User, checked_name, store};
use crate::{
    audit::Actor,
    support::{Error, Result, ids::UserId},
    tenants::{Slug, Tenant},
    vault::{Token, TokenHash},
};

/// A token that nobody has used for so long is no good any more; a restart prints a new one.
const TOKEN_LIFETIME: TimeDelta = TimeDelta::days(7);

/// What the first owner says.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The organisation's name.
    pub organisation: String,
    /// Its short name.
    pub slug: Slug,
    /// The owner's name.
    pub name: String,
    /// The owner's e-mail address.
    pub email: EmailAddress,
    /// The owner's password.
    pub password: Password,
}

impl Accounts {
    /// Whether there is a user, so that set-up is over for good.
    pub async fn is_set_up(&self) -> Result<bool> {
        let inner = &*self.inner;
        if inner.is_set_up.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let any = store::users::any_user(inner.db.control()).await?;
        inner.is_set_up.store(any, Ordering::Relaxed);
        Ok(any)
    }

    /// A new set-up token to be shown in the log; `None` once there is a user. Those shown before stay good for a
    /// week, since another node or an earlier start may have shown one.
    pub async fn setup_token(&self) -> Result<Option<String>> {
        if self.is_set_up().await? {
            return Ok(None);
        }
        let inner = &*self.inner;
        let (token, now) = (Token::generate(), inner.clock.now());
        store::setup::insert_setup_token(inner.db.control(), &token.hash(), now, now - TOKEN_LIFETIME).await?;
        Ok(Some(token.reveal().to_owned()))
    }

    /// Whether somebody may set up with this token.
    pub async fn may_set_up(&self, token: &str) -> Result<bool> {
        let inner = &*self.inner;
        if self.is_set_up().await? {
            return Ok(false);
        }
        store::setup::is_setup_token(inner.db.control(), &TokenHash::of(token), inner.clock.now() - TOKEN_LIFETIME)
            .await
    }

    /// Creates the organisation and its owner, who is also the appliance's operator, and signs them in. All or nothing, and once: afterwards no token
    /// is good. An organisation of this slug that was created before, with nobody in it, is taken over.
    ///
    /// # Errors
    /// `NotFound` once there is a user; `Forbidden` when the token is not good; `Conflict` when the slug is taken.
    pub async fn complete_setup(&self, token: &str, setup: Setup, client: &ClientInfo) -> Result<NewSession> {
        let inner = &*self.inner;
        if self.is_set_up().await? {
            return Err(Error::not_found("the page"));
        }
        let name = checked_name(&setup.name)?;
        let now = inner.clock.now();
        if !self.may_set_up(token).await? {
            return Err(bad_token());
        }
        let known = [&name, setup.email.as_str(), &setup.organisation, setup.slug.as_str()];
        setup.password.is_not_made_of(&known)?;
        let hash = inner.passwords.hash(setup.password).await?;
        let user = User { id: UserId::generate(), email: setup.email, name, operator: true };

        let mut transaction = store::begin(inner.db.control()).await?;
        // Whoever deletes the tokens is the one who sets up; a second one waits here and then finds none.
        let tokens = store::setup::delete_setup_tokens(&mut transaction).await?;
        let presented = TokenHash::of(token);
        if !tokens.iter().any(|hash| hash == presented.as_bytes()) {
            return Err(bad_token());
        }
        let tenant = self.empty_tenant(&setup.slug, &setup.organisation).await?;
        store::users::insert_user(&mut transaction, &user, &hash, now).await?;
        store::members::insert_membership(&mut transaction, &user, &tenant, Role::Owner, now).await?;
        store::commit(transaction).await?;

        inner.is_set_up.store(true, Ordering::Relaxed);
        tracing::info!(tenant = %tenant.id, "the appliance is set up");
        self.record_membership(Actor::User { id: user.id }, &user, &tenant, Role::Owner, true).await?;
        self.begin_session(user.id, &tenant.id, client).await
    }

    /// A tenant that nobody belongs to: nobody belongs to any before set-up, so a set-up that broke off half way, or
    /// a tenant made at the command line, is no obstacle.
    async fn empty_tenant(&self, slug: &Slug, name: &str) -> Result<Tenant> {
        match self.inner.tenants.by_slug(slug).await? {
            Some(tenant) => Ok(tenant),
            None => self.inner.tenants.create(slug, name).await,
        }
    }
}

fn bad_token() -> Error {
    Error::forbidden("This set-up token is not good, or no longer")
        .remedy("Restart the server and use the token that it then writes to its log")
}
