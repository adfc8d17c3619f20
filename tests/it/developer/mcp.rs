//! `/mcp` by the official `mcp` package, and by requests that no honest client makes.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Desk, blocking};
use crate::ollama_stand_in::Script;

const SCRIPT: &str = "mcp_client.py";

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_searches_reads_and_asks_in_every_revision() {
    let desk = Desk::new().await;
    let token = desk.token(&["chat:write", "knowledge:read"]);
    for part in ["modern", "auto", "legacy"] {
        desk.python(SCRIPT, part, &token);
    }
    let log = blocking(|| desk.aegis.json(&["audit", "show", "--tenant", "acme", "--limit", "500"]));
    let searched = log.to_string().matches("\"by\":\"mcp\"").count();
    assert_eq!(searched, 6, "each search and each reading is an entry: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_taken_back_stops_its_run() {
    let desk = Desk::new().await;
    let token = desk.token(&["chat:write"]);
    desk.ollama.script([Script::say(&"word ".repeat(400)).slowly(Duration::from_millis(50))]);
    desk.python(SCRIPT, "cancel", &token);
    let deadline = Instant::now() + Duration::from_secs(20);
    while desk.ollama.abandoned() == 0 {
        assert!(Instant::now() < deadline, "the run goes on though nobody wants its answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_reaches_what_it_is_for_and_no_session_of_another_helps() {
    let desk = Desk::new().await;
    let token = desk.token(&["chat:write", "knowledge:read"]);
    let narrow = desk.token(&["chat:write"]);
    desk.python(SCRIPT, "narrow", &narrow);
    let said = desk.python(SCRIPT, "modern", &token);
    let passage = said.lines().find_map(|line| line.strip_prefix("passage ")).expect("a passage").to_owned();
    desk.python(SCRIPT, &format!("doors {narrow}"), &token);

    let other = blocking(|| {
        desk.aegis.json(&["tenant", "create", "globex", "--name", "Globex"]);
        let email = "eve@globex.example";
        let create = ["user", "create", email, "--tenant", "globex", "--role", "owner", "--password-stdin"];
        assert!(desk.aegis.run_with_input(&create, b"correct horse battery").status.success());
        let scope = ["--scope", "knowledge:read"];
        let create = ["token", "create", "--user", email, "--tenant", "globex", "--name", "test"];
        desk.aegis.json(&[&create[..], &scope].concat())
    });
    let other = ["secret", "token"].iter().find_map(|name| other[name].as_str()).expect("the token").to_owned();
    desk.python(SCRIPT, &format!("foreign {passage}"), &other);
    assert_ne!(json!(other), json!(token));
}
