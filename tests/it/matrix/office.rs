//! An appliance with two organisations, somebody of each kind, and something of each thing.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicU32, Ordering},
};

use aegis::{
    accounts::{
        self, Password, Permission, Role, User,
        second_factor::Entered,
        tokens::{Lifetime, Made, NewToken},
    },
    agents::{
        Ask,
        memory::{FactKind, Subject, Viewer},
        staff::{Draft, Reason},
    },
    app::{readiness::Parts, routes, table::Declared, wiring::App},
    audit::Actor,
    config::Config,
    http::{context::Peer, csrf},
    knowledge::{CollectionDraft, Reader, Rights, Upload},
    secrets::By,
    support::ids::{RunId, UserId},
    tenants::Tenant,
    vault::{Keyring, SecretText, Token, TokenHash, keyring::Passphrases},
};
use axum::{
    Router,
    body::Body,
    http::{Method, Request, header, request::Builder},
};
use futures::StreamExt as _;
use sqlx::Executor as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::{
    MARK,
    visit::{Credential, Route, Visit, Visitor},
};
use crate::{appliance::AEGIS, harness::TestDb};

/// An agent of Acme's own.
const AGENT: &str = "zebrafinch";
const SECRET: &str = "birdfeed.token";
const PASSWORD: &str = "the birds of Acme sing";
/// What the narrow token carries.
pub const NARROW: Permission = Permission::KnowledgeRead;
/// An id that belongs to nothing.
const NOTHING: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

/// The appliance, in this process.
pub struct Office {
    pub routes: Vec<Route>,
    router: Router,
    acme: Tenant,
    things: Things,
    people: Vec<Colleague>,
    narrow: String,
    foreigner: String,
    shut_out: Vec<(&'static str, Credential)>,
    visits: AtomicU32,
    db: TestDb,
    home: TempDir,
}

/// Somebody of Acme.
struct Colleague {
    role: Role,
    session: String,
    /// An API token with every scope that the role carries.
    token: String,
}

/// Acme's things, by the names that paths give them.
struct Things {
    conversation: Uuid,
    meeting: Uuid,
    memory: Uuid,
    document: Uuid,
    collection: Uuid,
    passage: Uuid,
    run: RunId,
    member: UserId,
    token: Uuid,
    session: Uuid,
    invitation: Uuid,
}

/// What a case of being shut out is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    Neither,
    Sessions,
    Tokens,
}

