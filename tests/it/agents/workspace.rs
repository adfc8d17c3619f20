//! Workspaces that are brought along: as a draft on the page, for programs, and at the command line.

use std::fmt::Write as _;

use aegis::accounts::Role;
use axum::{
    body::Body,
    http::{Request, header},
};

use crate::{
    accounts::house::{ADA, House},
    appliance::Appliance,
    visitor::{Reply, Visitor},
};

const IDENTITY: &str = "# IDENTITY.md - Who Am I?\n\n- **Name:** Clawd\n- **Creature:** lobster\n";
const SOUL: &str = "# SOUL.md\n\nBe **genuine**.\n";
const MEMORY: &str = "# MEMORY.md\n\n- The office cat is called Ledger\n- Invoices go out on Mondays\n";
const USER: &str = "# USER.md\n\n- Ada prefers short answers in the morning\n";

fn workspace() -> [(&'static str, &'static str); 5] {
    let tools = ("TOOLS.md", "ssh\n");
    [("IDENTITY.md", IDENTITY), ("SOUL.md", SOUL), ("MEMORY.md", MEMORY), ("USER.md", USER), tools]
}

async fn send(visitor: &mut Visitor, path: &str, files: &[(&str, &str)]) -> Reply {
    let csrf = visitor.get("/agents/import").await.csrf().to_owned();
    let mut body = format!("--B\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}\r\n");
    for (name, text) in files {
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
        write!(body, "--B\r\n{head}\r\n\r\n{text}\r\n").unwrap();
    }
    body.push_str("--B--\r\n");
    let kind = "multipart/form-data; boundary=B";
    let request = Request::post(path).header(header::CONTENT_TYPE, kind).header("x-csrf-token", csrf);
    visitor.send(request, Body::from(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_a_draft_to_look_at_before_it_is_saved() {
    let house = House::new().await;
    let mut ada = house.signed_in(ADA).await;
    let draft = send(&mut ada, "/agents/import", &workspace()).await;
    assert_eq!(draft.status, 200, "{}", draft.body);
    for part in [
        "<dt>SOUL.md</dt><dd>the profile</dd>",
        "<dt>TOOLS.md</dt><dd>nothing: it is not part of an agent</dd>",
        "value=\"Clawd\"",
        "<strong>genuine</strong>",
        "The office cat is called Ledger",
    ] {
        assert!(draft.body.contains(part), "{part}: {}", draft.body);
    }
    assert!(!ada.get("/agents").await.body.contains("Clawd"), "nothing is saved yet");

    let csrf = draft.csrf().to_owned();
    let name = "Clawd the Second";
    let fields = [
        ("csrf", csrf.as_str()),
        ("do", "save"),
        ("imported", "1"),
        ("name", name),
        ("soul", SOUL),
        ("tool", "*"),
        ("memory", MEMORY),
        ("about_you", USER),
    ];
    let saved = ada.post("/agents/new", &fields).await;
    assert_eq!((saved.status.as_u16(), saved.header("location")), (303, "/agents/clawd-the-second"), "{}", saved.body);
    let memory = ada.get("/memory").await.body;
    for fact in ["The office cat is called Ledger", "Invoices go out on Mondays", "Ada prefers short answers"] {
        assert!(memory.contains(fact), "{fact}: {memory}");
    }
    let actions: Vec<_> = house.audit(&house.acme).await.into_iter().map(|entry| entry.0).collect();
    assert_eq!(actions.iter().filter(|action| *action == "agent.imported").count(), 1, "{actions:?}");
    assert_eq!(actions.iter().filter(|action| *action == "memory.added").count(), 3, "{actions:?}");

    let nothing = send(&mut ada, "/agents/import", &[("notes.txt", "x")]).await;
    assert_eq!(nothing.status, 400);
    assert!(nothing.body.contains("There is no SOUL.md and no IDENTITY.md"), "{}", nothing.body);
    house.user("mel@example.org", "Mel Member", &house.acme, Role::Member).await;
    let mut mel = house.signed_in("mel@example.org").await;
    assert_eq!(mel.get("/agents/import").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_brings_a_workspace_along_or_asks_what_would_become_of_it() {
    let house = House::new().await;
    let mut ada = house.signed_in(ADA).await;
    let shown = send(&mut ada, "/api/agents/import", &workspace()).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    let shown = shown.json();
    assert_eq!((&shown["draft"]["title"], &shown["agent"]), (&"lobster".into(), &serde_json::Value::Null));
    assert_eq!(shown["files"].as_array().unwrap().len(), 5);
    let saved = send(&mut ada, "/api/agents/import?save=true", &workspace()).await;
    assert_eq!((saved.status.as_u16(), &saved.json()["agent"]["id"]), (201, &"clawd".into()), "{}", saved.body);
    assert_eq!(send(&mut ada, "/api/agents/import?save=true", &workspace()).await.status, 409, "there is one already");
    assert_eq!(send(&mut ada, "/api/agents/import", &[]).await.status, 400);
}

#[test]
fn at_the_command_line_agents_are_listed_shown_exported_and_brought_back() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner("jo@acme.example", "correct horse battery");
    let agent = |arguments: &[&str]| {
        let (command, rest) = arguments.split_first().unwrap();
        aegis.json(&[&["agent", command, "--tenant", "acme"], rest].concat())
    };
    let all = agent(&["list"]);
    let ids: Vec<_> = all.as_array().unwrap().iter().map(|agent| agent["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["atlas", "luna", "hunter", "nova", "iris", "penny", "orion"]);
    let shown = String::from_utf8(aegis.run(&["agent", "show", "--tenant", "acme", "penny"]).stdout).unwrap();
    assert!(shown.starts_with("# SOUL.md - Who You Are\n\nYou are Penny"), "{shown}");

    let folder = aegis.home().join("penny").display().to_string();
    assert_eq!(agent(&["export", "penny", "--to", &folder]).as_array().unwrap().len(), 2);
    std::fs::write(format!("{folder}/MEMORY.md"), MEMORY).unwrap();
    let again = aegis.run(&["agent", "export", "--tenant", "acme", "penny", "--to", &folder]);
    assert!(!again.status.success(), "what is there is left alone");
    let planned = agent(&["import", &folder, "--name", "Sterling", "--dry-run"]);
    assert_eq!((&planned["draft"]["name"], &planned["draft"]["hue"]), (&"Sterling".into(), &150.into()), "{planned}");
    assert_eq!(agent(&["list"]).as_array().unwrap().len(), 7, "nothing was added");
    let added = agent(&["import", &folder, "--name", "Sterling"]);
    assert_eq!((&added["id"], &added["remembers"]), (&"sterling".into(), &2.into()), "{added}");
    assert_eq!(added["tools"], agent(&["show", "penny"])["tools"]);
    assert!(!aegis.run(&["agent", "import", "--tenant", "acme", &folder]).status.success(), "there is a Penny already");
    assert_eq!(aegis.json(&["audit", "verify", "--tenant", "acme"])["intact"], true);
}
