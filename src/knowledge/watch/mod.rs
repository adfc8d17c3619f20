//! Folders that collections are filled from: `<knowledge.watch_folder>/<tenant>/<collection>/…`.
//!
//! A file is taken once it stood still between two looks, so that one that is still being written is not read in half,
//! and again, as a new version, when it has changed. What disappears from the folder stays in the knowledge base: a share
//! that is not mounted must not empty it. Only the operator says where the folder is; nobody's request names a path.

mod store;

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use super::{Collection, Knowledge, Reader, Upload};
use crate::{
    audit::Actor,
    db::TenantDb,
    support::{Error, Kind, Result},
    tenants::{Tenant, Tenants},
};

/// Folders within folders that are looked into.
const DEPTH: usize = 16;
/// Files of one collection's folder; more are left alone, and the log says so.
const MOST_FILES: usize = 100_000;

/// A file as it is seen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its size.
    pub bytes: i64,
    /// When it was changed last.
    pub modified_at: DateTime<Utc>,
}

impl Seen {
    /// Stands for what cannot be looked at.
    const NOTHING: Self = Self { bytes: 0, modified_at: DateTime::UNIX_EPOCH };
}

/// What is found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    File(Seen),
    /// A folder or a name that cannot be read, and why.
    Unreadable(&'static str),
}

impl Found {
    fn seen(&self) -> Seen {
        match self {
            Self::File(seen) => *seen,
            Self::Unreadable(_) => Seen::NOTHING,
        }
    }
}

/// A file that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Below the collection's folder.
    pub path: String,
    /// Why, for a person.
    pub reason: String,
}

/// Looks into the folders of all tenants again and again. Ends when it is dropped.
pub async fn keep_watching(knowledge: Knowledge, tenants: Tenants, folder: PathBuf, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        match tenants.list().await {
            Ok(all) => {
                for tenant in all {
                    look_for(&knowledge, &tenants, &tenant, &folder).await;
                }
            }
            Err(error) => tracing::warn!(%error, "watched folders were not looked into"),
        }
    }
}

async fn look_for(knowledge: &Knowledge, tenants: &Tenants, tenant: &Tenant, folder: &Path) {
    let own = folder.join(tenant.slug.as_str());
    if !own.is_dir() {
        return;
    }
    let looked = async { knowledge.look_into(&tenants.open(tenant).await?, &own).await };
    match looked.await {
        Ok(0) => {}
        Ok(taken) => tracing::info!(tenant = %tenant.id, taken, "files were taken from watched folders"),
        // It may be suspended; the others' turn comes all the same.
        Err(error) => tracing::warn!(tenant = %tenant.id, %error, "a watched folder was not looked into"),
    }
}

impl Knowledge {
    /// Looks once into a tenant's folder, in which each collection has one of its name. Gives how many files were taken.
    ///
    /// # Errors
    /// When the database does not answer, or the folder cannot be read.
    pub async fn look_into(&self, db: &TenantDb, folder: &Path) -> Result<usize> {
        let collections = self.open(db, Reader::everything()).collections().await?;
        let mut taken = 0;
        let own = folder.to_owned();
        let within = tokio::task::spawn_blocking(move || entries(&own)).await.map_err(Error::internal)?;
        for entry in within.map_err(|error| unreadable(folder, error))? {
            let name = entry.file_name().to_string_lossy().to_lowercase();
            let collection = collections.iter().find(|collection| collection.name.to_lowercase() == name);
            if let Some(collection) = collection.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                match self.look_into_one(db, collection, &entry.path()).await {
                    Ok(count) => taken += count,
                    // The folder of one collection says nothing about those of the others.
                    Err(error) => tracing::warn!(tenant = %db.tenant(), %error, "a watched folder was not looked into"),
                }
            }
        }
        Ok(taken)
    }

    /// The files in a collection's folder that could not be taken, by path.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn refused_files(&self, db: &TenantDb, collection: &Collection) -> Result<Vec<Refused>> {
        store::refused(db.pool(), collection.id).await
    }

    async fn look_into_one(&self, db: &TenantDb, collection: &Collection, folder: &Path) -> Result<usize> {
        let root = folder.to_owned();
        let found = tokio::task::spawn_blocking(move || files_below(&root)).await.map_err(Error::internal)?;
        let found = found.map_err(|error| unreadable(folder, error))?;
        let known: HashMap<String, store::Known> = store::known(db.pool(), collection.id).await?;
        let mut taken = 0;
        for (path, found) in &found {
            let (seen, known) = (found.seen(), known.get(path));
            match (found, known) {
                (_, Some(known)) if known.seen == seen && known.settled => {}
                (Found::Unreadable(reason), _) => {
                    store::note(db.pool(), collection.id, path, seen).await?;
                    store::settle(db.pool(), collection.id, path, seen, Some((*reason).to_owned())).await?;
                }
                // It stood still since the last look.
                (Found::File(_), Some(known)) if known.seen == seen => {
                    taken += usize::from(self.take(db, collection, folder, path, seen).await?);
                }
                _ => store::note(db.pool(), collection.id, path, seen).await?,
            }
        }
        let gone: Vec<&str> = known.keys().filter(|path| !found.contains_key(*path)).map(String::as_str).collect();
        store::forget(db.pool(), collection.id, &gone).await?;
        Ok(taken)
    }

    /// Takes a file, or notes why it cannot be taken. `false` when it was refused, or changed meanwhile.
    async fn take(
        &self,
        db: &TenantDb,
        collection: &Collection,
        folder: &Path,
        path: &str,
        seen: Seen,
    ) -> Result<bool> {
        let settled = |refusal: Option<String>| store::settle(db.pool(), collection.id, path, seen, refusal);
        let size = usize::try_from(seen.bytes).unwrap_or(usize::MAX);
        if let Err(error) = self.check_size(path, size) {
            settled(Some(error.to_string())).await?;
            return Ok(false);
        }
        let (root, below) = (folder.to_owned(), path.to_owned());
        let read = tokio::task::spawn_blocking(move || content(&root, &below, size)).await.map_err(Error::internal)?;
        let bytes = match read {
            Ok(Some(bytes)) => bytes,
            // It is being written after all; the next look sees what it has become.
            Ok(None) => return Ok(false),
            Err(error) => {
                settled(Some(format!("It cannot be read: {error}"))).await?;
                return Ok(false);
            }
        };
        let upload = Upload::new(path, bytes, Actor::System).into_collection(collection.id);
        match self.open(db, Reader::everything()).add(upload).await {
            Ok(_) => {
                settled(None).await?;
                Ok(true)
            }
            Err(error) if error.kind() == Kind::Unavailable => Err(error),
            // A fault of ours with one file keeps no other out; it is looked at again.
            Err(error) if error.kind() == Kind::Internal => {
                tracing::error!(tenant = %db.tenant(), %error, "a file of a watched folder could not be taken");
                Ok(false)
            }
            Err(error) => {
                settled(Some(error.to_string())).await?;
                Ok(false)
            }
        }
    }
}

