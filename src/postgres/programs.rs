//! PostgreSQL's programs: where they lie, and whether they are the ones we need.

use std::{path::PathBuf, process::Command};

use crate::support::{Error, Result};

/// The major version that the cluster is made for.
pub const MAJOR: u32 = 18;

/// A directory of PostgreSQL's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// It holds `postgres`, `initdb`, `pg_dump` and so on.
    pub bin: PathBuf,
}

impl Installed {
    /// The programs of the machine, after a look at their version.
    ///
    /// # Errors
    /// `Invalid` when they are missing or of another major version.
    pub fn of_the_system(bin: PathBuf) -> Result<Self> {
        for name in ["postgres", "initdb"] {
            if !bin.join(name).is_file() {
                return Err(Error::invalid(format!("there is no program `{name}` in {}", bin.display())).remedy(
                    "set bin_dir of [database] to the directory of PostgreSQL 18's programs, or mode to \"embedded\"",
                ));
            }
        }
        let output = Command::new(bin.join("postgres"))
            .arg("--version")
            .output()
            .map_err(|error| Error::invalid(format!("{} does not run: {error}", bin.join("postgres").display())))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if major_of(&version) != Some(MAJOR) {
            return Err(Error::invalid(format!(
                "{} is \"{version}\", but PostgreSQL {MAJOR} is needed",
                bin.display()
            ))
            .remedy(format!(
                "install PostgreSQL {MAJOR} and pgvector for it, or set mode of [database] to \"embedded\""
            )));
        }
        Ok(Self { bin })
    }

    /// The path of one program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// `postgres (PostgreSQL) 18.6 (Debian 18.6-1)` → 18
fn major_of(version: &str) -> Option<u32> {
    version.split_once(") ")?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_form_that_postgres_prints() {
        assert_eq!(major_of("postgres (PostgreSQL) 18.6"), Some(18));
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("sh: not found"), None);
    }
}
