//! The embedding model as an admin changes it: the page in a real browser, the command line, the API, and an appliance
//! that is killed while documents are moved.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{appliance::Appliance, browser_driver::Browser, ollama_stand_in::StandIn};

const EMAIL: &str = "jo@acme.example";
const PASSWORD: &str = "correct horse battery";
const ENTER: &str = "\u{E007}";

fn settings(model: &str, others: &str, ollama: &str) -> String {
    format!(
        "[models]\nchain = []\n[models.ollama]\nurl = \"{ollama}\"\n[embedding]\nmodel = \"{model}\"\nothers = [{others}]\n"
    )
}

/// So many sections, which are as many passages.
fn manual(sections: usize) -> Vec<u8> {
    let section = |n: usize| {
        format!(
            "# Section {n}\n\nThe part number {n} of the manual tells about pump {} and valve {}.\n\n",
            n * 7,
            n * 3
        )
    };
    (0..sections).map(section).collect::<String>().into_bytes()
}

fn status(aegis: &Appliance) -> Value {
    aegis.json(&["kb", "reembed", "--tenant", "acme", "--status"])
}

fn until(aegis: &Appliance, what: &str, reached: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let state = status(aegis);
        if reached(&state) {
            return state;
        }
        assert!(Instant::now() < deadline, "not reached: {what}: {state}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn found(aegis: &Appliance, query: &str) -> String {
    aegis.json(&["kb", "search", "--tenant", "acme", query, "--limit", "1"])[0]["locator"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appliance_killed_while_documents_are_moved_goes_on_at_its_next_start() {
    let ollama = StandIn::start().await;
    tokio::task::block_in_place(|| {
        let mut aegis = Appliance::new(&settings("builtin", "\"ollama/nomic-embed-text\"", &ollama.url()));
        aegis.serve();
        aegis.with_owner(EMAIL, PASSWORD);
        let file = aegis.file("manual.md", &manual(400));
        aegis.json(&["kb", "add", "--tenant", "acme", &file]);
        assert_eq!(status(&aegis)["active"], "builtin/all-minilm-l6-v2");
        let begun = aegis.json(&["kb", "reembed", "--tenant", "acme", "--model", "ollama/nomic-embed-text"]);
        assert_eq!(begun["change"]["status"], "running", "{begun}");
        let mut kills = 0;
        loop {
            let state = status(&aegis);
            if state["active"] == "ollama/nomic-embed-text" {
                break;
            }
            aegis.kill();
            kills += 1;
            aegis.serve();
            assert_eq!(found(&aegis, "pump 539"), "\"Section 77\"");
            if kills == 4 {
                until(&aegis, "the switch", |state| state["active"] == "ollama/nomic-embed-text");
            }
        }
        println!("killed {kills} times while 400 passages were moved");
        let done = aegis.json(&["kb", "reembed", "--tenant", "acme", "--model", "ollama/nomic-embed-text", "--wait"]);
        assert_eq!((&done["change"]["status"], &done["problem"]), (&json!("done"), &Value::Null), "{done}");
        assert_eq!(found(&aegis, "pump 539"), "\"Section 77\"");
        let back = aegis.run(&["kb", "reembed", "--tenant", "acme", "--wait"]);
        let told = String::from_utf8(back.stdout).expect("UTF-8");
        assert!(
            back.status.success() && told.contains("Documents are searched by builtin/all-minilm-l6-v2."),
            "{told}"
        );
        let wrong = aegis.run(&["kb", "reembed", "--tenant", "acme", "--model", "olama/x"]);
        let told = String::from_utf8(wrong.stderr).expect("UTF-8");
        assert!(!wrong.status.success() && told.contains("did you mean \"ollama/x\"?"), "{told}");
        let verified = aegis.json(&["audit", "verify", "--tenant", "acme"]);
        assert_eq!(verified["intact"], true);
    });
}

/// Where pictures go, if they are wanted: `AEGIS_TEST_PICTURES`.
async fn look(browser: &Browser, name: &str) {
    for width in [360, 1440] {
        browser.resize(width, 900);
        let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
        assert_eq!(beyond, json!(0), "{name} at {width} px");
        for colours in ["light", "dark"] {
            browser.prefer(colours);
            assert_eq!(browser.barriers().await, Vec::<String>::new(), "{name} at {width} px, {colours}");
            if let Some(folder) = std::env::var_os("AEGIS_TEST_PICTURES").map(PathBuf::from) {
                browser.picture(&folder.join(format!("{name}-{width}-{colours}.png")));
            }
        }
    }
    browser.prefer("light");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_what_waits_stops_it_and_changes_the_model() {
    let ollama = StandIn::start().await;
    let offered = "\"ollama/nomic-embed-text\", \"ollama/not-pulled\"";
    let mut aegis = Appliance::new(&settings("builtin", offered, &ollama.url()));
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    let file = aegis.file("manual.md", &manual(60));
    aegis.json(&["kb", "add", "--tenant", "acme", &file]);
    let browser = Browser::start().await;
    browser.open(&format!("{}/", aegis.url())).await;
    browser.type_into("[name=email]", EMAIL).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser.find(".rail").await;

    browser.open(&format!("{}/settings/embedding", aegis.url())).await;
    browser.see("#documents", "builtin/all-minilm-l6-v2").await;
    look(&browser, "embedding").await;
    browser.run("document.querySelector('[name=model]').value = 'ollama/not-pulled'", vec![]).await;
    browser.click("#documents .button.primary").await;
    browser.see("#documents", "Moving to ollama/not-pulled").await;
    // The page looks again by itself.
    browser.see("#documents .notice", "It waits and goes on by itself: the model not-pulled is not there").await;
    browser.see("#documents", "0 of 60 passages").await;
    look(&browser, "embedding-waits").await;
    // The page may put a fresh button in the place of one that a driver has found.
    browser.run("document.querySelector('#documents .button.danger').click()", vec![]).await;
    browser.see("#documents", "The change to ollama/not-pulled was stopped").await;
    look(&browser, "embedding-stopped").await;

    browser.run("document.querySelector('[name=model]').value = 'ollama/nomic-embed-text'", vec![]).await;
    browser.click("#documents .button.primary").await;
    browser.see("#documents", "Documents were moved from builtin/all-minilm-l6-v2").await;
    look(&browser, "embedding-moved").await;
    let actions = aegis.json(&["audit", "show", "--tenant", "acme", "--action", "reembedding.finished"]);
    assert_eq!(actions[0]["subject"], "ollama/nomic-embed-text", "{actions}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
