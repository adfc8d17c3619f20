//! The order in which the appliance starts and stops.
//!
//! Start: the data directory's lock, the keys, the web server's address, PostgreSQL, migrations, the slices, the admin
//! socket, the web server; then, while both answer already, the tenants' migrations and the jobs. Stop: the same
//! backwards, each step waiting for what it carries.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::broadcast::error::RecvError,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{admin, logging, notify, readiness::Parts, routes, terminal, wiring::App};
use crate::{
    config::{Config, DatabaseMode},
    http::{self, serve::Patience},
    postgres::{DataDirLock, Settings, Supervisor},
    support::{self, Clock as _, Error, Kind, SystemClock},
    tenants::{Change, State},
    vault::{Keyring, Passphrase, keyring::Passphrases},
};

/// How long a database that fails to start is tried again before the start is given up. A recovery after a crash is
/// no failure and is waited for as long as it takes.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// How long jobs that run may take to end when the appliance stops; those cut off are done again at the next start.
const JOBS_GRACE: Duration = Duration::from_secs(10);

/// How long the last outbound requests may take to get into the tenants' logs.
const JOURNAL_GRACE: Duration = Duration::from_secs(5);

/// What the appliance answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// The console and the admin socket: `aegis serve`.
    Everything,
    /// The admin socket alone: for one call of the command line.
    AdminOnly,
}

/// Why the appliance did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another appliance uses the data directory.
    #[error(transparent)]
    Locked(Error),
    /// Anything else.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// What asks for the end. Heard from the moment this is made, which is before the appliance starts: a signal that
/// comes earlier than that would end the process on the spot.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one, and says which it was.
    pub async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// A running appliance.
pub struct Appliance {
    running: Running,
    postgres: Option<Supervisor>,
    _lock: DataDirLock,
}

/// All that needs the database.
struct Running {
    app: App,
    /// Brings tenants up to date, starts the jobs, and says that all is ready.
    beginning: Option<JoinHandle<anyhow::Result<()>>>,
    servers: Vec<JoinHandle<()>>,
    /// Cancelled when the servers shall take no more requests.
    closing: CancellationToken,
    socket: PathBuf,
}

impl Appliance {
    /// Where the appliance of a data directory listens for the command line.
    pub fn admin_socket(data_dir: &Path) -> PathBuf {
        data_dir.join("admin.sock")
    }

    /// Starts everything. For the command line alone it returns when all is ready; with the console it returns when
    /// that answers, and tenants may still be brought up to date ([`Appliance::failed`] tells when that breaks off).
    ///
    /// # Errors
    /// [`StartError::Locked`] when another appliance runs on the data directory.
    pub async fn start(mut config: Config, serving: Serving) -> Result<Self, StartError> {
        let began = Instant::now();
        let lock = DataDirLock::acquire(&config.data_dir).map_err(|error| match error.kind() {
            Kind::Conflict => StartError::Locked(error),
            _ => StartError::Failed(error.into()),
        })?;
        lock.data_dir().clone_into(&mut config.data_dir);
        if serving == Serving::AdminOnly {
            logging::start_for_command();
        }
        // Before everything that could be made: a passphrase that is wrong or missing leaves all as it was.
        let keyring = open_keyring(&config).await?;
        // Before the database, so that an address in use is known at once.
        let listener = match serving {
            Serving::Everything => Some(listen(&config.server.listen).await?),
            Serving::AdminOnly => None,
        };
        let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        if let Some(address) = address {
            // The system has chosen the port where the configuration says 0.
            config.server.listen = address.to_string();
        }
        let postgres = start_postgres(&config).await?;
        let started = async {
            let mut running = Running::start(config, keyring, listener, postgres.as_ref(), address, began).await?;
            if serving == Serving::AdminOnly
                && let Err(error) = running.begun().await
            {
                running.stop().await;
                return Err(error);
            }
            Ok(running)
        };
        match started.await {
            Ok(running) => Ok(Self { running, postgres, _lock: lock }),
            Err(error) => {
                if let Some(postgres) = postgres {
                    postgres.stop().await;
                }
                Err(StartError::Failed(error))
            }
        }
    }

    /// Waits for the start to fail after all; for ever when it succeeds.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.running.begun().await {
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    }

    /// Stops everything: requests and jobs under way are ended, the database last.
    pub async fn stop(self) {
        notify::stopping();
        self.running.stop().await;
        if let Some(postgres) = self.postgres {
            postgres.stop().await;
        }
    }
}

impl Running {
    async fn start(
        config: Config,
        keyring: Keyring,
        listener: Option<TcpListener>,
        postgres: Option<&Supervisor>,
        address: Option<SocketAddr>,
        began: Instant,
    ) -> anyhow::Result<Self> {
        let closing = CancellationToken::new();
        let app = App::assemble(config, keyring, postgres).await?;
        let socket = Appliance::admin_socket(&app.config.data_dir);
        let mut servers = vec![serve_admin(&socket, &app, closing.clone())?];
        if let Some(listener) = listener {
            let router = {
                let parts = Parts { postgres: postgres.map(Supervisor::states), databases: app.databases.clone() };
                routes::router(&app, parts)
            };
            servers.push(tokio::spawn(http::serve::serve(listener, router, Patience::default(), closing.clone())));
        }
        servers.push(tokio::spawn(app.tenants.clone().keep(closing.clone())));
        if app.config.database.mode == DatabaseMode::External {
            servers.push(tokio::spawn(app.tenants.clone().follow(closing.clone())));
        }
        let beginning = Some(tokio::spawn(begin(app.clone(), address, began, closing.clone())));
        Ok(Self { app, beginning, servers, closing, socket })
    }