/// Every file below `root` with its path from there, and what cannot be looked at. What is hidden, links, and whatever is
/// no plain file stay out.
fn files_below(root: &Path) -> io::Result<HashMap<String, Found>> {
    let mut found = HashMap::new();
    let mut folders = vec![(entries(root)?, String::new(), 0)];
    while let Some((entries_here, above, depth)) = folders.pop() {
        for entry in entries_here {
            let Ok(kind) = entry.file_type() else { continue };
            let path = format!("{above}{}", entry.file_name().to_string_lossy());
            if entry.file_name().to_str().is_none() {
                found.insert(path, Found::Unreadable("Its name is not in UTF-8: rename it"));
            } else if kind.is_dir() && depth == DEPTH {
                found.insert(path, Found::Unreadable("The folder lies too deep: move it further up"));
            } else if kind.is_dir() {
                match entries(&entry.path()) {
                    Ok(below) => folders.push((below, format!("{path}/"), depth + 1)),
                    // It may have gone since it was listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(_) => {
                        let reason = "The folder cannot be read: let the appliance's user read it";
                        found.insert(path, Found::Unreadable(reason));
                    }
                }
            } else if kind.is_file() {
                let Ok(metadata) = entry.metadata() else { continue };
                let modified_at = metadata.modified().map_or(DateTime::UNIX_EPOCH, DateTime::<Utc>::from);
                // The database keeps microseconds.
                let modified_at = DateTime::from_timestamp_micros(modified_at.timestamp_micros()).unwrap_or_default();
                let bytes = i64::try_from(metadata.len()).unwrap_or(i64::MAX);
                found.insert(path, Found::File(Seen { bytes, modified_at }));
            }
            if found.len() == MOST_FILES {
                tracing::warn!(folder = %root.display(), "more than {MOST_FILES} files; the others are left alone");
                return Ok(found);
            }
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).collect())
}

/// The file's bytes; `None` when they are not as many as were seen, or not in the folder any more.
fn content(root: &Path, below: &str, bytes: usize) -> io::Result<Option<Vec<u8>>> {
    // Not through a link that was put in its place, and not waiting at a pipe.
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(root.join(below))?;
    // Nor through one that was put in the place of a folder above it: what counts is what was opened.
    let opened = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if !file.metadata()?.is_file() || opened != root.canonicalize()?.join(below) {
        return Ok(None);
    }
    let mut content = Vec::with_capacity(bytes);
    file.take(bytes as u64 + 1).read_to_end(&mut content)?;
    Ok((content.len() == bytes).then_some(content))
}

fn unreadable(folder: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("the folder {} cannot be read", folder.display()))
        .remedy("let the appliance's user read it")
        .because(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_lies_behind_a_link_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let (inside, outside) = (root.path().join("inside"), root.path().join("outside"));
        fs::create_dir_all(inside.join("plain")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(inside.join("plain/a.txt"), "own").unwrap();
        fs::write(outside.join("a.txt"), "not").unwrap();
        // As if they had been put there after the folder was read.
        symlink(&outside, inside.join("folder")).unwrap();
        symlink(outside.join("a.txt"), inside.join("file.txt")).unwrap();
        assert_eq!(content(&inside, "plain/a.txt", 3).unwrap().as_deref(), Some(&b"own"[..]));
        assert_eq!(content(&inside, "plain/a.txt", 4).unwrap(), None, "it has changed");
        assert_eq!(content(&inside, "folder/a.txt", 3).unwrap(), None);
        assert_eq!(content(&inside, "file.txt", 3).unwrap_err().raw_os_error(), Some(nix::libc::ELOOP));
        let found = files_below(&inside).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["plain/a.txt"]);
    }
}
