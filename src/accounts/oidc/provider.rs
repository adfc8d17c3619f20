//! One provider: what it says of itself, and the exchange of a code for who somebody is.

use std::{future::Future, pin::Pin};

use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::{
    AdditionalProviderMetadata, AuthType, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, HttpRequest, HttpResponse, IdTokenVerifier, IssuerUrl, JsonWebKeySet, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadata, RedirectUrl, Scope,
    SignatureVerificationError, TokenResponse as _,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreGrantType,
        CoreIdTokenClaims, CoreIdTokenVerifier, CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm,
        CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType,
        CoreSubjectIdentifierType, CoreTokenResponse, CoreUserInfoClaims,
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::Joining;
use crate::{
    accounts::{EmailAddress, Role},
    config,
    egress::{Egress, Failure},
    support::{Error, Result, clock::SharedClock},
};

/// How long what a provider says of itself is believed.
const KNOWN_FOR: TimeDelta = TimeDelta::hours(1);
/// Keys are asked for again at most so often, whatever tokens come.
const KEYS_EVERY: TimeDelta = TimeDelta::minutes(1);
/// How far the provider's clock may be off.
const LEEWAY: TimeDelta = TimeDelta::minutes(2);
/// How old an ID token may be that has just been fetched.
const FRESH: TimeDelta = TimeDelta::minutes(10);

/// What an ID token may be signed with: never a secret that both sides know, never nothing.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What a provider may say of itself beyond the standard's own list.
#[derive(Debug, Clone, Deserialize, Serialize)]
struct Extra {
    /// RFC 9207: whether every answer says whose it is.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Extra {}

type Metadata = ProviderMetadata<
    Extra,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// A provider of the configuration.
pub(in crate::accounts) struct Provider {
    name: String,
    label: String,
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Option<ClientSecret>,
    scopes: Vec<Scope>,
    redirect: RedirectUrl,
    pub(super) link_verified_email: bool,
    pub(super) joining: Option<Joining>,
    egress: Egress,
    clock: SharedClock,
    known: Mutex<Option<Known>>,
}

/// What a provider has said of itself.
#[derive(Clone)]
struct Known {
    metadata: Metadata,
    keys: CoreJsonWebKeySet,
    since: DateTime<Utc>,
    keys_since: DateTime<Utc>,
}

/// What is derived for one journey.
pub(super) struct Secrets {
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
}

/// Who somebody is, as the provider vouches for.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) email: Option<String>,
    /// The same, if the provider has verified it and it is an address.
    pub(super) verified: Option<EmailAddress>,
    pub(super) name: Option<String>,
}

impl Provider {
    /// A provider as it is configured. Nothing is asked of it yet.
    pub(super) fn new(
        name: &str,
        settings: &config::Oidc,
        public_url: &str,
        egress: Egress,
        clock: SharedClock,
    ) -> Result<Self> {
        let wrong = |key: &str, why: String| Error::invalid(format!("`oidc.{name}.{key}` cannot be used: {why}"));
        let issuer =
            IssuerUrl::new(settings.issuer().to_owned()).map_err(|error| wrong("issuer", error.to_string()))?;
        let redirect = format!("{}/sign-in/with/{name}/callback", public_url.trim_end_matches('/'));
        let redirect = RedirectUrl::new(redirect).map_err(|_| {
            Error::invalid("server.public_url is needed for signing in through other pages")
                .remedy("write the address under which people reach the console: \"https://aegis.example.org\"")
        })?;
        let scopes = if settings.scopes.is_empty() {
            vec!["email".to_owned(), "profile".to_owned()]
        } else {
            settings.scopes.clone()
        };
        let joining = match &settings.join_tenant {
            None => None,
            Some(tenant) => Some(Joining {
                tenant: tenant.parse().map_err(|error: Error| wrong("join_tenant", error.to_string()))?,
                role: match &settings.join_role {
                    Some(role) => role.parse().map_err(|error: Error| wrong("join_role", error.to_string()))?,
                    None => Role::Member,
                },
                domains: settings.join_domains.iter().map(|domain| domain.to_lowercase()).collect(),
            }),
        };
        Ok(Self {
            name: name.to_owned(),
            label: settings.label(name).to_owned(),
            issuer,
            client_id: ClientId::new(settings.client_id.clone()),
            client_secret: settings
                .client_secret
                .as_ref()
                .map(|secret| secret.read().map(ClientSecret::new))
                .transpose()?,
            scopes: scopes.into_iter().filter(|scope| scope != "openid").map(Scope::new).collect(),
            redirect,
            link_verified_email: settings.link_verified_email,
            joining,
            egress,
            clock,
            known: Mutex::default(),
        })
    }

    /// What stands in addresses for it: `google`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What its button says after "Continue with".
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// The issuer, exactly as it names itself: half of everybody's identity there.
    pub(super) fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    /// The provider's address to send a browser to.
    pub(super) async fn way_there(&self, secrets: &Secrets) -> Result<String> {
        let known = self.known().await?;
        let client =
            CoreClient::from_provider_metadata(known.metadata, self.client_id.clone(), self.client_secret.clone())
                .set_redirect_uri(self.redirect.clone());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(secrets.verifier.clone()));
        let (state, nonce) = (secrets.state.clone(), secrets.nonce.clone());
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let request = client
            .authorize_url(flow, move || CsrfToken::new(state), move || Nonce::new(nonce))
            .add_scopes(self.scopes.iter().cloned())
            .set_pkce_challenge(challenge);
        let (address, ..) = request.url();
        let loopback = address.scheme() == "http" && is_loopback(address.host_str().unwrap_or_default());
        if address.scheme() != "https" && !loopback {
            return Err(self.untrusted("its authorization address is not https"));
        }
        Ok(address.into())
    }

    /// Whether an answer that says it is of `issuer`, or does not say, may be this provider's.
    pub(super) async fn answers_as(&self, issuer: Option<&str>) -> Result<bool> {
        Ok(match issuer {
            Some(issuer) => issuer == self.issuer(),
            None => !self.known().await?.metadata.additional_metadata().authorization_response_iss_parameter_supported,
        })
    }

    /// Exchanges the code, checks the ID token and reads who it is.
    pub(super) async fn redeem(&self, code: String, secrets: Secrets) -> Result<Claims> {
        let known = self.known().await?;
        let mut client = CoreClient::from_provider_metadata(
            known.metadata.clone(),
            self.client_id.clone(),
            self.client_secret.clone(),
        )
        .set_redirect_uri(self.redirect.clone());
        if wants_secret_in_body(&known.metadata) {
            client = client.set_auth_type(AuthType::RequestBody);
        }
        let http = self.http();
        let answer: CoreTokenResponse = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| self.untrusted(error))?
            .set_pkce_verifier(PkceCodeVerifier::new(secrets.verifier))
            .request_async(&http)
            .await
            .map_err(|error| match error {
                openidconnect::RequestTokenError::Request(failure) => self.unreachable(failure),
                other => self.untrusted(format!("its token endpoint: {other}")),
            })?;
        let nonce = Nonce::new(secrets.nonce);
        let token = answer.id_token().ok_or_else(|| self.untrusted("it sent no ID token"))?;
        let first = token.claims(&self.verifier(known.keys), &nonce).cloned();
        let claims = match first {
            // The provider has changed its keys since we asked for them.
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                let keys = self.keys_again().await?;
                token.claims(&self.verifier(keys), &nonce).cloned()
            }
            other => other,
        };
        let claims = claims.map_err(|error| self.refused(error))?;
        if claims.authorized_party().is_some_and(|party| **party != *self.client_id) {
            return Err(self.untrusted("the ID token is for another client"));
        }
        let mut who = self.read(&claims);
        if who.email.is_none() {
            // Some providers tell the address only when they are asked once more.
            let asked = client.user_info(answer.access_token().clone(), Some(claims.subject().clone()));
            if let Ok(request) = asked {
                let info: CoreUserInfoClaims = request
                    .request_async(&http)
                    .await
                    .map_err(|error| self.untrusted(format!("its user info: {error}")))?;
                who.email = info.email().map(|email| email.to_string());
                who.verified = verified(info.email().map(|email| email.as_str()), info.email_verified());
                who.name =
                    who.name.or_else(|| info.name().and_then(|name| name.get(None)).map(|name| name.to_string()));
            }
        }
        Ok(who)
    }

    fn read(&self, claims: &CoreIdTokenClaims) -> Claims {
        Claims {
            issuer: self.issuer().to_owned(),
            subject: claims.subject().to_string(),
            email: claims.email().map(|email| email.to_string()),
            verified: verified(claims.email().map(|email| email.as_str()), claims.email_verified()),
            name: claims.name().and_then(|name| name.get(None)).map(|name| name.to_string()),
        }
    }

    fn verifier(&self, keys: CoreJsonWebKeySet) -> CoreIdTokenVerifier<'static> {
        let now = self.clock.now();
        let verifier = IdTokenVerifier::new_public_client(self.client_id.clone(), self.issuer.clone(), keys);
        verifier.set_allowed_algs(ALGORITHMS).set_time_fn(move || now - LEEWAY).set_issue_time_verifier_fn(
            move |issued| {
                if issued > now + LEEWAY {
                    Err(format!("issued at {issued}, which is yet to come"))
                } else if issued < now - FRESH - LEEWAY {
                    Err(format!("issued at {issued}, which is long ago"))
                } else {
                    Ok(())
                }
            },
        )
    }

    async fn known(&self) -> Result<Known> {
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some(known) = known.as_ref().filter(|known| now - known.since < KNOWN_FOR) {
            return Ok(known.clone());
        }
        let metadata = Metadata::discover_async(self.issuer.clone(), &self.http())
            .await
            .map_err(|error| self.of_discovery(error))?;
        let keys = metadata.jwks().clone();
        Ok(known.insert(Known { metadata, keys, since: now, keys_since: now }).clone())
    }

    async fn keys_again(&self) -> Result<CoreJsonWebKeySet> {
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        let Some(known) = known.as_mut() else { return Err(self.untrusted("its keys are not known")) };
        if now - known.keys_since >= KEYS_EVERY {
            known.keys = JsonWebKeySet::fetch_async(known.metadata.jwks_uri(), &self.http())
                .await
                .map_err(|error| self.of_discovery(error))?;
            known.keys_since = now;
        }
        Ok(known.keys.clone())
    }

    /// The way out, as the library takes it.
    fn http(
        &self,
    ) -> impl Fn(HttpRequest) -> Pin<Box<dyn Future<Output = Result<HttpResponse, Failure>> + Send>> + Send + Sync + use<>
    {
        let egress = self.egress.clone();
        move |request| {
            let egress = egress.clone();
            Box::pin(async move { egress.exchange("oidc", request).await })
        }
    }

    fn of_discovery(&self, error: openidconnect::DiscoveryError<Failure>) -> Error {
        match error {
            openidconnect::DiscoveryError::Request(failure) => self.unreachable(failure),
            other => self.untrusted(format!("what it says of itself: {other}")),
        }
    }

    fn unreachable(&self, failure: Failure) -> Error {
        tracing::warn!(provider = self.name, reason = %failure, "the provider of a sign-in cannot be reached");
        Error::unavailable(format!("{} cannot be reached at the moment", self.label))
            .remedy("Try again in a while, or sign in with your password")
            .because(failure)
    }

    fn refused(&self, error: ClaimsVerificationError) -> Error {
        if matches!(error, ClaimsVerificationError::Expired(_)) {
            tracing::warn!(provider = self.name, reason = %error, "an ID token is out of time");
            return Error::forbidden(format!("The clocks of this server and of {} do not agree", self.label))
                .remedy("Try again; if it stays so, whoever runs this server has to set its clock right")
                .because(error);
        }
        self.untrusted(error)
    }

    fn untrusted(&self, reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let reason = reason.into();
        tracing::warn!(provider = self.name, %reason, "the answer of a provider was refused");
        Error::forbidden(format!("What {} answered cannot be trusted, so nobody was signed in", self.label))
            .remedy("Try again; if it stays so, tell whoever runs this server")
            .because(reason)
    }
}

/// Whether the provider takes the secret in the body of a request only.
fn wants_secret_in_body(metadata: &Metadata) -> bool {
    metadata.token_endpoint_auth_methods_supported().is_some_and(|methods| {
        methods.contains(&CoreClientAuthMethod::ClientSecretPost)
            && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
    })
}

fn verified(email: Option<&str>, is_verified: Option<bool>) -> Option<EmailAddress> {
    email.filter(|_| is_verified == Some(true)).and_then(|email| email.parse().ok())
}

/// `127.0.0.1`, `[::1]`, `localhost`: where plain http reaches nobody else.
fn is_loopback(host: &str) -> bool {
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    inner == "localhost" || inner.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
