//! Who belongs to an organisation, what they may do to each other, and how somebody comes in by an invitation.

use aegis::accounts::{By, Change, ClientInfo, Password, Role, second_factor::Entered};
use axum::http::{Method, StatusCode};
use chrono::Duration;
use serde_json::json;

use super::house::{ADA, House, PASSWORD, api, enter, is_in, submit};

const BOB: &str = "bob@example.org";
const EVE: &str = "eve@example.org";

/// Invites by the page, and gives the path of the link.
async fn invite(house: &House, email: &str, role: &str) -> String {
    let mut ada = house.signed_in(ADA).await;
    let made = submit(&mut ada, "/members/invite", "/members/invite", &[("email", email), ("role", role)]).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let link = made.body.split("<code class=\"once\">").nth(1).unwrap().split('<').next().unwrap();
    format!("/invitation/{}", link.rsplit('/').next().unwrap())
}

#[tokio::test]
async fn somebody_is_invited_joins_once_and_is_what_the_invitation_says() {
    let house = House::under("https://aegis.example.org").await;
    let mut ada = house.signed_in(ADA).await;
    let made = submit(&mut ada, "/members/invite", "/members/invite", &[("email", BOB), ("role", "viewer")]).await;
    let (_, link) = made.body.split_once("https://aegis.example.org/invitation/").expect("the public address");
    let path = format!("/invitation/{}", link.split('<').next().unwrap());
    let listed = ada.get("/members").await.body;
    assert!(!listed.contains("never"), "Ada is here: {listed}");
    assert!(listed.contains(BOB) && listed.contains("in 7 days") && !listed.contains(&path), "{listed}");

    let mut bob = house.visitor();
    let page = bob.get(&path).await;
    assert!(page.body.contains("Join Acme Ltd") && page.body.contains("Ada Lovelace invites"), "{}", page.body);
    let weak = submit(&mut bob, &path, &path, &[("name", "Bob"), ("password", "Password123")]).await;
    assert!(weak.status == StatusCode::BAD_REQUEST && weak.body.contains("leaked passwords"), "{}", weak.body);
    let own = submit(&mut bob, &path, &path, &[("name", "Bob"), ("password", "acme-ltd-2026!")]).await;
    assert!(own.body.contains("organisation&#39;s name") && own.body.contains("value=\"Bob\""), "{}", own.body);
    let done = submit(&mut bob, &path, &path, &[("name", "Bob"), ("password", PASSWORD)]).await;
    assert_eq!((done.status, done.header("location")), (StatusCode::SEE_OTHER, "/"), "{}", done.body);
    let session = bob.get("/api/session").await.json();
    assert_eq!((&session["role"], &session["user"]["email"]), (&"viewer".into(), &BOB.into()));

    for mut late in [house.visitor(), bob] {
        let used = late.get(&path).await;
        assert_eq!(used.status, StatusCode::NOT_FOUND);
        assert!(used.body.contains("not good, or no longer"), "{}", used.body);
    }
    let actions: Vec<String> = house.audit(&house.acme).await.into_iter().map(|entry| entry.0).collect();
    assert_eq!(actions[2..], ["member.invited", "user.created", "session.started"]);
}

