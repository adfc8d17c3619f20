//! `aegis audit …` on a running appliance, and that everything a session writes is in the catalogue.

use std::collections::BTreeSet;

use aegis::audit::Action;
use serde_json::Value;

use super::replay::as_superuser;
use crate::appliance::Appliance;

fn actions(entries: &Value) -> BTreeSet<String> {
    entries.as_array().expect("a list").iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

/// An appliance in which something has happened; and the run in which it did.
fn session() -> (Appliance, String) {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner("jo@acme.example", "correct horse battery");
    let leave = aegis.file("leave.md", b"# Leave\n\nEvery parent takes up to 16 weeks of paid leave after a birth.\n");
    aegis.json(&["kb", "add", "--tenant", "acme", &leave]);
    aegis.run(&["kb", "add", "--tenant", "acme", &aegis.file("damaged.pdf", b"%PDF-1.7 and nothing that follows")]);
    let answer = aegis.json(&["ask", "--tenant", "acme", "How many weeks of leave does a parent take?"]);
    let run = answer["run_id"].as_str().expect("a run").to_owned();
    let listed = aegis.json(&["kb", "list", "--tenant", "acme"]);
    aegis.json(&["kb", "rm", "--tenant", "acme", listed[0]["id"].as_str().expect("an id")]);
    (aegis, run)
}

#[test]
fn whatever_a_session_writes_is_in_the_catalogue_and_says_who_and_what_came_of_it() {
    let (aegis, run) = session();
    aegis.json(&["audit", "replay", &run]);
    aegis.run(&["audit", "export", "--tenant", "acme"]);
    let entries = aegis.json(&["audit", "show", "--tenant", "acme", "--limit", "500"]);
    let written = actions(&entries);
    let known: BTreeSet<String> = Action::ALL.iter().map(|action| action.name().to_owned()).collect();
    assert_eq!(written.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
    for expected in [
        "user.created",
        "document.added",
        "document.ingested",
        "document.failed",
        "document.removed",
        "run.started",
        "knowledge.searched",
        "run.finished",
        "run.replayed",
        "audit.exported",
    ] {
        assert!(written.contains(expected), "{expected} is missing in {written:?}");
    }
    for entry in entries.as_array().unwrap() {
        assert!(entry["by"].as_str().is_some_and(|by| !by.is_empty()), "{entry}");
        assert!(["done", "failed"].contains(&entry["outcome"].as_str().unwrap()), "{entry}");
        assert!(!entry.to_string().contains("correct horse"), "{entry}");
    }
    let failed = aegis.json(&["audit", "show", "--tenant", "acme", "--action", "document.failed"]);
    assert_eq!(failed[0]["outcome"], "failed");
    assert!(failed[0]["detail"]["reason"].as_str().is_some_and(|why| why.len() > 10), "{failed}");

    let settings = aegis.json(&["audit", "show", "--appliance"]);
    assert!(actions(&settings).contains("configuration.changed"), "{settings}");
}

#[test]
fn show_filters_by_actor_action_time_and_words() {
    let (aegis, run) = session();
    let show = |filters: &[&str]| aegis.json(&[&["audit", "show", "--tenant", "acme"], filters].concat());
    assert_eq!(actions(&show(&["--action", "document"])).len(), 4);
    assert_eq!(
        actions(&show(&["--actor", "agent:atlas", "--action", "run"])),
        ["run.finished".to_owned(), "run.tainted".to_owned()].into()
    );
    assert!(show(&["--actor", "operator"]).as_array().unwrap().iter().all(|entry| entry["by"] == "operator"));
    let found = show(&["--text", "LEAVE.md"]);
    assert!(!found.as_array().unwrap().is_empty());
    assert_eq!(show(&["--limit", "2"]).as_array().unwrap().len(), 2);
    assert_eq!(show(&["--until", "2020-01-01"]), serde_json::json!([]));
    assert_eq!(show(&["--since", "2020-01-01", "--text", "no such words anywhere"]), serde_json::json!([]));
    assert!(aegis.json(&["audit", "show", "--run", &run]).as_array().unwrap().len() >= 3);
    let table = String::from_utf8(aegis.run(&["audit", "show", "--tenant", "acme"]).stdout).unwrap();
    assert!(table.starts_with("seq ") && table.contains("document.failed"), "{table}");
    let refused = aegis.run(&["audit", "show", "--tenant", "acme", "--actor", "nobody at all"]);
    assert_eq!(refused.status.code(), Some(1));
    let refused = aegis.run(&["audit", "show", "--tenant", "acme", "--since", "yesterday"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("2026-05-01"), "{refused:?}");
}

#[test]
fn verify_names_the_tampered_entry_and_ends_with_1_and_prune_refuses() {
    let (mut aegis, _) = session();
    let all = aegis.json(&["audit", "verify"]);
    assert_eq!((&all["intact"], all["logs"].as_array().map(Vec::len)), (&Value::Bool(true), Some(2)), "{all}");

    let tenant = aegis.json(&["tenant", "list"])[0]["id"].as_str().unwrap().to_owned();
    let newest = aegis.json(&["audit", "show", "--tenant", "acme", "--limit", "1"])[0]["seq"].as_i64().unwrap();
    as_superuser(&aegis, &format!("DELETE FROM tenant_{tenant}.audit_entries WHERE seq = {newest}"));
    aegis.stop();
    aegis.serve();
    let found = aegis.run(&["audit", "verify"]);
    assert_eq!(found.status.code(), Some(1));
    let said = String::from_utf8(found.stdout).unwrap();
    let expected = format!(
        "broken at entry {newest}: entry {newest} is missing: the head kept outside the database says {newest}"
    );
    assert!(said.contains(&expected) && said.contains("appliance: The chain holds"), "{said}");

    as_superuser(&aegis, &format!("UPDATE tenant_{tenant}.audit_entries SET action = 'run.finished' WHERE seq = 2"));
    let found = aegis.run(&["audit", "verify", "--tenant", "acme"]);
    let said = String::from_utf8(found.stdout).unwrap();
    assert!(found.status.code() == Some(1) && said.contains("broken at entry 2: the entry was altered"), "{said}");
    let refused = aegis.run(&["audit", "prune", "--tenant", "acme", "--before", "2026-01-01T00:00:00Z"]);
    assert!(refused.status.success(), "there is nothing so old: {refused:?}");
}

#[test]
fn prune_leaves_a_checkpoint_from_which_the_log_verifies() {
    let (aegis, _) = session();
    let entries = aegis.json(&["audit", "show", "--tenant", "acme", "--limit", "500"]);
    let (all, at) = (entries.as_array().unwrap().len(), entries[2]["at"].as_str().unwrap());
    let pruned = aegis.json(&["audit", "prune", "--tenant", "acme", "--before", at]);
    assert_eq!(pruned["removed"], all - 3, "{pruned}");
    let verified = aegis.json(&["audit", "verify", "--tenant", "acme"]);
    assert_eq!((&verified["intact"], &verified["entries"]), (&Value::Bool(true), &Value::from(4)), "{verified}");
    assert_eq!(verified["checkpoint"]["seq"], all - 3);
    let future = aegis.run(&["audit", "prune", "--tenant", "acme", "--before", "2999-01-01"]);
    assert_eq!(future.status.code(), Some(1));
}
