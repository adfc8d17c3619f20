//! Signing in in two steps: what comes between the right password and the right code.

use std::fmt;

use chrono::TimeDelta;
use serde_json::json;

use super::{digits, recovery, rows, wrong_code};
use crate::{
    accounts::{Accounts, ClientInfo, NewSession},
    audit::{Action, Actor},
    support::{Error, Kind, Result, ids::UserId},
    vault::{Token, TokenHash},
};

/// How long a code may take to come, in seconds.
pub const PENDING_SECONDS: i64 = 5 * 60;
/// How many codes may be wrong in one sign-in.
const MOST_WRONG: i32 = 5;

/// What the right password leads to.
#[derive(Debug)]
pub enum Entered {
    /// In.
    In(NewSession),
    /// To the question for a code.
    Code(Pending),
}

/// A sign-in whose code is still missing.
pub struct Pending {
    /// The token for the cookie that binds it to the browser.
    pub token: String,
}

/// By what kind of code somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Used {
    Code,
    RecoveryCode,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending(•••)")
    }
}

impl Accounts {
    /// Whether somebody has to show a code after their password.
    pub(in crate::accounts) async fn has_second_factor(&self, user: UserId) -> Result<bool> {
        Ok(rows::find(self.inner.db.control(), user).await?.is_some_and(|factor| factor.confirmed_at.is_some()))
    }

    /// The password was right: a token by which the browser may show a code within five minutes.
    pub(in crate::accounts) async fn pend(&self, user: UserId, client: &ClientInfo) -> Result<Pending> {
        let (token, now) = (Token::generate(), self.inner.clock.now());
        let end = now + TimeDelta::seconds(PENDING_SECONDS);
        rows::insert_pending(self.inner.db.control(), &token.hash(), user, client.remember, now, end).await?;
        Ok(Pending { token: token.reveal().to_owned() })
    }

    /// Whether this browser may show a code.
    pub async fn is_pending(&self, token: &str) -> Result<bool> {
        let now = self.inner.clock.now();
        Ok(rows::pending(self.inner.db.control(), &TokenHash::of(token), now, MOST_WRONG).await?.is_some())
    }

    /// Begins a session for whoever showed the right password before and shows a good code now. Either kind of code is
    /// good once.
    ///
    /// # Errors
    /// `Unauthenticated` when the password is too long ago or too many codes were wrong, `Forbidden` when this one is,
    /// `TooMany` after too many attempts.
    pub async fn complete_sign_in(&self, token: &str, code: &str, client: &ClientInfo) -> Result<NewSession> {
        let inner = &*self.inner;
        let (control, hash, now) = (inner.db.control(), TokenHash::of(token), inner.clock.now());
        let Some(pending) = rows::pending(control, &hash, now, MOST_WRONG).await? else { return Err(over()) };
        let user = pending.user;
        // Whoever has been kept out meanwhile stays out.
        let Some(tenant) = rows::home(control, user).await? else { return Err(over()) };
        let cost = inner.throttle.take_code(user, client.address, now)?;
        let Some(kind) = self.uses_code(user, code).await? else {
            rows::count_wrong(control, &hash).await?;
            if let Some(tenant) = &tenant {
                let detail = json!({ "address": client.address });
                self.record(tenant, Actor::System, Action::SecondFactorFailed, user.to_string(), detail).await?;
            }
            return Err(wrong_code());
        };
        if !rows::delete_pending(control, &hash).await? {
            return Err(over());
        }
        inner.throttle.give_back(cost);
        let client = ClientInfo { remember: pending.remember, ..client.clone() };
        let session = self.enter(user, tenant, &client).await?;
        if let (Used::RecoveryCode, Some(tenant)) = (kind, rows::home(control, user).await?.flatten()) {
            let left = rows::find(control, user).await?.map(|factor| factor.codes_left);
            let (by, detail) = (Actor::User { id: user }, json!({ "left": left }));
            self.record(&tenant, by, Action::RecoveryCodeUsed, user.to_string(), detail).await?;
        }
        Ok(session)
    }

    /// Uses up a code, of the app or for recovery. `None` when it is not good.
    pub(super) async fn uses_code(&self, user: UserId, code: &str) -> Result<Option<Used>> {
        let control = self.inner.db.control();
        if let Some(hash) = recovery::hash(code) {
            return Ok(rows::use_recovery_code(control, user, &hash).await?.then_some(Used::RecoveryCode));
        }
        let Some(factor) = rows::find(control, user).await?.filter(|factor| factor.confirmed_at.is_some()) else {
            return Ok(None);
        };
        let secret = self.unseal(user, &factor.sealed, &factor.sealed_to).await?;
        let Some(step) = secret.step_of(&digits(code), self.inner.clock.now())? else { return Ok(None) };
        Ok(rows::use_step(control, user, step).await?.then_some(Used::Code))
    }
}

fn over() -> Error {
    Error::new(Kind::Unauthenticated, "This sign-in took too long, or too many codes were wrong")
        .remedy("Sign in again")
}
