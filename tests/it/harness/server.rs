//! The one PostgreSQL of the run: the embedded one, supervised as in the appliance, on a cluster of its own.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use aegis::{
    db::Server,
    postgres::{DataDirLock, Endpoint, Programs, Settings, Supervisor},
    vault::ApplianceKey,
};
use sqlx::{
    ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

/// What tests need to know of it.
struct Running {
    endpoint: Endpoint,
    programs: PathBuf,
}

/// The server that all tests share, started by the first that asks.
pub fn server() -> Server {
    let endpoint = &running().endpoint;
    Server::own(&endpoint.socket_dir, endpoint.port, &ApplianceKey::from_bytes([1; 32]))
}

/// Where it listens: for another process.
pub fn place() -> (PathBuf, u16) {
    let endpoint = &running().endpoint;
    (endpoint.socket_dir.clone(), endpoint.port)
}

/// A session on it as any role, as somebody on this machine would open one by hand.
pub async fn connect(role: &str, database: &str) -> Result<PgConnection, sqlx::Error> {
    let endpoint = &running().endpoint;
    let options = PgConnectOptions::new_without_pgpass()
        .socket(&endpoint.socket_dir)
        .port(endpoint.port)
        .username(role)
        .database(database)
        .ssl_mode(PgSslMode::Disable);
    options.connect().await
}

/// A program of the bundle, such as `initdb`.
pub fn program(name: &str) -> PathBuf {
    running().programs.join(name)
}

/// Starts it on a thread with a runtime of its own, which outlives the tests' runtimes. The end of the process takes
/// PostgreSQL along; the directory is removed by the next run.
fn running() -> &'static Running {
    static RUNNING: OnceLock<Running> = OnceLock::new();
    RUNNING.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let lock = DataDirLock::acquire(&fresh_directory()).unwrap();
                let supervisor = Supervisor::start(settings(lock.data_dir())).await.unwrap();
                supervisor.ready(Duration::from_mins(1)).await.unwrap();
                let programs = supervisor.program("initdb").parent().unwrap().to_owned();
                sender.send(Running { endpoint: supervisor.endpoint().clone(), programs }).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().expect("the tests' PostgreSQL starts")
    })
}

fn settings(data_dir: &Path) -> Settings {
    // What tests store is not worth a wait for the disk.
    let fast = [("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")];
    Settings {
        data_dir: data_dir.to_owned(),
        programs: Programs::Bundle,
        user: None,
        max_connections: 300,
        launcher: env!("CARGO_BIN_EXE_aegis").into(),
        extra: fast.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
    }
}

/// `/tmp/aegis-tests-<pid>`, after removing those of runs that have ended.
fn fresh_directory() -> PathBuf {
    const PREFIX: &str = "aegis-tests-";
    for entry in fs::read_dir(env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let directory = env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}
