//! The appliance's keys, as the running appliance holds them. [`crate::vault`] says what each is for.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, RwLock, RwLockReadGuard};

use super::{
    ApplianceKey, Passphrase, SealingKey,
    file::{self, Found, Keys, Write},
};
use crate::support::{Error, Result};

/// Where passphrases come from at a start.
pub struct Passphrases {
    /// The one that the configuration gives.
    pub configured: Option<Passphrase>,
    /// Asks somebody; `None` when nobody is there to be asked.
    pub ask: fn() -> Result<Option<Passphrase>>,
}

/// How the key file is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// By the permissions of the file alone.
    File,
    /// By a passphrase, too.
    Passphrase,
}

/// A sealing key without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its public half, `age1…`.
    pub recipient: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
}

/// What may be told about the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// How they are protected.
    pub protection: Protection,
    /// What tells this appliance's root key from another's.
    pub root_fingerprint: String,
    /// What tenants' identities are sealed to.
    pub sealing: Known,
    /// What some may still be sealed to: a rotation is not finished.
    pub previous: Vec<Known>,
}

/// The appliance's keys. Cheap to clone.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    path: PathBuf,
    root: ApplianceKey,
    state: RwLock<State>,
    /// Held while the file is changed.
    changing: Mutex<()>,
}

struct State {
    /// The current one first; never empty.
    sealing: Vec<SealingKey>,
    passphrase: Option<Passphrase>,
}

/// The sealing keys. As long as this is held they are not rotated, so that what is sealed to the current one by its
/// holder is seen by the rotation that follows.
pub struct Sealing<'k>(RwLockReadGuard<'k, State>);

impl Sealing<'_> {
    /// What new things are sealed to.
    pub fn current(&self) -> &SealingKey {
        &self.0.sealing[0]
    }

    /// The key with this public half.
    ///
    /// # Errors
    /// `Conflict` when this appliance has none such.
    pub fn find(&self, recipient: &str) -> Result<&SealingKey> {
        self.0.sealing.iter().find(|key| key.recipient() == recipient).ok_or_else(|| {
            Error::conflict(format!(
                "the secrets are sealed to the key {recipient}, which this appliance does not have"
            ))
            .remedy("put the keys/appliance.key in place that belongs to this database")
        })
    }
}

impl Keyring {
    /// Reads `keys/appliance.key` under `data_dir`, or makes it if there is none: protected by the configured
    /// passphrase, if there is one. Whoever calls this holds the directory's lock.
    ///
    /// # Errors
    /// `Invalid` when the file is protected and no passphrase or a wrong one is given, is damaged, or can be read by
    /// other users; nothing is changed then.
    pub fn open(data_dir: &Path, passphrases: &Passphrases, now: DateTime<Utc>) -> Result<Self> {
        let path = Self::path(data_dir);
        let configured = passphrases.configured.as_ref();
        let (mut keys, passphrase) = match file::read(&path)? {
            Found::Locked(locked) => {
                let passphrase = match configured {
                    Some(passphrase) => passphrase.clone(),
                    None => (passphrases.ask)()?.ok_or_else(|| no_passphrase(&path))?,
                };
                (file::unlock(&path, &locked, &passphrase)?, Some(passphrase))
            }
            Found::Readable(keys) => {
                if configured.is_some() {
                    tracing::warn!(
                        "a passphrase is configured, but the key file is readable without it: run `aegis key protect`"
                    );
                }
                (keys, None)
            }
            Found::Nothing => {
                configured.map_or(Ok(()), Passphrase::check)?;
                let keys = Keys { root: ApplianceKey::generate(), sealing: vec![SealingKey::generate(now)] };
                file::write(&path, &keys, configured, Write::New)?;
                (keys, configured.cloned())
            }
        };
        if keys.sealing.is_empty() {
            keys.sealing.push(SealingKey::generate(now));
            file::write(&path, &keys, passphrase.as_ref(), Write::Replace)?;
        }
        let state = RwLock::new(State { sealing: keys.sealing, passphrase });
        Ok(Self(Arc::new(Inner { path, root: keys.root, state, changing: Mutex::new(()) })))
    }

