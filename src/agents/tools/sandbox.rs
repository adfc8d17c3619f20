//! Where expressions and pages that others wrote are worked on: a child of this same binary, `aegis __tool`, with limits on
//! memory, time and files. What overflows its stack or eats its memory ends with the child, and the appliance goes on.

use std::{
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitCode, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, process::Command, sync::Semaphore};

use super::{calculator, fetch};
use crate::support::{Error, Kind, Result};

/// The hidden subcommand that [`main`] answers to.
pub const SUBCOMMAND: &str = "__tool";

/// The stack that work is done on; parsers recurse.
const STACK: usize = 64 << 20;
/// Children at once; the others wait.
const AT_ONCE: usize = 2;
/// The longest input that the child reads, in bytes.
const INPUT: u64 = 64 << 20;

/// What a child is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Work {
    /// Work out an expression.
    Calculate {
        /// `12 % of 340 EUR`
        expression: String,
    },
    /// Make text of a page.
    Page {
        /// The page, as HTML.
        html: String,
    },
}

impl Work {
    /// Address space in bytes, and seconds of CPU time.
    fn limits(&self) -> (u64, u64) {
        match self {
            Self::Calculate { .. } => (384 << 20, 1),
            Self::Page { .. } => (768 << 20, 5),
        }
    }

    /// How long the child works before it ends itself.
    fn wall(&self) -> Duration {
        match self {
            Self::Calculate { .. } => Duration::from_millis(800),
            Self::Page { .. } => Duration::from_secs(6),
        }
    }

    /// For a child that does not even come to its own limits, since the machine may be busy.
    fn deadline(&self) -> Duration {
        Duration::from_secs(self.limits().1 * 3 + 5)
    }

    fn too_much(&self) -> Error {
        Error::invalid(match self {
            Self::Calculate { .. } => "the calculation is too large: it was stopped, ask for something smaller",
            Self::Page { .. } => "the page is too large or too tangled to be read as text; look for a simpler one",
        })
    }

    /// Does it in this process.
    fn done(self) -> Done {
        match self {
            Self::Calculate { expression } => calculator::evaluate(&expression).map(Made::Text),
            Self::Page { html } => fetch::page(&html).map(|(title, text)| Made::Page { title, text }),
        }
    }
}

/// What came out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Made {
    /// A result.
    Text(String),
    /// A page.
    Page {
        /// Its title; empty where it has none.
        title: String,
        /// Its text.
        text: String,
    },
}

type Done = Result<Made, String>;

/// Starts the children. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandbox {
    program: PathBuf,
    places: Arc<Semaphore>,
}

impl Sandbox {
    /// Children of `program`, which is this binary.
    pub fn new(program: PathBuf) -> Self {
        Self { program, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Has a child do it. Dropping the future ends the child.
    ///
    /// # Errors
    /// `Invalid` when it cannot be done, in a sentence; `Unavailable` when no process can be started.
    pub(super) async fn run(&self, work: Work) -> Result<Made> {
        let _place = self.places.acquire().await.map_err(Error::internal)?;
        let line = serde_json::to_vec(&work).map_err(Error::internal)?;
        let Ok(output) = tokio::time::timeout(work.deadline(), self.child(line)).await else {
            return Err(work.too_much());
        };
        let output = output.map_err(|error| Error::unavailable("no process could be started for it").because(error))?;
        if !output.status.success() {
            tracing::debug!(status = %output.status, signal = output.status.signal(), "a tool's child ended without a result");
            return Err(work.too_much());
        }
        let done: Done = serde_json::from_slice(&output.stdout).map_err(Error::internal)?;
        done.map_err(|message| Error::new(Kind::Invalid, message))
    }

    async fn child(&self, line: Vec<u8>) -> io::Result<Output> {
        // The child changes its directory by itself: asked here, it would be made by copying this process's page tables.
        let mut child = Command::new(&self.program)
            .arg(SUBCOMMAND)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A child that ended early makes writing fail; its status says why.
            let _ = input.write_all(&line).await;
        }
        child.wait_with_output().await
    }
}

/// Runs the child: one piece of work on standard input, its result on standard output.
pub fn main() -> ExitCode {
    let mut input = Vec::new();
    if io::stdin().lock().take(INPUT).read_to_end(&mut input).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(work) = serde_json::from_slice::<Work>(&input) else { return ExitCode::from(2) };
    drop(input);
    if limit(&work).is_err() {
        return ExitCode::FAILURE;
    }
    let wall = work.wall();
    std::thread::spawn(move || {
        std::thread::sleep(wall);
        std::process::exit(3);
    });
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let line = serde_json::to_vec(&work.done())?;
        io::stdout().lock().write_all(&line)
    });
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn limit(work: &Work) -> nix::Result<()> {
    let _ = std::env::set_current_dir("/");
    let (memory, cpu_seconds) = work.limits();
    setrlimit(Resource::RLIMIT_AS, memory, memory)?;
    setrlimit(Resource::RLIMIT_CPU, cpu_seconds, cpu_seconds + 1)?;
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_NOFILE, 3, 3)?;
    prctl::set_no_new_privs()
}
