//! A provider that lies: every forged answer is refused, and the genuine one beside it is taken.

use std::sync::{Arc, Mutex};

use aegis::{accounts::Role, config, support::Clock as _};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use openidconnect::{
    JsonWebKeyId, PrivateSigningKey as _,
    core::{CoreJwsSigningAlgorithm, CoreRsaPrivateSigningKey},
};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    ADA, Place,
    oidc::{CONSOLE, come_back, place, settings},
};
use crate::visitor::{Reply, Visitor};

const PROVIDER: &str = include_str!("keys/provider.pem");
const STRANGER: &str = include_str!("keys/stranger.pem");

/// Answers any code with the ID token that the test puts into it.
#[derive(Clone)]
struct Hostile {
    issuer: String,
    token: Arc<Mutex<String>>,
}

/// Makes an ID token for such a browser.
type Forge<'f> = Box<dyn Fn(&Sent) -> String + 'f>;

/// What a browser was sent to the provider with.
struct Sent {
    state: String,
    nonce: String,
}

fn key(pem: &str) -> CoreRsaPrivateSigningKey {
    CoreRsaPrivateSigningKey::from_pem(pem, Some(JsonWebKeyId::new("one".to_owned()))).unwrap()
}

impl Hostile {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let hostile = Self { issuer, token: Arc::default() };
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(describe))
            .route("/jwks", get(async || Json(json!({ "keys": [key(PROVIDER).as_verification_key()] }))))
            .route("/token", post(answer))
            .with_state(hostile.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        hostile
    }

    /// What an honest provider would say at this moment.
    fn claims(&self, place: &Place, sent: &Sent) -> Value {
        let now = place.db.clock.now().timestamp();
        json!({
            "iss": self.issuer, "sub": "ada", "aud": "aegis", "nonce": sent.nonce, "iat": now, "exp": now + 600,
            "email": ADA, "email_verified": true,
        })
    }

    fn says(&self, token: String) {
        *self.token.lock().unwrap() = token;
    }
}

async fn describe(State(hostile): State<Hostile>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", hostile.issuer);
    Json(json!({
        "issuer": hostile.issuer, "authorization_endpoint": at("/auth"), "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
    }))
}

