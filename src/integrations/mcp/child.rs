//! A server that is a program on this machine: one of those that the operator's configuration allows, in a process group of
//! its own that ends with whoever holds it, and whose lines are bounded.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    pin::Pin,
    process::{ExitCode, Stdio},
    task::{Context, Poll, ready},
};

use nix::{
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::{Signal, killpg},
    },
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{
    config::McpCommand,
    support::{Error, Result},
};

/// The hidden subcommand that [`main`] answers to.
pub const SUBCOMMAND: &str = "__mcp";

/// Files that a server may have open.
const FILES: u64 = 1024;

/// The server's processes; dropping it ends all of them.
pub(super) struct Group {
    group: Option<Pid>,
    _child: Child,
}

/// What a server says, as long as no line of it is longer than what it may say at once.
pub(super) struct Bounded {
    inner: ChildStdout,
    most: usize,
    /// Bytes since the last line's end.
    line: usize,
}

/// Starts a server. It sees none of the appliance's environment but the search path, and is bounded as `command` says.
///
/// # Errors
/// `Unavailable` when no process can be started.
pub(super) fn start(
    program: &std::path::Path,
    command: &McpCommand,
    most: usize,
) -> Result<(Group, Bounded, ChildStdin)> {
    let failed = |error: io::Error| Error::unavailable("The server's program could not be started").because(error);
    let mut child = Command::new(program)
        .arg(SUBCOMMAND)
        .arg(command.memory_mib.to_string())
        .arg(&command.program)
        .args(&command.arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(&command.environment)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed(io::Error::other("the child has no pipes")));
    };
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    Ok((Group { group, _child: child }, Bounded { inner: output, most, line: 0 }, input))
}

/// The child's side: sets the bounds, and becomes the server. Returns only when that fails.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let bounds = arguments.next().and_then(|memory| memory.to_str()?.parse::<u64>().ok());
    let (Some(memory), Some(program)) = (bounds, arguments.next()) else { return ExitCode::from(2) };
    let bounded = (|| {
        // The server must not outlive the appliance, however that ends.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES)?;
        if memory > 0 {
            setrlimit(Resource::RLIMIT_AS, memory << 20, memory << 20)?;
        }
        nix::Result::Ok(())
    })();
    if bounded.is_err() {
        return ExitCode::FAILURE;
    }
    // Only a failure comes back.
    let _ = std::process::Command::new(program).args(arguments).exec();
    ExitCode::from(127)
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Gone already is as good.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let new = &buffer.filled()[before..];
        self.line = match new.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => new.len() - end - 1,
            None => self.line.saturating_add(new.len()),
        };
        if self.line > self.most {
            buffer.set_filled(before);
            return Poll::Ready(Err(io::Error::other("the server says more at once than is read")));
        }
        Poll::Ready(Ok(()))
    }
}