impl Office {
    pub async fn open() -> Self {
        let mut db = TestDb::new().await;
        // Documents are read by the workers of an appliance that ends with the test.
        db.jobs_may_remain();
        let home = tempfile::tempdir().unwrap();
        let mut config = Config::load(None, Some(home.path())).unwrap();
        config.models.chain = Vec::new();
        let passphrases = Passphrases { configured: None, ask: || Ok(None) };
        let keyring = Keyring::open(home.path(), &passphrases, db.shared_clock().now()).unwrap();
        let app = App::on(db.databases.clone(), config, keyring, db.shared_clock(), AEGIS.into()).await.unwrap();
        app.begin(&CancellationToken::new()).await.unwrap();
        let parts = Parts { postgres: None, databases: db.databases.clone() };
        let routes = routes::declared(&app)
            .into_iter()
            .map(|Declared { method, path, access }| Route { method, path, access })
            .collect();

        let acme = app.tenants.create(&"acme".parse().unwrap(), &format!("Acme {MARK}")).await.unwrap();
        let beta = app.tenants.create(&"beta".parse().unwrap(), "Beta").await.unwrap();
        let mut office = Self {
            routes,
            router: routes::router(&app, parts),
            things: things(&app, &acme).await,
            acme,
            people: Vec::new(),
            narrow: String::new(),
            foreigner: String::new(),
            shut_out: Vec::new(),
            visits: AtomicU32::new(1),
            db,
            home,
        };
        for role in Role::ALL {
            let (user, session) = office.person(&app, &format!("{role}@acme.example"), role).await;
            let scopes = Permission::ALL.into_iter().filter(|permission| role.may(*permission)).collect();
            let token = office.token(&app, &user, role, scopes).await;
            office.people.push(Colleague { role, session, token: token.secret });
        }
        let owner = office.person(&app, "narrow@acme.example", Role::Owner).await.0;
        office.narrow = office.token(&app, &owner, Role::Owner, vec![NARROW]).await.secret;
        let second = office.person(&app, "second@acme.example", Role::Member).await.0;
        office.things.member = second.id;
        office.things.token = office.token(&app, &second, Role::Member, vec![NARROW]).await.token.id.0;
        let mut superuser = office.db.superuser().await;
        let session = sqlx::query_scalar("SELECT id FROM control.sessions WHERE user_id = $1");
        office.things.session = session.bind(office.things.member.0).fetch_one(&mut superuser).await.unwrap();
        let invited = "zebrafinch@acme.example".parse().unwrap();
        let invitation = app.accounts.invite(accounts::By::Operator, &office.acme, &invited, Role::Member).await;
        office.things.invitation = invitation.unwrap().0.id.0;
        let email = "owner@beta.example".parse().unwrap();
        let password = || Password::chosen(PASSWORD).unwrap();
        app.accounts.create_user(&email, "Bo of Beta", password(), &beta, Role::Owner).await.unwrap();
        let entered = app.accounts.sign_in(&email, password(), &<_>::default()).await.unwrap();
        let Entered::In(session) = entered else { panic!("nobody here has a second factor") };
        office.foreigner = session.token;
        office.shut_people_out(&app).await;
        // A visit may end all sessions of its person; what they were like is kept.
        superuser.execute("CREATE TABLE control.kept AS SELECT * FROM control.sessions").await.unwrap();
        office
    }

    /// Those who are not signed in, whatever they show.
    pub fn strangers(&self) -> Vec<Visitor> {
        let nobody = Visitor { name: "nobody", credential: Credential::Nothing };
        let made_up = Token::generate().reveal().to_owned();
        let made_up = Visitor { name: "a made-up session", credential: Credential::Cookie(made_up) };
        let wrong_token = Credential::Bearer(format!("aegis_{}", Token::generate().reveal()));
        let wrong_token = Visitor { name: "a made-up API token", credential: wrong_token };
        let rest = self.shut_out.iter().map(|(name, credential)| Visitor { name, credential: credential.clone() });
        [nobody, made_up, wrong_token].into_iter().chain(rest).collect()
    }

    /// Somebody of Acme.
    pub fn colleague(&self, role: Role) -> Visitor {
        let session = self.person_of(role).session.clone();
        Visitor { name: role.name(), credential: Credential::Session(session) }
    }

    /// A program of somebody of Acme, with every scope that there is for them.
    pub fn program(&self, role: Role) -> Visitor {
        Visitor { name: role.name(), credential: Credential::Bearer(self.person_of(role).token.clone()) }
    }

    /// A program of an owner that carries [`NARROW`] alone.
    pub fn narrow_program(&self) -> Visitor {
        Visitor { name: "an owner's narrow token", credential: Credential::Bearer(self.narrow.clone()) }
    }

    fn person_of(&self, role: Role) -> &Colleague {
        self.people.iter().find(|colleague| colleague.role == role).unwrap()
    }

    /// The owner of Beta.
    pub fn foreign_owner(&self) -> Visitor {
        Visitor { name: "another organisation's owner", credential: Credential::Session(self.foreigner.clone()) }
    }

    /// Somebody with nothing to show.
    pub fn nobody() -> Visitor {
        Visitor { name: "nobody", credential: Credential::Nothing }
    }

    /// The token of somebody's session, and their API token.
    pub fn credentials_of(&self, role: Role) -> (String, String) {
        let colleague = self.person_of(role);
        (colleague.session.clone(), colleague.token.clone())
    }

    pub async fn get(&self, path: &str, visitor: &Visitor) -> Visit {
        self.request(visitor, Request::get(path), Body::empty()).await
    }

