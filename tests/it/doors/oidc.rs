//! Signing in through somebody else's page, at a real OpenID provider.

use std::collections::BTreeMap;

use aegis::{
    accounts::{By, Role, oidc::Providers},
    config::{self, Secret},
    egress::Egress,
    support::Clock as _,
};
use axum::http::StatusCode;
use chrono::Duration;

use super::{ADA, Place, real_provider::RealProvider};
use crate::{
    harness::TestDb,
    visitor::{Reply, Visitor},
};

/// Under which address people reach the console.
pub const CONSOLE: &str = "http://127.0.0.1:1";
const CALLBACK: &str = "http://127.0.0.1:1/sign-in/with/test/callback";

/// As the operator has registered the console at the provider.
pub fn settings(issuer: &str) -> config::Oidc {
    config::Oidc {
        issuer: Some(issuer.to_owned()),
        label: Some("Example".to_owned()),
        client_id: "aegis".to_owned(),
        client_secret: Some(Secret::Plain("provider-secret".to_owned())),
        ..config::Oidc::default()
    }
}

/// Accounts with these providers, at the time of the real clock, which the providers go by.
pub async fn place(settings: &[(&str, config::Oidc)]) -> Place {
    let db = TestDb::new().await;
    #[expect(clippy::disallowed_methods, reason = "other processes go by the real clock")]
    db.clock.advance(chrono::Utc::now() - db.clock.now());
    let issuers = settings.iter().map(|(_, settings)| ("oidc.test.issuer", settings.issuer()));
    let egress = Egress::allowing(issuers).unwrap();
    let settings: BTreeMap<_, _> = settings.iter().map(|(name, it)| ((*name).to_owned(), it.clone())).collect();
    let providers = Providers::new(&settings, CONSOLE, &egress, &db.shared_clock()).unwrap();
    Place::offering(db, providers, CONSOLE)
}

/// Goes to the provider, agrees as `login`, and comes back.
async fn through(provider: &RealProvider, visitor: &mut Visitor, path: &str, login: &str) -> Reply {
    let departed = visitor.get(path).await;
    assert_eq!(departed.status, StatusCode::SEE_OTHER, "{}", departed.body);
    let back = provider.agree(departed.header("location"), login);
    come_back(visitor, &back).await
}

/// The provider's last answer leads the browser to another site: ours.
pub async fn come_back(visitor: &mut Visitor, address: &str) -> Reply {
    let path = address.strip_prefix(CONSOLE).expect("the provider sends people back to the console");
    visitor.site = "cross-site";
    let reply = visitor.get(path).await;
    visitor.site = "same-origin";
    reply
}

/// Links the identity of `login` to who is signed in.
async fn link(provider: &RealProvider, visitor: &mut Visitor, login: &str) -> Reply {
    let page = visitor.get("/account/security").await;
    let onward = visitor.post("/account/security/link/test", &[("csrf", page.csrf())]).await;
    assert_eq!(onward.status, StatusCode::OK, "{}", onward.body);
    let (_, rest) = onward.body.split_once("class=\"button primary\" href=\"").expect("a link to the provider");
    let address = rest.split_once('"').unwrap().0.replace("&#38;", "&");
    come_back(visitor, &provider.agree(&address, login)).await
}