#[tokio::test]
async fn of_two_who_accept_at_once_one_does_and_a_revoked_or_old_invitation_is_no_good() {
    let house = House::new().await;
    let path = invite(&house, BOB, "member").await;
    let (mut one, mut two) = (house.visitor(), house.visitor());
    let pages = (one.get(&path).await, two.get(&path).await);
    let form = |csrf| [("csrf", csrf), ("name", "Bob"), ("password", PASSWORD)];
    let (forms, to) = ((form(pages.0.csrf()), form(pages.1.csrf())), path.as_str());
    let (one, two) = tokio::join!(one.post(to, &forms.0), two.post(to, &forms.1));
    let (one, two) = (one.status, two.status);
    assert_eq!([one, two].iter().filter(|status| **status == StatusCode::SEE_OTHER).count(), 1, "{one} {two}");

    let first = invite(&house, EVE, "owner").await;
    let second = invite(&house, EVE, "member").await;
    assert_eq!(house.visitor().get(&first).await.status, StatusCode::NOT_FOUND, "a newer one took its place");
    let mut ada = house.signed_in(ADA).await;
    let members = ada.get("/members").await.body;
    let revoke = members.split("action=\"").find(|rest| rest.starts_with("/invitations/")).unwrap();
    let revoke = revoke.split('"').next().unwrap().to_owned();
    assert_eq!(submit(&mut ada, "/members", &revoke, &[]).await.header("location"), "/members?done=revoked");
    assert_eq!(house.visitor().get(&second).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.last_action(&house.acme).await, "invitation.revoked");

    let third = invite(&house, EVE, "member").await;
    house.db.clock.advance(Duration::days(7));
    assert_eq!(house.visitor().get(&third).await.status, StatusCode::NOT_FOUND);
    for made_up in ["/invitation/", "/invitation/null", "/invitation/%00", "/invitation/undefined"] {
        assert_eq!(house.visitor().get(made_up).await.status, StatusCode::NOT_FOUND, "{made_up}");
    }
}

#[tokio::test]
async fn an_invitation_is_for_its_address_alone_and_an_account_comes_in_by_its_own_door() {
    let house = House::new().await;
    let beta = house.tenant("beta", "Beta").await;
    house.user(BOB, "Bob", &beta, Role::Member).await;
    house.user(EVE, "Eve", &beta, Role::Member).await;
    let path = invite(&house, BOB, "admin").await;

    let mut eve = house.signed_in(EVE).await;
    let page = eve.get(&path).await.body;
    assert!(page.contains("for somebody else") && !page.contains(">Join<"), "{page}");
    assert_eq!(submit(&mut eve, &path, &path, &[]).await.status, StatusCode::FORBIDDEN);

    // Whoever has the link and no password makes no second account of the address and takes none over.
    let mut thief = house.visitor();
    let page = thief.get(&path).await.body;
    assert!(page.contains("Sign in and join") && !page.contains("type=\"password\""), "{page}");
    let page = thief.get("/sign-in").await;
    let taken = [("csrf", page.csrf()), ("name", "Thief"), ("password", "a difference in method")];
    assert_eq!(thief.post(&path, &taken).await.status, StatusCode::CONFLICT);
    assert_eq!(enter(&mut house.visitor(), BOB, PASSWORD).await.status, StatusCode::SEE_OTHER, "his password is his");

    let mut bob = house.signed_in(BOB).await;
    let old = bob.cookies["aegis_session"].clone();
    let joined = submit(&mut bob, &path, &path, &[]).await;
    assert_eq!(joined.status, StatusCode::SEE_OTHER, "{}", joined.body);
    assert_ne!(bob.cookies["aegis_session"], old);
    let session = bob.get("/api/session").await.json();
    assert_eq!((&session["tenant"]["slug"], &session["role"]), (&"acme".into(), &"admin".into()));
}

#[tokio::test]
async fn somebody_who_was_removed_everywhere_comes_back_by_an_invitation() {
    let house = House::new().await;
    let bob = house.user(BOB, "Bob", &house.acme, Role::Member).await;
    house.accounts.change_member(By::Operator, &house.acme, bob, Change::Remove).await.unwrap();
    assert_eq!(enter(&mut house.visitor(), BOB, PASSWORD).await.status, StatusCode::FORBIDDEN);
    let path = invite(&house, BOB, "viewer").await;
    let mut visitor = house.visitor();
    let page = visitor.get(&format!("/sign-in?next={path}")).await;
    let fields = [("csrf", page.csrf()), ("email", BOB), ("password", PASSWORD), ("next", path.as_str())];
    assert_eq!(visitor.post("/sign-in", &fields).await.status, StatusCode::SEE_OTHER);
    assert_eq!(visitor.get("/api/session").await.json()["role"], "viewer");
}