    /// Sends a request that is made elsewhere.
    pub async fn request(&self, visitor: &Visitor, request: Builder, body: Body) -> Visit {
        let json = request.uri_ref().is_some_and(|uri| uri.path().starts_with("/api/"));
        self.send(request, json, &visitor.credential, body).await
    }

    /// What lies in the data directory, but for what the appliance puts there for itself.
    pub fn files_outside_of_the_database(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.home.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let known = ["keys", "audit-heads", "models"];
        names.filter_map(|name| name.into_string().ok()).filter(|name| !known.contains(&name.as_str())).collect()
    }

    /// Goes to the route with the ids of Acme's things, and with as good as nothing in the body.
    pub async fn visit(&self, route: &Route, visitor: &Visitor) -> Visit {
        let request = Request::builder().method(&route.method).uri(self.filled(route.path));
        let (request, body) = if route.method.is_safe() || route.method == Method::DELETE {
            (request, Body::empty())
        } else if route.is_api() && !route.takes_files() {
            (request.header(header::CONTENT_TYPE, "application/json"), Body::from("{}"))
        } else if route.takes_files() {
            let kind = "multipart/form-data; boundary=B";
            (request.header(header::CONTENT_TYPE, kind), Body::from("--B--\r\n"))
        } else {
            (request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded"), Body::from("nothing=1"))
        };
        self.send(request, route.is_api(), &visitor.credential, body).await
    }

    /// Everything of Acme that a request could change, but for what merely says that there was one.
    pub async fn fingerprint(&self) -> String {
        let mut superuser = self.db.superuser().await;
        let tables: Vec<(String, String)> = sqlx::query_as(
            "SELECT schemaname::text, tablename::text FROM pg_tables
             WHERE (schemaname = $1 AND tablename NOT IN ('audit_entries', 'refinery_schema_history'))
                OR (schemaname = 'control' AND tablename IN ('tenants', 'users', 'memberships', 'invitations',
                                                             'api_tokens', 'identities'))
             ORDER BY 1, 2",
        )
        .bind(self.acme.id.schema())
        .fetch_all(&mut superuser)
        .await
        .unwrap();
        let mut print = String::new();
        for (schema, table) in tables {
            // When a token was last used is no change.
            let row = if table == "api_tokens" { "t.id::text" } else { "t::text" };
            let all = format!("string_agg({row}, '|' ORDER BY {row})");
            let sum = format!("SELECT md5(coalesce({all}, '')) FROM {schema}.{table} t");
            let sum: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sum)).fetch_one(&mut superuser).await.unwrap();
            let _ = writeln!(print, "{schema}.{table} {sum}");
        }
        print
    }

    async fn token(&self, app: &App, owner: &User, role: Role, scopes: Vec<Permission>) -> Made {
        let new = NewToken { name: format!("{MARK} {role}"), scopes, lifetime: Lifetime::Days(30) };
        app.accounts.create_token(owner, &self.acme, role, new, Actor::Operator).await.unwrap()
    }

    async fn person(&self, app: &App, email: &str, role: Role) -> (User, String) {
        let email = email.parse().unwrap();
        let password = || Password::chosen(PASSWORD).unwrap();
        let name = format!("{MARK} {role}");
        let user = app.accounts.create_user(&email, &name, password(), &self.acme, role).await.unwrap();
        let entered = app.accounts.sign_in(&email, password(), &<_>::default()).await.unwrap();
        let Entered::In(session) = entered else { panic!("nobody here has a second factor") };
        (user, session.token)
    }

    /// People with a session that was good once.
    async fn shut_people_out(&mut self, app: &App) {
        let mut superuser = self.db.superuser().await;
        let cases = [
            (
                "somebody suspended in the organisation",
                Only::Neither,
                "UPDATE control.memberships SET suspended_at = now() WHERE user_id = $1",
            ),
            (
                "somebody suspended everywhere",
                Only::Neither,
                "UPDATE control.users SET suspended_at = now() WHERE id = $1",
            ),
            ("somebody who was removed", Only::Neither, "DELETE FROM control.memberships WHERE user_id = $1"),
            (
                "an expired session",
                Only::Sessions,
                "UPDATE control.sessions SET expires_at = '2026-05-01T11:59:59Z' WHERE user_id = $1",
            ),
            (
                "an idle session",
                Only::Sessions,
                "UPDATE control.sessions SET last_seen_at = '2026-01-01T00:00:00Z' WHERE user_id = $1",
            ),
            (
                "an expired API token",
                Only::Tokens,
                "UPDATE control.api_tokens SET expires_at = '2026-05-01T11:59:59Z' WHERE user_id = $1",
            ),
            ("a revoked API token", Only::Tokens, "DELETE FROM control.api_tokens WHERE user_id = $1"),
        ];
        for (number, (name, of_tokens, shut)) in cases.into_iter().enumerate() {
            let (user, session) = self.person(app, &format!("out{number}@acme.example"), Role::Owner).await;
            let token = self.token(app, &user, Role::Owner, Permission::ALL.to_vec()).await.secret;
            sqlx::query(shut).bind(user.id.0).execute(&mut superuser).await.unwrap();
            self.shut_out.extend((of_tokens != Only::Tokens).then_some((name, Credential::Cookie(session))));
            self.shut_out.extend((of_tokens != Only::Sessions).then_some((name, Credential::Bearer(token))));
        }
    }

    fn filled(&self, path: &str) -> String {
        let mut filled = String::new();
        for segment in path.split('/').skip(1) {
            filled.push('/');
            let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
                filled.push_str(segment);
                continue;
            };
            filled.push_str(&self.thing(name, path));
        }
        filled
    }

    fn thing(&self, name: &str, path: &str) -> String {
        match name {
            "agent" | "model" => AGENT.to_owned(),
            "conversation" => self.things.conversation.to_string(),
            "meeting" => self.things.meeting.to_string(),
            "memory" => self.things.memory.to_string(),
            "tenant" => self.acme.id.to_string(),
            "document" => self.things.document.to_string(),
            "collection" => self.things.collection.to_string(),
            "passage" => self.things.passage.to_string(),
            "seq" => "1".to_owned(),
            "run" | "approval" => self.things.run.to_string(),
            "user" | "member" => self.things.member.to_string(),
            "token" if path.contains("tokens") => self.things.token.to_string(),
            "token" => "made-up".to_owned(),
            "session" => self.things.session.to_string(),
            "invitation" => self.things.invitation.to_string(),
            "name" if path.contains("secrets") => SECRET.to_owned(),
            "upload" => NOTHING.to_string(),
            "identity" | "provider" | "server" => "none".to_owned(),
            "build" => "0".to_owned(),
            "*path" => "css/base.css".to_owned(),
            _ => panic!("say in Office::thing what {{{name}}} of {path} is, so that the matrix can try it"),
        }
    }

    async fn send(&self, request: Builder, json: bool, credential: &Credential, body: Body) -> Visit {
        let accept = if json { "application/json" } else { "text/html" };
        // Each from an address of its own, or the throttle would answer for the guard.
        let number = self.visits.fetch_add(1, Ordering::Relaxed);
        let peer = Peer(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)));
        let request = request.header(header::HOST, "127.0.0.1:8480").header(header::ACCEPT, accept);
        let request = request.header("sec-fetch-site", "same-origin").extension(peer);
        let request = match credential {
            Credential::Nothing => request,
            Credential::Bearer(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            Credential::Cookie(session) => with_session(request, session),
            Credential::Session(session) => with_session(request, &self.copied(session).await),
        };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = text(header::CONTENT_TYPE).to_owned();
        let mut visit = Visit {
            status,
            body: String::new(),
            location: text(header::LOCATION).to_owned(),
            policy: text(header::CONTENT_SECURITY_POLICY).to_owned(),
            disposition: text(header::CONTENT_DISPOSITION).to_owned(),
        };
        let body = if kind == "text/event-stream" {
            response
                .into_body()
                .into_data_stream()
                .next()
                .await
                .map(|piece| piece.unwrap().to_vec())
                .unwrap_or_default()
        } else {
            axum::body::to_bytes(response.into_body(), 10_000_000).await.unwrap().to_vec()
        };
        visit.body = String::from_utf8_lossy(&body).into_owned();
        visit
    }

    /// A session like this one, whatever columns sessions have.
    async fn copied(&self, session: &str) -> String {
        let mut superuser = self.db.superuser().await;
        let copy = Token::generate();
        superuser.execute("CREATE TEMP TABLE copied AS SELECT * FROM control.sessions WITH NO DATA").await.unwrap();
        sqlx::query("INSERT INTO copied SELECT * FROM control.kept WHERE token_hash = $1")
            .bind(TokenHash::of(session).as_bytes())
            .execute(&mut superuser)
            .await
            .unwrap();
        let changed = sqlx::query("UPDATE copied SET id = gen_random_uuid(), token_hash = $1")
            .bind(copy.hash().as_bytes())
            .execute(&mut superuser)
            .await
            .unwrap();
        assert_eq!(changed.rows_affected(), 1, "the session to copy is there");
        superuser.execute("INSERT INTO control.sessions SELECT * FROM copied").await.unwrap();
        copy.reveal().to_owned()
    }
}

