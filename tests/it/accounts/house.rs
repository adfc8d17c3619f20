//! The whole console on a database of its own and a clock that stands, with people of each kind in two organisations.

use aegis::{
    accounts::{Accounts, Password, Role},
    app::{readiness::Parts, routes, wiring::App},
    config::Config,
    support::ids::UserId,
    tenants::Tenant,
    vault::{Keyring, keyring::Passphrases},
};
use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use crate::{
    appliance::AEGIS,
    harness::TestDb,
    visitor::{Reply, Visitor},
};

/// An owner of Acme.
pub const ADA: &str = "ada@example.org";
/// Everybody's password.
pub const PASSWORD: &str = "an engine of analysis";

/// The console and what it stands on.
pub struct House {
    pub db: TestDb,
    pub accounts: Accounts,
    pub acme: Tenant,
    pub router: Router,
    pub app: App,
    _home: TempDir,
}

impl House {
    /// With Ada, the owner of Acme.
    pub async fn new() -> Self {
        Self::under("").await
    }

    /// The same at a public address.
    pub async fn under(public_url: &str) -> Self {
        let db = TestDb::new().await;
        let home = tempfile::tempdir().unwrap();
        let mut config = Config::load(None, Some(home.path())).unwrap();
        config.models.chain = Vec::new();
        config.accounts.concurrent_hashes = 2;
        public_url.clone_into(&mut config.server.public_url);
        let passphrases = Passphrases { configured: None, ask: || Ok(None) };
        let keyring = Keyring::open(home.path(), &passphrases, db.shared_clock().now()).unwrap();
        let app = App::on(db.databases.clone(), config, keyring, db.shared_clock(), AEGIS.into()).await.unwrap();
        let parts = Parts { postgres: None, databases: db.databases.clone() };
        let router = routes::router(&app, parts);
        let acme = app.tenants.create(&"acme".parse().unwrap(), "Acme Ltd").await.unwrap();
        let house = Self { db, accounts: app.accounts.clone(), acme, router, app, _home: home };
        house.user(ADA, "Ada Lovelace", &house.acme, Role::Owner).await;
        house
    }

    /// Somebody with an account.
    pub async fn user(&self, email: &str, name: &str, tenant: &Tenant, role: Role) -> UserId {
        let password = Password::chosen(PASSWORD).unwrap();
        self.accounts.create_user(&email.parse().unwrap(), name, password, tenant, role).await.unwrap().id
    }

    /// A further organisation.
    pub async fn tenant(&self, slug: &str, name: &str) -> Tenant {
        self.app.tenants.create(&slug.parse().unwrap(), name).await.unwrap()
    }

    /// A browser that nobody has used.
    pub fn visitor(&self) -> Visitor {
        Visitor::new(&self.router)
    }

    /// A browser in which somebody has signed in.
    pub async fn signed_in(&self, email: &str) -> Visitor {
        let mut visitor = self.visitor();
        let reply = enter(&mut visitor, email, PASSWORD).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
        visitor
    }

    /// The tenant's audit log: what was done and to what, oldest first.
    pub async fn audit(&self, tenant: &Tenant) -> Vec<(String, String, String)> {
        let mut superuser = self.db.superuser().await;
        let select = "SELECT action, coalesce(subject, ''), detail::text FROM {}.audit_entries ORDER BY seq";
        let select = select.replace("{}", &tenant.id.schema());
        sqlx::query_as(AssertSqlSafe(select)).fetch_all(&mut superuser).await.unwrap()
    }

    /// What was done last.
    pub async fn last_action(&self, tenant: &Tenant) -> String {
        self.audit(tenant).await.last().map(|entry| entry.0.clone()).unwrap_or_default()
    }
}

/// Signs in by the form, and asks to stay signed in.
pub async fn enter(visitor: &mut Visitor, email: &str, password: &str) -> Reply {
    let page = visitor.get("/sign-in").await;
    let fields = [("csrf", page.csrf()), ("email", email), ("password", password), ("remember", "on")];
    visitor.post("/sign-in", &fields).await
}

/// Sends a form with the token of the page `from`.
pub async fn submit(visitor: &mut Visitor, from: &str, to: &str, fields: &[(&str, &str)]) -> Reply {
    let page = visitor.get(from).await;
    assert_eq!(page.status, StatusCode::OK, "{from}: {}", page.body);
    let fields: Vec<_> = [("csrf", page.csrf())].into_iter().chain(fields.iter().copied()).collect();
    visitor.post(to, &fields).await
}

/// A request of a program that has the session's cookie.
pub async fn api(visitor: &mut Visitor, method: Method, path: &str, body: Option<Value>) -> Reply {
    let session = visitor.send(Request::get("/api/session"), Body::empty()).await;
    let csrf = session.json()["csrf_token"].as_str().unwrap_or_default().to_owned();
    let mut request = Request::builder().method(method).uri(path).header("x-csrf-token", csrf);
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    visitor.send(request, body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).await
}

/// Whether the browser is signed in.
pub async fn is_in(visitor: &mut Visitor) -> bool {
    visitor.send(Request::get("/api/session"), Body::empty()).await.status == StatusCode::OK
}
