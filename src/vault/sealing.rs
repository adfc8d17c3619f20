//! Keys that texts are sealed to: age X25519 identities, see <https://age-encryption.org/v1>.

use std::{fmt, io::Write as _, iter};

use age::{Decryptor, Encryptor, x25519};
use chrono::{DateTime, Utc};

use super::SecretText;
use crate::support::{Error, Result};

/// An age identity, and when it was made. It prints its public half only.
#[derive(Clone)]
pub struct SealingKey {
    identity: x25519::Identity,
    made_at: DateTime<Utc>,
}

impl SealingKey {
    /// A new one.
    pub fn generate(now: DateTime<Utc>) -> Self {
        Self { identity: x25519::Identity::generate(), made_at: now }
    }

    /// Out of `AGE-SECRET-KEY-1…`; `None` when it is something else.
    pub fn parse(text: &str, made_at: DateTime<Utc>) -> Option<Self> {
        text.trim().parse().ok().map(|identity| Self { identity, made_at })
    }

    /// `AGE-SECRET-KEY-1…`
    pub fn reveal(&self) -> SecretText {
        self.identity.to_string().into()
    }

    /// The public half, `age1…`: what texts are sealed to, and what people tell keys apart by.
    pub fn recipient(&self) -> String {
        self.identity.to_public().to_string()
    }

    /// When it was made.
    pub fn made_at(&self) -> DateTime<Utc> {
        self.made_at
    }

    /// What was sealed to this key; `None` when it was sealed to another one, or altered.
    pub fn open(&self, sealed: &[u8]) -> Option<SecretText> {
        let decryptor = Decryptor::new_buffered(sealed).ok()?;
        let reader = decryptor.decrypt(iter::once(&self.identity as &dyn age::Identity)).ok()?;
        std::io::read_to_string(reader).ok().map(SecretText::new)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.recipient())
    }
}

/// Seals `text` to the public half `age1…` of a key.
///
/// # Errors
/// `Internal` when `recipient` is no public half.
pub fn seal(recipient: &str, text: &str) -> Result<Vec<u8>> {
    let recipient: x25519::Recipient = recipient.parse().map_err(|fault: &str| Error::internal(fault))?;
    let encryptor =
        Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient)).map_err(Error::internal)?;
    let mut sealed = Vec::with_capacity(text.len() + 256);
    let mut writer = encryptor.wrap_output(&mut sealed).map_err(Error::internal)?;
    writer.write_all(text.as_bytes()).map_err(Error::internal)?;
    writer.finish().map_err(Error::internal)?;
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_key_opens_what_was_sealed_and_only_unaltered() {
        let (one, two) = (SealingKey::generate(DateTime::UNIX_EPOCH), SealingKey::generate(DateTime::UNIX_EPOCH));
        let mut sealed = seal(&one.recipient(), "the text").unwrap();
        assert_eq!(one.open(&sealed).unwrap().reveal(), "the text");
        assert!(two.open(&sealed).is_none());
        *sealed.last_mut().unwrap() ^= 1;
        assert!(one.open(&sealed).is_none());
        assert!(one.open(b"").is_none());
        assert!(!format!("{one:?}").contains("SECRET"));
    }

    #[test]
    fn a_key_is_read_back_from_its_text() {
        let key = SealingKey::generate(DateTime::UNIX_EPOCH);
        let same = SealingKey::parse(key.reveal().reveal(), key.made_at()).unwrap();
        assert_eq!(same.recipient(), key.recipient());
        assert!(SealingKey::parse("AGE-SECRET-KEY-1", DateTime::UNIX_EPOCH).is_none());
        assert!(seal("age1nobody", "x").is_err());
    }
}