async fn answer(State(hostile): State<Hostile>) -> Json<Value> {
    let token = hostile.token.lock().unwrap().clone();
    Json(json!({ "access_token": "x", "token_type": "Bearer", "expires_in": 60, "id_token": token }))
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token signed with RS256.
fn signed(pem: &str, kid: &str, claims: &Value) -> String {
    let body = format!("{}.{}", encode(&json!({ "alg": "RS256", "kid": kid })), encode(claims));
    let signature = key(pem).sign(&CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, body.as_bytes()).unwrap();
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A token "signed" with HS256 and something that everybody knows.
fn keyed(secret: &[u8], claims: &Value) -> String {
    let body = format!("{}.{}", encode(&json!({ "alg": "HS256", "kid": "one" })), encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(body.as_bytes());
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// Sends a browser off, and reads what it was sent with.
async fn depart(visitor: &mut Visitor, provider: &str) -> Sent {
    let reply = visitor.get(&format!("/sign-in/with/{provider}")).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
    let location = reply.header("location").to_owned();
    let parameter = |name: &str| {
        let (_, rest) = location.split_once(&format!("{name}=")).expect("the parameter is there");
        rest.split('&').next().unwrap().to_owned()
    };
    assert_eq!(parameter("code_challenge_method"), "S256");
    assert_eq!(parameter("response_type"), "code");
    Sent { state: parameter("state"), nonce: parameter("nonce") }
}

async fn back(visitor: &mut Visitor, provider: &str, state: &str, more: &str) -> Reply {
    come_back(visitor, &format!("{CONSOLE}/sign-in/with/{provider}/callback?code=x&state={state}{more}")).await
}

/// Ada's account, which the provider's word about her address would open.
async fn trusting(providers: &[(&str, &Hostile)]) -> Place {
    let settings: Vec<_> = providers
        .iter()
        .map(|(name, hostile)| (*name, config::Oidc { link_verified_email: true, ..settings(&hostile.issuer) }))
        .collect();
    let place = place(&settings).await;
    let (acme, _) = place.db.tenant("acme").await;
    place.user(ADA, &acme, Role::Owner).await;
    place
}

fn is_in(visitor: &Visitor) -> bool {
    visitor.cookies.contains_key("aegis_session")
}

#[tokio::test]
async fn no_forged_id_token_signs_anybody_in() {
    let hostile = Hostile::start().await;
    let place = trusting(&[("test", &hostile)]).await;
    let with = |sent: &Sent, changed: Value| {
        let mut claims = hostile.claims(&place, sent);
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let now = place.db.clock.now().timestamp();
    let public = serde_json::to_vec(&key(PROVIDER).as_verification_key()).unwrap();
    let changed =
        |what: Value| -> Forge<'_> { Box::new(move |sent| signed(PROVIDER, "one", &with(sent, what.clone()))) };
    let forgeries: Vec<(&str, Forge<'_>)> = vec![
        ("another nonce", changed(json!({ "nonce": "0123456789" }))),
        ("no nonce", changed(json!({ "nonce": null }))),
        ("for another client", changed(json!({ "aud": "another" }))),
        ("for another client, too", changed(json!({ "aud": ["aegis", "another"] }))),
        ("a party that is not us", changed(json!({ "azp": "another" }))),
        ("another issuer", changed(json!({ "iss": "https://accounts.google.com" }))),
        ("a longer issuer", changed(json!({ "iss": format!("{}/", hostile.issuer) }))),
        ("expired", changed(json!({ "iat": now - 900, "exp": now - 300 }))),
        ("issued long ago", changed(json!({ "iat": now - 7200 }))),
        ("issued tomorrow", changed(json!({ "iat": now + 86400, "exp": now + 90000 }))),
        (
            "another's key under the name of the right one",
            Box::new(|sent| signed(STRANGER, "one", &with(sent, json!({})))),
        ),
        ("another's key", Box::new(|sent| signed(STRANGER, "two", &with(sent, json!({}))))),
        (
            "alg none",
            Box::new(|sent| format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(&with(sent, json!({}))))),
        ),
        ("HS256 with the public key", Box::new(|sent| keyed(&public, &with(sent, json!({}))))),
        ("HS256 with the client's secret", Box::new(|sent| keyed(b"provider-secret", &with(sent, json!({}))))),
        (
            "somebody else's claims under a good signature",
            Box::new(|sent| {
                let good = signed(PROVIDER, "one", &with(sent, json!({ "sub": "eve" })));
                let parts: Vec<&str> = good.split('.').collect();
                format!("{}.{}.{}", parts[0], encode(&with(sent, json!({}))), parts[2])
            }),
        ),
        ("no token at all", Box::new(|_| "x".to_owned())),
    ];
    let count = forgeries.len();
    for (what, forge) in forgeries {
        let mut visitor = place.visitor();
        let sent = depart(&mut visitor, "test").await;
        hostile.says(forge(&sent));
        let reply = back(&mut visitor, "test", &sent.state, "").await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{what}: {}", reply.body);
        assert!(!is_in(&visitor), "{what}");
        let told = ["cannot be trusted", "do not agree"].iter().any(|words| reply.body.contains(words));
        assert!(told, "{what}: {}", reply.body);
        assert!(!reply.body.contains("nonce") && !reply.body.contains("audience"), "{what}: nothing leaks");
        place.db.clock.advance(chrono::Duration::seconds(7)); // the limit of departures
    }
    assert_eq!(count, 17);
    let mut visitor = place.visitor();
    let sent = depart(&mut visitor, "test").await;
    hostile.says(signed(PROVIDER, "one", &with(&sent, json!({}))));
    let reply = back(&mut visitor, "test", &sent.state, "").await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "the genuine one is taken: {}", reply.body);
    assert!(is_in(&visitor));
}

#[tokio::test]
async fn an_answer_is_taken_once_and_only_by_the_browser_that_went() {
    let hostile = Hostile::start().await;
    let place = trusting(&[("test", &hostile)]).await;
    let (mut ada, mut eve) = (place.visitor(), place.visitor());
    let sent = depart(&mut ada, "test").await;
    let eves = depart(&mut eve, "test").await;
    hostile.says(signed(PROVIDER, "one", &hostile.claims(&place, &eves)));
    // Eve's answer in Ada's browser: Ada would work in Eve's account. And Ada's in Eve's. And in none.
    assert_eq!(back(&mut ada, "test", &eves.state, "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(back(&mut eve, "test", &sent.state, "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(back(&mut place.visitor(), "test", &eves.state, "").await.status, StatusCode::FORBIDDEN);
    assert!(!is_in(&ada) && !is_in(&eve));
    // Each had one try: not even the right state helps now.
    assert_eq!(back(&mut eve, "test", &eves.state, "").await.status, StatusCode::FORBIDDEN);

    let mut ada = place.visitor();
    let sent = depart(&mut ada, "test").await;
    let journey = ada.cookies.get("aegis_journey").unwrap().clone();
    hostile.says(signed(PROVIDER, "one", &hostile.claims(&place, &sent)));
    assert_eq!(back(&mut ada, "test", &sent.state, "").await.status, StatusCode::SEE_OTHER);
    // The same answer once more, in a browser with the same cookie.
    let mut thief = place.visitor();
    thief.cookies.insert("aegis_journey".to_owned(), journey);
    assert_eq!(back(&mut thief, "test", &sent.state, "").await.status, StatusCode::FORBIDDEN);
    assert!(!is_in(&thief));

    let mut slow = place.visitor();
    let sent = depart(&mut slow, "test").await;
    hostile.says(signed(PROVIDER, "one", &hostile.claims(&place, &sent)));
    place.db.clock.advance(chrono::Duration::minutes(10));
    let reply = back(&mut slow, "test", &sent.state, "").await;
    assert!(reply.status == StatusCode::FORBIDDEN && reply.body.contains("too long ago"), "{}", reply.body);
}

#[tokio::test]
async fn the_answer_of_one_provider_is_not_taken_for_that_of_another() {
    let (honest, hostile) = (Hostile::start().await, Hostile::start().await);
    let place = trusting(&[("honest", &honest), ("hostile", &hostile)]).await;
    // Sent to the hostile one, come back at the honest one's address with a code of it.
    let mut ada = place.visitor();
    let sent = depart(&mut ada, "hostile").await;
    honest.says(signed(PROVIDER, "one", &honest.claims(&place, &sent)));
    assert_eq!(back(&mut ada, "honest", &sent.state, "").await.status, StatusCode::FORBIDDEN);
    assert!(!is_in(&ada));
    // Sent to the honest one, but the answer says that it is of the other (RFC 9207).
    let sent = depart(&mut ada, "honest").await;
    honest.says(signed(PROVIDER, "one", &honest.claims(&place, &sent)));
    let reply = back(&mut ada, "honest", &sent.state, &format!("&iss={}", hostile.issuer)).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.body);
    // The hostile one vouches for a person of the honest one.
    let sent = depart(&mut ada, "hostile").await;
    hostile.says(signed(PROVIDER, "one", &honest.claims(&place, &sent)));
    assert_eq!(back(&mut ada, "hostile", &sent.state, "").await.status, StatusCode::FORBIDDEN);
    assert!(!is_in(&ada));
    let sent = depart(&mut ada, "honest").await;
    honest.says(signed(PROVIDER, "one", &honest.claims(&place, &sent)));
    let reply = back(&mut ada, "honest", &sent.state, &format!("&iss={}", honest.issuer)).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
}

#[tokio::test]
async fn an_identity_is_linked_only_in_the_session_that_asked_for_it() {
    let hostile = Hostile::start().await;
    let place = place(&[("test", settings(&hostile.issuer))]).await;
    let (acme, _) = place.db.tenant("acme").await;
    place.user(ADA, &acme, Role::Owner).await;
    place.user("eve@example.org", &acme, Role::Viewer).await;
    let mut ada = place.signed_in(ADA).await;
    let page = ada.get("/account/security").await;
    let onward = ada.post("/account/security/link/test", &[("csrf", page.csrf())]).await;
    let parameter = |name: &str| {
        let (_, rest) = onward.body.split_once(&format!("{name}=")).unwrap();
        rest.split(['&', '"']).next().unwrap().to_owned()
    };
    let sent = Sent { state: parameter("state"), nonce: parameter("nonce") };
    hostile.says(signed(PROVIDER, "one", &hostile.claims(&place, &sent)));
    // Meanwhile somebody else has signed in with that browser.
    let mut eve = place.signed_in("eve@example.org").await;
    eve.cookies.insert("aegis_journey".to_owned(), ada.cookies.get("aegis_journey").unwrap().clone());
    assert_eq!(back(&mut eve, "test", &sent.state, "").await.status, StatusCode::FORBIDDEN);
    let linked: i64 = sqlx::query_scalar("SELECT count(*) FROM control.identities")
        .fetch_one(&mut place.db.superuser().await)
        .await
        .unwrap();
    assert_eq!(linked, 0);
    // No page of another site starts it: that takes a form of ours.
    ada.site = "cross-site";
    let forged = ada.post("/account/security/link/test", &[("csrf", page.csrf())]).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
}
