//! The appliance's side of extraction: starts the child, feeds it the file, reads the blocks, holds the
//! deadline, and says in a sentence why a child came to its end.

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures::{Stream, StreamExt, pin_mut};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::Instant,
};

use super::{Attempt, Block, Failure, Finished, child};
use crate::{config, support::Error};

/// The hidden subcommand that [`child::main`] answers to.
pub const SUBCOMMAND: &str = "__extract";

/// What the child may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Address space, in bytes.
    pub memory: u64,
    /// CPU time, in seconds.
    pub cpu_seconds: u64,
    /// Text that may come out, in bytes.
    pub text: u64,
}

impl Limits {
    /// Text from one file beyond which nobody reads it; a 64 MiB text file still fits.
    const TEXT: u64 = 80 << 20;

    /// The limits that the configuration sets.
    pub fn of(config: &config::Knowledge) -> Self {
        Self {
            memory: config.extract_memory_mib << 20,
            cpu_seconds: config.extract_cpu_seconds.max(1),
            text: Self::TEXT,
        }
    }

    /// The wall clock allows far more than the CPU clock: the child stands back behind whatever else is busy.
    fn deadline(&self) -> Duration {
        Duration::from_secs(self.cpu_seconds * 10 + 30)
    }
}

/// Why nothing, or nothing more, comes out of a file.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// It is the file's fault; trying again gives the same.
    #[error(transparent)]
    File(#[from] Failure),
    /// The child ended the hard way on it; a second reader may fare better.
    #[error("{0}")]
    Crashed(Failure),
    /// It is the machine's fault: no process could be started, the bytes could not be fetched.
    #[error(transparent)]
    Machine(#[from] Error),
}

/// A file that is being read by a child process. Dropping it kills the child.
pub struct Reader {
    child: Child,
    output: BufReader<ChildStdout>,
    complaints: Option<ChildStderr>,
    line: Vec<u8>,
    text: u64,
    limits: Limits,
    deadline: Instant,
    finished: Option<Finished>,
}

impl Reader {
    /// Starts `program __extract` and feeds it `parts`, the file's bytes in order.
    ///
    /// # Errors
    /// When no process can be started or the bytes cannot be had.
    pub async fn start(
        program: &Path,
        limits: Limits,
        file_name: &str,
        second: bool,
        parts: impl Stream<Item = Result<Vec<u8>, Error>>,
    ) -> Result<Self, ExtractError> {
        // The child changes its directory by itself: asked here, it would be made by copying this process's page tables.
        let mut child = Command::new(program)
            .arg(SUBCOMMAND)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::unavailable("no process could be started to read the file").because(error))?;
        let missing = || Error::internal("a pipe of the child is missing");
        let mut input = child.stdin.take().ok_or_else(missing)?;
        let output = BufReader::with_capacity(64 * 1024, child.stdout.take().ok_or_else(missing)?);
        let complaints = child.stderr.take();
        let deadline = Instant::now() + limits.deadline();
        let attempt = if second { Attempt::Second } else { Attempt::First };
        let header = child::Header::new(file_name, attempt, limits).line()?;
        let feeding = async {
            // The child reads everything before it writes anything, so feeding first cannot block for ever; a
            // child that ended early makes writing fail, and its output says why.
            if input.write_all(&header).await.is_err() {
                return Ok(());
            }
            pin_mut!(parts);
            while let Some(part) = parts.next().await {
                if input.write_all(&part?).await.is_err() {
                    break;
                }
            }
            Ok::<(), Error>(())
        };
        match tokio::time::timeout_at(deadline, feeding).await {
            Ok(fed) => fed?,
            Err(_) => return Err(took_too_long().into()),
        }
        drop(input);
        Ok(Self { child, output, complaints, line: Vec::new(), text: 0, limits, deadline, finished: None })
    }

    /// The next block, or `None` when the file has been read to its end.
    ///
    /// # Errors
    /// When the file cannot be read, in a sentence for a person.
    pub async fn next(&mut self) -> Result<Option<Block>, ExtractError> {
        if self.finished.is_some() {
            return Ok(None);
        }
        match tokio::time::timeout_at(self.deadline, self.read_line()).await {
            Err(_) => Err(took_too_long().into()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Some(child::Line::Block(block)))) => {
                self.text += block.text.len() as u64;
                if self.text > self.limits.text { Err(child::too_much_text().into()) } else { Ok(Some(block)) }
            }
            Ok(Ok(Some(child::Line::Done(finished)))) => {
                self.finished = Some(finished);
                Ok(None)
            }
            Ok(Ok(Some(child::Line::Failed(failure)))) => Err(failure.into()),
            Ok(Ok(None)) => Err(self.autopsy().await),
        }
    }

    /// What was learnt of the file as a whole, once [`Reader::next`] has given `None`.
    pub fn finished(&self) -> Finished {
        self.finished.unwrap_or_default()
    }

    async fn read_line(&mut self) -> Result<Option<child::Line>, ExtractError> {
        self.line.clear();
        let at_most = child::LINE_BYTES + 1;
        let read = (&mut self.output).take(at_most).read_until(b'\n', &mut self.line).await;
        match read {
            Err(error) => {
                Err(Error::unavailable("the process that reads the file could not be heard").because(error).into())
            }
            Ok(0) => Ok(None),
            // Cut off in the middle of a line: the end came from outside, and the status tells why.
            Ok(_) if self.line.last() != Some(&b'\n') && (self.line.len() as u64) < at_most => Ok(None),
            Ok(_) => {
                let line = serde_json::from_slice(&self.line).map_err(|error| {
                    Error::internal(error).remedy("the process that reads files said something unexpected")
                })?;
                Ok(Some(line))
            }
        }
    }

    /// Why the child ended without a last word.
    async fn autopsy(&mut self) -> ExtractError {
        let mut complaints = Vec::new();
        let status = tokio::time::timeout_at(self.deadline, async {
            if let Some(stderr) = self.complaints.take() {
                // Unreadable complaints are no complaints.
                let _ = stderr.take(64 * 1024).read_to_end(&mut complaints).await;
            }
            self.child.wait().await
        });
        match status.await {
            Err(_) => took_too_long().into(),
            Ok(Err(error)) => Error::unavailable("the process that reads the file was lost").because(error).into(),
            Ok(Ok(status)) => cause_of_death(status, &String::from_utf8_lossy(&complaints)),
        }
    }
}

fn cause_of_death(status: ExitStatus, complaints: &str) -> ExtractError {
    use nix::libc::{SIGABRT, SIGKILL, SIGXCPU};
    tracing::debug!(%status, complaints, "the child that read a file ended without a result");
    if complaints.contains("memory allocation of") {
        return ExtractError::Crashed(child::too_much_memory());
    }
    match status.signal() {
        Some(SIGXCPU) => took_too_long().into(),
        // The hard CPU limit ends with SIGKILL too, but only a second after SIGXCPU has; what is left is the
        // kernel, short of memory.
        Some(SIGKILL) => ExtractError::Crashed(Failure::new(
            "Reading the file was stopped by the system, most likely for want of memory. Upload it again when the server is less busy.",
        )),
        Some(SIGABRT) if complaints.contains("overflowed its stack") => crashed(),
        _ => crashed(),
    }
}

fn took_too_long() -> Failure {
    Failure::new("Reading the file took too long. Split it into smaller files and upload those.")
}

fn crashed() -> ExtractError {
    ExtractError::Crashed(Failure::new(
        "The file made the reader crash, so nothing of it was kept. Save it again from the program that made it and upload it anew.",
    ))
}
