//! Tokens: 256 random bits that are given out once and kept as a hash, so that whoever reads the database
//! cannot use them. They are random, hence a plain SHA-256 suffices; passwords need more.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::support::random;

/// A token in clear: to be shown or sent once. It never prints itself, and two are not compared but by their hashes.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new token of 256 random bits.
    pub fn generate() -> Self {
        Self(URL_SAFE_NO_PAD.encode(random::bytes::<32>()))
    }

    /// Its text, 43 characters that may stand in an address or a cookie.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(•••)")
    }
}

/// SHA-256 of a token: what is stored, and what a presented token is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token as somebody presents it.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// The 32 bytes, for a `bytea` column.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_256_bits_never_twice_the_same_and_never_printed() {
        let (one, two) = (Token::generate(), Token::generate());
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(URL_SAFE_NO_PAD.decode(one.reveal()).unwrap().len(), 32);
        assert_eq!(format!("{one:?}"), "Token(•••)");
    }

    #[test]
    fn a_presented_token_has_the_hash_that_was_stored() {
        let token = Token::generate();
        assert_eq!(TokenHash::of(token.reveal()), token.hash());
        assert_ne!(TokenHash::of(&token.reveal()[1..]), token.hash());
    }
}
