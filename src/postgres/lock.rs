//! One appliance for one data directory: a lock that the kernel gives back when the process dies, however it dies.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::kill,
    unistd::{Pid, geteuid},
};

use crate::support::{Error, Result};

/// How long a holder that has died is waited for: a child that it was just starting holds a copy until it is what it will be.
const PATIENCE: Duration = Duration::from_secs(2);

/// Holding it means that no other `aegis` works on the data directory. Dropping it gives the directory free.
#[derive(Debug)]
pub struct DataDirLock {
    data_dir: PathBuf,
    // Locked for as long as it is open; children do not inherit it (close-on-exec).
    file: File,
}

impl Drop for DataDirLock {
    fn drop(&mut self) {
        // Said to the kernel, not left to the closing: a child that is just being started holds a copy for a moment.
        let _ = self.file.unlock();
    }
}

impl DataDirLock {
    /// Makes the data directory if there is none, and takes its lock (the file `lock`, which names the owner's pid).
    ///
    /// # Errors
    /// `Conflict`, naming the other's pid, while another `aegis` runs on it: the command line takes this as
    /// "an appliance is running". `Unavailable` when the directory cannot be made or written.
    pub fn acquire(data_dir: &Path) -> Result<Self> {
        make_data_dir(data_dir).map_err(|error| unusable(data_dir, &error))?;
        // Absolute and without links, so that everything derived from it (sockets, ownership) has one name.
        let data_dir = data_dir.canonicalize().map_err(|error| unusable(data_dir, &error))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(data_dir.join("lock"))
            .map_err(|error| unusable(&data_dir, &error))?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = file.rewind().and_then(|()| file.read_to_string(&mut holder));
                    if began.elapsed() > PATIENCE || is_alive(holder.trim()) {
                        return Err(in_use(&data_dir, holder.trim()));
                    }
                    std::thread::sleep(PATIENCE / 40);
                }
                Err(TryLockError::Error(error)) => return Err(unusable(&data_dir, &error)),
            }
        }
        // The pid is a courtesy to people; the lock itself is the kernel's, so a full disk is no reason to refuse.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { data_dir, file })
    }

    /// The data directory, absolute and free of links.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

/// Whether there is such a process. What cannot be told counts as one.
fn is_alive(pid: &str) -> bool {
    pid.parse::<i32>().map_or(true, |pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
}

/// Root's directory may be passed through (not listed) by the unprivileged user that PostgreSQL runs as; what is
/// secret in it has a mode of its own.
fn make_data_dir(data_dir: &Path) -> std::io::Result<()> {
    if data_dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    let mode = if geteuid().is_root() { 0o711 } else { 0o700 };
    match fs::DirBuilder::new().mode(mode).create(data_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

fn in_use(data_dir: &Path, holder: &str) -> Error {
    let who = if holder.is_empty() { String::new() } else { format!(", with process id {holder}") };
    Error::conflict(format!("another aegis is running on {}{who}", data_dir.display()))
        .remedy("stop it first, or give this one a data directory of its own with --data-dir")
}

fn unusable(data_dir: &Path, error: &std::io::Error) -> Error {
    Error::unavailable(format!("the data directory {} cannot be used: {error}", data_dir.display()))
        .remedy("check that it may be written by the user who starts aegis, or choose another with --data-dir")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Kind;

    #[test]
    fn a_second_lock_is_refused_and_names_the_holder() {
        let home = tempfile::tempdir().unwrap();
        let data_dir = home.path().join("deep/er");
        let held = DataDirLock::acquire(&data_dir).unwrap();
        let refused = DataDirLock::acquire(&data_dir).unwrap_err();
        assert_eq!(refused.kind(), Kind::Conflict);
        assert!(refused.message().contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        DataDirLock::acquire(&data_dir).unwrap();
    }

    #[test]
    fn what_a_dead_holder_left_with_a_child_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let held = DataDirLock::acquire(home.path()).unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        fs::write(home.path().join("lock"), format!("{}\n", gone.id())).unwrap();
        let child = std::thread::spawn(move || {
            std::thread::sleep(PATIENCE / 8);
            drop(held);
        });
        DataDirLock::acquire(home.path()).unwrap();
        child.join().unwrap();
    }
}