#[tokio::test]
async fn an_identity_that_was_linked_from_a_session_signs_in_and_no_other_does() {
    let provider = RealProvider::start(&[CALLBACK]);
    let place = place(&[("test", settings(&provider.issuer))]).await;
    let (acme, _) = place.db.tenant("acme").await;
    place.user(ADA, &acme, Role::Owner).await;
    let page = place.visitor().get("/sign-in").await;
    assert!(page.body.contains("Continue with Example") && page.body.contains("/sign-in/with/test?next="));

    // The address is verified, and there is an account with it: still a stranger, and told nothing about that.
    let stranger = through(&provider, &mut place.visitor(), "/sign-in/with/test", "ada").await;
    let nobody = through(&provider, &mut place.visitor(), "/sign-in/with/test", "nomail").await;
    for reply in [&stranger, &nobody] {
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.body);
        assert!(reply.body.contains("Nobody here is linked to your account at Example"), "{}", reply.body);
        assert!(!reply.body.contains("example.org"), "nothing of the identity is repeated");
    }

    let mut ada = place.signed_in(ADA).await;
    let linked = link(&provider, &mut ada, "lovelace").await;
    assert_eq!(
        (linked.status, linked.header("location")),
        (StatusCode::SEE_OTHER, "/account/security"),
        "{}",
        linked.body
    );
    let page = ada.get("/account/security").await;
    assert!(page.body.contains("lovelace@example.org") && page.body.contains("Never used"), "{}", page.body);

    // An identity is a subject of an issuer: it signs in to Ada's account under its own name and address.
    let mut visitor = place.visitor();
    let entered = through(&provider, &mut visitor, "/sign-in/with/test?next=/%3Fq%3D1", "lovelace").await;
    assert_eq!((entered.status, entered.header("location")), (StatusCode::SEE_OTHER, "/?q=1"), "{}", entered.body);
    assert_eq!(visitor.get("/api/session").await.json()["user"]["email"], ADA);
    assert!(!visitor.cookies.contains_key("aegis_journey"));
    let security = visitor.get("/api/account/security").await.json();
    assert_eq!(security["identities"][0]["issuer"], provider.issuer.as_str(), "{security}");

    // It is linked to one account only.
    place.user("mo@example.org", &acme, Role::Member).await;
    let mut mo = place.signed_in("mo@example.org").await;
    assert_eq!(link(&provider, &mut mo, "lovelace").await.status, StatusCode::CONFLICT);

    // Unlinked, it opens nothing any more, and what it opened is closed.
    let id = security["identities"][0]["id"].as_str().unwrap();
    let page = mo.get("/account/security").await;
    let other = mo.post(&format!("/account/security/unlink/{id}"), &[("csrf", page.csrf())]).await;
    assert_eq!(other.status, StatusCode::NOT_FOUND, "nobody unlinks another's");
    let page = ada.get("/account/security").await;
    let reply = ada.post(&format!("/account/security/unlink/{id}"), &[("csrf", page.csrf())]).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
    assert_eq!(visitor.get("/").await.status, StatusCode::SEE_OTHER, "the session that came by it has ended");
    let again = through(&provider, &mut place.visitor(), "/sign-in/with/test", "lovelace").await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
    let actions = place.actions(&acme).await;
    assert!(actions.contains(&"identity.linked".to_owned()) && actions.contains(&"identity.unlinked".to_owned()));
}

