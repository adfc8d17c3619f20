//! Passwords: changing one's own, and links for a new one that the appliance's operator makes.
//!
//! No owner or admin can reset somebody's password: an account may belong to several organisations, and whoever sets
//! its password would enter all of them.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    Accounts, ClientInfo, EmailAddress, NewSession, Password, SignedIn, User,
    store::{self, browsers, people, resets, sessions, users},
};
use crate::{
    audit::{Action, Actor},
    support::{Error, Kind, Result, ids::UserId},
    tenants::Tenant,
    vault::{Token, TokenHash},
};

/// How long a link for a new password is good.
const RESET_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// A link's token for a new password.
#[derive(Debug, Clone)]
pub struct Reset {
    /// Whose password it is.
    pub user: User,
    /// For the address `/reset/{token}`; nobody can learn it again.
    pub token: Token,
    /// Until when it is good.
    pub expires_at: DateTime<Utc>,
}

impl Accounts {
    /// Makes sure that it is the person who asks: their password, as when they sign in.
    ///
    /// # Errors
    /// `Forbidden` when it is wrong, `TooMany` after too many attempts.
    pub(super) async fn check_password(&self, user: &User, current: Password, client: &ClientInfo) -> Result<()> {
        let (inner, now) = (&*self.inner, self.inner.clock.now());
        let attempt = self.attempt(&user.email, client, now).await?;
        let taken = inner.throttle.take(&attempt, now)?;
        let hash = users::password_hash(inner.db.control(), user.id).await?;
        if !inner.passwords.verify(current, hash).await? {
            return Err(Error::forbidden("The current password is wrong")
                .remedy("Whoever runs this server can make you a link for a new one"));
        }
        inner.throttle.give_back(taken);
        Ok(())
    }

    /// Gives the person another password, if they know the one they have. All their other sessions end, this one gets
    /// a new token, other browsers are not known any more, and no link for a new password is good.
    ///
    /// # Errors
    /// `Forbidden` when the current password is wrong, `TooMany` after too many attempts, `Invalid` when the new one is
    /// too short or easily guessed.
    pub async fn change_password(
        &self,
        signed_in: &SignedIn,
        current: Password,
        new: &str,
        client: &ClientInfo,
    ) -> Result<NewSession> {
        let inner = &*self.inner;
        let (user, now) = (&signed_in.user, inner.clock.now());
        let session = signed_in.session().ok_or_else(|| Error::forbidden("An API token has no password"))?;
        let new = self.checked_password(new, user, &[]).await?;
        self.check_password(user, current, client).await?;
        let hash = inner.passwords.hash(new).await?;

        let token = Token::generate();
        let mut transaction = store::begin(inner.db.control()).await?;
        users::set_password(&mut transaction, user.id, &hash).await?;
        resets::delete_of(&mut transaction, user.id).await?;
        sessions::delete_others(&mut *transaction, user.id, Some(session)).await?;
        browsers::forget(&mut transaction, user.id, client.browser.as_deref().map(TokenHash::of).as_ref()).await?;
        let kept = sessions::replace_token(&mut *transaction, session, &token.hash()).await?;
        let (expires_at, remembered) =
            kept.ok_or_else(|| Error::new(Kind::Unauthenticated, "Your session has ended").remedy("Sign in again"))?;
        store::commit(transaction).await?;
        self.record_everywhere(user.id, &signed_in.actor(), Action::PasswordChanged, json!({})).await?;
        Ok(NewSession::renewed(&token, expires_at, remembered, now))
    }

    /// A link for a new password, for whoever operates the server to hand over. The link before is good no more.
    ///
    /// # Errors
    /// `NotFound` when nobody has this address, `Conflict` when the person is suspended.
    pub async fn make_reset(&self, email: &EmailAddress) -> Result<Reset> {
        let inner = &*self.inner;
        let person = people::by_email(inner.db.control(), email).await?;
        let person = person.ok_or_else(|| super::people::nobody(email))?;
        if person.suspended_at.is_some() {
            return Err(Error::conflict(format!("{email} is suspended"))
                .remedy(format!("Let them in again first: aegis user resume {email}")));
        }
        let now = inner.clock.now();
        let reset = Reset { user: person.user, token: Token::generate(), expires_at: now + RESET_LIFETIME };
        resets::replace(inner.db.control(), reset.user.id, &reset.token.hash(), reset.expires_at).await?;
        let detail = json!({ "expires_at": reset.expires_at });
        self.record_everywhere(reset.user.id, &Actor::Operator, Action::PasswordResetOffered, detail).await?;
        Ok(reset)
    }

    /// Whose password the link with this token would set; `None` when it is not good, or no longer.
    pub async fn reset_of(&self, token: &str) -> Result<Option<User>> {
        let inner = &*self.inner;
        resets::user(inner.db.control(), &TokenHash::of(token), inner.clock.now()).await
    }

    /// Sets a new password by a link, once. Everything that was open ends: all sessions, and no browser is known any
    /// more. It signs nobody in, since a second factor may still be asked for.
    ///
    /// # Errors
    /// `NotFound` when the link is not good, or no longer; `Invalid` when the password is too short or easily guessed.
    pub async fn reset_password(&self, token: &str, new: &str) -> Result<User> {
        let inner = &*self.inner;
        let user = self.reset_of(token).await?.ok_or_else(bad_link)?;
        let new = self.checked_password(new, &user, &[]).await?;
        let hash = inner.passwords.hash(new).await?;
        let mut transaction = store::begin(inner.db.control()).await?;
        let owner = resets::take(&mut transaction, &TokenHash::of(token), inner.clock.now()).await?;
        if owner != Some(user.id) {
            return Err(bad_link());
        }
        users::set_password(&mut transaction, user.id, &hash).await?;
        sessions::delete_others(&mut *transaction, user.id, None).await?;
        browsers::forget(&mut transaction, user.id, None).await?;
        store::commit(transaction).await?;
        self.record_everywhere(user.id, &Actor::User { id: user.id }, Action::PasswordReset, json!({})).await?;
        Ok(user)
    }

    /// A password that somebody chooses: long enough, in no list of leaked ones, and not made of what everybody knows
    /// about the person.
    pub(super) async fn checked_password(&self, text: &str, user: &User, more: &[&Tenant]) -> Result<Password> {
        let password = Password::chosen(text)?;
        let known = people::organisations(self.inner.db.control(), user.id).await?;
        let of_tenants = more.iter().flat_map(|tenant| [tenant.name.as_str(), tenant.slug.as_str()]);
        let words = known.iter().flat_map(|known| [known.name.as_str(), known.slug.as_str()]).chain(of_tenants);
        let words: Vec<&str> = words.chain([user.name.as_str(), user.email.as_str()]).collect();
        password.is_not_made_of(&words)?;
        Ok(password)
    }

    /// Writes into the logs of all organisations that somebody belongs to.
    pub(super) async fn record_everywhere(
        &self,
        user: UserId,
        actor: &Actor,
        action: Action,
        detail: serde_json::Value,
    ) -> Result<()> {
        for tenant in people::tenants(self.inner.db.control(), user).await? {
            self.record(&tenant, actor.clone(), action, user.to_string(), detail.clone()).await?;
        }
        Ok(())
    }
}

fn bad_link() -> Error {
    Error::new(Kind::NotFound, "This link is not good, or no longer")
        .remedy("Each works once, for a day; whoever runs this server can make you another one")
}
