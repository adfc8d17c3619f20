//! New passwords by an operator's link, people who are kept out, and what a stranger can learn.

use aegis::accounts::Role;
use axum::http::StatusCode;
use chrono::Duration;

use super::house::{ADA, House, PASSWORD, enter, is_in, submit};

const NEW: &str = "a difference in method";

#[tokio::test]
async fn a_reset_link_works_once_for_a_day_and_ends_every_session() {
    let house = House::new().await;
    let mut ada = house.signed_in(ADA).await;
    let email = ADA.parse().unwrap();
    let old = house.accounts.make_reset(&email).await.unwrap();
    let reset = house.accounts.make_reset(&email).await.unwrap();
    let path = |token: &str| format!("/reset/{token}");
    assert_eq!(
        house.visitor().get(&path(old.token.reveal())).await.status,
        StatusCode::NOT_FOUND,
        "a newer one is made"
    );

    let path = path(reset.token.reveal());
    let mut visitor = house.visitor();
    let weak = submit(&mut visitor, &path, &path, &[("password", "Lovelace-1815!")]).await;
    assert_eq!(weak.status, StatusCode::BAD_REQUEST);
    assert!(is_in(&mut ada).await);
    let done = submit(&mut visitor, &path, &path, &[("password", NEW)]).await;
    assert!(done.status == StatusCode::OK && done.body.contains("Your password is set"), "{}", done.body);
    assert!(!is_in(&mut visitor).await, "a link signs nobody in past a second factor");
    assert!(!is_in(&mut ada).await);
    assert_eq!(visitor.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(enter(&mut house.visitor(), ADA, PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(enter(&mut house.visitor(), ADA, NEW).await.status, StatusCode::SEE_OTHER);
    let actions: Vec<String> = house.audit(&house.acme).await.into_iter().map(|entry| entry.0).collect();
    assert!(actions.contains(&"password_reset.offered".to_owned()) && actions.contains(&"password.reset".to_owned()));

    let late = house.accounts.make_reset(&email).await.unwrap();
    house.db.clock.advance(Duration::hours(24));
    assert!(house.accounts.reset_of(late.token.reveal()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_empty_or_made_up_reset_token_resets_nobodys_password() {
    let house = House::new().await;
    for token in ["", "null", "undefined", "%00", "0", "%20", "..%2f", "' OR 1=1 --"] {
        let token = token.replace(' ', "%20").replace('\'', "%27");
        let mut visitor = house.visitor();
        assert_eq!(visitor.get(&format!("/reset/{token}")).await.status, StatusCode::NOT_FOUND, "{token:?}");
        let page = visitor.get("/sign-in").await;
        let fields = [("csrf", page.csrf()), ("password", NEW)];
        let reply = visitor.post(&format!("/reset/{token}"), &fields).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{token:?}: {}", reply.body);
    }
    assert_eq!(enter(&mut house.visitor(), ADA, PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn nobody_is_reset_who_is_suspended_and_nobody_who_is_suspended_comes_in() {
    let house = House::new().await;
    let mut ada = house.signed_in(ADA).await;
    let email = ADA.parse().unwrap();
    let reset = house.accounts.make_reset(&email).await.unwrap();
    let person = house.accounts.suspend_person(&email, true).await.unwrap();
    assert!(person.suspended_at.is_some() && person.sessions == 0);
    assert!(!is_in(&mut ada).await);
    let refused = enter(&mut house.visitor(), ADA, PASSWORD).await;
    let unknown = enter(&mut house.visitor(), "nobody@example.org", PASSWORD).await;
    assert_eq!((refused.status, unknown.status), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    assert!(refused.body.contains("The e-mail address or the password is wrong"), "{}", refused.body);
    assert!(house.accounts.reset_of(reset.token.reveal()).await.unwrap().is_none(), "a link is a way in beside it");
    assert!(house.accounts.make_reset(&email).await.unwrap_err().message().contains("suspended"));
    assert_eq!(house.last_action(&house.acme).await, "member.suspended");
    house.accounts.suspend_person(&email, false).await.unwrap();
    assert_eq!(enter(&mut house.visitor(), ADA, PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn there_is_no_sign_up_and_the_first_to_come_is_nobodys_owner() {
    let house = House::new().await;
    for path in ["/sign-up", "/register", "/setup", "/api/users", "/api/setup"] {
        assert_eq!(house.visitor().get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let mut visitor = house.visitor();
    let page = visitor.get("/sign-in").await;
    let fields = [("csrf", page.csrf()), ("token", ""), ("organisation", "X Org"), ("name", "X"), ("email", "x@x.org")];
    let fields: Vec<_> = fields.into_iter().chain([("password", NEW)]).collect();
    assert_eq!(visitor.post("/setup", &fields).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn guesses_from_everywhere_never_keep_a_person_out_of_their_own_browser() {
    let house = House::new().await;
    house.user("bob@example.org", "Bob", &house.acme, Role::Member).await;
    let mut own = house.signed_in(ADA).await;
    assert!(own.cookies.contains_key("aegis_browser"));
    own.cookies.remove("aegis_session");
    for n in 0..14_u8 {
        let mut guesser = house.visitor();
        // The guesser sits behind Ada's own address, too.
        guesser.address = if n == 0 { own.address } else { [203, 0, 113, n].into() };
        for guess in 0..6 {
            enter(&mut guesser, ADA, &format!("guess number {guess}")).await;
        }
    }
    let mut new_here = house.visitor();
    new_here.address = [203, 0, 113, 1].into();
    assert_eq!(enter(&mut new_here, ADA, PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    let mut fresh = house.visitor();
    fresh.address = [198, 51, 100, 7].into();
    assert_eq!(enter(&mut fresh, ADA, PASSWORD).await.status, StatusCode::SEE_OTHER, "a new address has one attempt");
    assert_eq!(enter(&mut own, ADA, PASSWORD).await.status, StatusCode::SEE_OTHER);
    // The cookie of Ada's browser is nothing to Bob's account.
    let mut thief = house.visitor();
    thief.cookies.insert("aegis_browser".into(), own.cookies["aegis_browser"].clone());
    let mut wrong = Vec::new();
    for n in 0..7 {
        wrong.push(enter(&mut thief, "bob@example.org", &format!("guess number {n}")).await.status);
    }
    assert_eq!(wrong.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count(), 5, "{wrong:?}");
}

#[tokio::test]
async fn failed_sign_ins_are_written_down_before_the_appliance_ends() {
    let house = House::new().await;
    for _ in 0..3 {
        enter(&mut house.visitor(), ADA, "not my password").await;
    }
    house.accounts.shutdown().await;
    let failed = house.audit(&house.acme).await.into_iter().filter(|entry| entry.0 == "sign_in.failed").count();
    assert_eq!(failed, 3);
}

#[tokio::test]
async fn the_operator_lists_names_and_removes_people_but_never_the_last_owner() {
    let house = House::new().await;
    let beta = house.tenant("beta", "Beta").await;
    house.user("bob@example.org", "Bob", &house.acme, Role::Member).await;
    house.user("bob@example.org", "Bob", &beta, Role::Viewer).await;
    let bob = "bob@example.org".parse().unwrap();
    assert_eq!(house.accounts.people(None).await.unwrap().len(), 2);
    assert_eq!(house.accounts.people(Some(&beta)).await.unwrap().len(), 1);
    assert!(house.accounts.set_operator(&bob, true).await.unwrap().user.operator);
    assert!(!house.accounts.set_operator(&bob, false).await.unwrap().user.operator);
    house.accounts.remove_from(&bob, &beta).await.unwrap();
    assert_eq!(house.accounts.person(&bob).await.unwrap().memberships.len(), 1);
    let mut signed_in = house.signed_in("bob@example.org").await;
    house.accounts.remove_person(&bob).await.unwrap();
    assert!(!is_in(&mut signed_in).await);
    let ada = ADA.parse().unwrap();
    let refused = house.accounts.remove_person(&ada).await.unwrap_err();
    assert!(refused.message().contains("the only owner of acme"), "{refused}");
    assert_eq!(house.accounts.people(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_sign_in_that_waits_for_its_code_is_over_with_the_password_that_it_began_with() {
    let house = House::new().await;
    house.user("bob@example.org", "Bob", &house.acme, Role::Member).await;
    let mut superuser = house.db.superuser().await;
    let enable = "INSERT INTO control.second_factors (user_id, sealed, sealed_to, created_at, confirmed_at)
                  SELECT id, '', '', now(), now() FROM control.users WHERE email = $1";
    sqlx::query(enable).bind(ADA).execute(&mut superuser).await.unwrap();
    let mut bob = house.signed_in("bob@example.org").await;
    let seen = bob.get("/api/members").await.body;
    assert!(!seen.contains("true") && seen.contains("\"second_factor\":null"), "a member learns whose door is weaker");

    let mut waiting = house.visitor();
    let reply = enter(&mut waiting, ADA, PASSWORD).await;
    assert_ne!(reply.header("location"), "/", "the password alone let her in");
    let count = "SELECT count(*) FROM control.pending_sign_ins";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut superuser).await.unwrap(), 1);
    let reset = house.accounts.make_reset(&ADA.parse().unwrap()).await.unwrap();
    house.accounts.reset_password(reset.token.reveal(), NEW).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut superuser).await.unwrap(), 0);
    let factors = "SELECT count(*) FROM control.second_factors";
    let factors: i64 = sqlx::query_scalar(factors).fetch_one(&mut superuser).await.unwrap();
    assert_eq!(factors, 1, "a new password takes no second factor away");
}
