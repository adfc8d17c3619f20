//! Signing in and out, setting up, and who may reach what.

pub mod house;
mod members;
mod pages;
mod resets;
mod sessions;

use std::{sync::Arc, time::Duration as StdDuration};

use aegis::{
    accounts::{
        Accounts, EmailAddress, Password, Permission, Role, SignedIn,
        http::{
            Access, AccountsState, InTenant, complete_setup, guard, show_session, show_setup, show_sign_in, sign_in,
            sign_out,
        },
    },
    config,
    http::{Kit, context::RequestContext, frame::Section, middleware},
    support::Kind,
    tenants::Tenant,
};
use axum::{
    Router,
    body::Body,
    extract::FromRef,
    http::{Request, StatusCode},
    middleware::from_fn_with_state,
    routing::{get, post},
};
use chrono::Duration;
use sqlx::AssertSqlSafe;

use crate::{
    harness::TestDb,
    visitor::{Reply, Visitor},
};

const ADA: &str = "ada@example.org";
const PASSWORD: &str = "an engine of analysis";

struct Appliance {
    db: TestDb,
    accounts: Accounts,
    app: Router,
}

/// As the application does it: a state of its own that gives the extractors theirs.
#[derive(Clone)]
struct AppState(Arc<AccountsState>);

impl FromRef<AppState> for AccountsState {
    fn from_ref(state: &AppState) -> Self {
        (*state.0).clone()
    }
}

async fn home(context: RequestContext, tenant: InTenant) -> String {
    let frame = tenant.signed_in.frame(&context, "Start", Section::Chat);
    let role: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(tenant.db.pool()).await.unwrap();
    let form = format!("name=\"csrf\" value=\"{}\"", frame.csrf);
    format!("{} of {} as {role} {form}", frame.person.unwrap().name, frame.tenant.unwrap().name)
}

impl Appliance {
    async fn new() -> Self {
        Self::under("").await
    }

    async fn under(public_url: &str) -> Self {
        let db = TestDb::new().await;
        let settings = config::Accounts { session_idle_hours: 72, session_days: 30, concurrent_hashes: 2 };
        let accounts = Accounts::new(db.databases.clone(), db.tenants(), db.shared_clock(), db.doors(), &settings);
        let state = AccountsState { accounts: accounts.clone(), databases: db.databases.clone() };
        let guarded = from_fn_with_state((state.clone(), Access::Needs(Permission::SettingsManage)), guard);
        let router = Router::new()
            .route("/", get(home))
            .route("/sign-in", get(show_sign_in).post(sign_in))
            .route("/sign-out", post(sign_out))
            .route("/setup", get(show_setup).post(complete_setup))
            .route("/api/session", get(show_session))
            .route("/owners", get(|owner: SignedIn| async move { owner.user.name }).layer(guarded))
            .route(
                "/twice",
                get(|one: SignedIn, two: InTenant| async move { (one.user == two.signed_in.user).to_string() }),
            )
            .with_state(AppState(Arc::new(state)));
        let kit = Kit::new(&config::Server { listen: String::new(), public_url: public_url.into() }).unwrap();
        Self { db, accounts, app: middleware::apply(router, kit) }
    }

    /// With Ada, an owner of Acme.
    async fn with_ada() -> (Self, Tenant) {
        let appliance = Self::new().await;
        let (acme, _) = appliance.db.tenant("acme").await;
        appliance.user(ADA, &acme, Role::Owner).await;
        (appliance, acme)
    }

    async fn user(&self, email: &str, tenant: &Tenant, role: Role) {
        let password = Password::chosen(PASSWORD).unwrap();
        self.accounts.create_user(&email.parse().unwrap(), "Ada Lovelace", password, tenant, role).await.unwrap();
    }

    fn visitor(&self) -> Visitor {
        Visitor::new(&self.app)
    }

    async fn signed_in(&self) -> Visitor {
        let mut visitor = self.visitor();
        let reply = enter(&mut visitor, ADA, PASSWORD, "").await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
        visitor
    }

    /// The tenant's audit log: what was done and to what, oldest first.
    async fn audit(&self, tenant: &Tenant) -> Vec<(String, String, String)> {
        let mut superuser = self.db.superuser().await;
        let select = "SELECT action, coalesce(subject, ''), detail::text FROM {}.audit_entries ORDER BY seq";
        let select = select.replace("{}", &tenant.id.schema());
        sqlx::query_as(AssertSqlSafe(select)).fetch_all(&mut superuser).await.unwrap()
    }
}

