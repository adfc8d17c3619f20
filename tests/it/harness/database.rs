//! A database for each test, copied from one that has been prepared once.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use aegis::{
    accounts::{Doors, oidc::Providers},
    config,
    db::{Databases, Server, TenantDb},
    support::{Clock as _, clock::SharedClock},
    tenants::{Tenant, Tenants},
    vault::{Keyring, keyring::Passphrases},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{clock::TestClock, server::server};

/// The prepared database, with all control migrations applied.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A test's own database, dropped with it. Dropping fails the test when jobs are left in a queue.
pub struct TestDb {
    /// The pools.
    pub databases: Databases,
    /// The clock that `tenants()` and whoever asks for it use.
    pub clock: Arc<TestClock>,
    server: Server,
    jobs_may_remain: bool,
    home: TempDir,
}

impl TestDb {
    /// A fresh database, migrated, without tenants.
    pub async fn new() -> Self {
        let template = TEMPLATE.get_or_init(make_template).await;
        let name = format!("test_{}_{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut maintenance = server().connect_as_administrator("postgres").await.unwrap();
        let create = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut maintenance).await.unwrap();
        let server = server().with_database(&name);
        let databases = Databases::open(server.clone(), &settings()).await.unwrap();
        Self { databases, clock: TestClock::new(), server, jobs_may_remain: false, home: tempfile::tempdir().unwrap() }
    }

    /// Where the database is.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The clock, as use cases take it.
    pub fn shared_clock(&self) -> SharedClock {
        Arc::clone(&self.clock) as SharedClock
    }

    /// The tenants of this database.
    pub fn tenants(&self) -> Tenants {
        Tenants::new(self.databases.clone(), self.shared_clock())
    }

    /// The appliance's keys.
    pub fn keyring(&self) -> Keyring {
        let nobody = Passphrases { configured: None, ask: || Ok(None) };
        Keyring::open(self.home.path(), &nobody, self.clock.now()).unwrap()
    }

    /// What accounts need beside passwords: keys, and no sign-in page of anybody else.
    pub fn doors(&self) -> Doors {
        Doors { keyring: self.keyring(), providers: Providers::default() }
    }

    /// A new tenant and its database.
    pub async fn tenant(&self, slug: &str) -> (Tenant, TenantDb) {
        let tenant = self.tenants().create(&slug.parse().unwrap(), slug).await.unwrap();
        let db = self.databases.tenant(&tenant.id).await.unwrap();
        (tenant, db)
    }

    /// A connection as the superuser, for looking at or breaking what nobody else can.
    pub async fn superuser(&self) -> PgConnection {
        self.server.connect_as_administrator(self.server.database()).await.unwrap()
    }

    /// For a test whose point is that jobs remain.
    pub fn jobs_may_remain(&mut self) {
        self.jobs_may_remain = true;
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (server, check) = (self.server.clone(), !self.jobs_may_remain && !thread::panicking());
        // The test's runtime cannot wait for anything here; another thread can.
        let left = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let left = if check { jobs_left(&server).await } else { Vec::new() };
                let mut maintenance = server.connect_as_administrator("postgres").await.unwrap();
                let drop = format!("DROP DATABASE {} WITH (FORCE)", server.database());
                sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut maintenance).await.unwrap();
                left
            })
        });
        let left = left.join().unwrap();
        assert!(left.is_empty(), "jobs are left in the queue: {left:?}");
    }
}

/// Few connections, because many tests run at once on one server.
pub fn settings() -> config::Database {
    config::Database {
        mode: config::DatabaseMode::Embedded,
        url: None,
        bin_dir: None,
        user: String::new(),
        control_connections: 4,
        tenant_connections: 2,
        open_tenants: 4,
    }
}

async fn make_template() -> String {
    let name = format!("template_{}", process::id());
    let databases = Databases::open(server().with_database(&name), &settings()).await.unwrap();
    databases.close().await;
    name
}

async fn jobs_left(server: &Server) -> Vec<(String, String)> {
    let mut superuser = server.connect_as_administrator(server.database()).await.unwrap();
    let left =
        sqlx::query_as("SELECT job_type, status FROM apalis.jobs WHERE status IN ('Pending', 'Queued', 'Running')")
            .fetch_all(&mut superuser)
            .await
            .unwrap();
    superuser.close().await.unwrap();
    left
}
