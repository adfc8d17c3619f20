//! Where one is signed in, for how long, and in which organisation.

use aegis::accounts::Role;
use axum::http::StatusCode;
use chrono::Duration;

use super::house::{ADA, House, PASSWORD, enter, is_in, submit};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

#[tokio::test]
async fn a_browser_that_is_not_asked_to_remember_forgets_when_it_is_closed_and_after_twelve_hours() {
    let house = House::new().await;
    let mut visitor = house.visitor();
    let page = visitor.get("/sign-in").await;
    let fields = [("csrf", page.csrf()), ("email", ADA), ("password", PASSWORD)];
    let reply = visitor.post("/sign-in", &fields).await;
    let cookie = reply.headers.get_all("set-cookie").iter().find(|c| c.to_str().unwrap().starts_with("aegis_session="));
    assert!(!cookie.unwrap().to_str().unwrap().contains("Max-Age"), "the cookie outlives the browser");
    for _ in 0..11 {
        house.db.clock.advance(Duration::hours(1));
        assert!(is_in(&mut visitor).await);
    }
    house.db.clock.advance(Duration::hours(1));
    assert!(!is_in(&mut visitor).await, "a session outlives its twelve hours");

    let reply = enter(&mut visitor, ADA, PASSWORD).await;
    assert!(reply.header("set-cookie").contains("Max-Age=2592000"), "{}", reply.header("set-cookie"));
    house.db.clock.advance(Duration::hours(13));
    assert!(is_in(&mut visitor).await);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all_others_and_nobody_elses() {
    let house = House::new().await;
    house.user("bob@example.org", "Bob", &house.acme, Role::Member).await;
    let mut bob = house.signed_in("bob@example.org").await;
    let mut here = house.visitor();
    here.user_agent = FIREFOX;
    enter(&mut here, ADA, PASSWORD).await;
    house.db.clock.advance(Duration::minutes(10));
    let mut phone = house.signed_in(ADA).await;
    let mut tablet = house.signed_in(ADA).await;

    let page = here.get("/account/sessions").await.body;
    assert_eq!(page.matches("/end\"").count(), 3, "{page}");
    assert!(page.contains("Firefox on Linux <span class=\"chip\">this one") && page.contains("192.0.2.1"), "{page}");
    let of_bob = bob.get("/account/sessions").await.body;
    let path = of_bob.split("action=\"").find(|rest| rest.starts_with("/account/sessions/0")).unwrap();
    let path = path.split('"').next().unwrap().to_owned();
    let stolen = submit(&mut here, "/account/sessions", &path, &[]).await;
    assert_eq!(stolen.status, StatusCode::NOT_FOUND);
    assert!(is_in(&mut bob).await);

    let of_tablet = tablet.get("/account/sessions").await.body;
    let path = of_tablet.split("action=\"").find(|rest| rest.starts_with("/account/sessions/0")).unwrap();
    let path = path.split('"').next().unwrap().to_owned();
    let ended = submit(&mut here, "/account/sessions", &path, &[]).await;
    assert_eq!(ended.header("location"), "/account/sessions?ended=1");
    assert!(!is_in(&mut tablet).await && is_in(&mut phone).await);

    let ended = submit(&mut here, "/account/sessions", "/account/sessions/end-others", &[]).await;
    assert_eq!(ended.header("location"), "/account/sessions?ended=1");
    assert!(!is_in(&mut phone).await && is_in(&mut here).await && is_in(&mut bob).await);
    assert_eq!(house.last_action(&house.acme).await, "session.ended");
}

#[tokio::test]
async fn a_person_switches_between_organisations_under_a_new_token_and_into_no_other() {
    let house = House::new().await;
    let beta = house.tenant("beta", "Beta Works").await;
    house.tenant("gamma", "Gamma").await;
    let mut ada = house.signed_in(ADA).await;
    let alone = ada.get("/account").await.body;
    assert!(!alone.contains("action=\"/switch\""), "there is nowhere to switch to");

    house.user(ADA, "Ada", &beta, Role::Viewer).await;
    let page = ada.get("/account").await.body;
    assert!(page.contains("name=\"tenant\" value=\"beta\"") && !page.contains("gamma"), "{page}");
    let old = ada.cookies["aegis_session"].clone();
    let foreign = submit(&mut ada, "/account", "/switch", &[("tenant", "gamma")]).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    let moved = submit(&mut ada, "/account", "/switch", &[("tenant", "beta")]).await;
    assert_eq!((moved.status, moved.header("location")), (StatusCode::SEE_OTHER, "/"), "{}", moved.body);
    assert_ne!(ada.cookies["aegis_session"], old);
    let session = ada.get("/api/session").await.json();
    assert_eq!((&session["tenant"]["slug"], &session["role"]), (&"beta".into(), &"viewer".into()));
    assert_eq!(house.last_action(&house.acme).await, "session.ended");
    assert_eq!(house.last_action(&beta).await, "session.started");

    let new = ada.cookies.insert("aegis_session".into(), old).unwrap();
    assert!(!is_in(&mut ada).await, "the old token still opens the door");
    ada.cookies.insert("aegis_session".into(), new);
    assert!(is_in(&mut ada).await);
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions_and_needs_the_old_one() {
    let house = House::new().await;
    let mut here = house.signed_in(ADA).await;
    let mut elsewhere = house.signed_in(ADA).await;
    let old = here.cookies["aegis_session"].clone();
    let change = async |visitor: &mut crate::visitor::Visitor, current: &str, new: &str| {
        submit(visitor, "/account", "/account/password", &[("current", current), ("new", new)]).await
    };
    let wrong = change(&mut here, "not my password", "a difference in method").await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    assert!(wrong.body.contains("The current password is wrong"), "{}", wrong.body);
    let own = change(&mut here, PASSWORD, "Acme-Lovelace 1815!").await;
    assert_eq!(own.status, StatusCode::BAD_REQUEST);
    assert!(own.body.contains("made of your name"), "{}", own.body);
    assert!(is_in(&mut elsewhere).await, "a refused change ended a session");

    let done = change(&mut here, PASSWORD, "a difference in method").await;
    assert_eq!((done.status, done.header("location")), (StatusCode::SEE_OTHER, "/account?done=password"));
    assert!(is_in(&mut here).await && !is_in(&mut elsewhere).await);
    assert_ne!(here.cookies["aegis_session"], old);
    assert_eq!(house.last_action(&house.acme).await, "password.changed");
    assert_eq!(enter(&mut house.visitor(), ADA, PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    let new = enter(&mut house.visitor(), ADA, "a difference in method").await;
    assert_eq!(new.status, StatusCode::SEE_OTHER);
    let log = format!("{:?}", house.audit(&house.acme).await);
    assert!(!log.contains("difference") && !log.contains("argon2"), "a password stands in the audit log");
}

#[tokio::test]
async fn whoever_has_a_session_cannot_try_passwords_for_ever() {
    let house = House::new().await;
    let mut thief = house.signed_in(ADA).await;
    let mut statuses = Vec::new();
    for n in 0..12 {
        let guess = format!("guess number {n}");
        let fields = [("current", guess.as_str()), ("new", "a difference in method")];
        statuses.push(submit(&mut thief, "/account", "/account/password", &fields).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count(), 2, "{statuses:?}");
}

#[tokio::test]
async fn one_calls_oneself_what_one_likes_but_not_nothing() {
    let house = House::new().await;
    let mut ada = house.signed_in(ADA).await;
    let empty = submit(&mut ada, "/account", "/account", &[("name", "  ")]).await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
    let done = submit(&mut ada, "/account", "/account", &[("name", " Ada <b>King</b> ")]).await;
    assert_eq!(done.header("location"), "/account?done=name");
    let page = ada.get("/account?done=name").await.body;
    assert!(page.contains("Ada &#60;b&#62;King") && !page.contains("<b>King"), "{page}");
    assert_eq!(house.last_action(&house.acme).await, "user.renamed");
}
