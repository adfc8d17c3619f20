//! API tokens: what they open, what they never open, and every way in which one ends.

use aegis::accounts::Role;
use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use chrono::Duration;
use serde_json::{Value, json};

use super::{ADA, Place};
use crate::visitor::{Reply, Visitor};

/// Makes a token through the API of whoever is signed in.
async fn make(visitor: &mut Visitor, body: Value) -> Reply {
    let csrf = visitor.get("/api/session").await.json()["csrf_token"].as_str().unwrap().to_owned();
    let request = Request::post("/api/account/tokens")
        .header("x-csrf-token", csrf)
        .header(header::CONTENT_TYPE, "application/json");
    visitor.send(request, Body::from(body.to_string())).await
}

/// A program's request: no cookies, no browser.
async fn with(place: &Place, token: &str, method: &str, path: &str) -> Reply {
    let mut program = place.visitor();
    let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    program.send(request, Body::empty()).await
}

async fn token(visitor: &mut Visitor, scopes: &[&str], days: Option<u16>) -> (String, String) {
    let made = make(visitor, json!({ "name": "import", "scopes": scopes, "expires_in_days": days })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let made = made.json();
    (made["secret"].as_str().unwrap().to_owned(), made["token"]["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_token_opens_what_it_was_made_for_without_cookies_and_without_a_csrf_token() {
    let (place, acme) = Place::with_ada().await;
    let mut ada = place.signed_in(ADA).await;
    let (secret, id) = token(&mut ada, &["chat:write"], Some(30)).await;
    assert!(secret.starts_with("aegis_") && secret.len() == 49, "{secret}");

    let asked = with(&place, &secret, "POST", "/api/chat").await;
    assert_eq!((asked.status, asked.body.as_str()), (StatusCode::OK, "Ada Lovelace"));
    let home = with(&place, &secret, "GET", "/").await;
    assert!(home.body.starts_with(&format!("Ada Lovelace as {}", acme.id.schema())), "{}", home.body);
    let session = with(&place, &secret, "GET", "/api/session").await.json();
    assert_eq!(session["user"]["email"], ADA, "{session}");

    // Ada's role carries it, this token does not.
    let refused = with(&place, &secret, "GET", "/api/secrets").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.json()["error"]["remedy"].as_str().unwrap().contains("secrets:manage"), "{}", refused.body);

    let stored: (Vec<u8>, String) =
        sqlx::query_as("SELECT token_hash, name FROM control.api_tokens WHERE id = $1::uuid")
            .bind(&id)
            .fetch_one(&mut place.db.superuser().await)
            .await
            .unwrap();
    assert!(stored.0.len() == 32 && stored.1 == "import", "the hash is kept and nothing else");
    let audit = place.audit(&acme).await;
    assert!(audit.iter().any(|entry| entry.0 == "token.created" && entry.1.contains("chat:write")), "{audit:?}");
    assert!(!format!("{audit:?}").contains(&secret));
}

#[tokio::test]
async fn a_token_makes_no_tokens_and_reaches_neither_account_pages_nor_the_operators() {
    let (place, _) = Place::with_ada().await;
    place.sql("UPDATE control.users SET is_operator = true").await;
    let mut ada = place.signed_in(ADA).await;
    assert_eq!(ada.get("/operator").await.status, StatusCode::OK, "in person she is an operator");
    let everything = [
        "chat:read",
        "chat:write",
        "knowledge:read",
        "knowledge:write",
        "agents:manage",
        "approvals:decide",
        "usage:read",
        "members:read",
        "members:manage",
        "audit:read",
        "secrets:manage",
        "settings:manage",
    ];
    let (secret, id) = token(&mut ada, &everything, None).await;
    for (method, path) in [
        ("GET", "/account/tokens"),
        ("POST", "/account/tokens"),
        ("GET", "/api/account/tokens"),
        ("POST", "/api/account/tokens"),
        ("DELETE", &format!("/api/account/tokens/{id}")),
        ("POST", &format!("/account/tokens/{id}/revoke")),
        ("GET", "/operator"),
        ("POST", "/sign-out"),
    ] {
        let reply = with(&place, &secret, method, path).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{method} {path}: {}", reply.body);
        assert!(reply.json()["error"]["kind"] == "forbidden", "as JSON, whatever was asked for");
    }
    assert_eq!(with(&place, &secret, "GET", "/api/secrets").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_that_is_wrong_is_refused_as_json_and_no_cookie_helps_it() {
    let (place, _) = Place::with_ada().await;
    let mut ada = place.signed_in(ADA).await;
    let (secret, _) = token(&mut ada, &["chat:read"], Some(90)).await;
    let shorter = &secret[..secret.len() - 1];
    let other = format!("{shorter}{}", if secret.ends_with('A') { 'B' } else { 'A' });
    for wrong in [shorter, &other, "", "aegis_", &secret["aegis_".len()..], &secret.to_uppercase(), "x' OR '1'='1"] {
        let reply = with(&place, wrong, "GET", "/api/session").await;
        assert_eq!((reply.status, reply.header("www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer"), "{wrong:?}");
        assert_eq!(reply.json()["error"]["kind"], "unauthenticated");
        assert!(!reply.header("content-type").contains("html"));
    }
    // Her browser would be let in by its cookie; beside a token it counts for nothing.
    let request = Request::get("/").header(header::AUTHORIZATION, "Bearer aegis_wrong");
    assert_eq!(ada.send(request, Body::empty()).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ada.get("/").await.status, StatusCode::OK);
    // And a request that shows a token in another scheme is an ordinary one.
    let request = Request::get("/").header(header::AUTHORIZATION, format!("Basic {secret}"));
    assert_eq!(place.visitor().send(request, Body::empty()).await.status, StatusCode::SEE_OTHER);
    // No other site may add the header: a browser asks first, and is told nothing that allows it.
    let request = Request::options("/api/chat")
        .header(header::ORIGIN, "https://evil.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization");
    let preflight = place.visitor().send(request, Body::empty()).await;
    assert!(!preflight.status.is_success());
    assert!(!preflight.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{preflight:?}");
}

#[tokio::test]
async fn a_token_ends_by_time_by_hand_and_with_its_owner() {
    let (place, acme) = Place::with_ada().await;
    let mut ada = place.signed_in(ADA).await;
    let (secret, _) = token(&mut ada, &["chat:read"], Some(30)).await;
    let status = |secret: String| {
        let place = &place;
        async move { with(place, &secret, "GET", "/api/session").await.status }
    };
    assert_eq!(status(secret.clone()).await, StatusCode::OK);
    let schema = acme.id.as_str();
    for (ended, undone) in [
        ("UPDATE control.users SET suspended_at = now()", "UPDATE control.users SET suspended_at = NULL"),
        ("UPDATE control.memberships SET suspended_at = now()", "UPDATE control.memberships SET suspended_at = NULL"),
        (
            "UPDATE control.tenants SET state = 'creating' WHERE id = 'TENANT'",
            "UPDATE control.tenants SET state = 'active' WHERE id = 'TENANT'",
        ),
    ] {
        place.sql(&ended.replace("TENANT", schema)).await;
        assert_eq!(status(secret.clone()).await, StatusCode::UNAUTHORIZED, "{ended}");
        place.sql(&undone.replace("TENANT", schema)).await;
        assert_eq!(status(secret.clone()).await, StatusCode::OK, "{undone}");
    }
    place.db.clock.advance(Duration::days(30) - Duration::seconds(1));
    assert_eq!(status(secret.clone()).await, StatusCode::OK);
    place.db.clock.advance(Duration::seconds(1));
    assert_eq!(status(secret).await, StatusCode::UNAUTHORIZED, "it has run out");

    let mut ada = place.signed_in(ADA).await;
    let (secret, id) = token(&mut ada, &["chat:read"], None).await;
    let page = ada.get("/account/tokens").await;
    assert!(page.body.contains("Expired 31 May 2026") && page.body.contains("Never expires"), "{}", page.body);
    assert!(!page.body.contains(&secret), "it is shown once");
    let revoked = ada.post(&format!("/account/tokens/{id}/revoke"), &[("csrf", page.csrf())]).await;
    assert_eq!(revoked.status, StatusCode::SEE_OTHER, "{}", revoked.body);
    assert_eq!(status(secret).await, StatusCode::UNAUTHORIZED, "it was revoked");
    assert!(place.actions(&acme).await.contains(&"token.revoked".to_owned()));

    let (secret, _) = token(&mut ada, &["chat:read"], None).await;
    place.sql("DELETE FROM control.memberships").await;
    assert_eq!(status(secret).await, StatusCode::UNAUTHORIZED, "its owner left");
}

#[tokio::test]
async fn nobody_makes_a_token_that_carries_more_or_lasts_longer_than_they_may() {
    let (place, acme) = Place::with_ada().await;
    place.user("vi@example.org", &acme, Role::Viewer).await;
    place.user("mo@example.org", &acme, Role::Member).await;
    let mut vi = place.signed_in("vi@example.org").await;
    for (body, status) in [
        (json!({ "name": "x", "scopes": ["chat:write"], "expires_in_days": 30 }), StatusCode::FORBIDDEN),
        (json!({ "name": "x", "scopes": ["chat:read"] }), StatusCode::FORBIDDEN),
        (json!({ "name": "x", "scopes": ["chat:read"], "expires_in_days": 9999 }), StatusCode::BAD_REQUEST),
        (json!({ "name": "x", "scopes": [], "expires_in_days": 30 }), StatusCode::BAD_REQUEST),
        (json!({ "name": " ", "scopes": ["chat:read"], "expires_in_days": 30 }), StatusCode::BAD_REQUEST),
        (json!({ "name": "x", "scopes": ["operator"], "expires_in_days": 30 }), StatusCode::BAD_REQUEST),
        (
            json!({ "name": "x", "scopes": ["chat:read"], "expires_in_days": 30, "user": "ada" }),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let reply = make(&mut vi, body.clone()).await;
        let as_expected =
            reply.status == status || (status == StatusCode::BAD_REQUEST && reply.status.is_client_error());
        assert!(as_expected, "{body}: {} {}", reply.status, reply.body);
    }
    // A role that shrinks takes the scopes of its tokens along.
    let mut mo = place.signed_in("mo@example.org").await;
    let (secret, _) = token(&mut mo, &["chat:write"], Some(30)).await;
    assert_eq!(with(&place, &secret, "POST", "/api/chat").await.status, StatusCode::OK);
    place.sql("UPDATE control.memberships SET role = 'viewer' WHERE role = 'member'").await;
    assert_eq!(with(&place, &secret, "POST", "/api/chat").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn whoever_manages_members_sees_and_revokes_everybodys_tokens_and_others_only_their_own() {
    let (place, acme) = Place::with_ada().await;
    let (beta, _) = place.db.tenant("beta").await;
    place.user("mo@example.org", &acme, Role::Member).await;
    place.user("bo@example.org", &beta, Role::Owner).await;
    let (mut ada, mut mo) = (place.signed_in(ADA).await, place.signed_in("mo@example.org").await);
    let mut bo = place.signed_in("bo@example.org").await;
    let (adas, adas_id) = token(&mut ada, &["chat:read"], Some(30)).await;
    let (mos, mos_id) = token(&mut mo, &["chat:read"], Some(30)).await;
    let (bos, bos_id) = token(&mut bo, &["members:manage"], Some(30)).await;

    let count = |reply: Reply| reply.json()["tokens"].as_array().map(Vec::len);
    assert_eq!(count(mo.get("/api/account/tokens").await), Some(1));
    assert_eq!(mo.get("/api/tokens").await.status, StatusCode::FORBIDDEN);
    assert_eq!(count(ada.get("/api/tokens").await), Some(2), "Acme's, not Beta's");
    assert!(!mo.get("/account/tokens").await.body.contains("Other people"));

    // Mo cannot revoke Ada's, by whichever door; Bo, an owner elsewhere, can revoke none of Acme's by its id.
    let page = mo.get("/account/tokens").await;
    let reply = mo.post(&format!("/account/tokens/{adas_id}/revoke"), &[("csrf", page.csrf())]).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(with(&place, &bos, "DELETE", &format!("/api/tokens/{adas_id}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(with(&place, &adas, "GET", "/api/session").await.status, StatusCode::OK);

    let page = ada.get("/account/tokens").await;
    assert!(page.body.contains("Other people"), "{}", page.body);
    let reply = ada.post(&format!("/account/tokens/{bos_id}/revoke"), &[("csrf", page.csrf())]).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    let reply = ada.post(&format!("/account/tokens/{mos_id}/revoke"), &[("csrf", page.csrf())]).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    assert_eq!(with(&place, &mos, "GET", "/api/session").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(with(&place, &bos, "GET", "/api/session").await.status, StatusCode::OK);
}

#[tokio::test]
async fn guessing_is_slowed_down_by_address_and_good_tokens_still_pass() {
    let (place, _) = Place::with_ada().await;
    let mut ada = place.signed_in(ADA).await;
    let (secret, id) = token(&mut ada, &["chat:read"], Some(30)).await;
    let mut refusals = Vec::new();
    for n in 0..40 {
        refusals.push(with(&place, &format!("aegis_guess{n}"), "GET", "/api/session").await.status);
    }
    assert_eq!(refusals.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count(), 30);
    assert_eq!(refusals.last(), Some(&StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(with(&place, &secret, "GET", "/api/session").await.status, StatusCode::OK, "nobody else is locked out");

    // The last use is kept, but not at each request.
    let used = async || -> Option<chrono::DateTime<chrono::Utc>> {
        sqlx::query_scalar("SELECT last_used_at FROM control.api_tokens WHERE id = $1::uuid")
            .bind(&id)
            .fetch_one(&mut place.db.superuser().await)
            .await
            .unwrap()
    };
    let first = used().await.expect("it was used");
    place.db.clock.advance(Duration::seconds(59));
    with(&place, &secret, "GET", "/api/session").await;
    assert_eq!(used().await, Some(first));
    place.db.clock.advance(Duration::seconds(1));
    with(&place, &secret, "GET", "/api/session").await;
    assert_eq!(used().await, Some(first + Duration::minutes(1)));
}

#[tokio::test]
async fn the_page_makes_a_token_shows_it_once_and_keeps_what_was_typed_when_it_refuses() {
    let (place, _) = Place::with_ada().await;
    let mut ada = place.signed_in(ADA).await;
    let page = ada.get("/account/tokens").await;
    let fields = [("csrf", page.csrf()), ("name", "Nightly <import>"), ("days", "365")];
    let refused = ada.post("/account/tokens", &fields).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body.contains("role=\"alert\"") && refused.body.contains("Nightly &#60;import&#62;"));

    let fields = [&fields[..], &[("scope", "chat:read"), ("scope", "audit:read")]].concat();
    let made = ada.post("/account/tokens", &fields).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let (_, rest) = made.body.split_once("id=\"secret\">").expect("the token is shown");
    let secret = rest.split_once('<').unwrap().0;
    assert_eq!(with(&place, secret, "GET", "/api/session").await.status, StatusCode::OK);
    assert!(!ada.get("/account/tokens").await.body.contains(secret), "and never again");
}