#[tokio::test]
async fn two_owners_who_demote_each_other_at_once_leave_one_and_the_last_stays() {
    let house = House::new().await;
    let mut at_once = 0;
    for round in 0..10 {
        let tenant = house.tenant(&format!("org{round}"), "Org").await;
        let ada = house.user(ADA, "Ada", &tenant, Role::Owner).await;
        let bob = house.user(BOB, "Bob", &tenant, Role::Owner).await;
        let change = if round % 2 == 0 { Change::Role(Role::Member) } else { Change::Remove };
        let sign_in = async |email: &str| {
            let (email, password) = (email.parse().unwrap(), Password::presented(PASSWORD));
            let entered = house.accounts.sign_in(&email, password, &ClientInfo::default()).await.unwrap();
            let Entered::In(session) = entered else { panic!("nobody here has a second factor") };
            let mut signed_in = house.accounts.session(&session.token).await.unwrap().unwrap();
            signed_in.tenant = tenant.clone();
            signed_in.role = Role::Owner;
            signed_in
        };
        let (as_ada, as_bob) = (sign_in(ADA).await, sign_in(BOB).await);
        let (one, two) = tokio::join!(
            house.accounts.change_member(By::Member(&as_ada), &tenant, bob, change),
            house.accounts.change_member(By::Member(&as_bob), &tenant, ada, change),
        );
        at_once += usize::from(one.is_ok() != two.is_ok());
        let owners =
            house.accounts.members(&tenant).await.unwrap().iter().filter(|member| member.role == Role::Owner).count();
        assert_eq!(owners, 1, "round {round}: {one:?} {two:?}");
    }
    assert_eq!(at_once, 10, "each time one of the two was too late");

    let me = house.accounts.members(&house.acme).await.unwrap()[0].user;
    for change in [Change::Role(Role::Admin), Change::Suspend, Change::Remove] {
        let error = house.accounts.change_member(By::Operator, &house.acme, me, change).await.unwrap_err();
        assert!(error.message().contains("the only owner of Acme Ltd"), "{error}");
    }
}

#[tokio::test]
async fn whoever_is_suspended_or_removed_is_out_at_once_and_another_role_brings_a_new_token() {
    let house = House::new().await;
    let beta = house.tenant("beta", "Beta").await;
    house.db.clock.advance(Duration::seconds(1));
    let bob_id = house.user(BOB, "Bob", &house.acme, Role::Member).await;
    house.db.clock.advance(Duration::seconds(1));
    house.user(BOB, "Bob", &beta, Role::Member).await;
    let mut ada = house.signed_in(ADA).await;
    let mut bob = house.signed_in(BOB).await;
    let page = format!("/members/{bob_id}");

    let old = bob.cookies["aegis_session"].clone();
    let done = submit(&mut ada, &page, &format!("{page}/role"), &[("role", "admin")]).await;
    assert_eq!(done.header("location"), "/members?done=role", "{}", done.body);
    assert_eq!(bob.get("/api/session").await.json()["role"], "admin", "it holds at once");
    assert_eq!(bob.cookies["aegis_session"], old, "a program keeps its token until a page is opened");
    let opened = bob.get("/members").await;
    assert_ne!(bob.cookies["aegis_session"], old);
    let token = opened.csrf().to_owned();
    assert_eq!(bob.post("/theme", &[("csrf", &token), ("theme", "dark")]).await.status, StatusCode::SEE_OTHER);
    let new = bob.cookies.insert("aegis_session".into(), old).unwrap();
    assert!(!is_in(&mut bob).await, "the old token still opens the door");
    bob.cookies.insert("aegis_session".into(), new);

    let done = submit(&mut ada, &page, &format!("{page}/suspend"), &[]).await;
    assert_eq!(done.header("location"), "/members?done=suspended", "{}", done.body);
    assert!(!is_in(&mut bob).await);
    enter(&mut bob, BOB, PASSWORD).await;
    assert_eq!(bob.get("/api/session").await.json()["tenant"]["slug"], "beta", "elsewhere he still belongs");
    assert_eq!(submit(&mut bob, "/account", "/switch", &[("tenant", "acme")]).await.status, StatusCode::NOT_FOUND);
    assert!(ada.get("/members").await.body.contains("Suspended"));
    submit(&mut ada, &page, &format!("{page}/resume"), &[]).await;
    assert_eq!(submit(&mut bob, "/account", "/switch", &[("tenant", "acme")]).await.status, StatusCode::SEE_OTHER);

    let refused = submit(&mut ada, &page, &format!("{page}/remove"), &[("confirm", "bob")]).await;
    assert!(refused.status == StatusCode::BAD_REQUEST && is_in(&mut bob).await, "{}", refused.body);
    submit(&mut ada, &page, &format!("{page}/remove"), &[("confirm", BOB)]).await;
    assert!(!is_in(&mut bob).await);
    assert_eq!(ada.get(&page).await.status, StatusCode::NOT_FOUND);
    let actions: Vec<String> = house.audit(&house.acme).await.into_iter().map(|entry| entry.0).collect();
    for action in ["member.role_changed", "member.suspended", "member.resumed", "member.removed"] {
        assert!(actions.contains(&action.to_owned()), "{actions:?}");
    }
}

