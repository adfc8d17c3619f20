//! Where the database lies and listens, such that the user that PostgreSQL runs as can get there.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

use super::{Endpoint, account::Account};
use crate::support::{Error, Result};

/// Where clusters go whose data directory the unprivileged user cannot reach.
const ELSEWHERE: &str = "/var/lib/aegis-postgres";
/// A socket's whole path; the kernel allows 107 bytes.
const LONGEST_SOCKET_PATH: usize = 100;
/// The number in the socket's name.
const PORT: u16 = 5432;

/// The directories of one cluster.
#[derive(Debug, Clone)]
pub struct Place {
    /// Whom PostgreSQL runs as.
    pub account: Account,
    /// Belongs to us; the unprivileged user passes through it and cannot change it.
    pub home: PathBuf,
    /// PostgreSQL's own data directory, `0700`.
    pub cluster: PathBuf,
    /// Its configuration, which PostgreSQL reads and does not write.
    pub etc: PathBuf,
    /// The socket.
    pub endpoint: Endpoint,
}

impl Place {
    /// Finds, or makes, the directories for `data_dir`.
    pub fn prepare(data_dir: &Path, configured_user: Option<&str>) -> Result<Self> {
        let home = data_dir.join("postgres");
        let account = choose_account(&home.join("cluster"), configured_user)?;
        let home = if home.exists() { home } else { make_home(data_dir, &home, &account)? };
        let home = home.canonicalize().map_err(|error| cannot("use", &home, &error))?;
        if !reachable(&home, &account) {
            return Err(Error::unavailable(format!("the user {} cannot reach {}", account.name, home.display()))
                .remedy("make each directory on the way passable with chmod o+x, or name another user in [database]"));
        }
        let etc = home.join("etc");
        make_directory(&etc, 0o755, None).map_err(|error| cannot("make", &etc, &error))?;
        let endpoint = Endpoint { socket_dir: socket_dir(data_dir, &account)?, port: PORT };
        Ok(Self { cluster: home.join("cluster"), account, home, etc, endpoint })
    }
}

/// A cluster that exists stays with its owner; otherwise it is ourselves, or for root an unprivileged user.
fn choose_account(cluster: &Path, configured: Option<&str>) -> Result<Account> {
    let owner = fs::metadata(cluster).ok().map(|metadata| metadata.uid());
    if !geteuid().is_root() {
        let account = Account::current()?;
        return match owner {
            Some(uid) if uid != account.uid => Err(foreign(cluster, uid, &account)),
            _ => Ok(account),
        };
    }
    match owner {
        None | Some(0) => Account::unprivileged(configured),
        Some(uid) => {
            let account = Account::by_uid(uid).ok_or_else(|| {
                Error::unavailable(format!("{} belongs to user number {uid}, which has no name", cluster.display()))
            })?;
            match configured {
                Some(name) if name != account.name => Err(foreign(cluster, uid, &Account::unprivileged(configured)?)),
                _ => Ok(account),
            }
        }
    }
}

fn foreign(cluster: &Path, owner: u32, account: &Account) -> Error {
    let owner = Account::by_uid(owner).map_or_else(|| format!("number {owner}"), |account| account.name);
    Error::unavailable(format!(
        "the database in {} belongs to the user {owner}, not to {}",
        cluster.display(),
        account.name
    ))
    .remedy(format!(
        "start aegis as {owner} or root, or hand the files over: chown -R {} {}",
        account.name,
        cluster.display()
    ))
}

/// In the data directory, or, when the account cannot get there (a checkout below /root, a 0700 temporary
/// directory), in a directory of the machine, with a link to it in the data directory.
fn make_home(data_dir: &Path, home: &Path, account: &Account) -> Result<PathBuf> {
    if reachable(data_dir, account) {
        make_directory(home, home_mode(), None).map_err(|error| cannot("make", home, &error))?;
        return Ok(home.to_owned());
    }
    let parent = Path::new(ELSEWHERE);
    make_directory(parent, 0o711, None).map_err(|error| cannot("make", parent, &error))?;
    // A name that is taken belongs to another data directory, perhaps one that was moved: never reuse, never remove.
    let mut target = parent.join(digest(data_dir));
    for attempt in 2.. {
        match fs::DirBuilder::new().mode(0o711).create(&target) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                target = parent.join(format!("{}-{attempt}", digest(data_dir)));
            }
            Err(error) => return Err(cannot("make", &target, &error)),
        }
    }
    fs::set_permissions(&target, fs::Permissions::from_mode(0o711)).map_err(|error| cannot("make", &target, &error))?;
    // A dangling link is what remains of a place that somebody removed.
    if home.is_symlink() {
        fs::remove_file(home).map_err(|error| cannot("replace", home, &error))?;
    }
    symlink(&target, home).map_err(|error| cannot("make", home, &error))?;
    tracing::info!(
        user = account.name, data_dir = %data_dir.display(), place = %target.display(),
        "the database user cannot reach the data directory, so the database lies elsewhere, with a link to it"
    );
    Ok(target)
}

