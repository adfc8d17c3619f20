//! Names of secrets.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::support::{Error, Result};

/// A letter, then up to 63 of `a-z`, `0-9`, `_`, `.` and `-`: `telegram.bot-token`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[a-z][a-z0-9_.-]{0,63}$", example = "telegram.bot-token")]
pub struct SecretName(String);

impl SecretName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = Error;

    /// The error does not repeat the text: people do paste the secret where its name belongs.
    fn from_str(text: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
        let right = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(allowed);
        if right {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid("That is no name for a secret").remedy(
            "Use at most 64 small letters, digits, dots, hyphens and underscores, a letter first: telegram.bot-token",
        ))
    }
}

impl TryFrom<String> for SecretName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_small_letters_digits_and_three_signs_and_a_refusal_does_not_repeat_it() {
        for right in ["a", "telegram.bot-token", "x_1", &format!("a{}", "9".repeat(63))] {
            assert!(right.parse::<SecretName>().is_ok(), "{right}");
        }
        let long = "a".repeat(65);
        for wrong in ["", "1a", ".a", "-", "A", "a b", "a/b", "ä", "a\n", &long] {
            let error = wrong.parse::<SecretName>().unwrap_err();
            assert!(wrong.len() < 3 || !error.to_string().contains(wrong), "{error}");
        }
    }
}
