//! The operator's pages and API, the organisation's own settings, and what a suspension means to whoever is inside.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use aegis::{
    accounts::{By, Password, Role},
    agents::{Ask, RunEvent},
    app::{doctor, readiness::Parts, routes, wiring::App},
    audit::Actor,
    config::Config,
    db::Databases,
    knowledge::{Reader, Upload},
    secrets,
    tenants::Tenant,
    vault::{Keyring, SecretText, keyring::Passphrases},
};
use axum::{Router, body::Body, http::Request};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::removal::places;
use crate::{
    appliance::{AEGIS, Appliance},
    browser_driver::Browser,
    harness::{TestDb, database::settings},
    ollama_stand_in::{Script, StandIn},
    visitor::{Reply, Visitor},
};

const PASSWORD: &str = "correct horse battery";

struct Server {
    app: App,
    router: Router,
    acme: Tenant,
    beta: Tenant,
    db: TestDb,
    _home: TempDir,
}

/// Acme has an owner, `jo`, who is the operator too; Beta has an owner, `bo`.
async fn server(ollama: Option<&StandIn>) -> Server {
    let db = TestDb::new().await;
    let home = tempfile::tempdir().unwrap();
    let mut config = Config::load(None, Some(home.path())).unwrap();
    config.models.chain = Vec::new();
    if let Some(ollama) = ollama {
        config.models.chain = vec!["ollama".into()];
        config.models.ollama.url = ollama.url();
    }
    let passphrases = Passphrases { configured: None, ask: || Ok(None) };
    let keyring = Keyring::open(home.path(), &passphrases, db.shared_clock().now()).unwrap();
    let app = App::on(db.databases.clone(), config, keyring, db.shared_clock(), AEGIS.into()).await.unwrap();
    let acme = app.tenants.create(&"acme".parse().unwrap(), "Acme").await.unwrap();
    let beta = app.tenants.create(&"beta".parse().unwrap(), "Beta").await.unwrap();
    for (email, tenant) in [("jo@acme.example", &acme), ("bo@beta.example", &beta)] {
        let password = Password::chosen(PASSWORD).unwrap();
        app.accounts.create_user(&email.parse().unwrap(), "Somebody", password, tenant, Role::Owner).await.unwrap();
    }
    sqlx::query("UPDATE control.users SET is_operator = (email = 'jo@acme.example')")
        .execute(&mut db.superuser().await)
        .await
        .unwrap();
    let router = routes::router(&app, Parts { postgres: None, databases: db.databases.clone() });
    Server { app, router, acme, beta, db, _home: home }
}

async fn signed_in(server: &Server, email: &str) -> Visitor {
    let mut visitor = Visitor::new(&server.router);
    let door = visitor.get("/sign-in").await;
    let fields = [("csrf", door.csrf()), ("email", email), ("password", PASSWORD)];
    let entered = visitor.post("/sign-in", &fields).await;
    assert!(entered.status.is_redirection(), "{}", entered.body);
    visitor
}

/// Sends the form of the tenant's page.
async fn submit(visitor: &mut Visitor, id: &str, what: &str, fields: &[(&str, &str)]) -> Reply {
    let page = visitor.get(&format!("/operator/tenants/{id}")).await;
    let all: Vec<_> = [("csrf", page.csrf())].iter().chain(fields).copied().collect();
    visitor.post(&format!("/operator/tenants/{id}/{what}"), &all).await
}

async fn call(visitor: &mut Visitor, method: &str, path: &str, body: &Value) -> Reply {
    let page = visitor.get("/settings").await;
    let request = Request::builder().method(method).uri(path);
    let request = request.header("accept", "application/json").header("content-type", "application/json");
    visitor.send(request.header("x-csrf-token", page.csrf()), Body::from(body.to_string())).await
}