/// Where the socket is: in the data directory if its path is short enough and the account can get there.
fn socket_dir(data_dir: &Path, account: &Account) -> Result<PathBuf> {
    let inside = data_dir.join("run");
    let name = format!("aegis-{}", digest(data_dir));
    let mut candidates = Vec::new();
    if reachable(data_dir, account) && fits(&inside) {
        candidates.push(inside);
    }
    candidates.extend([Path::new("/run").join(&name), Path::new("/tmp").join(&name)]);
    let mut last = None;
    for candidate in candidates {
        match private_directory(&candidate, account) {
            Ok(()) => return Ok(candidate),
            Err(error) => last = Some(cannot("use", &candidate, &error)),
        }
    }
    Err(last.unwrap_or_else(|| Error::unavailable("there is no directory for the database's socket")))
}

/// Short enough for a socket's address, and free of what PostgreSQL's list of directories takes for punctuation.
fn fits(directory: &Path) -> bool {
    let socket = Endpoint { socket_dir: directory.to_owned(), port: PORT }.socket();
    let plain = directory.to_str().is_some_and(|path| !path.contains([',', '"', '\'', '\\', '\n']));
    plain && socket.as_os_str().len() < LONGEST_SOCKET_PATH
}

/// A `0700` directory of the account's. In /tmp somebody else may have been there first: then it is an error.
fn private_directory(path: &Path, account: &Account) -> io::Result<()> {
    make_directory(path, 0o700, Some(account))?;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || metadata.uid() != account.uid {
        return Err(io::Error::other("it belongs to somebody else"));
    }
    if metadata.mode() & 0o777 != 0o700 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes a directory with exactly this mode, whatever the umask; one that exists stays as it is.
fn make_directory(path: &Path, mode: u32, owner: Option<&Account>) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        done => done?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    match owner {
        Some(owner) if geteuid().is_root() => chown(path, Some(owner.uid), Some(owner.gid)),
        _ => Ok(()),
    }
}

/// Makes PostgreSQL's own directory, empty, for initdb.
pub fn make_cluster_directory(path: &Path, account: &Account) -> io::Result<()> {
    make_directory(path, 0o700, Some(account))
}

fn home_mode() -> u32 {
    if geteuid().is_root() { 0o711 } else { 0o700 }
}

/// Whether `account` may pass every directory down to and including `path`.
fn reachable(path: &Path, account: &Account) -> bool {
    path.ancestors().all(|directory| {
        let Ok(metadata) = fs::metadata(directory) else { return false };
        let needed = if metadata.uid() == account.uid {
            0o100
        } else if metadata.gid() == account.gid {
            0o010
        } else {
            0o001
        };
        metadata.mode() & needed != 0
    })
}

/// Eight digits that stand for a data directory in shared places, and for the user who runs it.
fn digest(data_dir: &Path) -> String {
    let text = format!("{} {}", geteuid(), data_dir.display());
    hex::encode(&Sha256::digest(text.as_bytes())[..4])
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::unavailable(format!("cannot {what} the directory {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_behind_a_closed_one_is_out_of_reach_for_others() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Account { name: "stranger".into(), uid: 4_000_000, gid: 4_000_000 };
        assert!(!reachable(&inner, &stranger));
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o711)).unwrap();
        assert!(reachable(&inner, &stranger));
    }

    #[test]
    fn a_long_or_odd_path_does_not_become_a_socket() {
        assert!(fits(Path::new("/var/lib/aegis/run")));
        assert!(!fits(Path::new(&format!("/var/lib/{}/run", "long".repeat(24)))));
        assert!(!fits(Path::new("/srv/a,b/run")));
    }

    #[test]
    fn a_directory_of_somebody_else_is_no_place_for_a_socket() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("taken");
        symlink(root.path(), &path).unwrap();
        let account = Account { name: "me".into(), uid: geteuid().as_raw(), gid: 0 };
        assert!(private_directory(&path, &account).is_err());
    }
}
