//! Signing in: who somebody is, by what they know.

use std::sync::PoisonError;

use serde_json::json;

use super::{
    Accounts, ClientInfo, EmailAddress, NewSession, Password,
    second_factor::Entered,
    store::users::{self, Credentials},
};
use crate::{
    audit::{Action, Actor},
    support::{
        Error, Kind, Result,
        ids::{TenantId, UserId},
    },
};

impl Accounts {
    /// Begins a session for whoever knows the password, or asks them for a code if they have a second factor. The
    /// browser's session until now is ended.
    ///
    /// # Errors
    /// `Unauthenticated` when the address or the password is wrong, without saying which and after the same time;
    /// `TooMany` after too many attempts; `Forbidden` when the person belongs to no organisation.
    pub async fn sign_in(&self, email: &EmailAddress, password: Password, client: &ClientInfo) -> Result<Entered> {
        let inner = &*self.inner;
        let now = inner.clock.now();
        let attempt = self.attempt(email, client, now).await?;
        let cost = inner.throttle.take(&attempt, now)?;
        let known = users::credentials(inner.db.control(), email).await?;
        let hash = known.as_ref().and_then(|known| known.password_hash.clone());
        let right = match inner.passwords.verify(password, hash).await {
            Ok(right) => right,
            Err(error) => {
                // Nothing was tried.
                inner.throttle.give_back(cost);
                return Err(error);
            }
        };
        if !right {
            self.record_failure(known.as_ref(), client);
        }
        let Some(known) = known.filter(|_| right) else {
            return Err(Error::new(Kind::Unauthenticated, "The e-mail address or the password is wrong"));
        };
        inner.throttle.give_back(cost);
        if self.has_second_factor(known.user).await? {
            return self.pend(known.user, client).await.map(Entered::Code);
        }
        self.enter(known.user, known.tenant, client).await.map(Entered::In)
    }

    /// Lets in whose identity has been established, to the organisation that they have belonged to for longest.
    ///
    /// # Errors
    /// `Forbidden` when the person belongs to no organisation.
    pub(super) async fn enter(
        &self,
        user: UserId,
        tenant: Option<TenantId>,
        client: &ClientInfo,
    ) -> Result<NewSession> {
        let tenant = match (tenant, &client.invitation) {
            (Some(tenant), _) => tenant,
            // Whoever was removed everywhere can still be invited again.
            (None, Some(token)) => self.join(user, token).await?.id,
            (None, None) => {
                return Err(Error::forbidden("You belong to no organisation").remedy("Ask an owner to invite you"));
            }
        };
        self.begin_session(user, &tenant, client).await
    }

    /// Waits until what is still to be written down is written: the last step before the database is closed.
    pub async fn shutdown(&self) {
        let mut writing = std::mem::take(&mut *self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner));
        while writing.join_next().await.is_some() {}
    }

    /// Writes a failed attempt down, on a task of its own: the answer takes as long for an account that does not exist.
    fn record_failure(&self, known: Option<&Credentials>, client: &ClientInfo) {
        tracing::info!(address = client.address.map(tracing::field::display), "a sign-in failed");
        let Some((user, tenant)) = known.and_then(|known| Some((known.user, known.tenant.clone()?))) else { return };
        let (accounts, detail) = (self.clone(), json!({ "address": client.address }));
        let mut writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        while writing.try_join_next().is_some() {}
        writing.spawn(async move {
            let written = accounts.record(&tenant, Actor::System, Action::SignInFailed, user.to_string(), detail).await;
            if let Err(error) = written {
                tracing::error!(%error, "a failed sign-in could not be written to the audit log");
            }
        });
    }
}
