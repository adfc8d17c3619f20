//! `aegis __launch`: this binary once more, for the moment between fork and PostgreSQL.
//!
//! What has to happen in the child before it becomes PostgreSQL (giving up root, asking for a signal at the parent's
//! death) would be unsafe code between fork and exec; in a program of its own it is ordinary code.

use std::{
    ffi::OsString,
    os::unix::{ffi::OsStringExt, process::CommandExt},
    path::Path,
    process::{Command, ExitCode},
};

use nix::{
    sys::{
        prctl,
        signal::Signal,
        stat::{Mode, umask},
    },
    unistd::{Gid, Pid, Uid, geteuid, getppid, setgroups, setresgid, setresuid, setsid},
};

use super::account::Account;

/// The hidden subcommand's name.
pub const SUBCOMMAND: &str = "__launch";

/// What a shell returns when a program cannot be started.
const CANNOT_START: u8 = 127;

/// A command that runs `program` as `account`, through `launcher`, with an environment of its own.
///
/// Call it on a thread that outlives the child: the signal at the parent's death follows the *thread*.
pub fn command(launcher: &Path, account: &Account, program: &Path) -> Command {
    let mut command = Command::new(launcher);
    command
        .args([SUBCOMMAND, &std::process::id().to_string(), &account.uid.to_string(), &account.gid.to_string()])
        .arg(program)
        // PG*, LD_*, LC_* and the like of whoever starts the appliance do not reach PostgreSQL.
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC");
    command
}

/// Becomes the program: `aegis __launch PARENT UID GID PROGRAM ARGUMENT…`. Returns only when that fails.
///
/// `arguments` are those after `__launch`.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let why = match prepare(&mut arguments) {
        Ok(program) => {
            let program = Path::new(&program);
            let error = Command::new(program).args(arguments).exec();
            format!("cannot start {}: {error}", program.display())
        }
        Err(why) => why,
    };
    eprintln!("aegis {SUBCOMMAND}: {why}");
    ExitCode::from(CANNOT_START)
}

fn prepare(arguments: &mut impl Iterator<Item = OsString>) -> Result<OsString, String> {
    let mut number = |what: &str| -> Result<u32, String> {
        let text = arguments.next().map(OsString::into_vec).and_then(|bytes| String::from_utf8(bytes).ok());
        text.and_then(|text| text.parse().ok()).ok_or_else(|| format!("the argument {what} is missing"))
    };
    let parent = number("PARENT")?;
    let (uid, gid) = (Uid::from_raw(number("UID")?), Gid::from_raw(number("GID")?));
    let program = arguments.next().ok_or("the argument PROGRAM is missing")?;

    if geteuid().is_root() {
        // Groups first: without root they can no longer be given up.
        setgroups(&[gid]).map_err(|error| format!("cannot give up root's groups: {error}"))?;
        setresgid(gid, gid, gid).map_err(|error| format!("cannot become group {gid}: {error}"))?;
        setresuid(uid, uid, uid).map_err(|error| format!("cannot become user {uid}: {error}"))?;
    } else if geteuid() != uid {
        return Err(format!("only root can become user {uid}"));
    }
    // A session of its own: Ctrl-C at the terminal is for the appliance, which stops PostgreSQL in its own time.
    let _ = setsid();
    umask(Mode::from_bits_truncate(0o077));
    // After the change of user, which clears it. SIGINT is PostgreSQL's fast, clean shutdown, so that a killed
    // appliance takes its database along in about two seconds.
    prctl::set_pdeathsig(Signal::SIGINT).map_err(|error| format!("cannot ask for the parent's death: {error}"))?;
    // The parent may have died just before that; then nobody will tell.
    if getppid() != Pid::from_raw(i32::try_from(parent).unwrap_or(0)) {
        return Err("the appliance that started it is gone".to_owned());
    }
    Ok(program)
}
