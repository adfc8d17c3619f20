//! Mode `external`: a second server from the same bundle, over TCP with passwords, as a stranger would run it.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::chown,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use aegis::{
    audit::Actor,
    db::{Databases, Server},
    support::{Kind, SystemClock},
    tenants::Tenants,
    vault::ApplianceKey,
};
use nix::unistd::{getegid, geteuid};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

use crate::harness::{database::settings, server::program};

/// The user number of `nobody`, who runs the server when the tests are run by root.
const NOBODY: u32 = 65534;

/// Somebody else's PostgreSQL. It ends with the thread that started it, which is its test's.
pub(crate) struct Stranger {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl Stranger {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("aegis-test-external-").tempdir().unwrap();
        let data = directory.path().join("data");
        let password = directory.path().join("password");
        fs::write(&password, "root-of-the-stranger\n").unwrap();
        if geteuid().is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            chown(&password, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut initdb = launch(&program("initdb"));
        initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password);
        initdb.args(["--username=postgres", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut postgres = launch(&program("postgres"));
        postgres.arg("-D").arg(&data);
        for setting in ["listen_addresses=127.0.0.1", &format!("port={port}"), "unix_socket_directories=", "fsync=off"]
        {
            postgres.args(["-c", setting]);
        }
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let process = postgres.stderr(log.try_clone().unwrap()).stdout(log).spawn().unwrap();
        let stranger = Self { process, port, _directory: directory };
        for _ in 0..400 {
            if stranger.session("postgres").await.is_ok() {
                return stranger;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the second server does not answer");
    }

    /// A session as the stranger's superuser.
    pub(crate) async fn session(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        self.url("postgres", "root-of-the-stranger", database).parse::<PgConnectOptions>()?.connect().await
    }

    pub(crate) fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// A database of its own for an appliance, as a hoster gives one: its owner may make roles and is no superuser,
    /// and pgvector is installed for it.
    pub(crate) async fn rent(&self, name: &str) -> String {
        let url = self.rent_without_extensions(name).await;
        let mut superuser = self.session(name).await.unwrap();
        let prepare =
            format!("CREATE SCHEMA extensions AUTHORIZATION {name}_owner; CREATE EXTENSION vector SCHEMA extensions");
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut superuser).await.unwrap();
        url
    }

    async fn rent_without_extensions(&self, name: &str) -> String {
        let mut superuser = self.session("postgres").await.unwrap();
        for statement in [
            format!("CREATE ROLE {name}_owner LOGIN CREATEROLE PASSWORD 'rented'"),
            format!("CREATE DATABASE {name} OWNER {name}_owner"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut superuser).await.unwrap();
        }
        self.url(&format!("{name}_owner"), "rented", name)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap()),
            nix::sys::signal::Signal::SIGINT,
        );
        let _ = self.process.wait();
    }
}

/// The program as an unprivileged user, ended with this thread.
fn launch(program: &Path) -> Command {
    let (user, group) = if geteuid().is_root() { (NOBODY, NOBODY) } else { (geteuid().as_raw(), getegid().as_raw()) };
    let mut command = Command::new(env!("CARGO_BIN_EXE_aegis"));
    command.args(["__launch", &std::process::id().to_string(), &user.to_string(), &group.to_string()]);
    command.arg(program).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/");
    command
}

fn key(byte: u8) -> ApplianceKey {
    ApplianceKey::from_bytes([byte; 32])
}

#[tokio::test]
async fn an_appliance_lives_in_a_rented_database_and_its_tenants_stay_apart() {
    let stranger = Stranger::start().await;
    let url = stranger.rent("aegis_one").await;
    let databases = Databases::open(Server::external(&url, &key(1)).unwrap(), &settings()).await.unwrap();
    let tenants = Tenants::new(databases.clone(), std::sync::Arc::new(SystemClock));
    let a = tenants.create(&"tenant-a".parse().unwrap(), "A").await.unwrap();
    let b = tenants.create(&"tenant-b".parse().unwrap(), "B").await.unwrap();

    let a_db = tenants.open(&a).await.unwrap();
    let (user, path): (String, String) = sqlx::query_as("SELECT session_user::text, current_setting('search_path')")
        .fetch_one(a_db.pool())
        .await
        .unwrap();
    assert_eq!((user, path), (a.id.schema(), format!("{},extensions", a.id.schema())));
    let own: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_entries").fetch_one(a_db.pool()).await.unwrap();
    assert_eq!(own, 0);
    let (schema, owner) = (b.id.schema(), b.id.owner_role());
    for statement in [
        format!("SELECT count(*) FROM {schema}.audit_entries"),
        format!("INSERT INTO {schema}.audit_entries DEFAULT VALUES"),
        format!("SELECT set_config('role', '{schema}', true)"),
        format!("SET ROLE {owner}"),
        "SELECT * FROM control.tenants".to_owned(),
        "SELECT * FROM apalis.jobs".to_owned(),
        "UPDATE audit_entries SET seq = 2".to_owned(),
        "CREATE TEMP TABLE t ()".to_owned(),
        "CREATE TABLE t ()".to_owned(),
    ] {
        let error = sqlx::query(AssertSqlSafe(statement.as_str())).execute(a_db.pool()).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{statement}: {error}");
    }

    // A second start, or a second node with the same key, finds everything as it was.
    let again = Databases::open(Server::external(&url, &key(1)).unwrap(), &settings()).await.unwrap();
    let found = Tenants::new(again, std::sync::Arc::new(SystemClock)).list().await.unwrap();
    assert_eq!(found, [a.clone(), b.clone()]);

    // Passwords are stored as SCRAM verifiers, and each role has one of its own.
    let mut superuser = stranger.session("aegis_one").await.unwrap();
    let stored: Vec<String> = sqlx::query_scalar(
        "SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'tenant%' AND rolcanlogin OR rolname = 'aegis_one_app'",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert_eq!(stored.len(), 3);
    assert!(stored.iter().all(|password| password.starts_with("SCRAM-SHA-256$4096:")));

    // Whoever is no superuser can still throw a tenant's sessions out, and remove it with its roles.
    let b_db = tenants.open(&b).await.unwrap();
    let mut session = b_db.pool().acquire().await.unwrap();
    tenants.suspend(&b.id, "", &Actor::Operator).await.unwrap();
    assert!(sqlx::query("SELECT 1").execute(&mut *session).await.is_err());
    drop((session, b_db));
    tenants.resume(&b.id, &Actor::Operator).await.unwrap();
    tenants.delete(&b.id, "tenant-b", true, &Actor::Operator).await.unwrap();
    let left: Vec<String> = sqlx::query_scalar(
        "SELECT rolname::text FROM pg_roles WHERE rolname LIKE $1 UNION SELECT nspname::text FROM pg_namespace
         WHERE nspname LIKE $1",
    )
    .bind(format!("tenant_{}%", b.id))
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert_eq!(left, Vec::<String>::new());
    superuser.close().await.unwrap();
}

#[tokio::test]
async fn two_appliances_share_a_server_but_never_a_database() {
    let stranger = Stranger::start().await;
    let (one, two) = (stranger.rent("aegis_one").await, stranger.rent("aegis_two").await);
    let first = Databases::open(Server::external(&one, &key(1)).unwrap(), &settings()).await.unwrap();
    let second = Databases::open(Server::external(&two, &key(2)).unwrap(), &settings()).await.unwrap();
    first.ping().await.unwrap();
    second.ping().await.unwrap();

    let error = Databases::open(Server::external(&one, &key(2)).unwrap(), &settings()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert!(error.remedy_text().unwrap().contains("appliance.key"), "{error}");
    // What was refused has not changed the password of the first one's role on the way.
    first.control().acquire().await.unwrap().close().await.unwrap();
    first.ping().await.unwrap();
    let mut superuser = stranger.session("aegis_one").await.unwrap();
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'aegis_one_app'")
        .execute(&mut superuser)
        .await
        .unwrap();
    first.ping().await.unwrap();
}

#[tokio::test]
async fn an_extension_that_only_an_administrator_may_install_is_asked_for() {
    let stranger = Stranger::start().await;
    let url = stranger.rent_without_extensions("aegis_one").await;
    let open = async || Databases::open(Server::external(&url, &key(1)).unwrap(), &settings()).await;
    let error = open().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let statement = error.remedy_text().unwrap().split_once(": ").unwrap().1.to_owned();
    let mut superuser = stranger.session("aegis_one").await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut superuser).await.unwrap();
    open().await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_refused_without_its_password() {
    let stranger = Stranger::start().await;
    let url = stranger.rent("aegis_one").await;
    let nobody_listens = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for wrong in [
        url.replace("rented", "hunter2"),
        url.replace("/aegis_one", "/aegis_none").replace("rented", "hunter2"),
        format!("postgres://u:hunter2@127.0.0.1:{nobody_listens}/d"),
        "postgres://u:hunter2@127.0.0.1".to_owned(),
        "mysql://u:hunter2@h/d".to_owned(),
        "hunter2".to_owned(),
    ] {
        let opened = match Server::external(&wrong, &key(1)) {
            Ok(server) => Databases::open(server, &settings()).await.map(drop),
            Err(error) => Err(error),
        };
        let error = opened.unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(error.remedy_text().is_some(), "{error}");
    }
}
