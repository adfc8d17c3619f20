//! What an earlier appliance left running on the cluster, and how it is brought to an end.
//!
//! An `aegis` that was killed takes PostgreSQL along (`launch`), in about two seconds; a start within these two
//! seconds, or after a failure of that, finds it here. Processes are recognised by what they are (an executable
//! called `postgres` that works in this very directory), never by a number in a file.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{Error, Result};

/// How long a server may take to write out what it has in memory. It is never killed.
const PATIENCE: Duration = Duration::from_mins(10);
/// How long processes without a postmaster may take to notice that, before they are told to end.
const NOTICE: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(20);

/// Ends whatever still works on `cluster`, and waits until it has.
///
/// Returns the pid in `postmaster.pid` if that is now somebody else's: PostgreSQL would take this process for a
/// running server, and is told better by `PG_GRANDPARENT_PID`. The file itself is never removed:
/// that would be a race, and PostgreSQL overwrites it.
///
/// # Errors
/// `Unavailable` when a server is still stopping after ten minutes.
pub fn clear(cluster: &Path) -> Result<Option<Pid>> {
    let began = Instant::now();
    let mut told = Vec::new();
    let mut reported = Instant::now();
    loop {
        let found = survey(cluster);
        let Some(first) = found.first() else { return Ok(stale_pid(cluster)) };
        if let Some(postmaster) = found.iter().find(|process| process.is_postmaster) {
            if !told.contains(&postmaster.pid) {
                tracing::warn!(
                    pid = postmaster.pid.as_raw(),
                    "a database server of an earlier start still runs; stopping it"
                );
                // Fast shutdown: sessions end, everything is written out.
                let _ = kill(postmaster.pid, Signal::SIGINT);
                told.push(postmaster.pid);
            }
        } else if began.elapsed() > NOTICE {
            // Its postmaster was killed. They end by themselves when they notice, but a checkpoint under way took
            // minutes to. SIGQUIT is what the postmaster itself would send them after a crash.
            for process in &found {
                if !told.contains(&process.pid) {
                    tracing::warn!(pid = process.pid.as_raw(), "a database process has lost its server; ending it");
                    let _ = kill(process.pid, Signal::SIGQUIT);
                    told.push(process.pid);
                }
            }
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::unavailable(format!(
                "a database server of an earlier start (process {}) does not end",
                first.pid
            ))
            .remedy("look what it waits for; a failing disk is the usual reason. Do not kill it with -9"));
        }
        if reported.elapsed() > Duration::from_secs(10) {
            reported = Instant::now();
            tracing::info!(processes = found.len(), "still waiting for an earlier database server to end");
        }
        thread::sleep(STEP);
    }
}

/// Ends what a killed appliance's initdb still does in `draft`. initdb has its parent's death signal, too, but it
/// finishes the step it is at, and then removes the directory, which must not be the next one's by then.
///
/// # Errors
/// `Unavailable` when it does not end.
pub fn clear_draft(draft: &Path) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let began = Instant::now();
    let at_work = || {
        processes().find(|pid| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            is_program(*pid, "initdb")
                && arguments.split(|byte| *byte == 0).any(|word| word == draft.as_os_str().as_bytes())
        })
    };
    while let Some(pid) = at_work() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        if began.elapsed() > PATIENCE {
            return Err(Error::unavailable(format!("an interrupted initdb (process {pid}) does not end")));
        }
        thread::sleep(STEP);
    }
    // The server that it ran for a moment.
    clear(draft).map(drop)
}

/// A PostgreSQL process that works on the cluster.
struct Process {
    pid: Pid,
    is_postmaster: bool,
}

/// Every PostgreSQL process whose working directory is the cluster's: the postmaster goes there when it starts,
/// and its children inherit it.
fn survey(cluster: &Path) -> Vec<Process> {
    let Ok(target) = fs::metadata(cluster) else { return Vec::new() };
    let ours: Vec<i32> = processes()
        .filter(|pid| {
            let here = fs::metadata(format!("/proc/{pid}/cwd"))
                .is_ok_and(|cwd| cwd.dev() == target.dev() && cwd.ino() == target.ino());
            here && is_program(*pid, "postgres")
        })
        .collect();
    ours.iter()
        .map(|&pid| {
            let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            // Children are titled "postgres: checkpointer"; a child that has not got its title yet has its postmaster
            // for a parent.
            let child = title.starts_with(b"postgres:") || parent(pid).is_some_and(|parent| ours.contains(&parent));
            Process { pid: Pid::from_raw(pid), is_postmaster: !child }
        })
        .collect()
}

/// The numbers of all processes of the machine.
fn processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether the process runs an executable of this name. We cannot look at those of other users, unless we are root.
fn is_program(pid: i32, program: &str) -> bool {
    let Ok(executable) = fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    let name = executable.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // "postgres (deleted)" after an upgrade has replaced the programs. A process that is a zombie has no executable.
    name.strip_suffix(" (deleted)").unwrap_or(&name) == program
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

/// The process that `postmaster.pid` names, if it lives; by now it is proven not to be a server of this cluster.
fn stale_pid(cluster: &Path) -> Option<Pid> {
    let pid = pid_file(cluster)?.pid;
    // A thread's number counts as a process to kill(2), and so it does here.
    let alive = pid > 1 && kill(Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH);
    if alive {
        tracing::warn!(pid, "postmaster.pid names a process that is no database server; ignoring it");
    }
    alive.then(|| Pid::from_raw(pid))
}

/// What `postmaster.pid` says.
pub struct PidFile {
    /// Its first line.
    pub pid: i32,
    /// Its eighth line is "ready": the server accepts connections.
    pub ready: bool,
}

/// Reads `postmaster.pid`, the file by which `pg_ctl`, too, learns how a server is.
pub fn pid_file(cluster: &Path) -> Option<PidFile> {
    let path: PathBuf = cluster.join("postmaster.pid");
    // Only a file: root does not wait at a pipe that PostgreSQL's user could have put there.
    fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    let pid = lines.next()?.trim().trim_start_matches('-').parse().ok()?;
    Some(PidFile { pid, ready: lines.nth(6).is_some_and(|status| status.trim() == "ready") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_that_names_a_stranger_is_told_and_not_removed() {
        let cluster = tempfile::tempdir().unwrap();
        let path = cluster.path().join("postmaster.pid");
        fs::write(&path, format!("{}\n/data\n", std::process::id())).unwrap();
        let stranger = clear(cluster.path()).unwrap().unwrap();
        assert_eq!(stranger.as_raw().unsigned_abs(), std::process::id());
        assert!(path.exists());
        fs::write(&path, "").unwrap();
        assert!(clear(cluster.path()).unwrap().is_none());
    }

    #[test]
    fn a_server_is_ready_when_the_eighth_line_says_so() {
        let cluster = tempfile::tempdir().unwrap();
        let path = cluster.path().join("postmaster.pid");
        fs::write(&path, "42\n/data\n1700000000\n5432\n/run\n\n  1 2\nready   \n").unwrap();
        assert!(pid_file(cluster.path()).is_some_and(|file| file.ready && file.pid == 42));
        fs::write(&path, "42\n/data\n1700000000\n5432\n/run\n\n  1 2\nstarting\n").unwrap();
        assert!(pid_file(cluster.path()).is_some_and(|file| !file.ready));
    }
}
