//! The supervisor of the appliance's own PostgreSQL: unpacks it, makes the cluster, runs it, restarts it, stops it.
//!
//! [`Settings::from_config`] says whether there is anything to supervise (`external` is somebody else's server);
//! [`DataDirLock`] comes first.

//!
//! ```no_run
//! # async fn boot(config: &aegis::config::Config) -> aegis::support::Result<()> {
//! use aegis::postgres::{DataDirLock, Settings, Supervisor};
//! let lock = DataDirLock::acquire(&config.data_dir)?;
//! if let Some(settings) = Settings::from_config(config, lock.data_dir()) {
//!     let supervisor = Supervisor::start(settings).await?;
//!     supervisor.ready(std::time::Duration::from_secs(20)).await?;
//!     // … work at supervisor.endpoint() …
//!     supervisor.stop().await;
//! }
//! # Ok(()) }
//! ```

mod account;
mod adoption;
mod bundle;
mod cluster;
pub mod launch;
mod lock;
mod place;
mod process;
mod programs;
mod server_log;
mod store;
mod supervisor;
mod tuning;

use std::path::{Path, PathBuf};

pub use self::{bundle::VERSION, lock::DataDirLock, supervisor::Supervisor};
use crate::config::{Config, DatabaseMode};

/// The superuser of the cluster. Peer authentication lets the user that runs `aegis` be it, over the socket alone.
pub const SUPERUSER: &str = "aegis";

/// The database that every cluster begins with.
pub const MAINTENANCE_DATABASE: &str = "postgres";

/// Connections beyond the pools: migrations, the listener for jobs, backups, a person with psql.
const RESERVED_CONNECTIONS: u32 = 24;

/// Where the supervised PostgreSQL listens: a Unix socket and nothing else, peer authentication, any role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The socket's directory, absolute; to drivers this is the host.
    pub socket_dir: PathBuf,
    /// The number in the socket's name, `.s.PGSQL.5432`. There is no TCP port.
    pub port: u16,
}

impl Endpoint {
    /// The socket itself.
    pub fn socket(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{}", self.port))
    }
}

/// How the server is, for `/readyz` and for whoever waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It starts, or recovers after a crash; that can take minutes and is no failure.
    Starting,
    /// It accepts connections.
    Ready,
    /// It ended, or lost its sessions, and is being brought back.
    Down {
        /// What happened: the server's own last words.
        why: String,
        /// What a person can do, if anything is needed of one.
        remedy: Option<String>,
    },
    /// It was asked to stop and has stopped.
    Stopped,
}

/// Whose programs run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Programs {
    /// Those in this binary, unpacked into the data directory.
    Bundle,
    /// Those of the machine, from the directory that holds `postgres` and `initdb`.
    System(PathBuf),
}

/// What the supervisor has to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The appliance's data directory, as [`DataDirLock::data_dir`] gives it.
    pub data_dir: PathBuf,
    /// Whose programs run.
    pub programs: Programs,
    /// The user that PostgreSQL runs as when we are root. `None`: `aegis`, `postgres` or `nobody`, the first there is.
    pub user: Option<String>,
    /// The most connections at once, over all pools.
    pub max_connections: u32,
    /// The `aegis` binary, which is run again as `aegis __launch` to start PostgreSQL. This very process, except
    /// in tests, whose process is another program.
    pub launcher: PathBuf,
    /// Further PostgreSQL settings, such as `("fsync", "off")` in tests.
    pub extra: Vec<(String, String)>,
}

impl Settings {
    /// What the configuration asks for. `None` in mode `external`: there is nothing to supervise.
    pub fn from_config(config: &Config, data_dir: &Path) -> Option<Self> {
        let database = &config.database;
        let programs = match database.mode {
            DatabaseMode::Embedded => Programs::Bundle,
            DatabaseMode::System => {
                Programs::System(database.bin_dir.clone().unwrap_or_else(|| "/usr/lib/postgresql/18/bin".into()))
            }
            DatabaseMode::External => return None,
        };
        let pooled = database.control_connections + database.tenant_connections * database.open_tenants;
        Some(Self {
            data_dir: data_dir.to_owned(),
            programs,
            user: Some(database.user.clone()).filter(|user| !user.is_empty()),
            max_connections: pooled + RESERVED_CONNECTIONS,
            launcher: "/proc/self/exe".into(),
            extra: Vec::new(),
        })
    }
}
