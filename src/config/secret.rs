//! Secrets in the configuration: written out, in a file, or in an environment variable.

use std::{env, fmt, fs, path::PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use crate::support::{Error, Result};

/// What is shown in a secret's place.
pub(super) const MASK: &str = "•••";

/// A secret: written out, in a file, or in an environment variable. It never prints itself.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Secret {
    /// As it is.
    Plain(String),
    /// `{ file = "/etc/aegis/db-url" }`: the file's first line.
    File {
        /// Its path.
        file: PathBuf,
    },
    /// `{ env = "DATABASE_URL" }`
    Env {
        /// The variable's name.
        env: String,
    },
}

impl Secret {
    /// The secret itself.
    ///
    /// # Errors
    /// `Invalid` when the file cannot be read, the variable is not set, or there is nothing in it.
    pub fn read(&self) -> Result<String> {
        let (secret, place) = match self {
            Self::Plain(secret) => (secret.clone(), "the configuration".to_owned()),
            Self::File { file } => {
                let text = fs::read_to_string(file).map_err(|error| {
                    Error::invalid(format!("cannot read the secret in {}: {error}", file.display()))
                        .remedy("make the file readable to the user that runs aegis, and to nobody else")
                        .because(error)
                })?;
                (text.lines().next().unwrap_or_default().trim().to_owned(), file.display().to_string())
            }
            Self::Env { env: name } => {
                let value = env::var(name).map_err(|error| {
                    Error::invalid(format!("the environment variable {name} holds no secret: {error}")).because(error)
                })?;
                (value.trim().to_owned(), format!("the environment variable {name}"))
            }
        };
        if secret.is_empty() { Err(Error::invalid(format!("the secret in {place} is empty"))) } else { Ok(secret) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{MASK}\"")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_file_is_its_first_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        fs::write(&file, "s3cret\nsecond line\n").unwrap();
        assert_eq!(Secret::File { file: file.clone() }.read().unwrap(), "s3cret");
        fs::write(&file, "\n").unwrap();
        assert!(Secret::File { file: file.clone() }.read().unwrap_err().message().contains("empty"));
        fs::remove_file(&file).unwrap();
        assert!(Secret::File { file }.read().unwrap_err().message().contains("cannot read"));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let error = Secret::Env { env: "AEGIS_TEST_NO_SUCH_VARIABLE".to_owned() }.read().unwrap_err();
        assert!(error.message().contains("AEGIS_TEST_NO_SUCH_VARIABLE"), "{error}");
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::Plain("s3cret".to_owned());
        assert!(!format!("{secret:?} {}", serde_json::to_string(&secret).unwrap()).contains("s3cret"));
    }
}