#[tokio::test]
async fn a_verified_address_lets_in_where_the_policy_says_so_and_an_unverified_one_never() {
    let provider = RealProvider::start(&[CALLBACK]);
    let policy = config::Oidc { link_verified_email: true, ..settings(&provider.issuer) };
    let place = place(&[("test", policy)]).await;
    let (acme, _) = place.db.tenant("acme").await;
    place.user(ADA, &acme, Role::Owner).await;
    place.user("uma@example.org", &acme, Role::Owner).await;
    place.user("tess@example.org", &acme, Role::Owner).await;
    place
        .sql(
            "INSERT INTO control.second_factors (user_id, sealed, sealed_to, created_at, confirmed_at)
             SELECT id, '', '', now(), now() FROM control.users WHERE email = 'tess@example.org'",
        )
        .await;
    let mut visitor = place.visitor();
    let ada = through(&provider, &mut visitor, "/sign-in/with/test", "ada").await;
    assert_eq!(ada.status, StatusCode::SEE_OTHER, "{}", ada.body);
    assert_eq!(visitor.get("/api/session").await.json()["user"]["email"], ADA);
    for (login, why) in [
        ("uma", "the provider has not verified it"),
        ("tess", "a second factor is not got round by an address"),
        ("eve", "nobody has it"),
    ] {
        let reply = through(&provider, &mut place.visitor(), "/sign-in/with/test", login).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{login}: {why}");
    }
    // Linked once, the identity counts and not the address.
    place.sql("UPDATE control.users SET email = 'countess@example.org' WHERE email = 'ada@example.org'").await;
    let mut visitor = place.visitor();
    through(&provider, &mut visitor, "/sign-in/with/test", "ada").await;
    assert_eq!(visitor.get("/api/session").await.json()["user"]["email"], "countess@example.org");
    // And whoever is suspended stays out by this door, too.
    place.sql("UPDATE control.users SET suspended_at = now()").await;
    let reply = through(&provider, &mut place.visitor(), "/sign-in/with/test", "ada").await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn people_of_the_domains_that_were_named_become_members_without_a_password() {
    let provider = RealProvider::start(&[CALLBACK]);
    let policy = config::Oidc {
        join_tenant: Some("acme".to_owned()),
        join_role: Some("viewer".to_owned()),
        join_domains: vec!["example.org".to_owned()],
        ..settings(&provider.issuer)
    };
    let place = place(&[("test", policy)]).await;
    let (acme, _) = place.db.tenant("acme").await;
    let mut visitor = place.visitor();
    let reply = through(&provider, &mut visitor, "/sign-in/with/test", "eve").await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
    let session = visitor.get("/api/session").await.json();
    assert_eq!((&session["user"]["name"], &session["role"]), (&"Eve".into(), &"viewer".into()), "{session}");
    let unverified = through(&provider, &mut place.visitor(), "/sign-in/with/test", "ulf").await;
    assert_eq!(unverified.status, StatusCode::FORBIDDEN);
    assert!(place.actions(&acme).await.contains(&"user.created".to_owned()));

    // Her only way in is not taken away, and no password opens it.
    let id = visitor.get("/api/account/security").await.json()["identities"][0]["id"].as_str().unwrap().to_owned();
    let page = visitor.get("/account/security").await;
    let reply = visitor.post(&format!("/account/security/unlink/{id}"), &[("csrf", page.csrf())]).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    assert_eq!(super::enter(&mut place.visitor(), "eve@example.org").await.status, StatusCode::UNAUTHORIZED);

    // A second factor that the organisation asks for is the provider's own.
    place.sql("UPDATE control.tenants SET requires_second_factor = true").await;
    assert_eq!(visitor.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_invitation_is_accepted_by_whoever_has_its_address_and_by_nobody_else() {
    let provider = RealProvider::start(&[CALLBACK]);
    let place = place(&[("test", settings(&provider.issuer))]).await;
    let (acme, _) = place.db.tenant("acme").await;
    place.user(ADA, &acme, Role::Owner).await;
    let eve = "eve@example.org".parse().unwrap();
    let (_, token) = place.accounts.invite(By::Operator, &acme, &eve, Role::Member).await.unwrap();
    let path = format!("/sign-in/with/test?next=/invitation/{}", token.reveal());
    for other in ["mallory", "nomail"] {
        let reply = through(&provider, &mut place.visitor(), &path, other).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{other}");
    }
    let mut visitor = place.visitor();
    let reply = through(&provider, &mut visitor, &path, "eve").await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, "/"), "{}", reply.body);
    let session = visitor.get("/api/session").await.json();
    assert_eq!((&session["user"]["email"], &session["role"]), (&"eve@example.org".into(), &"member".into()));
    let again = through(&provider, &mut place.visitor(), &path, "frank").await;
    assert_eq!(again.status, StatusCode::FORBIDDEN, "it is used up");
}

#[tokio::test]
async fn new_keys_are_fetched_when_a_token_is_signed_with_one_that_is_not_known() {
    let provider = RealProvider::start(&[CALLBACK]);
    let policy = config::Oidc { link_verified_email: true, ..settings(&provider.issuer) };
    let place = place(&[("test", policy)]).await;
    let (acme, _) = place.db.tenant("acme").await;
    place.user(ADA, &acme, Role::Owner).await;
    let first = through(&provider, &mut place.visitor(), "/sign-in/with/test", "ada").await;
    assert_eq!(first.status, StatusCode::SEE_OTHER, "{}", first.body);
    provider.rotate();
    let too_soon = through(&provider, &mut place.visitor(), "/sign-in/with/test", "ada").await;
    assert_eq!(too_soon.status, StatusCode::FORBIDDEN, "keys are asked for once a minute at most");
    place.db.clock.advance(Duration::minutes(1));
    let then = through(&provider, &mut place.visitor(), "/sign-in/with/test", "ada").await;
    assert_eq!(then.status, StatusCode::SEE_OTHER, "{}", then.body);
}

#[tokio::test]
async fn whoever_says_no_and_whoever_meets_a_closed_door_is_told_so_on_the_sign_in_page() {
    let provider = RealProvider::start(&[CALLBACK]);
    let place = place(&[("test", settings(&provider.issuer)), ("gone", settings("http://127.0.0.1:9"))]).await;
    place.db.tenant("acme").await;
    let mut visitor = place.visitor();
    let departed = visitor.get("/sign-in/with/test").await;
    let back = provider.refuse(departed.header("location"));
    let reply = come_back(&mut visitor, &back).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(reply.body.contains("You did not let Example tell us who you are"), "{}", reply.body);
    assert!(reply.body.contains("name=\"password\""), "the other way in is on the same page");

    let down = place.visitor().get("/sign-in/with/gone").await;
    assert_eq!(down.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(down.body.contains("Example cannot be reached at the moment") && down.body.contains("name=\"password\""));
    assert!(!down.body.contains("127.0.0.1:9"), "nothing leaks");
    assert_eq!(place.visitor().get("/sign-in/with/nobody").await.status, StatusCode::NOT_FOUND);
}
