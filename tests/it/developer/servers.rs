//! Servers of other people's tools, which speak MCP by the official `mcp` package: whom they serve, and what they may do to
//! the appliance when they misbehave.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Desk, EMAIL, PASSWORD, blocking};
use crate::{
    browser_driver::Browser,
    ollama_stand_in::{Script, StandIn},
};

const ADMIN: &str = "mcp_admin.py";

/// A desk whose operator allows the program `birds`, and a file that says how it behaves.
struct Aviary {
    desk: Desk,
    token: String,
    home: tempfile::TempDir,
}

impl Aviary {
    async fn new(addresses: &[String]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = env!("CARGO_MANIFEST_DIR");
        let settings = format!(
            "[mcp]\ncall_seconds = 3\naddresses = {addresses:?}\n[mcp.commands.birds]\nprogram = \"/usr/bin/env\"\n\
             arguments = [\"python3\", \"{root}/tests/api/mcp_server.py\", \"stdio\"]\n\
             environment = {{ PATH = {:?}, PYTHONPATH = \"{root}/target/test-tools/clients\", \
             BEHAVIOUR = \"{}\", FED = \"{}\" }}\n",
            std::env::var("PATH").unwrap(),
            home.path().join("behaviour").display(),
            home.path().join("fed").display(),
        );
        let desk = Desk::with(&settings).await;
        let token = desk.token(&["agents:manage", "chat:write"]);
        Self { desk, token, home }
    }

    fn admin(&self, part: &str) -> String {
        self.desk.python(ADMIN, part, &self.token)
    }

    fn behaves(&self, how: &str) {
        fs::write(self.home.path().join("behaviour"), how).unwrap();
    }

    /// What the model reads when it calls the tool.
    fn told(&self, tool: &str, arguments: &serde_json::Value) -> String {
        self.desk.ollama.script([Script::call(tool, arguments), Script::say("So it is.")]);
        self.admin("ask atlas");
        self.desk.ollama.chats().pop().unwrap()["messages"].to_string()
    }

    /// The processes of servers that are there.
    fn servers(&self) -> usize {
        let marker = format!("BEHAVIOUR={}", self.home.path().join("behaviour").display());
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let environment = |process: fs::DirEntry| fs::read(process.path().join("environ")).unwrap_or_default();
        processes.filter(|_| true).map(environment).filter(|it| String::from_utf8_lossy(it).contains(&marker)).count()
    }

