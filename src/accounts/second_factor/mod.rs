//! The second factor: codes out of an authenticator app, and recovery codes for when it is lost.
//!
//! The secret that the app and the server share is encrypted to the appliance's sealing key ([`crate::vault`]), so that
//! whoever reads the database alone cannot make codes; `aegis key rotate --appliance` seals it again. Every code is
//! good once. Codes are guessed against three limits at once: five for one sign-in, a few from one address, and so few
//! for an account from anywhere that a guesser who knows the password needs centuries.

mod recovery;
mod sealed;
mod sign_in;
mod totp;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

pub use self::sign_in::{Entered, PENDING_SECONDS, Pending};
use self::totp::SharedSecret;
use super::{
    Accounts, ClientInfo, EmailAddress, Password, SignedIn, User,
    store::{self, second_factors as rows},
};
use crate::{
    audit::{Action, Actor},
    support::{Error, Kind, Result, ids::UserId},
    tenants::Tenant,
    vault::TokenHash,
};

/// How it stands with somebody's second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Standing {
    /// There is none.
    Off,
    /// It is being set up, and not asked for yet.
    SettingUp,
    /// It is asked for.
    On {
        /// Since when.
        since: DateTime<Utc>,
        /// How many recovery codes are left.
        recovery_codes_left: i64,
    },
}

/// What somebody's app needs, while the second factor is set up.
pub struct Enrolment {
    /// For its camera: an SVG to stand in a page.
    pub picture: String,
    /// The same to be typed, in groups of four.
    pub secret: String,
}

impl Accounts {
    /// How it stands with somebody's second factor.
    pub async fn second_factor(&self, user: UserId) -> Result<Standing> {
        Ok(match rows::find(self.inner.db.control(), user).await? {
            None => Standing::Off,
            Some(rows::Factor { confirmed_at: None, .. }) => Standing::SettingUp,
            Some(rows::Factor { confirmed_at: Some(since), codes_left, .. }) => {
                Standing::On { since, recovery_codes_left: codes_left }
            }
        })
    }

    /// Begins to set up a second factor. What was begun before is forgotten.
    ///
    /// # Errors
    /// `Conflict` when there is one already.
    pub async fn begin_second_factor(&self, user: &User) -> Result<()> {
        let secret = SharedSecret::generate();
        let keys = self.inner.keyring.sealing().await;
        let (bytes, to) = self.seal(user.id, &secret, keys.current())?;
        let begun = rows::begin(self.inner.db.control(), user.id, &bytes, &to, self.inner.clock.now()).await?;
        drop(keys);
        if begun {
            Ok(())
        } else {
            Err(Error::conflict("You have a second factor already").remedy("Turn it off first"))
        }
    }

    /// What the app needs, while a second factor is being set up; never afterwards.
    pub async fn enrolment(&self, user: &User) -> Result<Option<Enrolment>> {
        let Some(factor) = rows::find(self.inner.db.control(), user.id).await? else { return Ok(None) };
        if factor.confirmed_at.is_some() {
            return Ok(None);
        }
        let secret = self.unseal(user.id, &factor.sealed, &factor.sealed_to).await?;
        let text = secret.reveal();
        let groups: Vec<String> =
            text.as_bytes().chunks(4).map(|four| String::from_utf8_lossy(four).into_owned()).collect();
        Ok(Some(Enrolment { picture: secret.picture(&user.email)?, secret: groups.join(" ") }))
    }

    /// Turns the second factor on, with the password and a first code. Gives the recovery codes, which nobody can learn
    /// again. All other sessions of the person end.
    ///
    /// # Errors
    /// `Forbidden` when the password or the code is wrong, `TooMany` after too many attempts, `NotFound` when none is
    /// being set up.
    pub async fn confirm_second_factor(
        &self,
        signed_in: &SignedIn,
        password: Password,
        code: &str,
        client: &ClientInfo,
    ) -> Result<Vec<String>> {
        let (inner, user) = (&*self.inner, &signed_in.user);
        self.check_password(user, password, client).await?;
        let factor = rows::find(inner.db.control(), user.id).await?.filter(|factor| factor.confirmed_at.is_none());
        let factor = factor.ok_or_else(|| Error::not_found("the second factor that is being set up"))?;
        let (secret, now) = (self.unseal(user.id, &factor.sealed, &factor.sealed_to).await?, inner.clock.now());
        let cost = inner.throttle.take_code(user.id, client.address, now)?;
        let step = secret.step_of(&digits(code), now)?.ok_or_else(wrong_code)?;
        inner.throttle.give_back(cost);
        let codes = recovery::generate();
        let mut transaction = store::begin(inner.db.control()).await?;
        if !rows::confirm(&mut transaction, user.id, step, now).await? {
            return Err(Error::conflict("The second factor is on already"));
        }
        rows::replace_codes(&mut transaction, user.id, &hashes(&codes)).await?;
        store::commit(transaction).await?;
        self.end_other_sessions(signed_in).await?;
        self.record_factor(signed_in, Action::SecondFactorEnabled).await?;
        Ok(codes)
    }