    /// Waits until the start is over. To be cancelled and called again as one likes.
    async fn begun(&mut self) -> anyhow::Result<()> {
        let Some(beginning) = self.beginning.as_mut() else { return Ok(()) };
        let begun = beginning.await;
        self.beginning = None;
        begun?
    }

    async fn stop(mut self) {
        self.closing.cancel();
        if let Err(error) = self.begun().await {
            tracing::error!(%error, "the start had failed");
        }
        // Runs are ended first: a stream that is being answered would otherwise hold its connection open.
        self.app.agents.shutdown().await;
        for server in self.servers {
            if let Err(error) = server.await {
                tracing::error!(%error, "a server ended badly");
            }
        }
        if let Err(error) = fs::remove_file(&self.socket) {
            tracing::warn!(%error, "the admin socket could not be removed");
        }
        self.app.jobs.shutdown(JOBS_GRACE).await;
        self.app.accounts.shutdown().await;
        self.app.egress_journal.close(JOURNAL_GRACE).await;
        self.app.databases.close().await;
    }
}

/// Opens the keys on a thread where scrypt, and somebody who types, may take their time.
async fn open_keyring(config: &Config) -> anyhow::Result<Keyring> {
    let configured =
        config.vault.passphrase.as_ref().map(|secret| secret.read().map(Passphrase::presented)).transpose()?;
    let data_dir = config.data_dir.clone();
    let ask = || Ok(terminal::ask("Passphrase of the appliance's keys: ")?.map(Passphrase::presented));
    let open = tokio::task::spawn_blocking(move || {
        Keyring::open(&data_dir, &Passphrases { configured, ask }, SystemClock.now())
    });
    Ok(open.await??)
}

/// Finishes a rotation of the appliance's key that was interrupted, and goes on with it when a tenant comes back into
/// service, or is gone. In the background, because there may be many tenants.
async fn keep_sealed(app: App, closing: CancellationToken) {
    let mut changes = app.tenants.changes();
    loop {
        if let Err(error) = app.secrets.resume_rotation().await {
            tracing::error!(%error, "a rotation of the appliance's key could not be finished; the next start goes on");
        }
        loop {
            let change = tokio::select! {
                () = closing.cancelled() => return,
                change = changes.recv() => change,
            };
            match change {
                Ok(Change { state: Some(State::Active) | None, .. }) | Err(RecvError::Lagged(_)) => break,
                Ok(_) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }
}

async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::unavailable(format!("the address {address} cannot be listened on"))
            .remedy("another program may use it: set server.listen to a free one")
            .because(error)
            .into()
    })
}

/// Starts the appliance's own server; `None` when the database is somebody else's.
async fn start_postgres(config: &Config) -> anyhow::Result<Option<Supervisor>> {
    match Settings::from_config(config, &config.data_dir) {
        Some(settings) => {
            let supervisor = Supervisor::start(settings).await?;
            if let Err(error) = supervisor.ready(START_PATIENCE).await {
                supervisor.stop().await;
                return Err(error.into());
            }
            Ok(Some(supervisor))
        }
        None => Ok(None),
    }
}

/// Listens for the command line. A socket that a killed appliance left behind is ours to replace: we hold the lock.
fn serve_admin(socket: &Path, app: &App, closing: CancellationToken) -> anyhow::Result<JoinHandle<()>> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{} cannot be replaced", socket.display()));
        }
        _ => {}
    }
    let listener = support::socket::listen(socket).with_context(|| format!("{} cannot be made", socket.display()))?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    let router = admin::router(app.clone());
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(closing.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the admin socket failed");
        }
    }))
}

/// The part of the start that goes on while the servers answer.
async fn begin(
    app: App,
    address: Option<SocketAddr>,
    began: Instant,
    closing: CancellationToken,
) -> anyhow::Result<()> {
    app.begin(&closing).await?;
    if closing.is_cancelled() {
        return Ok(());
    }
    if address.is_some() {
        let alone = app.config.database.mode != DatabaseMode::External;
        tokio::spawn(app.agents.clone().keep_going(app.tenants.clone(), alone, closing.clone()));
        tokio::spawn(keep_sealed(app.clone(), closing));
    }
    announce(&app, address, began).await
}

/// Says that all is ready, and how the first owner gets in while there is nobody.
async fn announce(app: &App, address: Option<SocketAddr>, began: Instant) -> anyhow::Result<()> {
    let duration_ms = u64::try_from(began.elapsed().as_millis())?;
    let Some(address) = address else {
        tracing::info!(duration_ms, "ready for the command line");
        return Ok(());
    };
    if let Some(token) = app.accounts.setup_token().await? {
        let url = format!("{}/setup?token={token}", app.public_url(address));
        tracing::warn!(url, "nobody has an account yet: open this address to become the first owner; it works once");
    }
    tracing::info!(address = %address, duration_ms, "ready");
    notify::ready();
    Ok(())
}