    /// Where the keys lie.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("keys").join("appliance.key")
    }

    /// The key that everything repeatable is derived from.
    pub fn root(&self) -> &ApplianceKey {
        &self.0.root
    }

    /// The keys that tenants' identities are sealed to.
    pub async fn sealing(&self) -> Sealing<'_> {
        Sealing(self.0.state.read().await)
    }

    /// What may be told about the keys.
    pub async fn overview(&self) -> Overview {
        let state = self.0.state.read().await;
        let mut known = state.sealing.iter().map(|key| Known { recipient: key.recipient(), made_at: key.made_at() });
        let protection = if state.passphrase.is_some() { Protection::Passphrase } else { Protection::File };
        let root_fingerprint = self.0.root.fingerprint().chars().take(16).collect();
        let sealing = known.next().unwrap_or_else(|| unreachable!("a keyring has a sealing key"));
        Overview { protection, root_fingerprint, sealing, previous: known.collect() }
    }

    /// Whether a rotation was begun and not finished.
    pub async fn is_rotating(&self) -> bool {
        self.0.state.read().await.sealing.len() > 1
    }

    /// Makes a new sealing key the current one, and keeps those before it. When it returns, nothing more is sealed to
    /// them.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing has changed.
    pub async fn begin_rotation(&self, now: DateTime<Utc>) -> Result<()> {
        let _alone = self.0.changing.lock().await;
        let mut sealing = self.0.state.read().await.sealing.clone();
        sealing.insert(0, SealingKey::generate(now));
        let passphrase = self.passphrase().await;
        self.replace(sealing, passphrase).await
    }

    /// Forgets the old sealing keys. Nothing may be sealed to them any more.
    ///
    /// # Errors
    /// When the file cannot be written; then they are kept.
    pub async fn finish_rotation(&self) -> Result<()> {
        let _alone = self.0.changing.lock().await;
        let mut sealing = self.0.state.read().await.sealing.clone();
        sealing.truncate(1);
        let passphrase = self.passphrase().await;
        self.replace(sealing, passphrase).await
    }

    /// Protects the key file by a passphrase (`Some`), or by its permissions alone (`None`).
    ///
    /// # Errors
    /// When the file cannot be written; then it is as before.
    pub async fn protect(&self, passphrase: Option<Passphrase>) -> Result<()> {
        let _alone = self.0.changing.lock().await;
        let sealing = self.0.state.read().await.sealing.clone();
        self.replace(sealing, passphrase).await
    }

    async fn passphrase(&self) -> Option<Passphrase> {
        self.0.state.read().await.passphrase.clone()
    }

    /// First the file, then the memory: what is in use is always in the file. Readers go on meanwhile, because scrypt
    /// takes its time.
    async fn replace(&self, sealing: Vec<SealingKey>, passphrase: Option<Passphrase>) -> Result<()> {
        let (path, keys) = (self.0.path.clone(), Keys { root: self.0.root.clone(), sealing });
        let written = tokio::task::spawn_blocking(move || {
            file::write(&path, &keys, passphrase.as_ref(), Write::Replace)?;
            Ok::<_, Error>(State { sealing: keys.sealing, passphrase })
        });
        let state = written.await.map_err(Error::internal)??;
        *self.0.state.write().await = state;
        Ok(())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(•••)")
    }
}

