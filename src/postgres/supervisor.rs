//! The handle that the appliance holds: start, wait until ready, ask how it is, stop.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use super::{
    Endpoint, Programs, Settings, State, adoption, bundle, cluster,
    place::Place,
    process::{Control, Keeper},
    programs::Installed,
    store,
};
use crate::support::{Error, Result};

/// How long a shutdown may take before we give up waiting. What it writes out would else be read from the log at the
/// next start, so nothing is lost by leaving early, and nothing gained.
const LONGEST_SHUTDOWN: Duration = Duration::from_mins(10);

/// A supervised PostgreSQL. Dropped without [`stop`](Self::stop), the server is told to shut down, and not waited for.
#[derive(Debug)]
pub struct Supervisor {
    endpoint: Endpoint,
    installed: Installed,
    cluster: PathBuf,
    control: Arc<Control>,
    states: watch::Receiver<State>,
}

impl Supervisor {
    /// Unpacks, makes the cluster if there is none, and starts the server on a thread of its own. The caller holds
    /// the [`DataDirLock`](super::DataDirLock). Returns before the server accepts connections: see [`ready`](Self::ready).
    ///
    /// # Errors
    /// What keeps it from starting at all, each with a remedy: no usable user, directories out of reach, a disk that
    /// is full at the first start, a cluster of another version, programs of another version. Once it has been
    /// started, failures are states, and it is tried again.
    pub async fn start(settings: Settings) -> Result<Self> {
        let (prepared, answer) = oneshot::channel();
        let control = Arc::new(Control::default());
        let (sender, states) = watch::channel(State::Starting);
        let thread_control = Arc::clone(&control);
        let life = move || match prepare(&settings) {
            Ok((place, installed)) => {
                let found = (place.endpoint.clone(), installed.clone(), place.cluster.clone());
                // Nobody waits any more when the start was cancelled.
                if prepared.send(Ok(found)).is_ok() {
                    Keeper { settings, place, installed, control: thread_control, state: Arc::new(sender) }.run();
                }
            }
            Err(error) => drop(prepared.send(Err(error))),
        };
        thread::Builder::new().name("postgres".to_owned()).spawn(life).map_err(Error::internal)?;
        let (endpoint, installed, cluster) =
            answer.await.map_err(|_| Error::unavailable("the database's supervisor ended unexpectedly"))??;
        Ok(Self { endpoint, installed, cluster, control, states })
    }

    /// Waits until the server accepts connections and is what we need. A long recovery is waited for; a server that
    /// cannot start is given `patience` (it is tried again and again meanwhile).
    ///
    /// # Errors
    /// `Unavailable`, with the server's own last words and a remedy.
    pub async fn ready(&self, patience: Duration) -> Result<()> {
        let mut states = self.states.clone();
        let mut failing_since = None;
        loop {
            let state = states.borrow_and_update().clone();
            match state {
                State::Ready => return store::check(&self.endpoint).await,
                State::Stopped => return Err(Error::unavailable("the database has been stopped")),
                State::Starting => {}
                State::Down { why, remedy } => {
                    let since: &mut Instant = failing_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= patience {
                        let error = Error::unavailable(format!("the database does not start: {why}"));
                        return Err(remedy.into_iter().fold(error, Error::remedy));
                    }
                }
            }
            if let Ok(Err(_)) = timeout(Duration::from_millis(250), states.changed()).await {
                return Err(Error::unavailable("the database's supervisor has ended"));
            }
        }
    }

    /// Where the server listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How the server is, now and from now on.
    pub fn states(&self) -> watch::Receiver<State> {
        self.states.clone()
    }

    /// The postmaster's process id, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.control.pid()
    }

    /// One of PostgreSQL's own programs, such as `pg_dump`, of the version that runs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.installed.program(name)
    }

    /// PostgreSQL's data directory.
    pub fn cluster(&self) -> &Path {
        &self.cluster
    }

    /// Stops the server cleanly and waits until it has ended: a checkpoint, then a fast shutdown. This may take
    /// minutes on a busy disk, and is never cut short by a kill.
    pub async fn stop(&self) {
        let mut states = self.states.clone();
        let was_ready = *states.borrow() == State::Ready;
        if was_ready {
            store::checkpoint(&self.endpoint).await;
        }
        let began = Instant::now();
        self.control.stop();
        while began.elapsed() < LONGEST_SHUTDOWN {
            let stopped = states.wait_for(|state| *state == State::Stopped);
            if timeout(Duration::from_secs(10), stopped).await.is_ok() {
                tracing::info!(
                    duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                    "the database has stopped"
                );
                return;
            }
            tracing::info!(seconds = began.elapsed().as_secs(), "the database is still writing out; waiting for it");
        }
        tracing::error!("the database has not stopped in ten minutes; it goes on stopping by itself");
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.control.stop();
    }
}

/// Everything before the server's first start. Runs on the supervisor's thread: initdb is a child, too.
fn prepare(settings: &Settings) -> Result<(Place, Installed)> {
    let place = Place::prepare(&settings.data_dir, settings.user.as_deref())?;
    let installed = match &settings.programs {
        Programs::Bundle => bundle::unpack(&place.home, &place.cluster)?,
        Programs::System(bin) => Installed::of_the_system(bin.clone())?,
    };
    cluster::ensure(settings, &place, &installed)?;
    // An orphan of the last version still needs its programs.
    adoption::clear(&place.cluster)?;
    if settings.programs == Programs::Bundle {
        bundle::remove_others(&place.home);
    }
    Ok((place, installed))
}