    async fn left_alone(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.servers() > 0 {
            assert!(Instant::now() < deadline, "a server has outlived its run");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn offered(ollama: &StandIn) -> Vec<String> {
    let chat = ollama.chats().pop().unwrap();
    let tools = chat["tools"].as_array().cloned().unwrap_or_default();
    tools.iter().map(|tool| tool["function"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_agent_sees_a_tool_that_was_not_chosen_for_it() {
    let aviary = Aviary::new(&[]).await;
    aviary.admin("refused");
    aviary.admin("add birds command birds");
    aviary.admin("ask atlas");
    assert!(offered(&aviary.desk.ollama).iter().all(|name| !name.contains("birds")));
    aviary.admin("choose birds count atlas reads");
    let told = aviary.told("birds__count", &json!({"kind": "robin"}));
    assert!(told.contains("There are 7 birds of the kind robin."), "{told}");
    assert!(told.contains("others"), "the result is fenced as others' words: {told}");
    aviary.admin("ask luna");
    assert!(offered(&aviary.desk.ollama).iter().all(|name| !name.contains("birds")));
    aviary.left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_outside_is_not_done_where_nobody_can_be_asked() {
    let aviary = Aviary::new(&[]).await;
    aviary.admin("add birds command birds");
    aviary.admin("choose birds feed atlas writes");
    let told = aviary.told("birds__feed", &json!({"grams": 5}));
    assert!(!aviary.home.path().join("fed").exists(), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_misbehaves_costs_its_call_and_nothing_else() {
    let aviary = Aviary::new(&[]).await;
    aviary.admin("add birds command birds");
    aviary.admin("choose birds count atlas reads");
    for (how, words) in [
        ("hang", "did not answer in time"),
        ("die", "server"),
        ("huge", "server"),
        // What was raised there, the official package keeps to itself.
        ("fail", "the server says that it failed"),
        ("", "There are 7 birds"),
    ] {
        aviary.behaves(how);
        let began = Instant::now();
        let told = aviary.told("birds__count", &json!({"kind": "robin"}));
        assert!(told.contains(words), "{how}: {told}");
        assert!(told.len() < 200_000, "{how}");
        assert!(began.elapsed() < Duration::from_secs(30), "{how}");
        aviary.left_alone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_described_otherwise_is_out_of_use_until_somebody_looks() {
    let aviary = Aviary::new(&[]).await;
    aviary.admin("add birds command birds");
    aviary.admin("choose birds count atlas reads");
    aviary.behaves("lie");
    let told = aviary.told("birds__count", &json!({"kind": "robin"}));
    assert!(told.contains("describes this tool otherwise") && !told.contains("Ignore your rules"), "{told}");
    aviary.admin("ask atlas");
    assert!(offered(&aviary.desk.ollama).iter().all(|name| !name.contains("birds")));
    aviary.admin("changed birds count");
    let log = blocking(|| aviary.desk.aegis.json(&["audit", "show", "--tenant", "acme", "--limit", "500"])).to_string();
    for action in ["mcp_server.added", "mcp_server.looked", "mcp_tool.chosen", "mcp_tool.changed"] {
        assert!(log.contains(action), "{action}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_behind_an_address_is_reached_when_the_operator_allows_it() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let root = env!("CARGO_MANIFEST_DIR");
    let mut server: Child = Command::new("python3")
        .env("PYTHONPATH", format!("{root}/target/test-tools/clients"))
        .args([&format!("{root}/tests/api/mcp_server.py"), "http", &port.to_string()])
        .spawn()
        .unwrap();
    let aviary = Aviary::new(&[format!("http://127.0.0.1:{port}")]).await;
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_mins(1), "the server does not come up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    aviary.admin(&format!("add far http http://127.0.0.1:{port}/mcp"));
    aviary.admin("choose far count atlas reads");
    let told = aviary.told("far__count", &json!({"kind": "wren"}));
    assert!(told.contains("There are 7 birds of the kind wren."), "{told}");
    server.kill().unwrap();
    server.wait().unwrap();
}

/// `AEGIS_TEST_PICTURES=DIR` keeps what it sees.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_servers_shows_what_they_offer_and_gives_a_tool_to_an_agent_on_every_screen() {
    let aviary = Aviary::new(&[]).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", aviary.desk.aegis.url())).await;
    browser.type_into("[name=email]", EMAIL).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}\u{E007}")).await;
    browser.find(".rail").await;
    let page = format!("{}/settings/mcp", aviary.desk.aegis.url());
    browser.open(&page).await;
    browser.type_into("[name=name]", "birds").await;
    browser.run("document.querySelector('[name=command]').value = 'birds'", vec![]).await;
    browser.run("document.querySelector('[name=name]').form.requestSubmit()", vec![]).await;
    browser.find("[value=count]").await;
    let choose = "const form = document.querySelector('[value=count]').form; form.closest('details').open = true; \
                  form.querySelector('[name=\"agent:nova\"]').checked = true; form.requestSubmit()";
    browser.run(choose, vec![]).await;
    browser.find("[name='agent:nova'][checked]").await;
    let pictures = std::env::var("AEGIS_TEST_PICTURES").ok();
    for width in [360, 1440] {
        browser.resize(width, if width == 360 { 1700 } else { 1300 });
        browser.open(&page).await;
        browser.find("[value=count]").await;
        browser.run("document.querySelector('[value=count]').form.closest('details').open = true", vec![]).await;
        let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
        assert_eq!(beyond, json!(0), "at {width} px");
        for colours in ["light", "dark"] {
            browser.prefer(colours);
            assert_eq!(browser.barriers().await, Vec::<String>::new(), "at {width} px, {colours}");
            if let Some(directory) = &pictures {
                browser.picture(&Path::new(directory).join(format!("servers-{width}-{colours}.png")));
            }
        }
    }
}