    /// New recovery codes in place of those that there are, with the password and a code.
    ///
    /// # Errors
    /// As for [`Accounts::confirm_second_factor`].
    pub async fn renew_recovery_codes(
        &self,
        signed_in: &SignedIn,
        password: Password,
        code: &str,
        client: &ClientInfo,
    ) -> Result<Vec<String>> {
        self.check_both(signed_in, password, code, client).await?;
        let codes = recovery::generate();
        let mut transaction = store::begin(self.inner.db.control()).await?;
        rows::replace_codes(&mut transaction, signed_in.user.id, &hashes(&codes)).await?;
        store::commit(transaction).await?;
        self.record_factor(signed_in, Action::RecoveryCodesRenewed).await?;
        Ok(codes)
    }

    /// Turns the second factor off, with the password and a code (a recovery code will do). All other sessions of the
    /// person end.
    ///
    /// # Errors
    /// As for [`Accounts::confirm_second_factor`].
    pub async fn remove_second_factor(
        &self,
        signed_in: &SignedIn,
        password: Password,
        code: &str,
        client: &ClientInfo,
    ) -> Result<()> {
        self.check_both(signed_in, password, code, client).await?;
        rows::delete(self.inner.db.control(), signed_in.user.id).await?;
        self.end_other_sessions(signed_in).await?;
        self.record_factor(signed_in, Action::SecondFactorRemoved).await
    }

    /// Takes the second factor from somebody who has lost phone and recovery codes: for the operator, who has made sure
    /// who asks. `false` when they had none. It is written down in every organisation that they belong to.
    ///
    /// # Errors
    /// `NotFound` when nobody has the address.
    pub async fn reset_second_factor(&self, email: &EmailAddress, by: Actor) -> Result<bool> {
        let control = self.inner.db.control();
        let found = rows::user_and_tenants(control, email).await?;
        let (user, tenants) = found.ok_or_else(|| Error::not_found(&format!("the user {email}")))?;
        if !rows::delete(control, user).await? {
            return Ok(false);
        }
        for tenant in tenants {
            let detail = json!({ "by_operator": true });
            self.record(&tenant, by.clone(), Action::SecondFactorRemoved, user.to_string(), detail).await?;
        }
        Ok(true)
    }

    /// Whether the organisation's members must have a second factor.
    pub async fn requires_second_factor(&self, tenant: &Tenant) -> Result<bool> {
        rows::is_required(self.inner.db.control(), &tenant.id).await
    }

    /// Sets whether the organisation's members must have a second factor. Those without are led to set one up, and
    /// reach nothing else; signing in through somebody else's page (OpenID Connect) counts as having one there.
    ///
    /// # Errors
    /// `Conflict` when whoever asks for it has none: they would shut themselves out first.
    pub async fn require_second_factor(&self, signed_in: &SignedIn, required: bool) -> Result<()> {
        if required && !matches!(self.second_factor(signed_in.user.id).await?, Standing::On { .. }) {
            return Err(
                Error::conflict("You have no second factor yourself").remedy("Set yours up first, then ask for it")
            );
        }
        if rows::require(self.inner.db.control(), &signed_in.tenant.id, required).await? {
            let detail = json!({ "required": required });
            let tenant = &signed_in.tenant.id;
            self.record(tenant, signed_in.actor(), Action::SecondFactorRequired, tenant.to_string(), detail).await?;
        }
        Ok(())
    }

    async fn check_both(
        &self,
        signed_in: &SignedIn,
        password: Password,
        code: &str,
        client: &ClientInfo,
    ) -> Result<()> {
        self.check_password(&signed_in.user, password, client).await?;
        let cost = self.inner.throttle.take_code(signed_in.user.id, client.address, self.inner.clock.now())?;
        if self.uses_code(signed_in.user.id, code).await?.is_none() {
            return Err(wrong_code());
        }
        self.inner.throttle.give_back(cost);
        Ok(())
    }

    async fn record_factor(&self, signed_in: &SignedIn, action: Action) -> Result<()> {
        let user = signed_in.user.id.to_string();
        self.record(&signed_in.tenant.id, signed_in.actor(), action, user, json!({})).await
    }
}

/// A code as somebody types it: apps show a gap in the middle.
fn digits(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace()).collect()
}

fn hashes(codes: &[String]) -> Vec<TokenHash> {
    codes.iter().filter_map(|code| recovery::hash(code)).collect()
}

fn wrong_code() -> Error {
    Error::new(Kind::Forbidden, "This code is not good, or was used before")
        .remedy("Wait for the next one in your app, and check that the clock of your phone is right")
}
