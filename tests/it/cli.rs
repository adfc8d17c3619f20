//! The command line from outside: its words, its JSON, its exit codes; a document in, a cited answer out.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::Value;

use crate::{appliance::Appliance, ollama_stand_in::StandIn};

const PASSWORD: &str = "correct horse battery";

/// The sample documents that come with the product.
fn sample(name: &str) -> String {
    format!("{}/packaging/samples/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn with_handbook(aegis: &Appliance) {
    aegis.with_owner("jo@acme.example", PASSWORD);
    let added = aegis.json(&["kb", "add", "--tenant", "acme", &sample("employee-handbook.md")]);
    assert_eq!(added[0]["status"], "ready", "{added}");
    assert!(added[0]["passages"].as_i64().expect("a count") >= 5, "{added}");
}

fn cited_documents(answer: &Value) -> Vec<&str> {
    answer["citations"].as_array().expect("citations").iter().filter_map(|c| c["document"].as_str()).collect()
}

#[test]
fn without_any_model_the_answer_quotes_the_right_passage_and_says_so() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    with_handbook(&aegis);

    let hits = aegis.json(&["kb", "search", "--tenant", "acme", "how many weeks of parental leave", "--limit", "3"]);
    assert_eq!(hits[0]["locator"], "Leave › Parental leave", "{hits}");
    assert!(hits.as_array().expect("hits").len() <= 3);

    let answer = aegis.json(&["ask", "--tenant", "acme", "How many weeks of parental leave are there?"]);
    assert_eq!(answer["quoting"], true, "{answer}");
    assert!(answer["answer"].as_str().expect("an answer").contains("16 weeks"), "{answer}");
    assert!(!cited_documents(&answer).is_empty(), "{answer}");

    let verified = aegis.json(&["audit", "verify", "--tenant", "acme"]);
    assert_eq!(verified["intact"], true);
    let run = answer["run_id"].as_str().expect("a run");
    let entries = aegis.json(&["audit", "show", "--run", run]);
    let actions: Vec<&str> = entries.as_array().expect("entries").iter().filter_map(|e| e["action"].as_str()).collect();
    assert!(actions.contains(&"knowledge.searched") || actions.contains(&"knowledge.retrieved"), "{actions:?}");
}

