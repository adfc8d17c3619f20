//! The log's pages and a run's time line, in a real browser and by plain requests.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{appliance::Appliance, browser_driver::Browser};

const EMAIL: &str = "jo@acme.example";
const PASSWORD: &str = "correct horse battery";
const ENTER: &str = "\u{E007}";

/// Ollama is not there, the built-in engine answers: so there is an attempt in vain, a search and a model.
fn appliance() -> Appliance {
    let mut aegis =
        Appliance::new("[models]\nchain = [\"ollama\", \"builtin\"]\n[models.ollama]\nurl = \"http://127.0.0.1:9\"\n");
    std::fs::create_dir_all(aegis.data_dir().join("models")).expect("a place for the model");
    let model = Path::new(env!("AEGIS_PACK")).join("models/smollm2-135m-instruct-q4_1.gguf");
    std::os::unix::fs::symlink(model, aegis.data_dir().join("models/smollm2-135m-instruct.gguf")).expect("the model");
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    for name in ["employee-handbook.md", "returns-and-warranty.md"] {
        let sample = format!("{}/packaging/samples/{name}", env!("CARGO_MANIFEST_DIR"));
        aegis.json(&["kb", "add", "--tenant", "acme", &sample]);
    }
    aegis.run(&["kb", "add", "--tenant", "acme", &aegis.file("damaged.pdf", b"%PDF-1.7 and nothing that follows")]);
    aegis
}

async fn sign_in(browser: &Browser, aegis: &Appliance) {
    browser.open(&format!("{}/", aegis.url())).await;
    browser.type_into("[name=email]", EMAIL).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser.find(".rail").await;
}

/// Where pictures go, if they are wanted: `AEGIS_TEST_PICTURES`.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("AEGIS_TEST_PICTURES").map(PathBuf::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_an_answer_to_its_time_line_and_no_page_of_it_shuts_anybody_out() {
    let aegis = appliance();
    let browser = Browser::start().await;
    sign_in(&browser, &aegis).await;
    browser.type_into("#question", &format!("How many weeks of parental leave are there at full pay?{ENTER}")).await;
    browser.find(".answer .meta a[href^='/audit/runs/']").await;
    browser.click(".answer .meta a[href^='/audit/runs/']").await;
    browser.see("h1", "How many weeks of parental leave").await;
    browser.see(".falls", "builtin/").await;
    browser.see(".falls", "ollama/").await;
    browser.see("#step", "It was asked").await;
    browser.see("#step", "does not answer").await;
    browser.see(".outcome", "16").await;
    browser.click("a[data-kind=search]").await;
    browser.see("#step", "score 0.").await;
    browser.see("#step", "employee-handbook.md").await;
    let run = browser.client.current_url().await.expect("an address").to_string();

    browser.click("#step a[href^='/audit/entries/']").await;
    browser.see("h1", "Entry ").await;
    let entry = browser.client.current_url().await.expect("an address").to_string();
    browser.open(&format!("{}/audit", aegis.url())).await;
    browser.see(".seal", "not checked yet").await;
    browser.click(".seal .button").await;
    browser.see(".seal", "Intact").await;
    browser.see(".seal", "checked just now").await;

    let url = aegis.url();
    let pages = [
        ("audit", format!("{url}/audit")),
        ("filtered", format!("{url}/audit?action=document&text=handbook")),
        ("nothing", format!("{url}/audit?text=xyzzy")),
        ("entry", entry),
        ("run", run.replace("#step", "")),
    ];
    for (name, page) in &pages {
        for width in [360, 768, 1440] {
            browser.resize(width, 900);
            browser.open(page).await;
            let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
            assert_eq!(beyond, json!(0), "{name} at {width} px");
            for colours in ["light", "dark"] {
                browser.prefer(colours);
                assert_eq!(browser.barriers().await, Vec::<String>::new(), "{name} at {width} px, {colours}");
                if let Some(folder) = pictures().filter(|_| width != 768) {
                    browser.picture(&folder.join(format!("{name}-{width}-{colours}.png")));
                }
            }
        }
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_finds_verifies_and_exports_and_says_so_in_the_log() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    let browser = Browser::start().await;
    sign_in(&browser, &aegis).await;
    let answer = tokio::task::block_in_place(|| aegis.json(&["ask", "--tenant", "acme", "Who are we?"]));
    let run = answer["run_id"].as_str().expect("a run").to_owned();
    let ask = async |method: &str, path: &str| -> Value {
        let script = "const [method, path] = arguments; return (async () => {
            const token = document.querySelector('meta[name=csrf-token]').content;
            const reply = await fetch(path, { method, headers: { 'x-csrf-token': token, accept: 'application/json' } });
            return { status: reply.status, kind: reply.headers.get('content-type'), text: await reply.text() };
        })()";
        browser.run(script, vec![json!(method), json!(path)]).await
    };
    let json_of = |reply: &Value| -> Value { serde_json::from_str(reply["text"].as_str().unwrap()).unwrap() };

    let page = json_of(&ask("GET", "/api/audit/entries?limit=2").await);
    assert_eq!(page["entries"].as_array().map(Vec::len), Some(2), "{page}");
    let older = page["older"].as_i64().expect("there are older ones");
    let next = json_of(&ask("GET", &format!("/api/audit/entries?limit=2&below={older}")).await);
    assert_eq!(next["entries"][0]["seq"].as_i64(), Some(older - 1), "{next}");
    let entries = json_of(&ask("GET", &format!("/api/audit/runs/{run}")).await);
    assert_eq!(entries[0]["action"], "run.started", "{entries}");
    let verified = json_of(&ask("POST", "/api/audit/verify").await);
    assert_eq!(verified["intact"], true, "{verified}");

    let export = ask("GET", "/api/audit/export").await;
    assert_eq!(export["kind"], "application/x-ndjson");
    let lines: Vec<Value> =
        export["text"].as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["format"], &lines[lines.len() - 1]["end"]), (&json!(aegis::audit::FORMAT), &json!(true)));
    let log = json_of(&ask("GET", "/api/audit/entries?action=audit").await);
    let actions: Vec<_> = log["entries"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["audit.exported", "audit.verified"]);

    for (path, status) in [
        ("/api/audit/runs/018f0000-0000-7000-8000-000000000000", 404),
        ("/api/audit/entries?from=yesterday", 400),
        ("/api/audit/entries?limit=many", 400),
        ("/api/audit/entries?run=7", 400),
    ] {
        assert_eq!(ask("GET", path).await["status"], status, "{path}");
    }
}