fn no_passphrase(path: &Path) -> Error {
    Error::invalid(format!("{} is protected by a passphrase, and none was given", path.display())).remedy(
        "write [vault] passphrase = { file = \"/path\" } into the configuration, or start on a terminal and type it",
    )
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn open(directory: &Path, configured: Option<&str>) -> Result<Keyring> {
        let configured = configured.map(|text| Passphrase::presented(text.to_owned()));
        Keyring::open(directory, &Passphrases { configured, ask: || Ok(None) }, DateTime::UNIX_EPOCH)
    }

    fn bytes(directory: &Path) -> Vec<u8> {
        fs::read(Keyring::path(directory)).unwrap()
    }

    #[tokio::test]
    async fn keys_are_made_once_for_their_owner_alone_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let first = open(directory.path(), None).unwrap();
        let second = open(directory.path(), None).unwrap();
        assert!(first.root() == second.root());
        assert_eq!(first.overview().await, second.overview().await);
        let mode = fs::metadata(Keyring::path(directory.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path().join("keys")).unwrap().count(), 1, "no draft is left behind");
        let other = tempfile::tempdir().unwrap();
        assert!(open(other.path(), None).unwrap().root() != first.root(), "no key comes with the product");
    }

    #[tokio::test]
    async fn a_file_of_the_first_version_keeps_its_root_and_gets_a_sealing_key_for_good() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("keys")).unwrap();
        let path = Keyring::path(directory.path());
        let hex = "0123456789abcdef".repeat(4);
        fs::write(&path, format!("{hex}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let first = open(directory.path(), None).unwrap();
        assert!(Some(first.root()) == ApplianceKey::from_hex(&hex).as_ref());
        assert_eq!(open(directory.path(), None).unwrap().overview().await, first.overview().await);
    }

    #[test]
    fn a_file_that_others_can_read_or_that_holds_no_keys_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path(), None).unwrap();
        let path = Keyring::path(directory.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = open(directory.path(), None).unwrap_err();
        assert!(error.remedy_text().unwrap().starts_with("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        for text in ["", "secret", &"0".repeat(64), &whole[..whole.len() / 2], "age-encryption.org/v1\n"] {
            fs::write(&path, text).unwrap();
            let error = open(directory.path(), Some("five unrelated words")).unwrap_err();
            assert!(error.remedy_text().unwrap().contains("backup"), "{text:?}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "it was not touched");
        }
    }

    #[tokio::test]
    async fn a_passphrase_is_needed_once_the_file_is_protected_and_no_longer_when_it_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let short = open(directory.path(), Some("short")).unwrap_err();
        assert!(short.message().contains("12 characters"), "{short}");
        assert!(!Keyring::path(directory.path()).exists(), "nothing was made");

        let keyring = open(directory.path(), Some("five unrelated words")).unwrap();
        assert!(bytes(directory.path()).starts_with(b"age-encryption.org/v1\n-> scrypt"));
        let locked = bytes(directory.path());
        for (given, why) in [(None, "none was given"), (Some("another one entirely"), "does not open")] {
            let error = open(directory.path(), given).unwrap_err();
            assert!(error.message().contains(why), "{error}");
            assert_eq!(bytes(directory.path()), locked, "nothing was made anew");
        }
        assert_eq!(keyring.overview().await.protection, Protection::Passphrase);

        keyring.protect(None).await.unwrap();
        let again = open(directory.path(), None).unwrap();
        assert!(again.root() == keyring.root());
        again.protect(Some(Passphrase::chosen("and now other words".to_owned()).unwrap())).await.unwrap();
        let last = open(directory.path(), Some("and now other words")).unwrap();
        assert!(last.root() == keyring.root());
        assert_eq!(last.overview().await.sealing, keyring.overview().await.sealing);
    }

    #[tokio::test]
    async fn a_rotation_keeps_the_old_key_until_it_is_finished_across_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let keyring = open(directory.path(), None).unwrap();
        let old = keyring.sealing().await.current().recipient();
        keyring.begin_rotation(DateTime::UNIX_EPOCH).await.unwrap();

        // Killed in the middle of a later write: the draft is of no consequence.
        fs::write(Keyring::path(directory.path()).with_extension("key.draft"), "half a fi").unwrap();
        let restarted = open(directory.path(), None).unwrap();
        assert!(restarted.is_rotating().await);
        assert!(restarted.sealing().await.find(&old).is_ok());
        assert_ne!(restarted.sealing().await.current().recipient(), old);
        restarted.finish_rotation().await.unwrap();
        assert!(!open(directory.path(), None).unwrap().is_rotating().await);
        assert!(restarted.sealing().await.find(&old).is_err());
        assert!(restarted.root() == keyring.root(), "the root stays");
    }
}
