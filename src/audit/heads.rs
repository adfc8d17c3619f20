//! The heads of the logs in files beside the database, so that a log whose newest entries were cut off is found out.
//!
//! `audit-heads/<log>` in the data directory holds one line of JSON: the log's name, the place and the hash of its newest
//! entry. It is replaced as a whole, a quarter of a second after the first of the entries that it did not know, and when
//! the appliance stops. A crash in between leaves a file that lags behind, and so does another node's writing: what it
//! names is then an ancestor of the newest entry, which is all that [`super::verify`] needs.
//!
//! A head is only ever replaced by one that follows it. When the log in the database does not contain it any more, the file
//! stays as it is, whatever is written from then on: otherwise the next entry would wipe out the evidence.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{
    db::{Head, Testimony, Witness},
    support::{Error, Result},
    vault::ApplianceKey,
};

/// How long entries are collected before a file is written.
const COLLECT: Duration = Duration::from_millis(250);
/// So many hashes of each log are remembered, to compare entries that come out of order.
const KNOWN: usize = 256;

/// The purpose of a signature by the appliance's key.
const CHECKPOINT: &str = "audit checkpoint v1";

/// The heads of all logs, in a directory.
pub struct HeadFiles {
    directory: PathBuf,
    key: ApplianceKey,
    logs: Mutex<HashMap<String, Remembered>>,
    changed: Arc<Notify>,
}

/// What is remembered of a log.
#[derive(Default)]
struct Remembered {
    head: Option<Head>,
    /// The place that the file names.
    written: i64,
    /// Hashes that entries had, by their places: of the newest, and of those before them.
    known: BTreeMap<i64, Vec<u8>>,
    /// The log in the database is another one.
    frozen: bool,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Line {
    log: String,
    seq: i64,
    hash: String,
}

impl HeadFiles {
    /// Opens the files under `data_dir` and writes them from now on, as entries come. Needs a running tokio runtime.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(data_dir: &Path, key: ApplianceKey) -> Result<Arc<Self>> {
        let directory = data_dir.join("audit-heads");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(|error| {
            Error::invalid(format!("the directory {} cannot be made: {error}", directory.display())).because(error)
        })?;
        let changed = Arc::new(Notify::new());
        let files = Arc::new(Self { directory, key, logs: Mutex::default(), changed: changed.clone() });
        let weak = Arc::downgrade(&files);
        tokio::spawn(async move {
            loop {
                changed.notified().await;
                tokio::time::sleep(COLLECT).await;
                let Some(files) = weak.upgrade() else { return };
                if let Err(error) = tokio::task::spawn_blocking(move || files.write_all()).await {
                    tracing::error!(%error, "the heads of the audit logs were not written");
                }
            }
        });
        Ok(files)
    }

    fn write_all(&self) {
        let behind: Vec<(String, Head)> = {
            let logs = self.logs();
            let behind = logs.iter().filter_map(|(log, known)| {
                let head = known.head.as_ref().filter(|head| head.seq > known.written && !known.frozen)?;
                Some((log.clone(), head.clone()))
            });
            behind.collect()
        };
        for (log, head) in behind {
            match self.write(&log, &head) {
                Ok(()) => {
                    if let Some(known) = self.logs().get_mut(&log) {
                        known.written = known.written.max(head.seq);
                    }
                }
                Err(error) => {
                    tracing::error!(log, %error, "the head of an audit log cannot be written beside the database");
                }
            }
        }
    }

    /// Either the old file or the new one, whenever the power fails.
    fn write(&self, log: &str, head: &Head) -> io::Result<()> {
        let line = Line { log: log.to_owned(), seq: head.seq, hash: hex::encode(&head.hash) };
        let draft = self.directory.join(format!("{log}.new"));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(format!("{}\n", serde_json::to_string(&line)?).as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, self.directory.join(log))?;
        fs::File::open(&self.directory)?.sync_all()
    }

    fn read(&self, log: &str) -> Option<Head> {
        let read = || -> io::Result<Head> {
            let line: Line = serde_json::from_str(&fs::read_to_string(self.directory.join(log))?)?;
            let hash = hex::decode(line.hash).map_err(io::Error::other)?;
            Ok(Head { seq: line.seq, hash })
        };
        read()
            .inspect_err(|error| {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::error!(log, %error, "the head of an audit log beside the database cannot be read");
                }
            })
            .ok()
    }

    /// What is known of a log, read from its file at first.
    fn with<T>(&self, log: &str, act: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut logs = self.logs();
        if !logs.contains_key(log) {
            let head = self.read(log);
            let written = head.as_ref().map_or(0, |head| head.seq);
            logs.insert(log.to_owned(), Remembered { head, written, ..Remembered::default() });
        }
        act(logs.entry(log.to_owned()).or_default())
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn saw(&mut self, head: &Head, previous: &[u8]) -> Testimony {
        let contradicts = |known: Option<&Vec<u8>>, hash: &[u8]| known.is_some_and(|known| known[..] != *hash);
        if self.frozen
            || contradicts(self.known.get(&head.seq), &head.hash)
            || contradicts(self.known.get(&(head.seq - 1)), previous)
        {
            self.frozen = true;
            return Testimony::Contradicts;
        }
        let in_order = self.known.contains_key(&head.seq);
        self.known.insert(head.seq, head.hash.clone());
        self.known.insert(head.seq - 1, previous.to_vec());
        while self.known.len() > KNOWN {
            self.known.pop_first();
        }
        match &self.head {
            None => {}
            Some(last) if head.seq == last.seq + 1 && *previous == last.hash => {}
            Some(last) if head.seq == last.seq + 1 => {
                self.frozen = true;
                return Testimony::Contradicts;
            }
            Some(last) if head.seq <= last.seq && in_order => return Testimony::Follows,
            Some(last) => return Testimony::Doubt(last.clone()),
        }
        self.head = Some(head.clone());
        Testimony::Follows
    }
}