/// Opens the page and sends the form, as a person does.
async fn enter(visitor: &mut Visitor, email: &str, password: &str, next: &str) -> Reply {
    let page = visitor.get("/sign-in").await;
    let fields = [("csrf", page.csrf()), ("email", email), ("password", password), ("next", next), ("remember", "on")];
    visitor.post("/sign-in", &fields).await
}

fn is_in(reply: &Reply) -> bool {
    assert!(reply.status == StatusCode::OK || reply.status == StatusCode::SEE_OTHER, "{reply:?}");
    reply.status == StatusCode::OK
}

#[tokio::test]
async fn whoever_knows_the_password_gets_in_and_to_where_they_were_going() {
    let (appliance, acme) = Appliance::with_ada().await;
    let mut visitor = appliance.visitor();
    let door = visitor.get("/?q=1").await;
    assert_eq!((door.status, door.header("location")), (StatusCode::SEE_OTHER, "/sign-in?next=/%3Fq%3D1"));
    let page = visitor.get("/sign-in?next=/%3Fq%3D1").await;
    assert!(page.body.contains("name=\"next\" value=\"/?q=1\""), "{}", page.body);

    let reply = enter(&mut visitor, " ADA@Example.org ", PASSWORD, "/?q=1").await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, "/?q=1"));
    let cookie = reply.headers.get_all("set-cookie").iter().next().unwrap().to_str().unwrap().to_owned();
    assert!(cookie.starts_with("aegis_session=") && cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"));

    let home = visitor.get("/").await;
    assert!(home.body.starts_with(&format!("Ada Lovelace of acme as {} ", acme.id.schema())), "{}", home.body);
    assert_eq!(visitor.get("/twice").await.body, "true");
    let session = visitor.get("/api/session").await.json();
    assert_eq!((&session["user"]["email"], &session["role"]), (&ADA.into(), &"owner".into()));
    assert_eq!(visitor.get("/sign-in").await.header("location"), "/");
    let actions: Vec<String> = appliance.audit(&acme).await.into_iter().map(|entry| entry.0).collect();
    assert_eq!(actions, ["user.created", "session.started"]);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_are_told_alike() {
    let (appliance, acme) = Appliance::with_ada().await;
    let mut visitor = appliance.visitor();
    let wrong = enter(&mut visitor, ADA, "an engine of analysts", "").await;
    let unknown = enter(&mut visitor, "eve@example.org", PASSWORD, "").await;
    for reply in [&wrong, &unknown] {
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert!(reply.body.contains("The e-mail address or the password is wrong"), "{}", reply.body);
        assert!(!reply.body.contains("an engine"), "a page repeats a password");
    }
    assert!(!visitor.cookies.contains_key("aegis_session"));
    // The failed attempt is written down by a task of its own, without the address that was typed.
    for _ in 0..600 {
        if appliance.audit(&acme).await.len() == 2 {
            break;
        }
        tokio::time::sleep(StdDuration::from_millis(50)).await;
    }
    let entries = appliance.audit(&acme).await;
    assert_eq!(entries.iter().map(|entry| entry.0.as_str()).collect::<Vec<_>>(), ["user.created", "sign_in.failed"]);
    assert_eq!(entries[0].1, entries[1].1, "both are about the same user");
    assert!(!format!("{entries:?}").contains('@'), "{entries:?}");
}

#[tokio::test]
async fn nobody_is_sent_to_another_server_after_signing_in() {
    let (appliance, _) = Appliance::with_ada().await;
    for next in
        ["https://evil.example", "//evil.example/", "/\\evil.example", "/\t/evil.example", "javascript:alert(1)"]
    {
        let reply = enter(&mut appliance.visitor(), ADA, PASSWORD, next).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, "/"), "{next:?}");
    }
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_or_old() {
    let (appliance, _) = Appliance::with_ada().await;
    let mut idle = appliance.signed_in().await;
    appliance.db.clock.advance(Duration::hours(71));
    assert!(is_in(&idle.get("/").await));
    appliance.db.clock.advance(Duration::hours(71));
    assert!(is_in(&idle.get("/").await), "a request does not keep the session alive");
    appliance.db.clock.advance(Duration::hours(72));
    assert!(!is_in(&idle.get("/").await));

    let mut busy = appliance.signed_in().await;
    for _ in 0..15 {
        appliance.db.clock.advance(Duration::hours(47));
        assert!(is_in(&busy.get("/").await));
    }
    appliance.db.clock.advance(Duration::hours(15));
    assert!(!is_in(&busy.get("/").await), "a session outlives its 30 days");
}

