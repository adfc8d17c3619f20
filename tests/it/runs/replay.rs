//! Replays: identical when nothing has changed, and the first difference when something has.

use std::path::Path;

use aegis::{db::Server, vault::ApplianceKey};
use serde_json::Value;

use crate::{appliance::Appliance, ollama_stand_in::StandIn};

const QUESTION: &str = "How many weeks of parental leave are there at full pay?";

fn with_handbook(settings: &str) -> Appliance {
    let mut aegis = Appliance::new(settings);
    std::fs::create_dir_all(aegis.data_dir().join("models")).expect("a place for the model");
    let model = Path::new(env!("AEGIS_PACK")).join("models/smollm2-135m-instruct-q4_1.gguf");
    std::os::unix::fs::symlink(model, aegis.data_dir().join("models/smollm2-135m-instruct-q4_1.gguf")).unwrap();
    aegis.serve();
    aegis.with_owner("jo@acme.example", "correct horse battery");
    let handbook = format!("{}/packaging/samples/employee-handbook.md", env!("CARGO_MANIFEST_DIR"));
    aegis.json(&["kb", "add", "--tenant", "acme", &handbook]);
    aegis
}

fn ask(aegis: &Appliance) -> String {
    let answer = aegis.json(&["ask", "--tenant", "acme", QUESTION]);
    answer["run_id"].as_str().expect("a run").to_owned()
}

/// The replay's exit code and its JSON.
fn replay(aegis: &Appliance, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = aegis.run(&[&["--json", "audit", "replay"], arguments].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}")))
}

#[test]
fn the_built_in_engine_says_the_same_again() {
    let aegis = with_handbook("[models]\nchain = [\"builtin\"]\n");
    let run = ask(&aegis);
    let (code, again) = replay(&aegis, &[&run]);
    assert_eq!(
        (code, &again["identical"], &again["difference"]),
        (Some(0), &Value::Bool(true), &Value::Null),
        "{again}"
    );
    assert!(again["asked_again"][0].as_str().is_some_and(|model| model.starts_with("builtin/")), "{again}");
    assert!(again["steps"].as_u64().is_some_and(|steps| steps >= 3), "{again}");

    let written = aegis.json(&["audit", "show", "--tenant", "acme", "--action", "run.replayed"]);
    assert_eq!((&written[0]["subject"], &written[0]["by"]), (&Value::from(run.clone()), &Value::from("operator")));
    let steps = aegis.json(&["audit", "show", "--run", &run]);
    assert!(
        steps.as_array().unwrap().iter().all(|entry| entry["action"] != "run.replayed"),
        "the run itself is as it was"
    );
    let human = aegis.run(&["audit", "replay", &run]);
    assert!(String::from_utf8_lossy(&human.stdout).starts_with("Identical: "), "{human:?}");
}

#[test]
fn without_a_model_the_quotations_come_out_the_same() {
    let aegis = with_handbook("[models]\nchain = []\n");
    let run = ask(&aegis);
    let (code, again) = replay(&aegis, &[&run, "--tenant", "acme"]);
    assert_eq!((code, &again["identical"]), (Some(0), &Value::Bool(true)), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tools_a_replay_asks_nobody_and_a_tampered_result_shows_where_it_leads() {
    let ollama = StandIn::start().await;
    let settings = format!("[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = {:?}\n", ollama.url());
    let aegis = tokio::task::spawn_blocking(move || with_handbook(&settings)).await.unwrap();
    let run = tokio::task::block_in_place(|| ask(&aegis));
    let asked = ollama.chats().len();
    assert!(asked >= 2, "a call of a tool, and the answer");

    let (code, again) = tokio::task::block_in_place(|| replay(&aegis, &[&run, "--recorded"]));
    assert_eq!((code, &again["identical"]), (Some(0), &Value::Bool(true)), "{again}");
    let (code, again) = tokio::task::block_in_place(|| replay(&aegis, &[&run]));
    assert_eq!((code, &again["identical"]), (Some(0), &Value::Bool(true)), "{again}");
    assert_eq!(again["asked_again"], serde_json::json!([]), "its answers are not the same each time");
    assert_eq!(ollama.chats().len(), asked, "nobody was asked");

    tokio::task::block_in_place(|| {
        tamper(&aegis, &run);
        let (code, again) = replay(&aegis, &[&run]);
        assert_eq!((code, &again["identical"]), (Some(1), &Value::Bool(false)), "{again}");
        let difference = &again["difference"];
        let field = difference["field"].as_str().unwrap();
        assert_eq!(difference["action"], "model.called", "the result reaches the model in the next step: {again}");
        assert!(field.starts_with("request.messages[") && field.contains("].text"), "{again}");
        assert!(difference["recorded"].as_str().unwrap().contains("16 weeks"), "{again}");
        assert!(difference["now"].as_str().unwrap().contains("61 weeks"), "{again}");
        assert_eq!(again["altered"].as_array().map(Vec::len), Some(1), "{again}");
        let human = aegis.run(&["audit", "replay", &run]);
        let said = String::from_utf8_lossy(&human.stdout).into_owned();
        assert!(said.contains("is not what was sealed") && said.contains("Different at step"), "{said}");

        let verified = aegis.run(&["audit", "verify", "--tenant", "acme"]);
        assert_eq!(verified.status.code(), Some(1));
    });
}

/// Changes what a tool gave back, as the database's superuser.
fn tamper(aegis: &Appliance, run: &str) {
    let tenant = aegis.json(&["tenant", "list"])[0]["id"].as_str().expect("an id").to_owned();
    let statement = format!(
        "UPDATE tenant_{tenant}.audit_entries SET detail = replace(detail, '16 weeks', '61 weeks') \
         WHERE run = '{run}' AND action = 'tool.called'"
    );
    as_superuser(aegis, &statement);
}

/// Does a statement in the running appliance's database, as its superuser.
pub fn as_superuser(aegis: &Appliance, statement: &str) {
    let pid = std::fs::read_to_string(aegis.data_dir().join("postgres/cluster/postmaster.pid")).expect("it runs");
    let socket = Path::new(pid.lines().nth(4).expect("the socket's directory"));
    let server = Server::own(socket, 5432, &ApplianceKey::from_bytes([1; 32]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let statement = sqlx::AssertSqlSafe(statement.to_owned());
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                runtime.block_on(async {
                    let mut superuser = server.connect_as_administrator("aegis").await.unwrap();
                    sqlx::raw_sql(statement).execute(&mut superuser).await.unwrap();
                });
            })
            .join()
            .unwrap();
    });
}
