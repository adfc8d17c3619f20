//! The doors beside the password: API tokens, the second factor, other people's sign-in pages.

mod browser;
mod hostile_provider;
mod oidc;
mod real_provider;
mod second_factor;
mod tokens;

use std::sync::Arc;

use aegis::{
    accounts::{
        Accounts, Doors, Password, Permission, Role, SignedIn,
        http::{
            Access::{self, InPerson, Needs, Open, SignedIn as AnyWay},
            AccountsState, InTenant, code, guard, oidc as pages_oidc, security, show_session, show_sign_in, sign_in,
            sign_out, tokens as pages,
        },
        oidc::Providers,
    },
    config,
    http::{Kit, context::RequestContext, frame::Section, middleware},
    support::ids::UserId,
    tenants::Tenant,
    vault::Keyring,
};
use axum::{
    Router,
    extract::FromRef,
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::{MethodRouter, delete, get, post},
};
use sqlx::AssertSqlSafe;

use crate::{
    harness::TestDb,
    visitor::{Reply, Visitor},
};

const ADA: &str = "ada@example.org";
const PASSWORD: &str = "an engine of analysis";

/// Accounts with their pages, in front of a database of the test's own.
struct Place {
    db: TestDb,
    accounts: Accounts,
    keyring: Keyring,
    app: Router,
}

/// As the application does it: a state of its own that gives the extractors theirs.
#[derive(Clone)]
struct State(Arc<AccountsState>);

impl FromRef<State> for AccountsState {
    fn from_ref(state: &State) -> Self {
        (*state.0).clone()
    }
}

async fn home(context: RequestContext, tenant: InTenant) -> String {
    let frame = tenant.signed_in.frame(&context, "Start", Section::Chat);
    let role: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(tenant.db.pool()).await.unwrap();
    format!("{} as {role} name=\"csrf\" value=\"{}\"", frame.person.unwrap().name, frame.csrf)
}

impl Place {
    async fn new() -> Self {
        Self::offering(TestDb::new().await, Providers::default(), "")
    }

    /// With other people's sign-in pages, reached under this address.
    fn offering(db: TestDb, providers: Providers, public_url: &str) -> Self {
        let keyring = db.keyring();
        let settings = config::Accounts { session_idle_hours: 72, session_days: 30, concurrent_hashes: 2 };
        let accounts = Accounts::new(
            db.databases.clone(),
            db.tenants(),
            db.shared_clock(),
            Doors { keyring: keyring.clone(), providers },
            &settings,
        );
        let state = AccountsState { accounts: accounts.clone(), databases: db.databases.clone() };
        let guarded = |access: Access, route: MethodRouter<State>| {
            route.layer(from_fn_with_state((state.clone(), access), guard))
        };
        let router = Router::new()
            .route("/", guarded(AnyWay, get(home)))
            .route("/sign-in", guarded(Open, get(show_sign_in).post(sign_in)))
            .route("/sign-in/code", guarded(Open, get(code::show_code).post(code::check_code)))
            .route("/sign-in/with/{provider}", guarded(Open, get(pages_oidc::depart)))
            .route("/sign-in/with/{provider}/callback", guarded(Open, get(pages_oidc::arrive)))
            .route("/account/security", guarded(InPerson, get(security::show_security)))
            .route("/account/security/enrol", guarded(InPerson, post(security::enrol)))
            .route("/account/security/confirm", guarded(InPerson, post(security::confirm)))
            .route("/account/security/codes", guarded(InPerson, post(security::renew_codes)))
            .route("/account/security/remove", guarded(InPerson, post(security::remove)))
            .route("/account/security/require", guarded(Needs(Permission::SettingsManage), post(security::require)))
            .route("/account/security/link/{provider}", guarded(InPerson, post(pages_oidc::link)))
            .route("/account/security/unlink/{identity}", guarded(InPerson, post(pages_oidc::unlink)))
            .route("/api/account/security", guarded(InPerson, get(security::show_standing)))
            .route("/sign-out", guarded(InPerson, post(sign_out)))
            .route("/api/session", guarded(AnyWay, get(show_session)))
            .route("/api/chat", guarded(Needs(Permission::ChatWrite), post(|by: SignedIn| async move { by.user.name })))
            .route("/api/secrets", guarded(Needs(Permission::SecretsManage), get(|| async { "listed" })))
            .route("/operator", guarded(Access::Operator, get(|| async { "operated" })))
            .route("/account/tokens", guarded(InPerson, get(pages::show_tokens).post(pages::create_token_by_form)))
            .route("/account/tokens/{token}/revoke", guarded(InPerson, post(pages::revoke_token_by_form)))
            .route("/api/account/tokens", guarded(InPerson, get(pages::list_tokens).post(pages::create_token)))
            .route("/api/account/tokens/{token}", guarded(InPerson, delete(pages::revoke_token)))
            .route("/api/tokens", guarded(Needs(Permission::MembersManage), get(pages::list_all_tokens)))
            .route("/api/tokens/{token}", guarded(Needs(Permission::MembersManage), delete(pages::revoke_any_token)))
            .with_state(State(Arc::new(state.clone())));
        let kit = Kit::new(&config::Server { listen: String::new(), public_url: public_url.to_owned() }).unwrap();
        Self { db, accounts, keyring, app: middleware::apply(router, kit) }
    }

    /// With Ada, an owner of Acme.
    async fn with_ada() -> (Self, Tenant) {
        let place = Self::new().await;
        let (acme, _) = place.db.tenant("acme").await;
        place.user(ADA, &acme, Role::Owner).await;
        (place, acme)
    }

    async fn user(&self, email: &str, tenant: &Tenant, role: Role) {
        let password = Password::chosen(PASSWORD).unwrap();
        self.accounts.create_user(&email.parse().unwrap(), "Ada Lovelace", password, tenant, role).await.unwrap();
    }

    fn visitor(&self) -> Visitor {
        Visitor::new(&self.app)
    }

    /// Somebody who has signed in with the password.
    async fn signed_in(&self, email: &str) -> Visitor {
        let mut visitor = self.visitor();
        let reply = enter(&mut visitor, email).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
        visitor
    }

    async fn signed_in_user(&self, email: &str) -> UserId {
        let id = sqlx::query_scalar("SELECT id FROM control.users WHERE email = $1").bind(email);
        UserId(id.fetch_one(&mut self.db.superuser().await).await.unwrap())
    }

    /// Runs a statement as the superuser.
    async fn sql(&self, statement: &str) {
        let mut superuser = self.db.superuser().await;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut superuser).await.unwrap();
    }

    /// What was done in the tenant, oldest first, with details.
    async fn audit(&self, tenant: &Tenant) -> Vec<(String, String)> {
        let mut superuser = self.db.superuser().await;
        let select = format!("SELECT action, detail::text FROM {}.audit_entries ORDER BY seq", tenant.id.schema());
        sqlx::query_as(AssertSqlSafe(select)).fetch_all(&mut superuser).await.unwrap()
    }

    async fn actions(&self, tenant: &Tenant) -> Vec<String> {
        self.audit(tenant).await.into_iter().map(|entry| entry.0).collect()
    }
}

/// Opens the page and sends the form, as a person does.
async fn enter(visitor: &mut Visitor, email: &str) -> Reply {
    let page = visitor.get("/sign-in").await;
    visitor.post("/sign-in", &[("csrf", page.csrf()), ("email", email), ("password", PASSWORD)]).await
}
