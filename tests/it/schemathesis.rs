//! The API against everything that its own description allows, and much that it does not: schemathesis makes the
//! requests, as a signed-in owner who is an operator, too. Nothing may break, and every answer must be as described.

use std::{path::Path, process::Command};

use aegis::http::csrf;

use crate::{appliance::Appliance, without_script::sign_in};

const EMAIL: &str = "jo@acme.example";
const PASSWORD: &str = "correct horse battery";
/// Enough to find what breaks, and done in a minute.
const EXAMPLES: &str = "12";
/// What ends the session that it is asked in; whatever came after it would be told to sign in.
const ENDS_THE_SESSION: &str = "^/api/(account/sessions|session)";

#[test]
fn no_request_that_can_be_made_of_the_description_breaks_the_appliance() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    aegis.json(&["user", "operator", EMAIL]);

    let said = try_everything(&aegis, &["--exclude-path-regex", ENDS_THE_SESSION]);
    let log = aegis.log();
    let count = |status: &str| log.lines().filter(|line| line.contains("\"/api/") && line.contains(status)).count();
    assert_eq!(count("\"status\":401"), 0, "somebody was signed out on the way:\n{said}");
    let done = count("\"status\":20");
    assert!(done > 300, "only {done} requests were let in:\n{said}");
    try_everything(&aegis, &["--include-path-regex", ENDS_THE_SESSION]);
    assert!(!aegis.log().contains("a fault of ours"), "{}", aegis.log());
}

/// Makes the requests in a session of its own; gives the report's summary.
fn try_everything(aegis: &Appliance, which: &[&str]) -> String {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/schemathesis");
    assert!(tool.join("schemathesis").is_dir(), "schemathesis is not installed: run tests/run, which does it");
    let session = sign_in(aegis, EMAIL, PASSWORD);
    let report = Command::new("python3")
        .env("PYTHONPATH", &tool)
        .env("SCHEMATHESIS_HOOKS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/hooks.py"))
        .current_dir(aegis.home())
        .args(["-m", "schemathesis.cli", "--no-color", "run", &format!("{}/api/openapi.json", aegis.url())])
        .args(which)
        .args(["--header", &format!("Cookie: aegis_session={session}")])
        .args(["--header", &format!("{}: {}", csrf::HEADER, csrf::token(&session))])
        .args(["--phases", "coverage,fuzzing,stateful", "--max-examples", EXAMPLES, "--generation-deterministic"])
        .args(["--generation-with-security-parameters", "false", "--continue-on-failure"])
        // A header that is wrong on purpose is still a session; who may use what is the matrix's to try.
        .args(["--exclude-checks", "ignored_auth,unsupported_method,positive_data_acceptance,negative_data_rejection"])
        .output()
        .expect("python3 runs");
    let said = String::from_utf8_lossy(&report.stdout);
    assert!(report.status.success(), "{said}\n{}", String::from_utf8_lossy(&report.stderr));
    let summary = said.lines().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
    println!("{summary}");
    summary
}
