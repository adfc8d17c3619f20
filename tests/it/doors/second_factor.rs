//! The second factor: set up, asked for, lost, taken away, and required of everybody.

use aegis::{
    accounts::{Role, second_factor::Standing},
    audit::Actor,
    support::Clock as _,
};
use axum::http::StatusCode;
use chrono::Duration;
use totp_rs::{Algorithm, Builder, Secret};

use super::{ADA, PASSWORD, Place, enter};
use crate::visitor::{Reply, Visitor};

/// What is in the person's phone.
struct App(String);

impl App {
    /// Types the key off the page, spaces and all.
    fn read(page: &str) -> Self {
        let (_, rest) = page.split_once("into the app: <code>").expect("the page shows a key");
        Self(rest.split_once('<').unwrap().0.replace(' ', ""))
    }

    /// The code that the app shows when the clock is off by so many seconds.
    fn code(&self, place: &Place, off: i64) -> String {
        let totp = Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_step_duration(30)
            .with_secret(Secret::try_from_base32(&self.0).unwrap())
            .with_account_name("ada")
            .build()
            .unwrap();
        let second = place.db.clock.now().timestamp() + off;
        totp.generate(second.try_into().unwrap()).to_string()
    }
}

/// Sets a second factor up as a person does; the app, and the recovery codes.
async fn set_up(place: &Place, visitor: &mut Visitor) -> (App, Vec<String>) {
    let page = visitor.get("/account/security").await;
    let begun = visitor.post("/account/security/enrol", &[("csrf", page.csrf())]).await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER, "{}", begun.body);
    let page = visitor.get("/account/security").await;
    assert!(page.body.contains("<svg role=\"img\""), "a picture for the camera: {}", page.body);
    let app = App::read(&page.body);
    let done = both(visitor, "confirm", &app.code(place, 0)).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.body);
    let codes = codes(&done);
    assert_eq!(codes.len(), 10);
    (app, codes)
}

fn codes(reply: &Reply) -> Vec<String> {
    let (_, rest) = reply.body.split_once("<pre class=\"once\">").expect("the codes are shown");
    rest.split_once('<').unwrap().0.split_whitespace().map(str::to_owned).collect()
}

async fn both(visitor: &mut Visitor, action: &str, code: &str) -> Reply {
    let page = visitor.get("/account/security").await;
    let fields = [("csrf", page.csrf()), ("password", PASSWORD), ("code", code)];
    visitor.post(&format!("/account/security/{action}"), &fields).await
}

/// The second page of signing in.
async fn show(visitor: &mut Visitor, code: &str) -> Reply {
    let page = visitor.get("/sign-in/code").await;
    visitor.post("/sign-in/code", &[("csrf", page.csrf()), ("code", code)]).await
}

#[tokio::test]
async fn whoever_has_a_second_factor_is_asked_for_a_code_and_each_is_good_once() {
    let (place, acme) = Place::with_ada().await;
    let mut ada = place.signed_in(ADA).await;
    let (app, _) = set_up(&place, &mut ada).await;
    assert!(place.actions(&acme).await.contains(&"second_factor.enabled".to_owned()));

    let mut visitor = place.visitor();
    let reply = enter(&mut visitor, ADA).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, "/sign-in/code"));
    assert!(!visitor.cookies.contains_key("aegis_session"), "the password alone is not enough");
    assert_eq!(visitor.get("/").await.status, StatusCode::SEE_OTHER);

    // The code with which it was set up was used; so was, at once, an older one.
    for used in [app.code(&place, 0), app.code(&place, -30)] {
        let refused = show(&mut visitor, &used).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
        assert!(refused.body.contains("not good, or was used before"));
    }
    place.db.clock.advance(Duration::seconds(30));
    let code = app.code(&place, 0);
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    let entered = show(&mut visitor, &spaced).await;
    assert_eq!((entered.status, entered.header("location")), (StatusCode::SEE_OTHER, "/"), "{}", entered.body);
    assert!(!visitor.cookies.contains_key("aegis_pending"));
    assert_eq!(visitor.get("/").await.status, StatusCode::OK);

    // A second browser that has watched: the same code, within its time.
    let mut other = place.visitor();
    enter(&mut other, ADA).await;
    assert_eq!(show(&mut other, &code).await.status, StatusCode::FORBIDDEN, "replayed");
    let failed = place.actions(&acme).await.iter().filter(|action| *action == "second_factor.failed").count();
    assert_eq!(failed, 3);
}