#[tokio::test]
async fn signing_in_gives_a_new_token_and_ends_the_browsers_session_before() {
    let (appliance, _) = Appliance::with_ada().await;
    let mut visitor = appliance.signed_in().await;
    let mut elsewhere = appliance.signed_in().await;
    let old = visitor.cookies["aegis_session"].clone();
    let token = visitor.get("/").await.csrf().to_owned();
    let again = [("csrf", token.as_str()), ("email", ADA), ("password", PASSWORD)];
    assert_eq!(visitor.post("/sign-in", &again).await.status, StatusCode::SEE_OTHER);
    assert_ne!(visitor.cookies["aegis_session"], old);
    assert!(is_in(&visitor.get("/").await));
    assert!(is_in(&elsewhere.get("/").await), "another browser's session is ended");
    visitor.cookies.insert("aegis_session".into(), old);
    assert!(!is_in(&visitor.get("/").await), "the old token still opens the door");
}

#[tokio::test]
async fn signing_out_ends_the_session_on_the_server_too() {
    let (appliance, acme) = Appliance::with_ada().await;
    let mut visitor = appliance.signed_in().await;
    let old = visitor.cookies["aegis_session"].clone();
    let token = visitor.get("/").await.csrf().to_owned();

    assert_eq!(visitor.post("/sign-out", &[]).await.status, StatusCode::FORBIDDEN);
    visitor.site = "cross-site";
    assert_eq!(visitor.post("/sign-out", &[("csrf", &token)]).await.status, StatusCode::FORBIDDEN);
    visitor.site = "same-origin";
    assert!(is_in(&visitor.get("/").await), "a request without a right to it ended the session");

    let reply = visitor.post("/sign-out", &[("csrf", &token)]).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, "/sign-in"));
    assert!(!visitor.cookies.contains_key("aegis_session"));
    visitor.cookies.insert("aegis_session".into(), old);
    assert!(!is_in(&visitor.get("/").await));
    assert_eq!(appliance.audit(&acme).await.last().unwrap().0, "session.ended");
}

#[tokio::test]
async fn another_site_cannot_sign_anybody_in() {
    let (appliance, _) = Appliance::with_ada().await;
    let mut visitor = appliance.visitor();
    let fields = [("email", ADA), ("password", PASSWORD)];
    assert_eq!(visitor.post("/sign-in", &fields).await.status, StatusCode::FORBIDDEN);
    visitor.get("/sign-in").await;
    assert_eq!(visitor.post("/sign-in", &fields).await.status, StatusCode::FORBIDDEN);
    let stolen = appliance.visitor().get("/sign-in").await.csrf().to_owned();
    let fields = [("csrf", stolen.as_str()), ("email", ADA), ("password", PASSWORD)];
    assert_eq!(visitor.post("/sign-in", &fields).await.status, StatusCode::FORBIDDEN);
    assert!(!visitor.cookies.contains_key("aegis_session"));
}

#[tokio::test]
async fn guessing_is_slowed_down_for_the_guesser_alone() {
    let (appliance, _) = Appliance::with_ada().await;
    let mut guesser = appliance.visitor();
    for n in 0..5 {
        let reply = enter(&mut guesser, ADA, &format!("guess number {n}"), "").await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    }
    let refused = enter(&mut guesser, ADA, PASSWORD, "").await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "30"));
    let mut ada = appliance.visitor();
    ada.address = "198.51.100.7".parse().unwrap();
    assert_eq!(enter(&mut ada, ADA, PASSWORD, "").await.status, StatusCode::SEE_OTHER);
    appliance.db.clock.advance(Duration::seconds(30));
    assert_eq!(enter(&mut guesser, ADA, PASSWORD, "").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_program_without_a_session_gets_an_envelope_and_a_broken_cookie_is_no_session() {
    let (appliance, _) = Appliance::with_ada().await;
    let mut visitor = appliance.visitor();
    for cookie in [None, Some("f".repeat(43)), Some("'; DROP TABLE users --".into()), Some("x".repeat(5000))] {
        if let Some(cookie) = cookie {
            visitor.cookies.insert("aegis_session".into(), cookie);
        }
        let reply = visitor.send(Request::get("/api/session"), Body::empty()).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]["kind"]),
            (StatusCode::UNAUTHORIZED, &"unauthenticated".into())
        );
    }
}