#[test]
fn the_built_in_engine_answers_from_the_documents_with_a_citation() {
    let mut aegis = Appliance::new("[models]\nchain = [\"builtin\"]\n");
    fs::create_dir_all(aegis.data_dir().join("models")).expect("a place for the model");
    let model = Path::new(env!("AEGIS_PACK")).join("models/smollm2-135m-instruct-q4_1.gguf");
    std::os::unix::fs::symlink(model, aegis.data_dir().join("models/smollm2-135m-instruct-q4_1.gguf"))
        .expect("the model");
    aegis.serve();
    with_handbook(&aegis);

    let answer = aegis.json(&["ask", "--tenant", "acme", "How many weeks of parental leave are there at full pay?"]);
    assert_eq!(answer["quoting"], false, "{answer}");
    assert!(answer["model"].as_str().expect("a model").starts_with("builtin/"), "{answer}");
    assert!(answer["answer"].as_str().expect("an answer").contains("16"), "{answer}");
    assert_eq!(cited_documents(&answer).first().copied(), Some("employee-handbook.md"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_ollama_the_agent_searches_by_itself_and_cites() {
    let ollama = StandIn::start().await;
    let mut aegis =
        Appliance::new(&format!("[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = {:?}\n", ollama.url()));
    tokio::task::spawn_blocking(move || {
        aegis.serve();
        with_handbook(&aegis);
        let answer = aegis.json(&["ask", "--tenant", "acme", "How many weeks of parental leave are there?"]);
        assert_eq!(answer["quoting"], false, "{answer}");
        assert!(answer["model"].as_str().expect("a model").starts_with("ollama/"), "{answer}");
        assert_eq!(answer["tool_calls"][0]["name"], "knowledge.search", "{answer}");
        assert!(!cited_documents(&answer).is_empty(), "{answer}");
    })
    .await
    .expect("the test's thread");
}

#[test]
fn a_command_without_a_running_appliance_boots_one_for_the_call_and_leaves_nothing_running() {
    let aegis = Appliance::without_models();
    let tenant = aegis.json(&["tenant", "create", "acme", "--name", "Acme Ltd"]);
    assert_eq!(tenant["slug"], "acme");
    assert!(!aegis.data_dir().join("admin.sock").exists(), "the admin socket is gone with the call");
    let listed = aegis.json(&["tenant", "list"]);
    assert_eq!(listed[0]["name"], "Acme Ltd");
}

#[test]
fn the_admin_socket_is_for_its_owner_alone() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    let mode = fs::metadata(aegis.data_dir().join("admin.sock")).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn wrong_usage_ends_with_2_a_failure_with_1_and_neither_prints_on_standard_output() {
    let mut aegis = Appliance::without_models();
    let usage = aegis.run(&["kb", "search", "query without a tenant"]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(usage.stdout.is_empty());

    aegis.serve();
    let unknown = aegis.run(&["--json", "kb", "list", "--tenant", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.stdout.is_empty());
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("the tenant nobody does not exist") && said.contains("aegis tenant list"), "{said}");
}

#[test]
fn files_that_cannot_be_read_fail_with_a_reason_and_the_others_are_added() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner("jo@acme.example", PASSWORD);
    let damaged = aegis.file("damaged.pdf", b"%PDF-1.7\nthis is where the document was");
    let empty = aegis.file("empty.txt", b"");
    let good = aegis.file("good.txt", b"The spare key of the workshop hangs behind the boiler.");
    let missing = aegis.home().join("missing.md").to_str().expect("a path").to_owned();

    let output = aegis.run(&["--json", "kb", "add", "--tenant", "acme", &damaged, &empty, &good, &missing]);
    assert_eq!(output.status.code(), Some(1));
    let files: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let status: Vec<_> = files.as_array().expect("a list").iter().map(|file| file["status"].as_str()).collect();
    assert_eq!(status, [Some("failed"), Some("failed"), Some("ready"), Some("failed")], "{files}");
    for index in [0, 1, 3] {
        assert!(files[index]["error"].as_str().is_some_and(|why| why.len() > 10), "{files}");
    }
    let hits = aegis.json(&["kb", "search", "--tenant", "acme", "where is the spare key"]);
    assert_eq!(hits[0]["document"], "good.txt");
}

#[test]
fn removing_a_document_takes_its_passages_out_of_the_search() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    with_handbook(&aegis);
    let listed = aegis.json(&["kb", "list", "--tenant", "acme"]);
    let id = listed[0]["id"].as_str().expect("an id");
    aegis.json(&["kb", "rm", "--tenant", "acme", id]);
    assert_eq!(aegis.json(&["kb", "list", "--tenant", "acme"]), serde_json::json!([]));
    assert_eq!(aegis.json(&["kb", "search", "--tenant", "acme", "parental leave"]), serde_json::json!([]));
}

#[test]
fn doctor_names_what_is_missing_and_how_to_get_it() {
    let mut aegis = Appliance::new("[models.ollama]\nurl = \"http://127.0.0.1:9\"\n");
    aegis.serve();
    let found = aegis.json(&["doctor"]);
    assert_eq!(found["ok"], true, "no chat model is a warning, not a failure: {found}");
    let findings = found["findings"].as_array().expect("findings");
    let ollama =
        findings.iter().find(|f| f["part"].as_str().is_some_and(|part| part.contains("ollama"))).expect("a finding");
    assert_eq!(ollama["state"], "warning", "{ollama}");
    assert!(ollama["remedy"].as_str().is_some_and(|remedy| remedy.contains("ollama serve")), "{ollama}");
}