#[tokio::test]
async fn the_right_password_is_bound_to_its_browser_for_five_minutes_and_five_wrong_codes() {
    let (place, _) = Place::with_ada().await;
    let mut ada = place.signed_in(ADA).await;
    let (app, _) = set_up(&place, &mut ada).await;
    place.db.clock.advance(Duration::minutes(20));

    // Without the cookie there is no second page, whatever code is shown.
    let mut stranger = place.visitor();
    stranger.get("/sign-in").await;
    assert_eq!(stranger.get("/sign-in/code").await.header("location"), "/sign-in");
    let page = stranger.get("/sign-in").await;
    let reply = stranger.post("/sign-in/code", &[("csrf", page.csrf()), ("code", &app.code(&place, 0))]).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);

    let mut slow = place.visitor();
    enter(&mut slow, ADA).await;
    place.db.clock.advance(Duration::minutes(5));
    assert_eq!(slow.get("/sign-in/code").await.header("location"), "/sign-in");

    let mut guesser = place.visitor();
    enter(&mut guesser, ADA).await;
    let page = guesser.get("/sign-in/code").await;
    for _ in 0..5 {
        let reply = guesser.post("/sign-in/code", &[("csrf", page.csrf()), ("code", "000000")]).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.body);
    }
    let code = app.code(&place, 0);
    let reply = guesser.post("/sign-in/code", &[("csrf", page.csrf()), ("code", &code)]).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "that sign-in is over, even with the right code");
    assert!(reply.body.contains("Sign in again"), "{}", reply.body);
    // Another sign-in from there meets the limit by address and account.
    enter(&mut guesser, ADA).await;
    assert_eq!(show(&mut guesser, &code).await.status, StatusCode::TOO_MANY_REQUESTS);
    // Ada, elsewhere, does not notice.
    let mut ada = place.visitor();
    ada.address = "198.51.100.7".parse().unwrap();
    enter(&mut ada, ADA).await;
    assert_eq!(show(&mut ada, &code).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn whoever_is_suspended_between_password_and_code_stays_out() {
    let (place, _) = Place::with_ada().await;
    let mut ada = place.signed_in(ADA).await;
    let (app, _) = set_up(&place, &mut ada).await;
    place.db.clock.advance(Duration::seconds(30));
    let mut visitor = place.visitor();
    enter(&mut visitor, ADA).await;
    place.sql("UPDATE control.users SET suspended_at = now()").await;
    assert_eq!(show(&mut visitor, &app.code(&place, 0)).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_recovery_code_lets_in_once_and_new_ones_end_the_old() {
    let (place, acme) = Place::with_ada().await;
    let mut ada = place.signed_in(ADA).await;
    let (app, codes) = set_up(&place, &mut ada).await;
    assert!(!ada.get("/account/security").await.body.contains(&codes[0]), "they are shown once");

    let mut visitor = place.visitor();
    enter(&mut visitor, ADA).await;
    let typed = codes[0].to_uppercase().replace('-', " ");
    assert_eq!(show(&mut visitor, &typed).await.status, StatusCode::SEE_OTHER);
    assert!(visitor.get("/account/security").await.body.contains("9 recovery codes are left"));
    assert!(place.audit(&acme).await.iter().any(|entry| entry.0 == "recovery_code.used" && entry.1.contains('9')));
    let mut again = place.visitor();
    enter(&mut again, ADA).await;
    assert_eq!(show(&mut again, &codes[0]).await.status, StatusCode::FORBIDDEN);

    place.db.clock.advance(Duration::seconds(30));
    let renewed = both(&mut ada, "codes", &app.code(&place, 0)).await;
    assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.body);
    let new = super::second_factor::codes(&renewed);
    assert!(new.len() == 10 && new.iter().all(|code| !codes.contains(code)));
    assert_eq!(show(&mut again, &codes[1]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(show(&mut again, &new[1]).await.status, StatusCode::SEE_OTHER);
    assert!(!format!("{:?}", place.audit(&acme).await).contains(&new[0]), "no code is written down");
}

#[tokio::test]
async fn turning_it_off_takes_password_and_code_and_ends_the_other_sessions() {
    let (place, acme) = Place::with_ada().await;
    let (mut ada, mut elsewhere) = (place.signed_in(ADA).await, place.signed_in(ADA).await);
    let (app, codes) = set_up(&place, &mut ada).await;
    assert_eq!(elsewhere.get("/").await.status, StatusCode::SEE_OTHER, "setting it up ended the other session");

    place.db.clock.advance(Duration::seconds(30));
    let page = ada.get("/account/security").await;
    let fields = [("csrf", page.csrf()), ("password", "not the password"), ("code", &app.code(&place, 0))];
    let refused = ada.post("/account/security/remove", &fields).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "a stolen session is not enough");
    assert!(refused.body.contains("The current password is wrong"), "{}", refused.body);
    assert_eq!(both(&mut ada, "remove", "000000").await.status, StatusCode::FORBIDDEN);
    assert_eq!(both(&mut ada, "remove", &codes[3]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(ada.get("/api/account/security").await.json()["second_factor"]["state"], "off");
    assert_eq!(enter(&mut place.visitor(), ADA).await.header("location"), "/");
    assert!(place.actions(&acme).await.contains(&"second_factor.removed".to_owned()));
}

#[tokio::test]
async fn setting_one_up_takes_the_password_and_a_first_code() {
    let (place, _) = Place::with_ada().await;
    let mut ada = place.signed_in(ADA).await;
    let page = ada.get("/account/security").await;
    ada.post("/account/security/enrol", &[("csrf", page.csrf())]).await;
    let app = App::read(&ada.get("/account/security").await.body);
    assert_eq!(enter(&mut place.visitor(), ADA).await.header("location"), "/", "it is not asked for yet");
    assert_eq!(both(&mut ada, "confirm", "123456").await.status, StatusCode::FORBIDDEN);
    let page = ada.get("/account/security").await;
    let fields = [("csrf", page.csrf()), ("password", "wrong"), ("code", &app.code(&place, 0))];
    assert_eq!(ada.post("/account/security/confirm", &fields).await.status, StatusCode::FORBIDDEN);
    assert_eq!(both(&mut ada, "confirm", &app.code(&place, 0)).await.status, StatusCode::OK);
    let page = ada.get("/account/security").await;
    let again = ada.post("/account/security/enrol", &[("csrf", page.csrf())]).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "nobody replaces it silently");
}

#[tokio::test]
async fn the_operator_takes_it_away_for_whoever_has_lost_everything() {
    let (place, acme) = Place::with_ada().await;
    let mut ada = place.signed_in(ADA).await;
    set_up(&place, &mut ada).await;
    let ada: aegis::accounts::EmailAddress = ADA.parse().unwrap();
    assert!(place.accounts.reset_second_factor(&ada, Actor::Operator).await.unwrap());
    assert!(!place.accounts.reset_second_factor(&ada, Actor::Operator).await.unwrap());
    assert_eq!(enter(&mut place.visitor(), ADA).await.header("location"), "/");
    assert!(
        place.audit(&acme).await.iter().any(|entry| entry.0 == "second_factor.removed" && entry.1.contains("operator"))
    );
}

#[tokio::test]
async fn an_organisation_that_asks_for_it_shows_nothing_else_to_whoever_has_none() {
    let (place, acme) = Place::with_ada().await;
    place.user("mo@example.org", &acme, Role::Member).await;
    let (mut ada, mut mo) = (place.signed_in(ADA).await, place.signed_in("mo@example.org").await);
    let page = ada.get("/account/security").await;
    let fields = [("csrf", page.csrf()), ("required", "yes")];
    let refused = ada.post("/account/security/require", &fields).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "she would shut herself out: {}", refused.body);
    set_up(&place, &mut ada).await;
    let page = ada.get("/account/security").await;
    let fields = [("csrf", page.csrf()), ("required", "yes")];
    assert_eq!(ada.post("/account/security/require", &fields).await.status, StatusCode::SEE_OTHER);
    assert!(place.actions(&acme).await.contains(&"second_factor.required".to_owned()));

    for path in ["/", "/account/tokens"] {
        assert_eq!(mo.get(path).await.header("location"), "/account/security", "{path}");
    }
    let api = mo.get("/api/session").await;
    assert_eq!((api.status, api.json()["error"]["kind"].as_str()), (StatusCode::FORBIDDEN, Some("forbidden")));
    let page = mo.get("/account/security").await;
    assert!(page.body.contains("asks everybody for a second factor"), "{}", page.body);
    let fields = [("csrf", page.csrf()), ("required", "")];
    let own = mo.post("/account/security/require", &fields).await;
    assert_eq!(own.status, StatusCode::FORBIDDEN, "only owners decide");
    set_up(&place, &mut mo).await;
    assert_eq!(mo.get("/").await.status, StatusCode::OK);
    assert_eq!(ada.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn secrets_lie_encrypted_and_bound_to_their_owners_and_are_sealed_again_when_the_key_is_rotated() {
    let (place, acme) = Place::with_ada().await;
    place.user("mo@example.org", &acme, Role::Member).await;
    let (mut ada, mut mo) = (place.signed_in(ADA).await, place.signed_in("mo@example.org").await);
    let (app, _) = set_up(&place, &mut ada).await;
    set_up(&place, &mut mo).await;
    let sealed: Vec<(Vec<u8>, String)> = sqlx::query_as("SELECT sealed, sealed_to FROM control.second_factors")
        .fetch_all(&mut place.db.superuser().await)
        .await
        .unwrap();
    assert!(sealed.iter().all(|(bytes, to)| bytes.starts_with(b"age-encryption.org/v1") && to.starts_with("age1")));
    assert!(!sealed.iter().any(|(bytes, _)| bytes.windows(app.0.len()).any(|part| part == app.0.as_bytes())));

    // The keyring of `place` is another handle; rotate through the one that accounts hold.
    let rotated = place.accounts.reseal_second_factors().await.unwrap();
    assert_eq!(rotated, 0, "all are sealed to the current key");
    place.keyring.begin_rotation(place.db.clock.now()).await.unwrap();
    assert_eq!(place.accounts.reseal_second_factors().await.unwrap(), 2);
    place.keyring.finish_rotation().await.unwrap();
    place.db.clock.advance(Duration::seconds(30));
    let mut visitor = place.visitor();
    enter(&mut visitor, ADA).await;
    assert_eq!(show(&mut visitor, &app.code(&place, 0)).await.status, StatusCode::SEE_OTHER);

    // Mo's secret in Ada's row: whoever writes to the database makes no codes for her that way.
    place
        .sql(
            "UPDATE control.second_factors a SET sealed = m.sealed FROM control.second_factors m
             WHERE a.user_id = (SELECT id FROM control.users WHERE email = 'ada@example.org') AND m.user_id <> a.user_id",
        )
        .await;
    place.db.clock.advance(Duration::seconds(30));
    let mut visitor = place.visitor();
    enter(&mut visitor, ADA).await;
    assert_eq!(show(&mut visitor, &app.code(&place, 0)).await.status, StatusCode::CONFLICT);
    let user = place.signed_in_user(ADA).await;
    assert!(matches!(place.accounts.second_factor(user).await.unwrap(), Standing::On { .. }));
}
