//! What PostgreSQL says on standard error: into our log, into the state, and kept as its last words.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use super::State;

/// How many lines are kept.
const KEPT: usize = 40;

/// The last lines of one server.
#[derive(Debug, Clone, Default)]
pub struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    /// The line that tells why the server ended: the last one that is fatal, or else the last one.
    pub fn why(&self) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let parsed = || lines.iter().rev().map(|line| Line::parse(line));
        let panic = parsed().find(|line| line.severity == "PANIC");
        let fatal = || parsed().find(Line::is_fatal);
        let line = panic.or_else(fatal).or_else(|| parsed().next())?;
        Some(line.message.to_owned())
    }

    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }
}

/// What precedes each line, as `tuning` sets it: the kind of process, and a bar.
pub const PREFIX: &str = "%b|";

/// One line, taken apart: `client backend|FATAL:  database "x" does not exist`.
struct Line<'a> {
    process: &'a str,
    severity: &'a str,
    message: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let (process, rest) = line.split_once('|').unwrap_or(("", line));
        // What is not the server's own form, such as a word of `aegis __launch` or of the dynamic linker, is one message.
        match rest.split_once(":  ") {
            Some((severity, message)) if severity.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                Self { process, severity, message }
            }
            _ => Self { process: "", severity: "", message: line },
        }
    }

    /// Whether the server may have ended over it. What ends a client's session is told to that client.
    fn is_fatal(&self) -> bool {
        let of_a_session = self.process == "client backend";
        self.severity == "PANIC" || (self.severity == "FATAL" && !of_a_session) || self.message.contains("__launch:")
    }
}

/// Reads until the last process of the server has closed its end.
pub fn follow(stderr: impl Read, words: &LastWords, state: &watch::Sender<State>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            words.push(text);
            report(text);
            observe(text, words, state);
        }
        line.clear();
    }
}

fn report(text: &str) {
    let line = Line::parse(text);
    let message = line.message;
    if line.is_fatal() {
        tracing::error!(target: "aegis::postgres::server", "{message}");
    } else if line.severity.is_empty() || message.contains("terminated by signal") {
        tracing::warn!(target: "aegis::postgres::server", "{message}");
    } else {
        tracing::debug!(target: "aegis::postgres::server", process = line.process, "{message}");
    }
}

/// A killed backend takes every session along, and so does one that panics because the disk is full:
/// the postmaster lives, ends them all, and recovers.
fn observe(line: &str, words: &LastWords, state: &watch::Sender<State>) {
    if line.contains("terminating any other active server processes") {
        let panic = words.why().filter(|why| remedy_for(why).is_some());
        let why = panic.unwrap_or_else(|| {
            "a database process was killed; all sessions ended and the database recovers".to_owned()
        });
        tracing::warn!("{why}");
        let remedy = remedy_for(&why);
        state.send_if_modified(|state| {
            let lost = *state == State::Ready;
            if lost {
                *state = State::Down { why, remedy };
            }
            lost
        });
    } else if line.contains("database system is ready to accept connections") {
        state.send_if_modified(|state| {
            // The first time it is the supervisor that says so, from postmaster.pid.
            let back = matches!(state, State::Down { .. });
            if back {
                tracing::info!("the database is back");
                *state = State::Ready;
            }
            back
        });
    }
}

/// What a person can do about the server's words.
pub fn remedy_for(why: &str) -> Option<String> {
    let remedies = [
        (
            "No space left on device",
            "free some space on the disk; aegis tries again by itself, nothing that was stored is lost",
        ),
        ("Disk quota exceeded", "raise the disk quota; aegis tries again by itself, nothing that was stored is lost"),
        ("Read-only file system", "the disk has become read-only: check it, and mount it for writing again"),
        (
            "Permission denied",
            "check that the data directory belongs to the user PostgreSQL runs as, and that its file system is not mounted noexec",
        ),
        ("Cannot allocate memory", "the machine has too little free memory for the database"),
        (
            "pre-existing shared memory block",
            "processes of an earlier server are still ending; aegis tries again by itself",
        ),
        ("invalid value for parameter", "correct custom.conf beside postgresql.conf"),
        ("configuration file", "correct custom.conf beside postgresql.conf"),
        ("Input/output error", "the disk fails: check it before anything else, and have a backup at hand"),
    ];
    remedies.iter().find(|(words, _)| why.contains(words)).map(|(_, remedy)| (*remedy).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_those_that_were_fatal() {
        let words = LastWords::default();
        let (state, _) = watch::channel(State::Starting);
        let log = "postmaster|LOG:  starting\n\
            postmaster|FATAL:  could not write lock file \"postmaster.pid\": No space left on device\n\
            client backend|FATAL:  database \"x\" does not exist\n\
            postmaster|LOG:  database system is shut down\n";
        follow(log.as_bytes(), &words, &state);
        let why = words.why().unwrap();
        assert_eq!(why, "could not write lock file \"postmaster.pid\": No space left on device");
        assert!(remedy_for(&why).unwrap().contains("free some space"));
    }

    #[test]
    fn a_killed_backend_shows_in_the_state_until_the_server_is_back() {
        let (state, watcher) = watch::channel(State::Ready);
        let words = LastWords::default();
        follow(&b"postmaster|LOG:  terminating any other active server processes\n"[..], &words, &state);
        assert!(matches!(*watcher.borrow(), State::Down { remedy: None, .. }));
        follow(&b"postmaster|LOG:  database system is ready to accept connections\n"[..], &words, &state);
        assert_eq!(*watcher.borrow(), State::Ready);
    }

    #[test]
    fn a_panic_over_a_full_disk_is_told_as_such() {
        let (state, watcher) = watch::channel(State::Ready);
        let log = "client backend|PANIC:  could not write to file \"pg_wal/xlogtemp.7\": No space left on device\n\
            postmaster|LOG:  terminating any other active server processes\n";
        follow(log.as_bytes(), &LastWords::default(), &state);
        assert!(matches!(&*watcher.borrow(), State::Down { why, remedy: Some(_) } if why.contains("No space left")));
    }
}
