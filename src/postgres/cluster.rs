//! Making the cluster: initdb, once, and the configuration, at each start.

use std::{fs, io, os::unix::fs::OpenOptionsExt, path::Path, process::Stdio, time::Instant};

use super::{
    SUPERUSER, Settings,
    account::Account,
    adoption, launch,
    place::{Place, make_cluster_directory},
    programs::{Installed, MAJOR},
    server_log::remedy_for,
    tuning,
};
use crate::support::{Error, Result};

/// Makes the cluster if there is none. initdb works under another name, which is given up when it is done, so that
/// an interrupted one is begun again instead of being taken for a database.
pub fn ensure(settings: &Settings, place: &Place, installed: &Installed) -> Result<()> {
    if place.cluster.exists() {
        return check_version(&place.cluster);
    }
    let began = Instant::now();
    let draft = place.home.join("cluster.partial");
    if draft.exists() {
        tracing::warn!(directory = %draft.display(), "an earlier initdb was interrupted; beginning again");
        adoption::clear_draft(&draft)?;
        // It may have removed it meanwhile.
        if let Err(error) = fs::remove_dir_all(&draft)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(failed(&draft, &error.to_string()));
        }
    }
    make_cluster_directory(&draft, &place.account).map_err(|error| failed(&draft, &error.to_string()))?;
    let output = launch::command(&settings.launcher, &place.account, &installed.program("initdb"))
        .arg("-D")
        .arg(&draft)
        .args(["-U", SUPERUSER, "--auth=peer", "--encoding=UTF8", "--no-instructions"])
        // The same order of text on every machine, whatever locales it has or upgrades.
        .args(["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"])
        // One flush of the whole file system; the unpacked programs rely on it as well (`bundle`). On a busy disk a
        // flush for each of a thousand files took three times as long.
        .arg("--sync-method=syncfs")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(&draft, &error.to_string()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let why = words
            .lines()
            .rev()
            .find(|line| line.contains("error:") || line.contains("FATAL") || line.contains("cannot"));
        return Err(failed(&draft, why.unwrap_or_else(|| words.trim())));
    }
    fs::rename(&draft, &place.cluster).map_err(|error| failed(&draft, &error.to_string()))?;
    // The rename itself has to be on disk before anything is built on it.
    let _ = fs::File::open(&place.home).and_then(|home| home.sync_all());
    tracing::info!(
        duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        user = place.account.name, directory = %place.cluster.display(), "made the database cluster"
    );
    Ok(())
}

/// Writes PostgreSQL's configuration. Its directory is ours, not PostgreSQL's: root never writes where a less
/// privileged user could have put a link.
pub fn configure(settings: &Settings, place: &Place) -> Result<()> {
    let ours = Account::current()?;
    let files = [
        ("postgresql.conf", tuning::configuration(settings, place)),
        ("pg_hba.conf", tuning::HBA.to_owned()),
        ("pg_ident.conf", tuning::ident(&[&ours.name, &place.account.name])),
    ];
    for (name, text) in files {
        let path = place.etc.join(name);
        // A full disk shall not keep a database from starting whose configuration is already right.
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        write(&path, &text).map_err(|error| {
            Error::unavailable(format!("cannot write {}: {error}", path.display()))
                .remedy("check the disk's free space and who owns the data directory")
        })?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let _ = fs::remove_file(&draft);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&draft)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    // Read by PostgreSQL's user, whatever the umask of ours.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    fs::rename(&draft, path)
}

fn check_version(cluster: &Path) -> Result<()> {
    let version = fs::read_to_string(cluster.join("PG_VERSION")).map_err(|error| {
        Error::unavailable(format!("{} is not a PostgreSQL cluster: {error}", cluster.display()))
            .remedy("restore the data directory from a backup, or move it away to begin with an empty one")
    })?;
    if version.trim() == MAJOR.to_string() {
        return Ok(());
    }
    Err(Error::unavailable(format!("the database was made by PostgreSQL {}, this is {MAJOR}", version.trim()))
        .remedy("use the version of aegis that it was made with, make a backup, and restore that here"))
}

fn failed(draft: &Path, why: &str) -> Error {
    // What is left of it is removed by the next attempt; now it may be what fills the disk.
    let _ = fs::remove_dir_all(draft);
    let error = Error::unavailable(format!("the database cluster could not be made: {why}"));
    match remedy_for(why) {
        Some(remedy) => error.remedy(remedy),
        None => error,
    }
}
