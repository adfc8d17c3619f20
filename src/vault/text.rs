//! A secret as text, on its way to the program that needs it.

use std::fmt;

use age::secrecy::{ExposeSecret as _, SecretString};

/// A secret text. It never prints itself, cannot be serialised, and is wiped from memory when it is dropped.
#[derive(Clone)]
pub struct SecretText(SecretString);

impl SecretText {
    /// Takes the text in.
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// The text itself: to be handed on to where it is needed, and nowhere else.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<SecretString> for SecretText {
    fn from(text: SecretString) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(•••)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_text_is_never_printed() {
        let text = SecretText::new("hunter2".to_owned());
        assert_eq!(format!("{text:?}"), "SecretText(•••)");
        assert_eq!(text.reveal(), "hunter2");
    }
}
