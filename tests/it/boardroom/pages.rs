//! The boardroom's pages in a real browser: called, live, finished, on paper.

use std::{path::PathBuf, time::Duration};

use super::{ANSWER, OUTCOME, POSITION, QUESTION};
use crate::{
    appliance::Appliance,
    browser_driver::Browser,
    ollama_stand_in::{Script, StandIn},
};

const EMAIL: &str = "jo@acme.example";
const PASSWORD: &str = "correct horse battery";
const NOVA: &str = "I would go to **twenty weeks**. Three reasons weigh most:\n\n1. People who come back rested stay longer.\n\
                    2. Our competitors offer eighteen.\n3. It costs less than one new hire.\n\nI would change my mind if the budget were cut.";
const ATLAS: &str = "Twenty weeks is right, and it should begin next year, when the plan of leave is written anyway. I am not sure \
                     how many will take it, so I would ask before we promise it.";
const ORION: &str = "Stay at sixteen. This year's budget for leave is spent, and nobody has shown that four more weeks keep people \
                     here. I would look at it again with next year's figures.";

async fn pictures(browser: &Browser, name: &str) {
    for (width, scheme) in [(360, "light"), (360, "dark"), (1440, "light"), (1440, "dark")] {
        browser.resize(width, 900);
        browser.prefer(scheme);
        assert_eq!(browser.barriers().await, Vec::<String>::new(), "{name} at {width} {scheme}");
        let wide = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
        assert!(wide.as_i64().unwrap() <= 0, "{name} is wider than {width} px by {wide}");
        if let Some(directory) = std::env::var_os("AEGIS_TEST_PICTURES") {
            browser.picture(&PathBuf::from(directory).join(format!("{name}-{width}-{scheme}.png")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_calls_a_meeting_watches_it_and_reads_the_outcome() {
    let ollama = StandIn::start().await;
    let slow = Duration::from_millis(150);
    for (name, text) in [("Atlas", ATLAS), ("Nova", NOVA), ("Orion", ORION)] {
        ollama.script_when(&[&format!("You, {name}, "), POSITION], Script::say(&text.repeat(4)).slowly(slow));
        ollama.script_when(
            &[&format!("You, {name}, "), ANSWER],
            Script::say("The others have a point about the budget; I keep to my position."),
        );
    }
    ollama.script_when(&["You, Atlas, chair"], Script::say(&OUTCOME.replace(" [1]", "").replace(" [2]", "")));
    let mut aegis =
        Appliance::new(&format!("[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = {:?}\n", ollama.url()));
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    let browser = Browser::start().await;
    browser.open(&format!("{}/boardroom", aegis.url())).await;
    browser.type_into("[name=email]", EMAIL).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}\u{E007}")).await;
    browser.find(".call").await;
    pictures(&browser, "call").await;
    browser.type_into("[name=question]", QUESTION).await;
    for agent in ["atlas", "nova", "orion"] {
        browser.click(&format!("[name=agent][value={agent}]")).await;
    }
    browser.click(".call .primary").await;
    browser.see("h1", QUESTION).await;
    browser.see("[data-said=positions-nova]", "twenty").await;
    browser.see("[data-said=positions-orion]", "sixteen").await;
    pictures(&browser, "live").await;
    browser.see(".state", "finished").await;
    browser.see(".record", "would stay at sixteen").await;
    browser.find("[id^=action-]").await;
    pictures(&browser, "finished").await;
    browser.click("a[href$='/print']").await;
    browser.see(".paper h1", QUESTION).await;
    pictures(&browser, "print").await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
    aegis.stop();
}
