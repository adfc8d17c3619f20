//! The appliance's key: 256 random bits in `keys/appliance.key`, made at the first start, from which
//! everything that must be secret and repeatable is derived.

use std::{
    fmt, fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::support::{Error, Result, random};

/// The appliance's key. It never prints itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ApplianceKey([u8; 32]);

impl ApplianceKey {
    /// A key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads `keys/appliance.key` under `data_dir`, or makes it if there is none.
    ///
    /// # Errors
    /// When the file cannot be read or written, is not 64 hexadecimal digits, or can be read by other users.
    pub fn load_or_create(data_dir: &Path) -> Result<Self> {
        let path = Self::path(data_dir);
        match read(&path) {
            Ok(key) => key,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path),
            Err(error) => Err(cannot("read", &path, error)),
        }
    }

    /// Where the key lies.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("keys").join("appliance.key")
    }

    /// HMAC-SHA256 over `purpose` and `subject`, in hex: the same for the same key, and nothing to guess the key by.
    pub fn derive(&self, purpose: &str, subject: &str) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(subject.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

impl fmt::Debug for ApplianceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApplianceKey(•••)")
    }
}

fn read(path: &Path) -> io::Result<Result<ApplianceKey>> {
    let text = fs::read_to_string(path)?;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        let message = format!("{} can be read by other users of this machine", path.display());
        return Ok(Err(Error::invalid(message).remedy(format!("chmod 600 {}", path.display()))));
    }
    let mut bytes = [0; 32];
    Ok(match hex::decode_to_slice(text.trim(), &mut bytes) {
        Ok(()) => Ok(ApplianceKey(bytes)),
        Err(_) => Err(Error::invalid(format!("{} is not a key: 64 hexadecimal digits are expected", path.display()))
            .remedy("put back the key from your backup; a new one cannot open what the old one sealed")),
    })
}

/// Writes a new key so that there is either the whole file or none, whenever the power fails.
fn create(path: &Path) -> Result<ApplianceKey> {
    let bytes = random::bytes();
    let directory = path.parent().unwrap_or(Path::new("."));
    let draft = path.with_extension(format!("key.{}", std::process::id()));
    let write = || -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(format!("{}\n", hex::encode(bytes)).as_bytes())?;
        file.sync_all()?;
        // A link, unlike a rename, does not replace a key that another process made meanwhile.
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        linked?;
        fs::File::open(directory)?.sync_all()
    };
    match write() {
        Ok(()) => Ok(ApplianceKey(bytes)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path).unwrap_or_else(|error| Err(cannot("read", path, error)))
        }
        Err(error) => Err(cannot("write", path, error)),
    }
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    Error::invalid(format!("cannot {what} the appliance's key {}: {error}", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let first = ApplianceKey::load_or_create(directory.path()).unwrap();
        let second = ApplianceKey::load_or_create(directory.path()).unwrap();
        assert!(first == second);
        let mode = fs::metadata(ApplianceKey::path(directory.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path().join("keys")).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
        let directory = tempfile::tempdir().unwrap();
        ApplianceKey::load_or_create(directory.path()).unwrap();
        let path = ApplianceKey::path(directory.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = ApplianceKey::load_or_create(directory.path()).unwrap_err();
        assert!(error.remedy_text().unwrap().starts_with("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_derived_depends_on_key_purpose_and_subject() {
        let key = ApplianceKey::from_bytes([7; 32]);
        let derived = key.derive("role", "tenant_a");
        assert_eq!(derived, key.derive("role", "tenant_a"));
        assert_ne!(derived, key.derive("role", "tenant_b"));
        assert_ne!(derived, key.derive("rolet", "enant_a"));
        assert_ne!(derived, ApplianceKey::from_bytes([8; 32]).derive("role", "tenant_a"));
        assert_eq!(derived.len(), 64);
    }
}
