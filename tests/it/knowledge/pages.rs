//! The knowledge base in a real browser: collections, versions, a search that says why.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::json;

use crate::{appliance::Appliance, browser_driver::Browser, ollama_stand_in::StandIn};

const EMAIL: &str = "jo@acme.example";
const PASSWORD: &str = "correct horse battery";
const ENTER: &str = "\u{E007}";

fn sample(name: &str) -> String {
    format!("{}/packaging/samples/{name}", env!("CARGO_MANIFEST_DIR"))
}

async fn sign_in(browser: &Browser, aegis: &Appliance) {
    browser.open(&format!("{}/", aegis.url())).await;
    browser.type_into("[name=email]", EMAIL).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser.find(".rail").await;
}

/// Pictures and barriers of a page at a phone's and at a desk's width, in both themes.
async fn looked_at(browser: &Browser, name: &str, page: &str) {
    let pictures = std::env::var_os("AEGIS_TEST_PICTURES").map(PathBuf::from);
    for width in [360, 1440] {
        browser.resize(width, 900);
        for colours in ["light", "dark"] {
            browser.prefer(colours);
            browser.open(page).await;
            let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
            assert_eq!(beyond, json!(0), "{name} at {width} px");
            assert_eq!(browser.barriers().await, Vec::<String>::new(), "{name} at {width} px, {colours}");
            if let Some(folder) = &pictures {
                browser.picture(&folder.join(format!("{name}-{width}-{colours}.png")));
            }
        }
    }
    browser.prefer("light");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sorts_documents_into_collections_opens_older_versions_and_sees_why_a_passage_was_found() {
    let share = tempfile::tempdir().unwrap();
    let watched = format!("watch_folder = {:?}\nwatch_seconds = 1\n", share.path());
    let mut aegis = Appliance::new(&format!("[models]\nchain = []\n[knowledge]\n{watched}"));
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    let browser = Browser::start().await;
    sign_in(&browser, &aegis).await;
    let url = aegis.url();

    browser.open(&format!("{url}/knowledge/collections")).await;
    browser.type_into("#new ~ form [name=name]", "Human resources").await;
    browser.type_into("#new ~ form [name=description]", "Handbooks, leave, pay").await;
    browser.click("#new ~ form [name=all-agents]").await;
    browser.click("#new ~ form [name=agent-penny]").await;
    browser.click("#new ~ form .button.primary").await;
    browser.see("main", "Read by: Everybody, Penny.").await;
    browser.type_into("#new ~ form [name=name]", &format!("human RESOURCES{ENTER}")).await;
    browser.see("[role=alert]", "There is a collection called human RESOURCES already").await;

    browser.open(&format!("{url}/knowledge")).await;
    browser.click(".tabs a:nth-child(3)").await;
    browser.type_into("input[type=file]", &sample("employee-handbook.md")).await;
    browser.find(".state.ready").await;
    browser.see("#documents", "Human resources").await;
    aegis.json(&[
        "kb",
        "add",
        "--tenant",
        "acme",
        "--collection",
        "human resources",
        &sample("returns-and-warranty.md"),
    ]);
    let missing =
        aegis.run(&["kb", "add", "--tenant", "acme", "--collection", "none", &sample("returns-and-warranty.md")]);
    let said = String::from_utf8_lossy(&missing.stdout).into_owned() + &String::from_utf8_lossy(&missing.stderr);
    assert!(!missing.status.success() && said.contains("there are: General, Human resources"), "{said}");
    let changed =
        std::fs::read_to_string(sample("employee-handbook.md")).unwrap() + "\n\nThe office dog is called Pixel.\n";
    aegis.json(&[
        "kb",
        "add",
        "--tenant",
        "acme",
        "--collection",
        "Human resources",
        &aegis.file("employee-handbook.md", changed.as_bytes()),
    ]);
    aegis.run(&["kb", "add", "--tenant", "acme", &aegis.file("damaged.pdf", b"%PDF-1.7 and nothing that follows")]);

    let folder = share.path().join("acme/Human resources/Forms");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("badge.png"), b"\x89PNG\r\n\x1a\n\0\0").unwrap();
    fs::write(folder.join("leave-request.md"), "# Request for leave\n\nHand it in four weeks ahead.").unwrap();
    browser.open(&format!("{url}/knowledge")).await;
    while !browser.text("#documents").await.contains("leave-request.md") {
        tokio::time::sleep(Duration::from_millis(200)).await;
        browser.open(&format!("{url}/knowledge")).await;
    }
    browser.see("#documents", "Human resources / Forms").await;

    looked_at(&browser, "collections", &format!("{url}/knowledge/collections")).await;
    browser.see("main", "1 in its folder not taken").await;
    looked_at(&browser, "knowledge", &format!("{url}/knowledge")).await;
    browser.see("#documents", "version 2").await;
    browser.see("#documents", "Try again").await;

    browser.type_into("[type=search]", "parental leave").await;
    browser.find("#results mark").await;
    browser.click("[name=why]").await;
    browser.see("#results", "By meaning: number 1").await;
    browser.see("#results", "By words: number 1").await;
    looked_at(&browser, "search", &format!("{url}/knowledge?q=parental+leave&why=on")).await;
    browser.open(&format!("{url}/knowledge?q=parental+leave&kind=pdf")).await;
    browser.see("#results", "No passage fits").await;

    browser.open(&format!("{url}/knowledge?q=leave")).await;
    browser.type_into("[name=name]", "forms/LEAVE").await;
    browser.see("#documents tbody tr:only-child", "leave-request.md").await;
    browser.see("#results .hits:not(:has(article + article))", "four weeks ahead").await;
    browser.open(&format!("{url}/knowledge?name=employee")).await;
    browser.click("#documents a.name").await;
    browser.type_into("[type=search]", &format!("parental leave{ENTER}")).await;
    browser.see("#search .options", "In employee-handbook.md").await;
    browser.see("#results", "16 weeks").await;
    browser.see("#search:not(:has([name=name]))", "search all").await;

    browser.open(&format!("{url}/knowledge?name=employee")).await;
    browser.click("#documents a.name").await;
    browser.see(".versions summary", "2 versions").await;
    browser.click(".versions summary").await;
    browser.click(".versions a").await;
    browser.see("[role=note]", "This is an older version").await;
    let older = browser.client.current_url().await.unwrap().to_string();
    looked_at(&browser, "older-version", &older).await;
    browser.click("[role=note] a").await;
    browser.see("#documents", "The office dog is called Pixel").await;
    let present = browser.client.current_url().await.unwrap().to_string();
    looked_at(&browser, "document", &present).await;
    let complaints: Vec<String> = browser.complaints().into_iter().filter(|line| !line.contains("409")).collect();
    assert_eq!(complaints, Vec::<String>::new());
}

