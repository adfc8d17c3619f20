//! The whole appliance against what machines and people do to it. What the database's supervisor does about each of
//! these is tested closer by in `supervisor`; here it is what a user of the appliance sees.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use tempfile::TempDir;

use crate::appliance::{AEGIS, Appliance, get};

const PATIENCE: Duration = Duration::from_mins(1);
const NO_MODELS: &str = "[models]\nchain = []\n";
/// The user number of `nobody`.
const NOBODY: u32 = 65534;

fn running_postmaster(data_dir: &Path) -> Option<Pid> {
    let file = fs::read_to_string(data_dir.join("postgres/cluster/postmaster.pid")).ok()?;
    Some(Pid::from_raw(file.lines().next()?.parse().ok()?))
}

fn postmaster(data_dir: &Path) -> Pid {
    running_postmaster(data_dir).unwrap()
}

fn lives(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("State:\tZ"))
}

/// A session of the appliance: a child of the postmaster that serves a client.
fn backend_of(postmaster: Pid) -> Option<Pid> {
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let serves = |pid: &i32| {
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        // "postgres: ROLE DATABASE [local] idle"
        String::from_utf8_lossy(&title).contains("[local]") && status.contains(&format!("PPid:\t{postmaster}\n"))
    };
    pids.into_iter().find(serves).map(Pid::from_raw)
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_killed_appliance_starts_again_at_once_with_everything_it_had() {
    let mut aegis = Appliance::new(NO_MODELS);
    aegis.serve();
    aegis.json(&["tenant", "create", "acme", "--name", "Acme Ltd"]);
    let orphan = postmaster(aegis.data_dir());
    aegis.kill();
    aegis.serve();
    assert!(!lives(orphan), "the killed one's database has ended");
    let tenants = aegis.json(&["tenant", "list"]);
    assert!(tenants.to_string().contains("acme"), "{tenants}");
    let last = postmaster(aegis.data_dir());
    aegis.stop();
    assert!(!lives(last), "SIGTERM stops the database, too");
}

#[test]
fn requests_fail_cleanly_while_the_database_is_away_and_work_again_when_it_is_back() {
    let mut aegis = Appliance::new(NO_MODELS);
    aegis.serve();
    let (ready, healthy) = (format!("{}/readyz", aegis.url()), format!("{}/healthz", aegis.url()));
    let is_ready = || {
        let (status, body) = get(&ready);
        assert!(status == 200 || (status == 503 && body.contains("database")), "{status}: {body}");
        status == 200
    };
    assert!(is_ready());

    let first = postmaster(aegis.data_dir());
    kill(first, Signal::SIGINT).unwrap();
    until("the database to come back", || {
        assert_eq!(get(&healthy).0, 200, "the appliance itself lives");
        is_ready() && running_postmaster(aegis.data_dir()).is_some_and(|pid| pid != first)
    });

    let second = postmaster(aegis.data_dir());
    kill(backend_of(second).unwrap(), Signal::SIGKILL).unwrap();
    until("the sessions to be renewed", || is_ready() && aegis.log().contains("the database is back"));
    assert_eq!(postmaster(aegis.data_dir()), second, "a killed session does not need a new server");
    aegis.stop();
}

#[test]
fn a_second_appliance_on_the_same_directory_is_refused_and_the_first_does_not_notice() {
    let mut aegis = Appliance::new(NO_MODELS);
    aegis.serve();
    let second = aegis.run(&["serve"]);
    let words = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{words}");
    assert!(words.contains(&aegis.pid().to_string()), "it names the first one's process: {words}");
    assert_eq!(get(&format!("{}/readyz", aegis.url())).0, 200);
    aegis.stop();
}

#[test]
fn a_long_data_path_that_others_cannot_enter_is_no_obstacle() {
    let home = TempDir::new().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let data_dir = home.path().join("a-rather-long-name-for-a-directory".repeat(4)).join("data");
    let mut aegis = Appliance::at(home, data_dir.clone(), NO_MODELS);
    aegis.serve();
    assert_eq!(get(&format!("{}/readyz", aegis.url())).0, 200);
    aegis.json(&["tenant", "list"]);
    aegis.stop();
    // For root the database has gone where its user can reach it.
    if let Ok(place) = data_dir.join("postgres").read_link() {
        fs::remove_dir_all(place).unwrap();
    }
}

#[test]
fn an_ordinary_user_serves_it_too() {
    if !geteuid().is_root() {
        return; // Then every other test has shown it.
    }
    let home = TempDir::new().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (binary, data_dir) = (home.path().join("aegis"), home.path().join("data"));
    fs::copy(AEGIS, &binary).unwrap();
    fs::create_dir(&data_dir).unwrap();
    chown(&data_dir, Some(NOBODY), Some(NOBODY)).unwrap();
    let config = home.path().join("config.toml");
    fs::write(&config, format!("[server]\nlisten = \"127.0.0.1:0\"\n{NO_MODELS}")).unwrap();
    let mut serving = Command::new(&binary)
        .arg("--config")
        .arg(&config)
        .arg("--data-dir")
        .arg(&data_dir)
        .arg("serve")
        .uid(NOBODY)
        .gid(NOBODY)
        .process_group(0)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut log = BufReader::new(serving.stderr.take().unwrap());
    while !said.contains("\"ready\"") {
        assert_ne!(log.read_line(&mut said).unwrap(), 0, "it ended:\n{said}");
    }
    kill(Pid::from_raw(serving.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let status = serving.wait().unwrap();
    log.read_to_string(&mut said).unwrap();
    assert!(status.success(), "{status}\n{said}");
}