#[tokio::test]
async fn an_operator_takes_a_tenant_through_its_life_on_pages_without_script() {
    let server = server(None).await;
    let mut jo = signed_in(&server, "jo@acme.example").await;
    let list = jo.get("/operator/tenants").await;
    assert!(list.body.contains("2 organisations") && list.body.contains("In service"), "{}", list.body);
    assert!(list.body.contains("href=\"/operator/tenants\""), "the rail leads there");

    let fields = [("csrf", list.csrf()), ("name", "Gamma & Co"), ("slug", "gamma"), ("owner", "not an address")];
    let refused = jo.post("/operator/tenants", &fields).await;
    assert!(
        refused.status == 400 && refused.body.contains("value=\"gamma\""),
        "what was typed is kept: {}",
        refused.body
    );
    let fields = [("csrf", list.csrf()), ("name", "Gamma & Co"), ("slug", "gamma"), ("owner", "gina@gamma.example")];
    let created = jo.post("/operator/tenants", &fields).await;
    assert!(created.body.contains("/invitation/") && created.body.contains("gina@gamma.example"), "{}", created.body);
    let gamma = server.app.tenants.record_by_slug(&"gamma".parse().unwrap()).await.unwrap().unwrap().tenant;
    let id = gamma.id.to_string();

    assert!(submit(&mut jo, &id, "rename", &[("name", "Gamma"), ("slug", "gamma-two")]).await.status.is_redirection());
    assert!(submit(&mut jo, &id, "suspend", &[("reason", "Not <paid>")]).await.status.is_redirection());
    let page = jo.get(&format!("/operator/tenants/{id}")).await.body;
    assert!(page.contains("Suspended") && page.contains("Not &#60;paid&#62;"), "{page}");
    assert!(submit(&mut jo, &id, "resume", &[]).await.status.is_redirection());
    let unconfirmed = submit(&mut jo, &id, "delete", &[("confirm", "gamma")]).await;
    assert!(unconfirmed.status == 400 && unconfirmed.body.contains("gamma-two"), "{}", unconfirmed.body);
    assert!(submit(&mut jo, &id, "delete", &[("confirm", "gamma-two")]).await.status.is_redirection());
    let page = jo.get("/operator/tenants").await.body;
    assert!(page.contains("To be deleted"), "{page}");
    assert!(submit(&mut jo, &id, "undelete", &[]).await.status.is_redirection());
    let page = jo.get(&format!("/operator/tenants/{id}")).await.body;
    for deed in ["Created", "Renamed", "Suspended", "Taken back into service", "Deletion requested"] {
        assert!(page.contains(deed), "{deed}: {page}");
    }

    // Nobody saws off the branch they sit on.
    let own = server.acme.id.to_string();
    for (what, field) in [("suspend", ("reason", "")), ("delete", ("confirm", "acme"))] {
        let refused = submit(&mut jo, &own, what, &[field]).await;
        assert!(refused.status == 409 && refused.body.contains("signed in to this organisation"), "{}", refused.body);
    }
}

#[tokio::test]
async fn the_operators_api_does_the_same_and_nobody_else_reaches_it() {
    let server = server(None).await;
    let mut jo = signed_in(&server, "jo@acme.example").await;
    let new = json!({ "name": "Gamma", "slug": "gamma" });
    let created = call(&mut jo, "POST", "/api/operator/tenants", &new).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let path = |what: &str| format!("/api/operator/tenants/{id}{what}");
    let state = |reply: Reply| reply.json()["state"].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        call(&mut jo, "POST", &path("/rename"), &json!({ "slug": "gamma-two" })).await.json()["slug"],
        "gamma-two"
    );
    assert_eq!(state(call(&mut jo, "POST", &path("/suspend"), &json!({ "reason": "x" })).await), "suspended");
    assert_eq!(call(&mut jo, "POST", &path("/suspend"), &json!({})).await.status, 409);
    assert_eq!(state(call(&mut jo, "POST", &path("/resume"), &Value::Null).await), "active");
    assert_eq!(call(&mut jo, "POST", &path("/delete"), &json!({ "confirm": "gamma" })).await.status, 400);
    assert_eq!(state(call(&mut jo, "POST", &path("/delete"), &json!({ "confirm": "gamma-two" })).await), "deleting");
    assert_eq!(state(call(&mut jo, "POST", &path("/undelete"), &Value::Null).await), "active");
    let listed = call(&mut jo, "GET", "/api/operator/tenants?after=acme", &Value::Null).await.json();
    let slugs: Vec<_> = listed["tenants"].as_array().unwrap().iter().map(|tenant| tenant["slug"].clone()).collect();
    assert_eq!(slugs, ["beta", "gamma-two"]);
    assert!(listed["tenants"][1]["bytes"].as_i64().unwrap() > 0, "{listed}");

    let mut bo = signed_in(&server, "bo@beta.example").await;
    assert_eq!(bo.get("/operator/tenants").await.status, 403);
    assert_eq!(call(&mut bo, "GET", "/api/operator/tenants", &Value::Null).await.status, 403);
    assert!(!bo.get("/settings").await.body.contains("/operator/tenants"), "the rail does not lead there");
}

