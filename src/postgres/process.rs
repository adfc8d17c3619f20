//! The thread that owns the server's process: starts it, knows how it is, reaps it, starts it again.
//!
//! It is a thread of the operating system that lives as long as the appliance, because the signal that PostgreSQL
//! gets when its parent dies follows the thread that spawned it.

use std::{
    fs,
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use tokio::sync::watch;

use super::{
    Settings, State, adoption, cluster, launch,
    place::Place,
    programs::Installed,
    server_log::{LastWords, PREFIX, follow, remedy_for},
};
use crate::support::{Error, Result};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A server that ran this long had started well: the next restart is quick again.
const STABLE: Duration = Duration::from_mins(1);

/// What the appliance tells the thread.
#[derive(Debug, Default)]
pub struct Control {
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    // Some exactly while the process is not reaped, so that a signal never reaches a stranger with the same number.
    running: Option<Pid>,
    stopping: bool,
}

impl Control {
    /// Asks for a fast, clean shutdown, now or as soon as the server could be asked. Never more than that: the
    /// orphans of a killed postmaster would keep the next one from starting.
    pub fn stop(&self) {
        let mut inner = self.lock();
        inner.stopping = true;
        if let Some(pid) = inner.running {
            let _ = kill(pid, Signal::SIGINT);
        }
        self.wake.notify_all();
    }

    /// The postmaster's process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.lock().running.map(|pid| pid.as_raw().unsigned_abs())
    }

    fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Waits for the next attempt. Returns early, with `false`, when there shall be none.
    fn rest(&self, delay: Duration) -> bool {
        let waiting = |inner: &mut Inner| !inner.stopping;
        let (inner, _) =
            self.wake.wait_timeout_while(self.lock(), delay, waiting).unwrap_or_else(PoisonError::into_inner);
        !inner.stopping
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One cluster's server, over all its restarts.
pub struct Keeper {
    /// What was asked for.
    pub settings: Settings,
    /// Where it lies.
    pub place: Place,
    /// The programs.
    pub installed: Installed,
    /// The appliance's wishes.
    pub control: Arc<Control>,
    /// How it is.
    pub state: Arc<watch::Sender<State>>,
}

impl Keeper {
    /// Keeps the server running until it is asked to stop. The thread's whole life after the preparations.
    pub fn run(&self) {
        let mut delay = FIRST_DELAY;
        while !self.control.is_stopping() {
            let began = Instant::now();
            let (why, remedy) = match self.serve() {
                Ok(why) => {
                    let remedy = remedy_for(&why);
                    (why, remedy)
                }
                Err(error) => (error.message().to_owned(), error.remedy_text().map(str::to_owned)),
            };
            if self.control.is_stopping() {
                break;
            }
            if began.elapsed() > STABLE {
                delay = FIRST_DELAY;
            }
            tracing::error!(
                why,
                remedy = remedy.as_deref().unwrap_or("none needed"),
                retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                "the database is down; starting it again"
            );
            self.state.send_replace(State::Down { why, remedy });
            if !self.control.rest(delay) {
                break;
            }
            delay = (delay * 2).min(LONGEST_DELAY);
        }
        // It is empty now; in /run or /tmp nobody else would ever remove it.
        let _ = fs::remove_dir(&self.place.endpoint.socket_dir);
        self.state.send_replace(State::Stopped);
    }

    /// One life of the server, from the start to the reaping. Returns why it ended.
    fn serve(&self) -> Result<String> {
        // Also what a killed postmaster of our own left behind.
        let stranger = adoption::clear(&self.place.cluster)?;
        self.remove_stale_sockets();
        cluster::configure(&self.settings, &self.place)?;

        let began = Instant::now();
        let Some(mut child) = self.spawn(stranger)? else { return Ok("stopped".to_owned()) };
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
        let words = LastWords::default();
        if let Some(stderr) = child.stderr.take() {
            let (words, state) = (words.clone(), Arc::clone(&self.state));
            let reader = thread::Builder::new().name("postgres-log".to_owned());
            // Without a reader the server would stop at a full pipe.
            reader.spawn(move || follow(stderr, &words, &state)).map_err(Error::internal)?;
        }
        self.await_ready(pid, began);
        wait_for_end(pid, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);

        let mut inner = self.control.lock();
        inner.running = None;
        // Reaped before the next start, whose lock file would else find this process alive.
        let status = child.wait();
        drop(inner);
        // The last lines may still be on their way through the pipe.
        thread::sleep(Duration::from_millis(30));
        Ok(why_it_ended(&words, status.ok(), pid))
    }

    /// Starts the server, unless the appliance has meanwhile asked for its end.
    fn spawn(&self, stranger: Option<Pid>) -> Result<Option<Child>> {
        let mut command =
            launch::command(&self.settings.launcher, &self.place.account, &self.installed.program("postgres"));
        command
            .arg("-D")
            .arg(&self.place.cluster)
            .args(["-c", "listen_addresses=", "-c"])
            .arg(format!("unix_socket_directories={}", self.place.endpoint.socket_dir.display()))
            // From the first line on, before the configuration is read.
            .arg("-c")
            .arg(format!("log_line_prefix={PREFIX}"))
            .arg("-c")
            .arg(format!("config_file={}", self.place.etc.join("postgresql.conf").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(stranger) = stranger {
            // PostgreSQL does not take its grandparent for another server (Patroni does the same).
            command.env("PG_GRANDPARENT_PID", stranger.to_string());
        }
        let mut inner = self.control.lock();
        if inner.stopping {
            return Ok(None);
        }
        self.state.send_replace(State::Starting);
        let child = command
            .spawn()
            .map_err(|error| Error::unavailable(format!("the database cannot be started: {error}")).because(error))?;
        inner.running = Some(Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)));
        Ok(Some(child))
    }

    /// Watches `postmaster.pid` until it says "ready" or the process has ended. Recovery after a crash may take
    /// minutes; there is no deadline, only a line in the log from time to time.
    fn await_ready(&self, pid: Pid, began: Instant) {
        let mut reported = Instant::now();
        loop {
            if has_ended(pid) {
                return;
            }
            if adoption::pid_file(&self.place.cluster).is_some_and(|file| file.pid == pid.as_raw() && file.ready) {
                let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(pid = pid.as_raw(), duration_ms, "the database is ready");
                self.state.send_replace(State::Ready);
                return;
            }
            if reported.elapsed() > Duration::from_secs(10) {
                reported = Instant::now();
                tracing::info!(seconds = began.elapsed().as_secs(), "the database is still starting or recovering");
            }
            let patient = began.elapsed() > Duration::from_secs(5);
            thread::sleep(Duration::from_millis(if patient { 50 } else { 4 }));
        }
    }

    /// The lock file beside a socket names a pid, too, and a stranger may have that by now. No server of this cluster
    /// runs, and the directory is ours alone.
    fn remove_stale_sockets(&self) {
        let socket = self.place.endpoint.socket();
        let mut lock = socket.clone().into_os_string();
        lock.push(".lock");
        let _ = fs::remove_file(lock);
        let _ = fs::remove_file(socket);
    }
}

fn has_ended(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    !matches!(wait_for_end(pid, flags), Some(WaitStatus::StillAlive))
}

/// Waits without reaping: until the child is reaped, its number is nobody else's.
fn wait_for_end(pid: Pid, flags: WaitPidFlag) -> Option<WaitStatus> {
    loop {
        match waitid(Id::Pid(pid), flags) {
            Err(Errno::EINTR) => {}
            other => return other.ok(),
        }
    }
}

fn why_it_ended(words: &LastWords, status: Option<ExitStatus>, pid: Pid) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status {
        Some(status) if status.success() => {
            format!("the database server (process {pid}) was told to stop by somebody else")
        }
        Some(status) if status.signal().is_some() => {
            format!("the database server (process {pid}) was killed by signal {}", status.signal().unwrap_or_default())
        }
        _ => words.why().unwrap_or_else(|| "the database server ended without a word".to_owned()),
    }
}