impl Witness for HeadFiles {
    fn saw(&self, log: &str, head: &Head, previous: &[u8]) -> Testimony {
        let testimony = self.with(log, |known| known.saw(head, previous));
        self.changed.notify_one();
        testimony
    }

    fn settle(&self, log: &str, head: &Head, is_there: bool) {
        self.with(log, |known| {
            if !is_there {
                known.frozen = true;
            } else if !known.frozen && known.head.as_ref().is_none_or(|last| last.seq < head.seq) {
                known.head = Some(head.clone());
            }
        });
        self.changed.notify_one();
    }

    fn remembers(&self, log: &str) -> Option<Head> {
        self.with(log, |known| known.head.clone())
    }

    fn place(&self, log: &str) -> String {
        self.directory.join(log).display().to_string()
    }

    fn flush(&self) {
        self.write_all();
    }

    fn forget(&self, log: &str) {
        self.logs().remove(log);
        match fs::remove_file(self.directory.join(log)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(log, %error, "the head of a log that is gone could not be removed");
            }
            _ => {}
        }
    }

    fn sign(&self, text: &str) -> String {
        self.key.derive(CHECKPOINT, text)
    }
}

impl Drop for HeadFiles {
    fn drop(&mut self) {
        // The task that writes finds nobody to write for.
        self.changed.notify_one();
    }
}

impl fmt::Debug for HeadFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadFiles").field("directory", &self.directory).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: i64) -> Head {
        Head { seq, hash: vec![u8::try_from(seq).unwrap(); 32] }
    }

    fn saw(files: &HeadFiles, seq: i64) -> Testimony {
        files.saw("acme", &head(seq), &head(seq - 1).hash)
    }

    fn key() -> ApplianceKey {
        ApplianceKey::from_bytes([3; 32])
    }

    #[tokio::test]
    async fn the_file_follows_the_log_and_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let files = HeadFiles::open(directory.path(), key()).unwrap();
        assert_eq!(files.remembers("acme"), None);
        for seq in 1..=3 {
            assert_eq!(saw(&files, seq), Testimony::Follows);
        }
        for _ in 0..100 {
            if directory.path().join("audit-heads/acme").exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let again = HeadFiles::open(directory.path(), key()).unwrap();
        assert_eq!(again.remembers("acme"), Some(head(3)), "without being told to, within a second");
        saw(&files, 4);
        files.flush();
        let again = HeadFiles::open(directory.path(), key()).unwrap();
        assert_eq!(again.remembers("acme"), Some(head(4)));
        again.forget("acme");
        assert_eq!(HeadFiles::open(directory.path(), key()).unwrap().remembers("acme"), None);
    }

    #[tokio::test]
    async fn writers_out_of_order_follow_and_a_gap_is_doubted_until_it_is_settled() {
        let directory = tempfile::tempdir().unwrap();
        let files = HeadFiles::open(directory.path(), key()).unwrap();
        saw(&files, 1);
        assert_eq!(saw(&files, 3), Testimony::Doubt(head(1)));
        files.settle("acme", &head(3), true);
        assert_eq!(saw(&files, 2), Testimony::Follows, "the third has said what the second was");
        assert_eq!(files.remembers("acme"), Some(head(3)));
        assert_eq!(saw(&files, 4), Testimony::Follows);
    }

    #[tokio::test]
    async fn a_log_that_is_another_one_never_replaces_what_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let files = HeadFiles::open(directory.path(), key()).unwrap();
        for seq in 1..=5 {
            saw(&files, seq);
        }
        files.flush();
        let files = HeadFiles::open(directory.path(), key()).unwrap();
        assert_eq!(saw(&files, 4), Testimony::Doubt(head(5)), "after a cut, the fourth place is given again");
        files.settle("acme", &head(4), false);
        for seq in 5..=9 {
            assert_eq!(saw(&files, seq), Testimony::Contradicts);
        }
        files.flush();
        assert_eq!(HeadFiles::open(directory.path(), key()).unwrap().remembers("acme"), Some(head(5)));

        let other = Head { seq: 6, hash: vec![9; 32] };
        let files = HeadFiles::open(directory.path(), key()).unwrap();
        assert_eq!(files.saw("acme", &other, &[8; 32]), Testimony::Contradicts);
    }
}