/// Takes pictures of what goes on for moments only: `AEGIS_TEST_PICTURES=DIR cargo test --test it while_they -- --ignored`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes pictures when it is asked to"]
async fn uploads_and_a_change_of_the_embedding_model_while_they_go_on() {
    let folder = PathBuf::from(std::env::var_os("AEGIS_TEST_PICTURES").expect("AEGIS_TEST_PICTURES says where to"));
    let ollama = StandIn::start().await;
    let embedding = "[embedding]\nmodel = \"ollama/nomic-embed-text\"\nothers = [\"builtin\"]\n";
    let mut aegis =
        Appliance::new(&format!("[models]\nchain = []\n[models.ollama]\nurl = {:?}\n{embedding}", ollama.url()));
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    let browser = Browser::start().await;
    sign_in(&browser, &aegis).await;
    let pictures = |name: &str| {
        for (width, colours) in [(360, "light"), (360, "dark"), (1440, "light"), (1440, "dark")] {
            browser.resize(width, 900);
            browser.prefer(colours);
            browser.picture(&folder.join(format!("{name}-{width}-{colours}.png")));
        }
        browser.prefer("light");
    };
    let manual = |name: &str, sections: usize| {
        let section =
            |n: usize| format!("# Section {n}\n\nPump {} of {name} stands behind valve {}.\n\n", n * 7, n * 3);
        aegis.file(&format!("{name}.md"), (0..sections).map(section).collect::<String>().as_bytes())
    };
    let files = [
        sample("employee-handbook.md"),
        aegis.file("scan.pdf", b"%PDF-1.7 and nothing that follows"),
        manual("pumping-station", 2_000),
        manual("waterworks", 12_000),
        sample("returns-and-warranty.md"),
    ];
    browser.open(&format!("{}/knowledge", aegis.url())).await;
    browser.upload_slowly(150_000);
    browser.type_into("input[type=file]", &files.join("\n")).await;
    browser.see("#documents", "pumping-station.md").await;
    browser.find("#uploads progress").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    pictures("upload");
    browser.upload_slowly(100_000_000);
    while !aegis
        .json(&["kb", "list", "--tenant", "acme"])
        .as_array()
        .unwrap()
        .iter()
        .any(|one| one["title"] == "waterworks.md" && one["status"] == "ready")
    {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    browser.open(&format!("{}/settings/embedding", aegis.url())).await;
    browser.run("document.querySelector('[name=model]').value = 'builtin/all-minilm-l6-v2'", vec![]).await;
    browser.click("#documents .button.primary").await;
    browser.see("#going-title", "Moving to").await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    pictures("reembedding");
}