#[tokio::test]
async fn an_owner_renames_the_own_organisation_and_nothing_else_of_it() {
    let server = server(None).await;
    let mut bo = signed_in(&server, "bo@beta.example").await;
    let page = bo.get("/settings").await;
    assert!(page.body.contains(server.beta.id.as_str()) && page.body.contains("beta"), "{}", page.body);
    let renamed = bo.post("/settings", &[("csrf", page.csrf()), ("name", "Beta & Sons")]).await;
    assert_eq!(renamed.header("location"), "/settings?saved=1");
    assert!(bo.get("/settings?saved=1").await.body.contains("Beta &#38; Sons"));
    let empty = bo.post("/settings", &[("csrf", page.csrf()), ("name", " ")]).await;
    assert!(empty.status == 400 && empty.body.contains("name is empty"), "{}", empty.body);
    assert_eq!(call(&mut bo, "POST", "/api/settings", &json!({ "name": "Beta", "slug": "acme" })).await.status, 400);
    assert_eq!(call(&mut bo, "GET", "/api/settings", &Value::Null).await.json()["slug"], "beta");
}

#[tokio::test(flavor = "multi_thread")]
async fn suspending_ends_answers_within_a_second_and_shuts_sessions_out_until_it_is_over() {
    let ollama = StandIn::start().await;
    let server = server(Some(&ollama)).await;
    let mut bo = signed_in(&server, "bo@beta.example").await;
    assert_eq!(bo.get("/chat").await.status, 200);
    ollama.script([Script::say(&"Word after word comes slowly. ".repeat(400)).slowly(Duration::from_millis(30))]);
    let db = server.app.tenants.open(&server.beta).await.unwrap();
    let ask = Ask::new("atlas", "Tell me everything", Actor::Operator);
    let mut run = server.app.agents.ask(&db, ask).await.unwrap();
    while let Some(event) = run.events.next().await {
        if matches!(event, RunEvent::Text { .. }) {
            break;
        }
    }

    let began = Instant::now();
    let suspending = tokio::spawn({
        let (tenants, id) = (server.app.tenants.clone(), server.beta.id.clone());
        async move { tenants.suspend(&id, "", &Actor::Operator).await }
    });
    let mut last = None;
    while let Some(event) = run.events.next().await {
        last = Some(event);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "the answer would take a minute: {took:?}");
    let Some(RunEvent::Failed { message, .. }) = last else { panic!("{last:?}") };
    assert!(message.contains("goes out of service"), "{message}");
    suspending.await.unwrap().unwrap();

    let shut_out = bo.get("/chat").await;
    assert!(shut_out.header("location").starts_with("/sign-in"), "{}", shut_out.body);
    let door = bo.get("/sign-in").await;
    let fields = [("csrf", door.csrf()), ("email", "bo@beta.example"), ("password", PASSWORD)];
    assert_eq!(bo.post("/sign-in", &fields).await.status, 403);

    server.app.tenants.resume(&server.beta.id, &Actor::Operator).await.unwrap();
    let db = server.app.tenants.open(&server.beta).await.unwrap();
    let kept: (String, bool) = sqlx::query_as("SELECT state, text <> '' FROM messages WHERE speaker = 'agent'")
        .fetch_one(db.pool())
        .await
        .unwrap();
    assert_eq!(kept, ("stopped".to_owned(), true), "what was written until then is kept");
    let mut again = signed_in(&server, "bo@beta.example").await;
    assert_eq!(again.get("/chat").await.status, 200);
    drop(server.db);
}

#[tokio::test]
async fn a_tenant_with_something_of_everything_leaves_nothing_behind_but_its_peoples_accounts() {
    let server = server(None).await;
    let (app, beta) = (&server.app, &server.beta);
    let mut bo = signed_in(&server, "bo@beta.example").await;
    let page = bo.get("/account/tokens").await;
    let token = [("csrf", page.csrf()), ("name", "Import"), ("scope", "knowledge:read"), ("days", "30")];
    let made = bo.post("/account/tokens", &token).await;
    assert!(made.body.contains("aegis_"), "{}", made.body);
    let invited = "new@beta.example".parse().unwrap();
    app.accounts.invite(By::Operator, beta, &invited, Role::Member).await.unwrap();
    let db = app.tenants.open(beta).await.unwrap();
    let name = "some.key".parse().unwrap();
    app.secrets.set(&db, name, SecretText::new("a value".into()), secrets::By::operator()).await.unwrap();
    let upload = Upload::new("a.md", b"# A\n\nThe key.".to_vec(), Actor::Operator);
    app.knowledge.open(&db, Reader::everything()).add(upload).await.unwrap();
    drop(db);
    let mut superuser = server.db.superuser().await;
    let before = places(&mut superuser, &[beta.id.as_str()]).await;
    for place in ["apalis.jobs", "control.api_tokens", "control.invitations", "control.memberships", "control.sessions"]
    {
        assert!(before.iter().any(|found| found == place), "{place}: {before:?}");
    }

    app.tenants.delete(&beta.id, "beta", true, &Actor::Operator).await.unwrap();

    assert_eq!(places(&mut superuser, &[beta.id.as_str()]).await, ["control.audit_entries"]);
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM control.users WHERE email = 'bo@beta.example'")
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    assert_eq!(kept, 1, "the account is the person's");
    let audited: Vec<String> =
        sqlx::query_scalar("SELECT detail FROM control.audit_entries").fetch_all(&mut superuser).await.unwrap();
    assert!(audited.iter().all(|detail| !detail.contains("beta")), "{audited:?}");
    let door = bo.get("/chat").await;
    assert!(door.header("location").starts_with("/sign-in"), "{}", door.body);
}