#[tokio::test]
async fn an_admin_makes_no_owner_and_invitations_end_with_the_right_to_make_them() {
    let house = House::new().await;
    let bob = house.user(BOB, "Bob", &house.acme, Role::Admin).await;
    let ada = house.accounts.members(&house.acme).await.unwrap().iter().find(|m| m.email.as_str() == ADA).unwrap().user;
    let mut admin = house.signed_in(BOB).await;
    let invited =
        api(&mut admin, Method::POST, "/api/invitations", Some(json!({ "email": EVE, "role": "owner" }))).await;
    assert_eq!(invited.status, StatusCode::FORBIDDEN, "{}", invited.body);
    for (path, body) in [
        (format!("/api/members/{ada}"), json!({ "role": "member" })),
        (format!("/api/members/{ada}"), json!({ "suspended": true })),
        (format!("/api/members/{bob}"), json!({ "role": "owner" })),
    ] {
        let reply = api(&mut admin, Method::POST, &path, Some(body)).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path}: {}", reply.body);
    }
    let removed = api(&mut admin, Method::DELETE, &format!("/api/members/{ada}"), None).await;
    assert_eq!(removed.status, StatusCode::FORBIDDEN);

    let made = api(&mut admin, Method::POST, "/api/invitations", Some(json!({ "email": EVE, "role": "admin" }))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let link = made.json()["link"].as_str().unwrap().to_owned();
    let path = format!("/invitation/{}", link.rsplit('/').next().unwrap());
    assert_eq!(house.visitor().get(&path).await.status, StatusCode::OK);
    let mut owner = house.signed_in(ADA).await;
    let demoted =
        api(&mut owner, Method::POST, &format!("/api/members/{bob}"), Some(json!({ "role": "member" }))).await;
    assert_eq!((demoted.status, &demoted.json()["role"]), (StatusCode::OK, &"member".into()));
    assert_eq!(
        house.visitor().get(&path).await.status,
        StatusCode::NOT_FOUND,
        "an invitation outlived the right to it"
    );
    assert_eq!(admin.get("/members/invite").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn another_organisations_members_and_invitations_do_not_exist() {
    let house = House::new().await;
    let beta = house.tenant("beta", "Beta").await;
    house.user(EVE, "Eve", &beta, Role::Owner).await;
    let bob = house.user(BOB, "Bob", &house.acme, Role::Member).await;
    let email = "carl@example.org".parse().unwrap();
    let (invitation, _) = house.accounts.invite(By::Operator, &house.acme, &email, Role::Member).await.unwrap();
    let mut eve = house.signed_in(EVE).await;
    for (method, path, body) in [
        (Method::GET, format!("/api/members/{bob}"), None),
        (Method::POST, format!("/api/members/{bob}"), Some(json!({ "suspended": true }))),
        (Method::DELETE, format!("/api/members/{bob}"), None),
        (Method::DELETE, format!("/api/invitations/{}", invitation.id), None),
    ] {
        let reply = api(&mut eve, method.clone(), &path, body).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{method} {path}: {}", reply.body);
    }
    assert!(!eve.get("/members").await.body.contains("bob@"));
    assert_eq!(house.accounts.members(&house.acme).await.unwrap().len(), 2);
    assert_eq!(house.accounts.invitations(&house.acme).await.unwrap().len(), 1);
}
