//! The key file: how it is written so that there is either the whole of it or the one before, and how it is read.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ApplianceKey, Passphrase, SealingKey, SecretText};
use crate::support::{Error, Result};

/// What an age file begins with.
const AGE: &[u8] = b"age-encryption.org/v1\n";

const HEADING: &str =
    "# The keys of this AEGIS. Keep a copy where backups of the database are not: together they open every secret,
# and without this file nobody opens any.
";

/// What is in the file.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) root: ApplianceKey,
    /// The current one, then those that something may still be sealed to. Empty in files of the first version, which
    /// hold the root alone.
    pub(super) sealing: Vec<SealingKey>,
}

/// A file as it was found.
pub(super) enum Found {
    Nothing,
    Readable(Keys),
    /// Encrypted with a passphrase.
    Locked(Vec<u8>),
}

/// Not `Debug`: it holds the keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    root: String,
    sealing: Vec<SealingText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealingText {
    identity: String,
    made_at: DateTime<Utc>,
}

/// Whether a file may be there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    New,
    Replace,
}

/// What stands in the key file: keys, or keys under a passphrase.
pub(super) fn read(path: &Path) -> Result<Found> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(cannot("read", path, error)),
    };
    let mode = fs::metadata(path).map_err(|error| cannot("read", path, error))?.permissions().mode();
    if mode & 0o077 != 0 {
        let message = format!("{} can be read by other users of this machine", path.display());
        return Err(Error::invalid(message).remedy(format!("chmod 600 {}", path.display())));
    }
    if bytes.starts_with(AGE) {
        return Ok(Found::Locked(bytes));
    }
    let text = SecretText::new(String::from_utf8(bytes).map_err(|_| no_keys(path))?);
    parse(&text).map(Found::Readable).ok_or_else(|| no_keys(path))
}

/// Opens a file that is under a passphrase.
pub(super) fn unlock(path: &Path, locked: &[u8], passphrase: &Passphrase) -> Result<Keys> {
    let text = passphrase.unlock(locked).map_err(|_| no_keys(path))?.ok_or_else(|| {
        Error::invalid(format!("the passphrase does not open {}", path.display()))
            .remedy("give the one that the file was protected with; nothing was changed")
    })?;
    parse(&text).ok_or_else(|| no_keys(path))
}

/// Writes the keys, with a passphrase or without.
///
/// # Errors
/// `Conflict` when there is a file although it is to be a new one.
pub(super) fn write(path: &Path, keys: &Keys, passphrase: Option<&Passphrase>, how: Write) -> Result<()> {
    let text = text_of(keys)?;
    let bytes = match passphrase {
        Some(passphrase) => passphrase.lock(&text)?,
        None => text.reveal().as_bytes().to_vec(),
    };
    put(path, &bytes, how).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::conflict(format!("{} was made by another process meanwhile", path.display())).remedy("start again")
        }
        _ => cannot("write", path, error),
    })
}

fn parse(text: &SecretText) -> Option<Keys> {
    if let Some(root) = ApplianceKey::from_hex(text.reveal()) {
        return Some(Keys { root, sealing: Vec::new() });
    }
    // The parser's own words would repeat the line, key and all.
    let text: Text = toml::from_str(text.reveal()).ok()?;
    let sealing: Option<Vec<_>> =
        text.sealing.iter().map(|key| SealingKey::parse(&key.identity, key.made_at)).collect();
    Some(Keys { root: ApplianceKey::from_hex(&text.root)?, sealing: sealing.filter(|keys| !keys.is_empty())? })
}

fn text_of(keys: &Keys) -> Result<SecretText> {
    let sealing = keys
        .sealing
        .iter()
        .map(|key| SealingText { identity: key.reveal().reveal().to_owned(), made_at: key.made_at() })
        .collect();
    let text = Text { root: keys.root.to_hex().reveal().to_owned(), sealing };
    let text = toml::to_string(&text).map_err(|_| Error::internal("the keys cannot be written as TOML"))?;
    Ok(SecretText::new(format!("{HEADING}{text}")))
}

/// There is either the whole file or the one before, whenever the power fails.
fn put(path: &Path, bytes: &[u8], how: Write) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let draft = path.with_extension("key.draft");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // What an interrupted write left behind; the directory is locked, so that nobody else is writing.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    match how {
        Write::Replace => fs::rename(&draft, path)?,
        Write::New => {
            // A link, unlike a rename, does not replace a key that is there.
            let linked = fs::hard_link(&draft, path);
            fs::remove_file(&draft)?;
            linked?;
        }
    }
    fs::File::open(directory)?.sync_all()
}

fn no_keys(path: &Path) -> Error {
    Error::invalid(format!("{} does not hold the appliance's keys, or not whole", path.display()))
        .remedy("put back the file from your backup; a new one cannot open what the old one sealed")
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    Error::invalid(format!("cannot {what} the appliance's keys {}: {error}", path.display())).because(error)
}
