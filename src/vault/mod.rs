//! Secrets: the appliance's keys, what is derived from and sealed to them, passwords, and tokens that are stored as
//! hashes only.
//!
//! # Which key protects what
//!
//! `keys/appliance.key` under the data directory is a small file with two kinds of keys in it ([`keyring`]):
//!
//! | key | what for | changed by |
//! |---|---|---|
//! | **root**, 256 random bits ([`ApplianceKey`]) | everything that is *derived*: passwords of database roles on an external server, the seals inside envelopes, signatures of the audit log | never |
//! | **sealing key**, an age X25519 identity ([`SealingKey`]) | the tenants' own identities are encrypted to it | `aegis key rotate --appliance` |
//!
//! The root is apart because rotating it could not be done while running: passwords of roles on a server that other
//! nodes use would change under them, and signatures made years ago would no longer be checked. Whoever reads only
//! the database gains nothing by it: it is never used to encrypt.
//!
//! Each tenant has an age identity of its own, made with its first secret. It lies in the tenant's schema
//! (`secret_key`), sealed to the appliance's sealing key, so that a tenant's backup carries it and is useless
//! without the key file. The tenant's values are encrypted to the tenant's identity (`crate::secrets`).
//!
//! Every sealed text is an [`envelope`]: inside the ciphertext stand what it is, whose, its name, and an HMAC by the root
//! over all of these. age says that nobody has read a text, not who wrote it: without the HMAC, somebody with
//! access to the database could encrypt a value of their own to the public half of a key, or move one to another row.
//!
//! # Rotation of the sealing key, at any point of which the power may fail
//!
//! 1. The key file is replaced, in one rename, by one that has the new sealing key first and the old one behind it.
//! 2. Each tenant's identity is sealed again, to the new one, in a transaction of its own. What is sealed to the old
//!    one stays readable all the while.
//! 3. When no tenant is left, the key file is replaced by one without the old key.
//!
//! A start that finds two sealing keys goes on with step 2. A tenant that is out of service cannot be reached: the old
//! key is kept until it is back, or gone, and does not stand in the way of another rotation. Several nodes on one external database share the key file:
//! stop the others, rotate, copy the file to them.
//!
//! # With a passphrase
//!
//! The same file may be encrypted with a passphrase, as `age -p` does it (scrypt). It is then needed at each start:
//! `[vault] passphrase`, or typed on a terminal. `aegis key protect` and `aegis key unprotect` change between the
//! two. There is no way in without: neither a wrong nor a missing passphrase makes a new key.

pub mod envelope;
mod file;
pub mod key;
pub mod keyring;
mod leaked;
pub mod passphrase;
pub mod password;
pub mod scram;
pub mod sealing;
pub mod text;
pub mod token;

pub use key::ApplianceKey;
pub use keyring::Keyring;
pub use passphrase::Passphrase;
pub use sealing::SealingKey;
pub use text::SecretText;
pub use token::{Token, TokenHash};