fn with_session(request: Builder, session: &str) -> Builder {
    request.header(header::COOKIE, format!("aegis_session={session}")).header(csrf::HEADER, csrf::token(session))
}

/// One of each, marked as Acme's.
async fn things(app: &App, acme: &Tenant) -> Things {
    let db = app.tenants.open(acme).await.unwrap();
    let text = format!("# {MARK}\n\nThe {MARK} sings at dawn and is fed at nine.");
    let library = app.knowledge.open(&db, Reader::everything());
    let drawer = CollectionDraft { name: MARK.to_owned(), description: MARK.to_owned(), rights: Rights::default() };
    let collection = library.create_collection(drawer, Actor::Operator).await.unwrap().id;
    let upload = Upload::new(format!("{MARK}.md"), text.into_bytes(), Actor::Operator).into_collection(collection);
    let added = library.add(upload).await.unwrap();
    let document = added.document.id;
    while !library.document(document).await.unwrap().unwrap().status.is_final() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    app.secrets.set(&db, SECRET.parse().unwrap(), SecretText::new("seeds".to_owned()), By::operator()).await.unwrap();
    let passage = library.passages(document).await.unwrap()[0].id;
    let own = Draft {
        name: MARK.to_owned(),
        soul: format!("You know all about the {MARK}."),
        tools: vec!["*".to_owned()],
        ..Draft::default()
    };
    app.agents.staff().add(&db, AGENT, &own, Reason::Created, Actor::Operator).await.unwrap();
    let ask = Ask::new("atlas", format!("When is the {MARK} fed?"), Actor::Operator);
    let mut run = app.agents.ask(&db, ask).await.unwrap();
    while run.events.next().await.is_some() {}
    let meeting = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);
    let held = "INSERT INTO meetings (id, question, members, chair, state, shared, created_at)
                VALUES ($1, $2, '[]', 'atlas', 'finished', true, now())";
    sqlx::query(held).bind(meeting).bind(format!("How is the {MARK} fed?")).execute(db.pool()).await.unwrap();
    let viewer = Viewer { user: UserId(NOTHING), manages: true };
    let fed = format!("The {MARK} is fed at nine.");
    let memory = app.memory.add(&db, viewer, Subject::Organisation, fed, FactKind::Fact).await.unwrap();
    Things {
        conversation: run.conversation.unwrap().0,
        meeting,
        memory: memory.id.0,
        document: document.0,
        collection: collection.0,
        passage: passage.0,
        run: run.id,
        member: UserId(NOTHING),
        token: NOTHING,
        session: NOTHING,
        invitation: NOTHING,
    }
}
