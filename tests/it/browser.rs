//! The console as people meet it: a real browser on the real binary.

use std::{path::Path, time::Duration};

use serde_json::json;

use crate::{
    appliance::Appliance,
    browser_driver::Browser,
    ollama_stand_in::{Script, StandIn},
};

const EMAIL: &str = "jo@acme.example";
const PASSWORD: &str = "correct horse battery";
const ENTER: &str = "\u{E007}";

fn sample(name: &str) -> String {
    format!("{}/packaging/samples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// An appliance with an owner who has not signed in yet.
fn appliance(settings: &str) -> Appliance {
    let mut aegis = Appliance::new(settings);
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    aegis
}

async fn sign_in(browser: &Browser, aegis: &Appliance) {
    browser.open(&format!("{}/", aegis.url())).await;
    browser.type_into("[name=email]", EMAIL).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser.find(".rail").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_adds_a_document_asks_and_opens_the_passage_behind_the_answer() {
    let aegis = appliance("[models]\nchain = []\n");
    let browser = Browser::start().await;

    browser.open(&format!("{}/chat", aegis.url())).await;
    browser.type_into("[name=email]", EMAIL).await;
    browser.type_into("[name=password]", &format!("not the password{ENTER}")).await;
    browser.find("[role=alert]").await;
    assert!(
        browser.complaints().iter().all(|line| line.contains("401")),
        "the browser notes the refusal and nothing else"
    );
    sign_in(&browser, &aegis).await;
    browser.see(".welcome", "Add documents").await;

    browser.click("a[href='/knowledge']").await;
    browser.see("#documents", "Nothing to read yet").await;
    browser.type_into("input[type=file]", &sample("employee-handbook.md")).await;
    browser.find(".state.ready").await;
    browser.see("#count", "1 document").await;

    browser.type_into("[type=search]", "parental leave").await;
    browser.find("#results mark").await;
    browser.see("#results", "Parental leave").await;

    browser.click("a[href='/chat']").await;
    browser.see(".welcome", "your document").await;
    browser.type_into("#question", &format!("How many weeks of parental leave are there?{ENTER}")).await;
    browser.find(".answer .cite[data-passage]").await;
    browser.see(".answer", "Quoting").await;
    browser.see(".answer", "16 weeks").await;
    browser.see("#conversations [aria-current]", "How many weeks").await;

    browser.click(".answer .cite[data-passage]").await;
    browser.see(".source.lit", "16 weeks").await;
    browser.click(".source.lit").await;
    browser.see(".passage:target", "16 weeks").await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_streams_and_stops_when_it_is_told_to() {
    let ollama = StandIn::start().await;
    let aegis = appliance(&format!("[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = {:?}\n", ollama.url()));
    aegis.json(&["kb", "add", "--tenant", "acme", &sample("employee-handbook.md")]);
    let browser = Browser::start().await;
    sign_in(&browser, &aegis).await;

    browser.type_into("#question", &format!("How many weeks of parental leave are there?{ENTER}")).await;
    browser.find(".answer .cite[data-passage]").await;
    browser.see(".answer .step summary", "searched knowledge").await;
    browser.see(".answer .meta", "ollama/").await;
    let copied = "const chosen = getSelection();
                  chosen.selectAllChildren(document.querySelector('.answer .prose'));
                  const text = `${chosen}`;
                  chosen.removeAllRanges();
                  return text";
    let copied = browser.run(copied, vec![]).await.as_str().unwrap_or_default().to_owned();
    let place = "in two. [1: employee-handbook.md, Leave › Parental leave]";
    assert!(copied.contains(place), "what is copied says where it is from: {copied}");

    let slow = "Word after word comes slowly. ".repeat(200);
    ollama.script([Script::say(&slow).slowly(Duration::from_millis(30))]);
    browser.find(".stop[hidden]").await;
    browser.type_into("#question", &format!("Tell me everything{ENTER}")).await;
    browser.see(".answer:last-child .prose", "Word after word").await;
    browser.click(".stop").await;
    browser.see(".answer:last-child .notice", "topped").await;
    assert!(browser.text(".answer:last-child .prose").await.len() < slow.len(), "it was stopped before its end");
    browser.find(".send:not([hidden])").await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_theme_that_was_chosen_is_in_the_first_byte_of_every_page() {
    let aegis = appliance("[models]\nchain = []\n");
    let browser = Browser::start().await;
    sign_in(&browser, &aegis).await;
    let canvas = || async {
        let colour = browser.run("return getComputedStyle(document.documentElement).backgroundColor", vec![]).await;
        colour.as_str().unwrap_or_default().to_owned()
    };
    let light = canvas().await;
    browser.prefer("dark");
    let dark = canvas().await;
    assert_ne!(light, dark, "without a choice the machine's colours count");

    browser.click(".me").await;
    browser.click("[name=theme][value=light]").await;
    assert_eq!(canvas().await, light, "the choice counts at once");
    browser.open(&format!("{}/knowledge", aegis.url())).await;
    assert_eq!(canvas().await, light, "and on the next page");
    // What the server sent, before any script could have changed it.
    let sent = browser.run("return (async () => (await (await fetch('/chat')).text()).slice(0, 60))()", vec![]).await;
    assert!(sent.as_str().is_some_and(|html| html.contains("data-theme=\"light\"")), "{sent}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_shuts_anybody_out_or_is_wider_than_its_screen_and_all_keys_work() {
    let aegis = appliance("[models]\nchain = []\n");
    aegis.json(&["kb", "add", "--tenant", "acme", &sample("employee-handbook.md"), &sample("returns-and-warranty.md")]);
    aegis.run(&["kb", "add", "--tenant", "acme", &aegis.file("damaged.pdf", b"%PDF-1.7 and nothing that follows")]);
    let browser = Browser::start().await;
    browser.open(&format!("{}/sign-in", aegis.url())).await;
    assert_eq!(browser.barriers().await, Vec::<String>::new(), "the sign-in page");
    sign_in(&browser, &aegis).await;
    browser.type_into("#question", &format!("How many weeks of parental leave are there?{ENTER}")).await;
    browser.find(".answer .cite[data-passage]").await;
    let conversation = browser.client.current_url().await.expect("an address").to_string();
    browser.open(&format!("{}/knowledge", aegis.url())).await;
    browser.see("#documents", "Failed").await;
    let document = browser.find(".name").await.prop("href").await.expect("the link").expect("it has an address");

    let url = aegis.url();
    let pages = ["/chat", "/knowledge", "/knowledge?q=warranty", "/nowhere"].map(|path| format!("{url}{path}"));
    for page in pages.iter().chain([&conversation, &document]) {
        for width in [360, 768, 1100, 1440] {
            browser.resize(width, 800);
            browser.open(page).await;
            let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
            assert_eq!(beyond, json!(0), "{page} at {width} px");
            for colours in ["light", "dark"].into_iter().filter(|_| width != 1100) {
                browser.prefer(colours);
                assert_eq!(browser.barriers().await, Vec::<String>::new(), "{page} at {width} px, {colours}");
            }
        }
    }
    let complaints: Vec<String> = browser.complaints().into_iter().filter(|line| !line.contains("/nowhere")).collect();
    assert_eq!(complaints, Vec::<String>::new());

    browser.resize(1440, 900);
    browser.open(&format!("{url}/knowledge")).await;
    browser.type_into("body", "?").await;
    browser.find("#keys:popover-open").await;
    browser.type_into("body", "\u{E00C}").await;
    browser.type_into("body", "/").await;
    browser.find("[type=search]:focus").await;
}

/// Takes the picture of the README; the answers in it are the built-in engine's own.
/// `AEGIS_TEST_PICTURE=web/screenshot.png cargo test --test it the_picture -- --ignored`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes the README's picture when it is asked to"]
async fn the_picture_for_the_readme() {
    let mut aegis = Appliance::new("[models]\nchain = [\"builtin\"]\n");
    std::fs::create_dir_all(aegis.data_dir().join("models")).expect("a place for the model");
    let model = Path::new(env!("AEGIS_PACK")).join("models/smollm2-135m-instruct-q4_1.gguf");
    std::os::unix::fs::symlink(model, aegis.data_dir().join("models/smollm2-135m-instruct.gguf")).expect("the model");
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    for name in ["employee-handbook.md", "returns-and-warranty.md", "incident-2026-02-data-room.md"] {
        aegis.json(&["kb", "add", "--tenant", "acme", &sample(name)]);
    }
    let browser = Browser::start().await;
    browser.resize(1400, 800);
    sign_in(&browser, &aegis).await;
    let questions = [
        "Within how many days may a customer return something?",
        "How many weeks of parental leave are there at full pay?",
        "How much does the shop pay a month towards an internet connection?",
    ];
    for (number, question) in (1..).zip(questions) {
        browser.find(".stop[hidden]").await;
        browser.type_into("#question", &format!("{question}{ENTER}")).await;
        browser.find(&format!(".answer:nth-child({}) .meta", 2 * number)).await;
    }
    browser.click(".answer:last-child .cite[data-passage]").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    browser.picture(Path::new(&std::env::var("AEGIS_TEST_PICTURE").expect("AEGIS_TEST_PICTURE says where to")));
}
