//! The child process and its pipes.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
};

use super::super::protocol::{Order, Report};
use crate::models::chat::ModelError;

/// A large model is read from a slow disk in this time.
const LOADING: Duration = Duration::from_mins(5);
/// How long it may take to end by itself.
const ENDING: Duration = Duration::from_secs(3);
/// How many of its last words are kept, to say why it ended.
const LAST_WORDS: usize = 5;

/// A running engine whose model is loaded. It is killed when this is dropped.
pub(super) struct Process {
    child: Child,
    orders: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
    words: Arc<Mutex<VecDeque<String>>>,
    listener: JoinHandle<()>,
}

impl Process {
    /// Starts it and waits until the model is loaded.
    pub(super) async fn start(program: &Path, arguments: &[OsString], model: &str) -> Result<Self, ModelError> {
        let cannot = |error: io::Error| ModelError::Server {
            message: format!("the built-in engine cannot be started: {error}"),
        };
        let started = Instant::now();
        let mut command = Command::new(program);
        // No environment: it may hold secrets, and the engine needs none.
        command
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(cannot)?;
        let words = Arc::new(Mutex::new(VecDeque::new()));
        let (Some(orders), Some(reports), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(cannot(io::Error::other("its pipes are missing")));
        };
        let listener = tokio::spawn(listen(stderr, Arc::clone(&words)));
        let mut process = Self { child, orders, reports: BufReader::new(reports).lines(), words, listener };
        let unusable =
            |message: &str| ModelError::Server { message: format!("the model {model} cannot be used: {message}") };
        match tokio::time::timeout(LOADING, process.report()).await {
            Ok(Some(Report::Ready)) => {
                let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(model, duration_ms, process = process.id(), "the built-in model is loaded");
                Ok(process)
            }
            Ok(Some(Report::Unusable { message })) => {
                // llama.cpp's own words say more than that it failed.
                process.ending().await;
                let first = process.words.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                Err(unusable(&first.unwrap_or(message)))
            }
            Ok(Some(_)) => Err(unusable("the engine spoke out of turn")),
            Ok(None) => {
                let how = process.ending().await;
                Err(unusable(&format!("the engine {how} while it loaded the file")))
            }
            Err(_) => Err(ModelError::TimedOut { after: LOADING }),
        }
    }

    /// The child's process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Whether the child has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Writes one order to the child.
    pub(super) async fn order(&mut self, order: &Order) -> io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders.write_all(&line).await?;
        self.orders.flush().await
    }

    /// The next report; none when the process has ended or writes something else.
    pub(super) async fn report(&mut self) -> Option<Report> {
        let line = self.reports.next_line().await.ok()??;
        serde_json::from_str(&line)
            .inspect_err(|error| tracing::error!(%error, "the built-in engine says what nobody understands"))
            .ok()
    }

    /// The error for the request that was under way when it ended.
    pub(super) async fn crashed(&mut self, model: &str) -> ModelError {
        let how = self.ending().await;
        tracing::error!(model, how, "the built-in engine ended; it is started again for the next question");
        ModelError::Server {
            message: format!("the built-in engine {how} while it answered; ask again, it will be started anew"),
        }
    }

    /// Ends it in good order: it leaves when its input closes.
    pub(super) async fn stop(self) {
        let Self { mut child, orders, .. } = self;
        drop(orders);
        if tokio::time::timeout(ENDING, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }

    /// Ends the child at once and reaps it.
    pub(super) async fn kill(mut self) {
        let _ = self.child.kill().await;
    }

    /// How it ended: `was killed by signal 9 (…)`.
    async fn ending(&mut self) -> String {
        use std::os::unix::process::ExitStatusExt as _;
        let status = tokio::time::timeout(ENDING, self.child.wait()).await;
        let how = match status {
            Ok(Ok(status)) => match (status.signal(), status.code()) {
                (Some(signal), _) => format!("was killed by signal {signal}"),
                (None, Some(code)) => format!("ended with code {code}"),
                (None, None) => "ended".to_owned(),
            },
            Ok(Err(_)) | Err(_) => "stopped answering".to_owned(),
        };
        // What it wrote last may still be in the pipe.
        let _ = tokio::time::timeout(ENDING, &mut self.listener).await;
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        match words.back() {
            Some(last) => format!("{how} ({last})"),
            None => how,
        }
    }
}

/// Passes the engine's standard error on to the log, and keeps its last lines.
async fn listen(stderr: tokio::process::ChildStderr, words: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::debug!(line, "the built-in engine");
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() == LAST_WORDS {
            words.pop_front();
        }
        let said = line.split(" module=").next().unwrap_or_default();
        let said = said.strip_prefix("error loading model: ").unwrap_or(said);
        words.push_back(said.chars().take(200).collect());
    }
}
