//! Approvals and rules for tools as people meet them: a real browser on the real binary, which is killed in between.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    appliance::Appliance,
    browser_driver::Browser,
    ollama_stand_in::{Script, StandIn},
};

const EMAIL: &str = "jo@acme.example";
const PASSWORD: &str = "correct horse battery";
const ENTER: &str = "\u{E007}";

/// Where pictures go, if they are wanted: `AEGIS_TEST_PICTURES`.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("AEGIS_TEST_PICTURES").map(PathBuf::from)
}

async fn look(browser: &Browser, name: &str) {
    for width in [360, 1440] {
        browser.resize(width, 900);
        let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
        assert_eq!(beyond, json!(0), "{name} at {width} px");
        for colours in ["light", "dark"] {
            browser.prefer(colours);
            assert_eq!(browser.barriers().await, Vec::<String>::new(), "{name} at {width} px, {colours}");
            if let Some(folder) = pictures() {
                browser.picture(&folder.join(format!("{name}-{width}-{colours}.png")));
            }
        }
    }
    browser.prefer("light");
}

/// Kills the appliance, starts it again, and opens the same page there.
async fn killed_and_back(aegis: &mut Appliance, browser: &Browser) {
    let page = browser.client.current_url().await.expect("an address");
    tokio::task::block_in_place(|| {
        aegis.kill();
        aegis.serve();
    });
    browser.open(&format!("{}{}", aegis.url(), page.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_what_is_being_written_survive_that_the_server_is_killed() {
    let ollama = StandIn::start().await;
    let settings = format!("[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = \"{}\"\n", ollama.url());
    let mut aegis = Appliance::new(&settings);
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    let sample = format!("{}/packaging/samples/employee-handbook.md", env!("CARGO_MANIFEST_DIR"));
    aegis.json(&["kb", "add", "--tenant", "acme", &sample]);
    let browser = Browser::start().await;
    browser.open(&format!("{}/", aegis.url())).await;
    browser.type_into("[name=email]", EMAIL).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser.find(".rail").await;

    let address = json!({"address": "https://rates.example.org/parental-leave?country=DE"});
    ollama.script([
        Script::call("knowledge_search", &json!({"query": "parental leave"})),
        Script::call("http_fetch", &address),
    ]);
    browser.type_into("#question", &format!("Compare our parental leave with the national rate.{ENTER}")).await;
    browser.see(".approval", "wants to call http.fetch").await;
    browser.see(".approval", "https://rates.example.org/parental-leave?country=DE").await;
    browser.see(".approval .notice", "employee-handbook.md").await;
    look(&browser, "chat-approval").await;

    killed_and_back(&mut aegis, &browser).await;
    browser.see(".approval", "wants to call http.fetch").await;
    let conversation = browser.client.current_url().await.expect("an address").path().to_owned();
    browser.open(&format!("{}/approvals", aegis.url())).await;
    browser.see(".approval", "wants to call http.fetch").await;
    browser.see(".rail [aria-current=page] .chip", "1").await;
    look(&browser, "approvals").await;

    browser.click(".approval summary").await;
    browser.run("document.querySelector('.approval textarea').value = '{\"address\": 7'", vec![]).await;
    browser.click(".approval button[value=allow]").await;
    browser.see("[role=alert]", "not JSON any more").await;
    let edited =
        "document.querySelector('.approval textarea').value = '{\"address\": \"https://rates.example.org/leave\"}'";
    browser.run(edited, vec![]).await;
    ollama.script([Script::say("The rate could not be read.")]);
    browser.click(".approval button[value=allow]").await;
    browser.see(".table", "allowed").await;
    look(&browser, "approvals-decided").await;
    browser.open(&format!("{}{conversation}", aegis.url())).await;
    browser.see(".answer .prose", "The rate could not be read.").await;
    assert!(ollama.chats().last().is_some_and(|chat| chat.to_string().contains("rates.example.org/leave")));

    // Killed while the model writes: the page finds the answer by itself when the server is back.
    ollama.script([Script::say("Sixteen weeks are").then_hang()]);
    browser.find(".stop[hidden]").await;
    browser.type_into("#question", &format!("How long is ours?{ENTER}")).await;
    browser.see("#turns", "Sixteen weeks are").await;
    ollama.script([Script::say("Sixteen weeks are ours.")]);
    killed_and_back(&mut aegis, &browser).await;
    browser.see("#turns", "Sixteen weeks are ours.").await;

    browser.open(&format!("{}/settings/tools", aegis.url())).await;
    browser.see("main", "http.fetch").await;
    look(&browser, "tools").await;
    let steps = aegis.json(&["audit", "show", "--tenant", "acme", "--action", "run.resumed"]);
    assert_eq!(steps.as_array().map(Vec::len), Some(2), "{steps}");
}
