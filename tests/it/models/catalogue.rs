//! Models on an Ollama server: listed, tried, fetched with progress, removed; from the command line and in the console.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    appliance::Appliance,
    browser_driver::Browser,
    ollama_stand_in::{Registry, Script, StandIn},
};

const PASSWORD: &str = "correct horse battery";

fn appliance(ollama: &StandIn) -> Appliance {
    Appliance::new(&format!("[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = \"{}\"\n", ollama.url()))
}

/// A command that must fail, and what it says.
fn refused(aegis: &Appliance, arguments: &[&str]) -> String {
    let output = aegis.run(arguments);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

fn actions(aegis: &Appliance) -> Vec<(String, Value)> {
    let entries = aegis.json(&["audit", "show", "--appliance"]);
    let entries = entries.as_array().unwrap().iter();
    entries
        .filter(|entry| entry["action"].as_str().is_some_and(|action| action.starts_with("model.")))
        .map(|entry| (entry["action"].as_str().unwrap().to_owned(), entry["detail"].clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_with_their_states_and_what_the_server_keeps() {
    let ollama = StandIn::start().await;
    ollama.load("llama3.2:latest");
    let mut aegis = appliance(&ollama);
    aegis.serve();
    let listed = aegis.json(&["models", "list"]);
    assert_eq!(listed["routes"][0]["name"], "default");
    assert_eq!(listed["routes"][0]["chain"], json!(["ollama/llama3.2"]));
    let target = &listed["targets"][0];
    assert_eq!((&target["state"], &target["free"]), (&json!("ok"), &json!(true)), "{target}");
    assert!(target["abilities"].as_array().unwrap().contains(&json!("tools")), "{target}");
    let kept = &listed["servers"][0]["models"];
    assert_eq!(kept[0]["name"], "llama3.2:latest");
    assert_eq!((&kept[0]["family"], &kept[0]["quantization"]), (&json!("llama"), &json!("Q4_K_M")), "{kept}");
    assert_eq!(
        (&kept[0]["loaded_bytes"], &kept[1]["loaded_bytes"]),
        (&json!(3_389_554_688_u64), &Value::Null),
        "{kept}"
    );

    ollama.without_models();
    // What a model can do is believed for a while, so the list of what is kept tells first.
    assert_eq!(aegis.json(&["models", "list"])["servers"][0]["models"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_and_a_target_are_tried_with_a_real_question_and_a_tool() {
    let ollama = StandIn::start().await;
    let mut aegis = appliance(&ollama);
    aegis.serve();
    ollama.script([
        Script::say("Because air scatters blue light most."),
        Script::call("weather_now", &json!({ "city": "Lisbon" })),
        Script::say("Blue."),
        Script::say("I would not know."),
    ]);
    let trial = aegis.json(&["models", "test"]);
    assert_eq!((&trial["model"], &trial["tools"]), (&json!("ollama/llama3.2"), &json!("works")), "{trial}");
    assert_eq!(trial["why"], "number 1 of route default");
    assert_eq!(trial["text"], "Because air scatters blue light most.");
    assert!(trial["first_token_ms"].as_u64() <= trial["duration_ms"].as_u64(), "{trial}");
    assert_eq!(aegis.json(&["models", "test", "ollama/llama3.2"])["tools"], "not_called");
    let said = refused(&aegis, &["models", "test", "nosuch"]);
    assert!(said.contains("nosuch") && said.contains("aegis models list"), "{said}");
    assert_eq!(actions(&aegis).iter().filter(|(action, _)| action == "model.tested").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_goes_on_where_a_broken_connection_left_it_and_is_in_the_log() {
    let ollama = StandIn::start().await;
    let mut aegis = appliance(&ollama);
    aegis.serve();
    ollama.registry([Registry::BreaksAfter(5)]);
    let pull = aegis.json(&["models", "pull", "qwen3:8b"]);
    assert_eq!((&pull["state"], pull["layers"].as_array().unwrap().len()), (&json!("done"), 3), "{pull}");
    assert!(ollama.names().contains(&"qwen3:8b".to_owned()));
    let pulls = ollama.pulls();
    assert!(pulls.len() == 2 && pulls[0].1 == 0 && pulls[1].1 > 0, "the second one went on: {pulls:?}");

    let said = refused(&aegis, &["models", "pull", "nosuch"]);
    assert!(said.contains("no model nosuch"), "{said}");
    ollama.registry([Registry::FailsAfter(
        3,
        "write /root/.ollama/models/blobs/sha256-ddd-partial: no space left on device",
    )]);
    let said = refused(&aegis, &["models", "pull", "phi4"]);
    assert!(said.contains("no space left"), "{said}");
    let said = refused(&aegis, &["models", "pull", "../etc"]);
    assert!(said.contains("not a model's name"), "{said}");
    let outcomes: Vec<Value> = actions(&aegis).into_iter().map(|(_, detail)| detail["outcome"].clone()).collect();
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
    assert!(outcomes.contains(&json!("done")) && outcomes.contains(&json!("failed")), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_the_terminal_stops_their_pull_and_nobody_elses() {
    let ollama = StandIn::start().await;
    let mut aegis = appliance(&ollama);
    aegis.serve();
    ollama.registry([Registry::Gives(Duration::from_secs(5))]);
    let mut waiting = aegis.command(&["models", "pull", "llama3.3"]).spawn().unwrap();
    until(|| !ollama.pulls().is_empty()).await;
    // As a terminal that is closed does; whoever runs the tests in the background has them ignore Ctrl-C.
    std::process::Command::new("kill").args(["-TERM", &waiting.id().to_string()]).status().unwrap();
    waiting.wait().unwrap();
    until(|| ollama.abandoned_pulls() == 1).await;
    // The server is left alone first, and then it is written down.
    until(|| aegis.json(&["models", "list"])["pulls"][0]["state"] == "stopped").await;
}

async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..1200 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not come about");
}

/// `AEGIS_TEST_PICTURES=DIR` keeps what it sees.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_models_fetches_with_progress_removes_by_name_and_fits_every_screen() {
    let ollama = StandIn::start().await;
    ollama.load("llama3.2:latest");
    let mut aegis = appliance(&ollama);
    aegis.serve();
    aegis.with_owner("jo@acme.example", PASSWORD);
    aegis.json(&["user", "operator", "jo@acme.example"]);
    let browser = Browser::start().await;
    browser.open(&format!("{}/", aegis.url())).await;
    browser.type_into("[name=email]", "jo@acme.example").await;
    browser.type_into("[name=password]", &format!("{PASSWORD}\u{E007}")).await;
    browser.find(".rail").await;
    let page = format!("{}/operator/models", aegis.url());
    ollama.registry([Registry::Gives(Duration::from_secs(8))]);
    browser.open(&page).await;
    browser.type_into("[action$=pull] [name=model]", "qwen3:8b\u{E007}").await;
    browser.find("#pulls progress").await;
    let pictures = std::env::var("AEGIS_TEST_PICTURES").ok();
    for width in [360, 1440] {
        browser.resize(width, if width == 360 { 1700 } else { 1300 });
        browser.open(&page).await;
        browser.find("#pulls progress").await;
        let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
        assert_eq!(beyond, json!(0), "at {width} px");
        for colours in ["light", "dark"] {
            browser.prefer(colours);
            assert_eq!(browser.barriers().await, Vec::<String>::new(), "at {width} px, {colours}");
            if let Some(directory) = &pictures {
                browser.picture(&Path::new(directory).join(format!("models-{width}-{colours}.png")));
            }
        }
    }
    // Its progress comes without anybody asking for it: first the bar, then the page with the model on it.
    let before = browser.run("return document.querySelector('#pulls .reason').textContent", vec![]).await;
    let mut after = before.clone();
    for _ in 0..300 {
        if after != before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        after = browser.run("return document.querySelector('#pulls .reason').textContent", vec![]).await;
    }
    assert_ne!(before, after, "it moves");
    browser.run("document.querySelector('#pulls form button').click()", vec![]).await;
    browser.find("#pulls .state:not(.busy)").await;
    until(|| ollama.abandoned_pulls() == 1).await;

    ollama.registry([Registry::Gives(Duration::from_millis(60))]);
    browser.type_into("[action$=pull] [name=model]", "qwen3:8b\u{E007}").await;
    browser.find("#pulls .state.ready").await;
    assert!(ollama.names().contains(&"qwen3:8b".to_owned()));

    browser.run("document.querySelector('[popovertarget^=remove-3]').click()", vec![]).await;
    if let Some(directory) = &pictures {
        browser.picture(&Path::new(directory).join("models-remove.png"));
    }
    browser.type_into("#remove-3-ollama [name=confirm]", "qwen3:8b\u{E007}").await;
    until(|| !ollama.names().contains(&"qwen3:8b".to_owned())).await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let log: Vec<String> = actions(&aegis).into_iter().map(|(action, _)| action).collect();
    assert_eq!(log.iter().filter(|action| *action == "model.pulled").count(), 2, "{log:?}");
    assert!(log.contains(&"model.deleted".to_owned()), "{log:?}");
}