#[tokio::test]
async fn while_tenants_are_brought_up_to_date_the_server_says_so_and_afterwards_the_doctor_names_who_failed() {
    let db = TestDb::new().await;
    let (sick, _) = db.tenant("sick").await;
    db.tenant("sound").await;
    let spoil = format!(
        "UPDATE control.tenant_schemas SET fingerprint = 'old';
         UPDATE {}.refinery_schema_history SET checksum = '1' WHERE version = 1",
        sick.id.schema()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(spoil)).execute(&mut db.superuser().await).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut config = Config::load(None, Some(home.path())).unwrap();
    config.models.chain = Vec::new();
    let passphrases = Passphrases { configured: None, ask: || Ok(None) };
    let keyring = Keyring::open(home.path(), &passphrases, db.shared_clock().now()).unwrap();
    let again = Databases::open(db.server().clone(), &settings()).await.unwrap();
    let app = App::on(again.clone(), config, keyring, db.shared_clock(), AEGIS.into()).await.unwrap();
    let router = routes::router(&app, Parts { postgres: None, databases: again });
    let mut visitor = Visitor::new(&router);
    let waiting = visitor.get("/readyz").await;
    assert!(waiting.status == 503 && waiting.body.contains("tenants up to date: 0 of 2"), "{}", waiting.body);
    assert_eq!(visitor.get("/healthz").await.status, 200);

    app.begin(&CancellationToken::new()).await.unwrap();

    assert_eq!(visitor.get("/readyz").await.status, 200, "one that fails does not keep the appliance from starting");
    let findings = doctor::examine(&app).await;
    let found = findings.iter().find(|finding| finding.part == "tenant sick").expect("the doctor names it");
    assert!(found.state == doctor::State::Broken && found.detail.contains("not served"), "{found}");
    assert!(!findings.iter().any(|finding| finding.part == "tenant sound"));
    app.jobs.shutdown(Duration::from_secs(5)).await;
}

/// `AEGIS_TEST_PICTURES=DIR` keeps what it sees.
#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_tenants_shut_nobody_out_and_fit_every_screen() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner("jo@acme.example", PASSWORD);
    aegis.json(&["user", "operator", "jo@acme.example"]);
    for (slug, name) in [("birch", "Birch & Alder Consulting GmbH"), ("cedar", "Cedar Clinic"), ("dogwood", "Dogwood")]
    {
        aegis.json(&["tenant", "create", slug, "--name", name]);
    }
    aegis.json(&["tenant", "suspend", "cedar", "--reason", "The invoice of March is open"]);
    aegis.json(&["tenant", "delete", "dogwood", "--confirm", "dogwood"]);
    let birch = aegis.json(&["tenant", "show", "birch"])["id"].as_str().unwrap().to_owned();
    let cedar = aegis.json(&["tenant", "show", "cedar"])["id"].as_str().unwrap().to_owned();
    let browser = Browser::start().await;
    browser.open(&format!("{}/", aegis.url())).await;
    browser.type_into("[name=email]", "jo@acme.example").await;
    browser.type_into("[name=password]", &format!("{PASSWORD}\u{E007}")).await;
    browser.find(".rail").await;
    let pictures = std::env::var("AEGIS_TEST_PICTURES").ok();
    let pages = [
        ("tenants", "/operator/tenants".to_owned()),
        ("tenant", format!("/operator/tenants/{birch}")),
        ("suspended", format!("/operator/tenants/{cedar}")),
        ("settings", "/settings".to_owned()),
    ];
    for (name, path) in pages {
        for width in [360, 768, 1440] {
            browser.resize(width, if width == 360 { 1500 } else { 1100 });
            browser.open(&format!("{}{path}", aegis.url())).await;
            browser.find("h1").await;
            let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
            assert_eq!(beyond, json!(0), "{path} at {width} px");
            for colours in ["light", "dark"] {
                browser.prefer(colours);
                assert_eq!(browser.barriers().await, Vec::<String>::new(), "{path} at {width} px, {colours}");
                if let Some(directory) = &pictures {
                    browser.picture(&Path::new(directory).join(format!("{name}-{width}-{colours}.png")));
                }
            }
        }
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
