//! The passphrase that the key file may be encrypted with, as `age -p` does it.

use std::{fmt, io::Write as _, iter};

use age::{DecryptError, Decryptor, Encryptor, scrypt};

use super::SecretText;
use crate::support::{Error, Result};

/// The fewest characters: whoever steals the file can try as many as they can pay for.
const MIN_LENGTH: usize = 12;
const MAX_LENGTH: usize = 1024;

/// scrypt's cost as a power of two: 128 MiB and a fraction of a second, OWASP's first choice
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
const COST: u8 = 17;
/// The most that is accepted of a file that was encrypted elsewhere: 1 GiB.
const MOST_COST: u8 = 20;

/// A passphrase. It never prints itself.
#[derive(Clone)]
pub struct Passphrase(SecretText);

impl Passphrase {
    /// A passphrase that somebody chooses: at least 12 characters.
    ///
    /// # Errors
    /// `Invalid` when it is shorter, or too long.
    pub fn chosen(text: String) -> Result<Self> {
        let length = text.chars().count();
        if length < MIN_LENGTH {
            return Err(Error::invalid(format!("the passphrase is shorter than {MIN_LENGTH} characters"))
                .remedy("five or six unrelated words make a good one"));
        }
        if length > MAX_LENGTH {
            return Err(Error::invalid(format!("the passphrase is longer than {MAX_LENGTH} characters")));
        }
        Ok(Self(SecretText::new(text)))
    }

    /// A passphrase that somebody presents, right or wrong.
    pub fn presented(text: String) -> Self {
        Self(SecretText::new(text))
    }

    /// Refuses what is too short to protect anything, before a file is made with it.
    pub(super) fn check(&self) -> Result<()> {
        Self::chosen(self.0.reveal().to_owned()).map(drop)
    }

    /// Encrypts under the passphrase, by age's scrypt recipient.
    pub(super) fn lock(&self, text: &SecretText) -> Result<Vec<u8>> {
        let mut recipient = scrypt::Recipient::new(self.0.reveal().to_owned().into());
        recipient.set_work_factor(COST);
        let encryptor =
            Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient)).map_err(Error::internal)?;
        let mut locked = Vec::new();
        let mut writer = encryptor.wrap_output(&mut locked).map_err(Error::internal)?;
        writer.write_all(text.reveal().as_bytes()).map_err(Error::internal)?;
        writer.finish().map_err(Error::internal)?;
        Ok(locked)
    }

    /// `Ok(None)` when this is not the passphrase.
    pub(super) fn unlock(&self, locked: &[u8]) -> Result<Option<SecretText>, Damaged> {
        let mut identity = scrypt::Identity::new(self.0.reveal().to_owned().into());
        identity.set_max_work_factor(MOST_COST);
        let decryptor = Decryptor::new_buffered(locked).map_err(|_| Damaged)?;
        match decryptor.decrypt(iter::once(&identity as &dyn age::Identity)) {
            Ok(reader) => std::io::read_to_string(reader).map(|text| Some(SecretText::new(text))).map_err(|_| Damaged),
            Err(DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed) => Ok(None),
            Err(_) => Err(Damaged),
        }
    }
}

/// The file is not what was written.
#[derive(Debug)]
pub(super) struct Damaged;

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(•••)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_passphrase_opens_a_wrong_one_does_not_and_damage_is_told_apart() {
        let right = Passphrase::chosen("five unrelated words".to_owned()).unwrap();
        let mut locked = right.lock(&SecretText::new("keys".to_owned())).unwrap();
        assert_eq!(right.unlock(&locked).unwrap().unwrap().reveal(), "keys");
        assert!(Passphrase::presented("five unrelated word".to_owned()).unlock(&locked).unwrap().is_none());
        *locked.last_mut().unwrap() ^= 1;
        assert!(right.unlock(&locked).is_err());
        assert!(right.unlock(b"").is_err());
    }

    #[test]
    fn a_passphrase_is_long_and_never_printed() {
        assert!(Passphrase::chosen("eleven char".to_owned()).is_err());
        assert!(Passphrase::chosen(String::new()).is_err());
        assert_eq!(format!("{:?}", Passphrase::presented("secret".to_owned())), "Passphrase(•••)");
    }
}
