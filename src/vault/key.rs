//! The appliance's root key: 256 random bits, from which everything that must be secret and repeatable is derived.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::SecretText;
use crate::support::random;

/// The appliance's root key. It never prints itself, and is compared in constant time.
#[derive(Clone)]
pub struct ApplianceKey([u8; 32]);

impl ApplianceKey {
    /// A new key.
    pub fn generate() -> Self {
        Self(random::bytes())
    }

    /// A key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A key as it stands in a file: 64 hexadecimal digits, not all bytes the same, because such a key was made up.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).ok()?;
        bytes.iter().any(|byte| *byte != bytes[0]).then_some(Self(bytes))
    }

    /// As it stands in a file.
    pub(super) fn to_hex(&self) -> SecretText {
        SecretText::new(hex::encode(self.0))
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

    /// What tells apart the keys of two appliances, without telling anything about the key.
    pub fn fingerprint(&self) -> String {
        self.derive("key fingerprint", "")
    }
}

impl PartialEq for ApplianceKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ApplianceKey {}

impl fmt::Debug for ApplianceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApplianceKey(•••)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_key_that_somebody_made_up_is_no_key() {
        for made_up in ["", "secret", &"00".repeat(32), &"ff".repeat(32), &"0".repeat(63), &"zz".repeat(32)] {
            assert!(ApplianceKey::from_hex(made_up).is_none(), "{made_up:?}");
        }
        let key = ApplianceKey::generate();
        assert!(ApplianceKey::from_hex(key.to_hex().reveal()).unwrap() == key);
        assert_eq!(format!("{key:?}"), "ApplianceKey(•••)");
    }
}
