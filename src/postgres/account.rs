//! The operating system's users: whom PostgreSQL runs as, and what they are called.
//!
//! `/etc/passwd` is read by ourselves, and for users who are elsewhere (LDAP, systemd) `getent` is asked: the C
//! library's own functions load plugins at run time, which a static binary must not.

use std::{fs, process::Command};

use nix::unistd::{getegid, geteuid};

use crate::support::{Error, Result};

/// A user of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The login name: peer authentication goes by it.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The number of the user's own group.
    pub gid: u32,
}

impl Account {
    /// Whoever runs this process.
    ///
    /// # Errors
    /// `Unavailable` for a number without a name: PostgreSQL refuses to run for such a user.
    pub fn current() -> Result<Self> {
        let uid = geteuid().as_raw();
        let found = Self::by_uid(uid).ok_or_else(|| nameless(uid))?;
        Ok(Self { gid: getegid().as_raw(), ..found })
    }

    /// The user with this number.
    pub fn by_uid(uid: u32) -> Option<Self> {
        let of_local = local().into_iter().find(|account| account.uid == uid);
        of_local.or_else(|| getent(&uid.to_string()))
    }

    /// The user with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        let of_local = local().into_iter().find(|account| account.name == name);
        of_local.or_else(|| getent(name))
    }

    /// Whom PostgreSQL runs as when we are root, which it refuses: the configured user, or else the first that
    /// exists of `aegis`, `postgres` and `nobody`.
    pub fn unprivileged(configured: Option<&str>) -> Result<Self> {
        let found = match configured {
            Some(name) => Self::by_name(name).ok_or_else(|| {
                Error::invalid(format!("there is no user `{name}` on this machine (user of [database])"))
            })?,
            None => ["aegis", "postgres", "nobody"].into_iter().find_map(Self::by_name).ok_or_else(|| {
                Error::unavailable(
                    "PostgreSQL does not run as root, and there is none of the users aegis, postgres and nobody",
                )
            })?,
        };
        if found.uid == 0 {
            return Err(Error::invalid("PostgreSQL does not run as root").remedy("name another user in [database]"));
        }
        Ok(found)
    }
}

fn nameless(uid: u32) -> Error {
    Error::unavailable(format!("PostgreSQL does not run for user number {uid}, which has no name on this machine"))
        .remedy("add the number to /etc/passwd, or start aegis as another user")
}

fn local() -> Vec<Account> {
    fs::read_to_string("/etc/passwd").unwrap_or_default().lines().filter_map(parse).collect()
}

fn getent(key: &str) -> Option<Account> {
    let output = Command::new("getent").args(["passwd", key]).output().ok()?;
    parse(String::from_utf8(output.stdout).ok()?.lines().next()?)
}

/// `name:password:uid:gid:comment:home:shell`
fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Account { name, uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd_is_read_and_a_broken_one_is_passed_over() {
        let line = "nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin";
        assert_eq!(parse(line), Some(Account { name: "nobody".into(), uid: 65534, gid: 65533 }));
        assert_eq!(parse("+::::::"), None);
        assert_eq!(parse("# comment"), None);
    }

    #[test]
    fn root_is_never_whom_postgres_runs_as() {
        assert!(Account::unprivileged(Some("root")).is_err());
        assert!(Account::unprivileged(Some("no-such-user-here")).is_err());
    }
}
