//! An export, checked by a program that shares nothing with the appliance but the description.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use aegis::{audit, support::ids::RunId};
use chrono::Duration;
use futures::TryStreamExt as _;

use super::{entry, heads::Watched, write};

const VERIFIER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/audit/verify_export.py");

/// What Python says to an export: whether it holds, and its words.
fn checked(export: &str) -> (bool, String) {
    let mut python = Command::new("python3")
        .arg(VERIFIER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    python.stdin.take().unwrap().write_all(export.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn exported(watched: &Watched) -> String {
    audit::export(&watched.tenant).try_collect::<Vec<_>>().await.unwrap().concat()
}

#[tokio::test]
async fn an_export_is_checked_by_thirty_lines_of_python() {
    let watched = Watched::new().await;
    let empty = exported(&watched).await;
    assert_eq!(checked(&empty), (true, format!("0 entries, intact, head {}", "0".repeat(64))));

    let run = RunId::generate();
    write(&watched.db, &watched.tenant, 150).await;
    audit::append(&watched.tenant, &*watched.db.clock, entry(7, Some(run))).await.unwrap();
    let export = exported(&watched).await;
    let head = audit::verify(&watched.tenant).await.unwrap().head;
    assert_eq!(checked(&export), (true, format!("151 entries, intact, head {head}")));

    let altered = export.replacen("\\\"number\\\":77", "\\\"number\\\":78", 1);
    assert_ne!(altered, export);
    assert_eq!(checked(&altered), (false, "entry 78: its content does not give its hash".to_owned()));
    let mut lines: Vec<&str> = export.lines().collect();
    lines.remove(50);
    assert_eq!(checked(&lines.join("\n")), (false, "entry 51: it does not follow the one before it".to_owned()));
    let short: Vec<&str> = export.lines().take(100).collect();
    assert_eq!(checked(&short.join("\n")), (false, "the export was cut off: its last line is missing".to_owned()));

    let of_run = audit::export_run(&watched.tenant, run).await.unwrap();
    assert_eq!(of_run.lines().count(), 3);
    assert!(checked(&of_run).0, "{:?}", checked(&of_run));
}

#[tokio::test]
async fn the_export_of_a_pruned_log_begins_at_its_checkpoint() {
    let watched = Watched::new().await;
    write(&watched.db, &watched.tenant, 10).await;
    watched.db.clock.advance(Duration::days(1));
    let clock = &*watched.db.clock;
    let now = aegis::support::Clock::now(clock);
    audit::prune(&watched.db.databases, &watched.tenant, clock, audit::Actor::System, now).await.unwrap().unwrap();
    let export = exported(&watched).await;
    assert!(export.lines().next().unwrap().contains("\"seq\":9"), "{export}");
    let (holds, said) = checked(&export);
    assert!(holds && said.starts_with("2 entries, intact"), "{said}");
}
