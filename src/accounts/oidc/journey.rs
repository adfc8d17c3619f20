//! The way to a provider and back: what binds the browser that comes back to the one that went.

use chrono::TimeDelta;
use subtle::ConstantTimeEq as _;

use super::{
    Arrival, Provider, Providers,
    provider::{Claims, Secrets},
};
use crate::{
    accounts::{Accounts, ClientInfo, SignedIn, store::identities as rows},
    support::{Error, Result},
    vault::{Token, TokenHash},
};

/// How long somebody may take at the provider, in seconds.
pub const JOURNEY_SECONDS: i64 = 10 * 60;

/// A journey that begins.
#[derive(Debug, Clone)]
pub struct Journey {
    /// The token for the cookie.
    pub token: String,
    /// The provider's address.
    pub address: String,
    /// What the provider is called.
    pub label: String,
}

/// What a browser brings back from a provider, in the address.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// What is exchanged for who somebody is.
    pub code: Option<String>,
    /// What we sent along.
    pub state: Option<String>,
    /// Whose answer it is (RFC 9207).
    pub issuer: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
}

impl Accounts {
    /// Sends a browser to a provider: to sign in, and then to go to `next`; or to link an identity to who is signed in.
    ///
    /// # Errors
    /// `NotFound` when there is no such provider, `Unavailable` when it does not answer, `TooMany` when too many
    /// journeys began at this address.
    pub async fn depart(
        &self,
        provider: &str,
        linking: Option<&SignedIn>,
        next: &str,
        client: &ClientInfo,
    ) -> Result<Journey> {
        let inner = &*self.inner;
        let provider = inner.providers.find(provider)?;
        let now = inner.clock.now();
        inner.throttle.take_journey(client.address, now)?;
        let token = Token::generate();
        let address = provider.way_there(&self.derived(token.reveal())).await?;
        let attempt = rows::Attempt {
            provider: provider.name().to_owned(),
            user: linking.map(|signed_in| signed_in.user.id),
            next: next.to_owned(),
        };
        let end = now + TimeDelta::seconds(JOURNEY_SECONDS);
        rows::insert_attempt(inner.db.control(), &token.hash(), &attempt, now, end).await?;
        Ok(Journey { token: token.reveal().to_owned(), address, label: provider.label().to_owned() })
    }

    /// Takes a browser in that comes back from a provider: signs somebody in, or links an identity to who is signed in.
    /// Whatever comes of it, the journey is over.
    ///
    /// # Errors
    /// `Forbidden` when the answer is not this browser's, not this provider's, or cannot be trusted; when somebody said
    /// no; and when nobody here has the identity.
    pub async fn arrive(
        &self,
        provider: &str,
        token: Option<&str>,
        answer: Answer,
        signed_in: Option<&SignedIn>,
        client: &ClientInfo,
    ) -> Result<Arrival> {
        let inner = &*self.inner;
        let providers: &Providers = &inner.providers;
        let provider = providers.find(provider)?;
        let token = token.ok_or_else(strayed)?;
        let attempt = rows::take_attempt(inner.db.control(), &TokenHash::of(token), inner.clock.now()).await?;
        let attempt = attempt.filter(|attempt| attempt.provider == provider.name()).ok_or_else(strayed)?;
        let claims = self.claims(provider, token, answer).await?;
        match attempt.user {
            None => self.sign_in_as(provider, claims, &attempt.next, client).await,
            Some(user) => {
                let signed_in = signed_in.filter(|signed_in| signed_in.user.id == user).ok_or_else(strayed)?;
                self.link(signed_in, provider, &claims).await.map(|()| Arrival::Linked)
            }
        }
    }

    async fn claims(&self, provider: &Provider, token: &str, answer: Answer) -> Result<Claims> {
        let secrets = self.derived(token);
        let state = answer.state.unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(secrets.state.as_bytes())) {
            return Err(strayed());
        }
        if !provider.answers_as(answer.issuer.as_deref()).await? {
            tracing::warn!(provider = provider.name(), "the answer of another provider was refused");
            return Err(strayed());
        }
        match (answer.code, answer.error.as_deref()) {
            (Some(code), None) => provider.redeem(code, secrets).await,
            (_, Some("access_denied")) => {
                Err(Error::forbidden(format!("You did not let {} tell us who you are", provider.label()))
                    .remedy("Try again and agree, or sign in with your password"))
            }
            (_, error) => {
                let reason = error.map(|error| error.escape_debug().to_string()).unwrap_or_default();
                tracing::warn!(provider = provider.name(), reason, "a provider signed nobody in");
                Err(Error::forbidden(format!("{} did not sign you in", provider.label()))
                    .remedy("Try again, or sign in with your password"))
            }
        }
    }

    /// What belongs to the token of a journey, and to no other.
    fn derived(&self, token: &str) -> Secrets {
        let root = self.inner.keyring.root();
        Secrets {
            state: root.derive("oidc state", token),
            nonce: root.derive("oidc nonce", token),
            verifier: root.derive("oidc verifier", token),
        }
    }
}

fn strayed() -> Error {
    Error::forbidden("This sign-in was not begun in this browser, or too long ago").remedy("Begin again")
}