#[tokio::test]
async fn a_member_may_not_do_what_owners_do_and_leaves_at_once() {
    let (appliance, acme) = Appliance::with_ada().await;
    appliance.user("bob@example.org", &acme, Role::Member).await;
    let mut ada = appliance.signed_in().await;
    assert_eq!(ada.get("/owners").await.status, StatusCode::OK);
    let mut bob = appliance.visitor();
    enter(&mut bob, "bob@example.org", PASSWORD, "").await;
    assert!(is_in(&bob.get("/").await));
    assert_eq!(bob.get("/owners").await.status, StatusCode::FORBIDDEN);

    let mut superuser = appliance.db.superuser().await;
    let leave = "DELETE FROM control.memberships WHERE role = 'member'";
    sqlx::query(leave).execute(&mut superuser).await.unwrap();
    assert!(!is_in(&bob.get("/").await));
    assert_eq!(enter(&mut bob, "bob@example.org", PASSWORD, "").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn somebody_with_an_account_joins_a_second_organisation_and_keeps_their_password() {
    let (appliance, acme) = Appliance::with_ada().await;
    let (beta, _) = appliance.db.tenant("beta").await;
    appliance.db.clock.advance(Duration::seconds(1));
    let email: EmailAddress = "Ada@example.org".parse().unwrap();
    let other = || Password::chosen("another password").unwrap();
    let user = appliance.accounts.create_user(&email, "Somebody Else", other(), &beta, Role::Member).await.unwrap();
    assert_eq!((user.email.as_str(), user.name.as_str()), (ADA, "Ada Lovelace"));
    let again = appliance.accounts.create_user(&email, "Ada", other(), &acme, Role::Owner).await.unwrap_err();
    assert_eq!(again.kind(), Kind::Conflict);
    assert_eq!(enter(&mut appliance.visitor(), ADA, "another password", "").await.status, StatusCode::UNAUTHORIZED);
    let mut ada = appliance.signed_in().await;
    assert!(ada.get("/").await.body.contains("of acme"));
}

#[tokio::test]
async fn the_database_keeps_nothing_that_lets_anybody_in() {
    let (appliance, _) = Appliance::with_ada().await;
    let visitor = appliance.signed_in().await;
    let mut superuser = appliance.db.superuser().await;
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT s::text || encode(token_hash, 'escape') FROM control.sessions s
         UNION ALL SELECT u::text FROM control.users u",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert_eq!(rows.len(), 2);
    let rows = rows.concat();
    assert!(!rows.contains(&visitor.cookies["aegis_session"]) && !rows.contains(PASSWORD));
    assert!(rows.contains("$argon2id$"));
}

fn setup_fields<'a>(csrf: &'a str, token: &'a str) -> Vec<(&'a str, &'a str)> {
    let typed = [("organisation", "Acme & Söhne"), ("name", "Ada Lovelace"), ("email", ADA), ("password", PASSWORD)];
    [("csrf", csrf), ("token", token)].into_iter().chain(typed).collect()
}

#[tokio::test]
async fn the_first_owner_sets_up_once_with_the_token_of_the_log() {
    let appliance = Appliance::new().await;
    let token = appliance.accounts.setup_token().await.unwrap().expect("there is no user yet");
    let mut visitor = appliance.visitor();
    assert_eq!(visitor.get("/sign-in").await.header("location"), "/setup");
    let page = visitor.get(&format!("/setup?token={token}")).await;
    assert!(page.status == StatusCode::OK && page.body.contains(&token), "{}", page.body);

    let wrong = visitor.post("/setup", &setup_fields(page.csrf(), "made-up")).await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    let mut short = setup_fields(page.csrf(), &token);
    short.last_mut().unwrap().1 = "short";
    let short = visitor.post("/setup", &short).await;
    assert_eq!(short.status, StatusCode::BAD_REQUEST);
    assert!(short.body.contains("shorter than 10 characters. A few"), "{}", short.body);
    assert!(short.body.contains("value=\"Acme &#38; Söhne\""), "what was typed is lost: {}", short.body);
    for (guessed, why) in [("Password123", "leaked passwords"), ("lovelace-acme-1815", "made of your name")] {
        let mut fields = setup_fields(page.csrf(), &token);
        fields.last_mut().unwrap().1 = guessed;
        let refused = visitor.post("/setup", &fields).await;
        assert!(refused.status == StatusCode::BAD_REQUEST && refused.body.contains(why), "{}", refused.body);
    }
    assert!(appliance.db.tenants().list().await.unwrap().is_empty());

    let done = visitor.post("/setup", &setup_fields(page.csrf(), &token)).await;
    assert_eq!((done.status, done.header("location")), (StatusCode::SEE_OTHER, "/"), "{}", done.body);
    assert!(visitor.get("/").await.body.starts_with("Ada Lovelace of Acme & Söhne as tenant_"));
    assert_eq!(visitor.get("/owners").await.status, StatusCode::OK);
    let tenants = appliance.db.tenants().list().await.unwrap();
    assert_eq!(tenants[0].slug.as_str(), "acme-soehne");
    let actions: Vec<String> = appliance.audit(&tenants[0]).await.into_iter().map(|entry| entry.0).collect();
    assert_eq!(actions, ["user.created", "session.started"]);

    let mut late = appliance.visitor();
    assert_eq!(late.get(&format!("/setup?token={token}")).await.status, StatusCode::NOT_FOUND);
    let form = late.get("/sign-in").await;
    let again = late.post("/setup", &setup_fields(form.csrf(), &token)).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert_eq!(appliance.accounts.setup_token().await.unwrap(), None);
}

#[tokio::test]
async fn of_two_who_set_up_at_once_one_does_and_nothing_of_the_other_stays() {
    let appliance = Appliance::new().await;
    let one = appliance.accounts.setup_token().await.unwrap().unwrap();
    let two = appliance.accounts.setup_token().await.unwrap().unwrap();
    let (mut ada, mut bob) = (appliance.visitor(), appliance.visitor());
    let pages = (ada.get("/setup").await, bob.get("/setup").await);
    let mut forms = (setup_fields(pages.0.csrf(), &one), setup_fields(pages.1.csrf(), &two));
    forms.0.push(("slug", "one-org"));
    forms.1.push(("slug", "two-org"));
    let (first, second) = tokio::join!(ada.post("/setup", &forms.0), bob.post("/setup", &forms.1));
    let (first, second) = (first.status, second.status);
    let done = [first, second].iter().filter(|status| **status == StatusCode::SEE_OTHER).count();
    assert_eq!(done, 1, "{first} {second}");
    assert_eq!(appliance.db.tenants().list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_set_up_token_is_no_good_after_a_week_or_once_the_command_line_made_a_user() {
    let appliance = Appliance::new().await;
    let old = appliance.accounts.setup_token().await.unwrap().unwrap();
    appliance.db.clock.advance(Duration::days(7));
    assert!(!appliance.accounts.may_set_up(&old).await.unwrap());
    let new = appliance.accounts.setup_token().await.unwrap().unwrap();
    assert!(appliance.accounts.may_set_up(&new).await.unwrap());
    let (acme, _) = appliance.db.tenant("acme").await;
    appliance.user(ADA, &acme, Role::Owner).await;
    assert!(!appliance.accounts.may_set_up(&new).await.unwrap());
    assert_eq!(appliance.visitor().get("/setup").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn under_https_the_cookies_are_bound_to_the_host() {
    let appliance = Appliance::under("https://aegis.example.org").await;
    let (acme, _) = appliance.db.tenant("acme").await;
    appliance.user(ADA, &acme, Role::Owner).await;
    let mut visitor = appliance.visitor();
    let reply = enter(&mut visitor, ADA, PASSWORD, "").await;
    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with("__Host-aegis_session=") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(is_in(&visitor.get("/").await));
}
