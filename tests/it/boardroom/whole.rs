//! The boardroom of the whole appliance, from the command line: cut off in the middle, and with the real small model.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{POSITION, QUESTION};
use crate::{
    appliance::Appliance,
    ollama_stand_in::{Script, StandIn},
};

const MODEL: &str = "smollm2-135m-instruct-q4_1.gguf";
const HANDBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/samples/employee-handbook.md");

fn prepared(settings: &str) -> Appliance {
    let mut aegis = Appliance::new(settings);
    fs::create_dir_all(aegis.data_dir().join("models")).unwrap();
    let model = Path::new(env!("AEGIS_PACK")).join("models").join(MODEL);
    std::os::unix::fs::symlink(model, aegis.data_dir().join("models").join(MODEL)).unwrap();
    aegis.serve();
    aegis.json(&["tenant", "create", "acme", "--name", "Acme Ltd"]);
    aegis.json(&["kb", "add", "--tenant", "acme", HANDBOOK]);
    aegis
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_goes_on_after_the_appliance_was_killed_in_the_middle_of_it() {
    let ollama = Arc::new(StandIn::start().await);
    ollama.script_when(&["You, Nova, ", POSITION], Script::say("I was about to say").then_hang());
    let settings = format!("[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = {:?}\n", ollama.url());
    let seen = ollama.clone();
    let record = tokio::task::spawn_blocking(move || {
        let mut aegis = prepared(&settings);
        let mut asking = aegis
            .command(&["boardroom", "ask", "--tenant", "acme", "--agents", "atlas,nova", QUESTION])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(asking.stderr.take().unwrap()).lines().map(Result::unwrap);
        let first = lines.next().unwrap();
        let meeting = first.strip_prefix("meeting ").unwrap_or_else(|| panic!("{first}")).to_owned();
        // Atlas has spoken, Nova is in the middle of it.
        let told = lines.next().unwrap();
        assert!(told.contains("positions · atlas · complete"), "{told}");
        while !seen.chats().iter().any(|chat| chat["messages"].to_string().contains("You, Nova, ")) {
            std::thread::sleep(Duration::from_millis(20));
        }
        aegis.kill();
        asking.wait().unwrap();
        aegis.serve();
        let began = Instant::now();
        let record = loop {
            let record = aegis.json(&["boardroom", "export", "--tenant", "acme", &meeting]);
            if record["meeting"]["state"] != "running" {
                break record;
            }
            assert!(began.elapsed() < Duration::from_mins(1), "{record:#}");
            std::thread::sleep(Duration::from_millis(200));
        };
        assert_eq!(aegis.json(&["audit", "verify", "--tenant", "acme"])["intact"], true);
        aegis.stop();
        record
    });
    let record = record.await.unwrap();
    assert_eq!(record["meeting"]["state"], "finished", "{record:#}");
    let said = record["meeting"]["contributions"].as_array().unwrap();
    let positions: Vec<&Value> = said.iter().filter(|said| said["round"] == "positions").collect();
    assert_eq!(positions.len(), 2, "{record:#}");
    assert!(positions.iter().all(|said| said["state"] == "complete"), "{record:#}");
    let asked = |name: &str| {
        let chats = ollama.chats();
        let who = format!("You, {name}, sit");
        chats
            .iter()
            .filter(|chat| {
                chat["messages"].to_string().contains(&who) && chat["messages"].to_string().contains(POSITION)
            })
            .count()
    };
    assert!(asked("Nova") > asked("Atlas"), "only what was missing was asked for again");
}

#[test]
fn a_meeting_of_the_small_model_in_the_binary_ends_with_something_honest() {
    let mut aegis = prepared("[models]\nchain = [\"builtin\"]\n");
    let question = "How many weeks of parental leave are there?";
    let record =
        aegis.json(&["boardroom", "ask", "--tenant", "acme", "--agents", "atlas,nova", "--chair", "atlas", question]);
    let text = record["markdown"].as_str().unwrap();
    assert_eq!(record["meeting"]["state"], "finished", "{record:#}");
    assert!(text.contains("16 weeks"), "{text}");
    assert!(text.contains("> Note: ") && text.contains("did not keep to the form"), "{text}");
    assert!(text.contains("## Sources") && text.contains("employee-handbook.md"), "{text}");
    if let Some(directory) = std::env::var_os("AEGIS_TEST_PICTURES") {
        fs::write(PathBuf::from(directory).join("meeting.md"), text).unwrap();
    }
    aegis.stop();
}
