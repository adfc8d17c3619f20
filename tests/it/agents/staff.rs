//! The staff of an organisation: who there is, what is changed of them, and the pages of it.
//!
//! `AEGIS_TEST_PICTURES=directory cargo test --test it the_pages_of_the_staff` also keeps what the pages look like.

use std::{env, path::Path, sync::Arc};

use aegis::{
    accounts::Role,
    agents::{
        Ask, RunEvent, Thread,
        approvals::Decision,
        policy::{AfterUntrusted, Rule},
        soul::Soul,
        staff::{Draft, Reason},
        tools::Delegate,
    },
    audit::{self, Actor},
    http::context::Peer,
    support::Kind,
};
use axum::http::Method;
use serde_json::json;

use super::{LEAVE, Office, post::Post};
use crate::{
    accounts::house::{ADA, House, PASSWORD, api, submit},
    browser_driver::Browser,
    ollama_stand_in::Script,
};

const SEVEN: [&str; 7] = ["atlas", "luna", "hunter", "nova", "iris", "penny", "orion"];

/// A workspace that somebody brings along.
const CLAWD: [(&str, &str); 5] = [
    ("IDENTITY.md", "# IDENTITY.md\n\n- **Name:** Clawd\n- **Creature:** Office assistant\n- **Vibe:** calm, dry\n"),
    ("SOUL.md", "# SOUL.md\n\n## Core Truths\n\n**Be genuinely helpful.** Skip the filler.\n\n**Have opinions.**\n"),
    ("AGENTS.md", "# AGENTS.md\n\n## Every Session\n\n- Read who you are\n- Read whom you help\n"),
    ("MEMORY.md", "# MEMORY.md\n\n- Invoices go out on Mondays\n- The auditor is Jo Berg\n"),
    ("TOOLS.md", "ssh home\n"),
];

/// What the model says to the next questions.
fn says(office: &Office, times: usize) {
    office.ollama.script((0..times).map(|_| Script::say("Indeed.")));
}

async fn ids(office: &Office) -> Vec<String> {
    office.agents.agents(&office.tenant).await.unwrap().into_iter().map(|agent| agent.id).collect()
}

async fn draft(office: &Office, id: &str) -> Draft {
    Draft::of(&office.agents.staff().member(&office.tenant, id).await.unwrap().profile)
}

#[tokio::test]
async fn the_seven_come_with_an_organisation_and_each_answers_as_itself() {
    let office = Office::with(&[LEAVE]).await;
    assert_eq!(ids(&office).await, SEVEN);
    says(&office, 7);
    for (number, id) in SEVEN.into_iter().enumerate() {
        let events = office.events(Ask { agent: id.to_owned(), ..office.question("Who are you?") }).await;
        assert!(matches!(events.last(), Some(RunEvent::Finished(_))), "{events:?}");
        let (text, _) = office.chat(number);
        let name = format!("You are {}{}", id[..1].to_uppercase(), &id[1..]);
        assert!(text.contains(&name), "{id}: {text}");
    }
}

#[tokio::test]
async fn what_is_edited_is_kept_as_a_version_and_what_is_not_follows_the_appliance() {
    let office = Office::with(&[LEAVE]).await;
    let staff = office.agents.staff();
    let by = Actor::User { id: office.user };
    let edited =
        Draft { soul: "You are Luna of Acme.".to_owned(), note: "Ours".to_owned(), ..draft(&office, "luna").await };
    let luna = staff.change(&office.tenant, "luna", 0, &edited, Reason::Changed, by.clone()).await.unwrap();
    assert_eq!((luna.profile.version, luna.changed, luna.built_in), (1, true, true));
    assert_eq!(luna.profile.soul.text(), "You are Luna of Acme.");

    // Only the profile is said; all else is the appliance's.
    let mut superuser = office.db.superuser().await;
    let schema = office.tenant.tenant().schema();
    let said = format!(
        "SELECT soul IS NOT NULL AND name IS NULL AND tools IS NULL AND hue IS NULL FROM {schema}.agent_versions"
    );
    let said: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(said)).fetch_one(&mut superuser).await.unwrap();
    assert!(said);

    says(&office, 1);
    let run =
        office.agents.ask(&office.tenant, Ask { agent: "luna".to_owned(), ..office.question("Who?") }).await.unwrap();
    let id = run.id;
    futures::StreamExt::collect::<Vec<_>>(run.events).await;
    assert!(office.chat(0).0.contains("You are Luna of Acme."));
    assert_eq!(office.audit(id).await[0].detail["profile"]["version"], 1);

    // Back to the appliance's own, which is a version of its own; nothing is lost.
    let luna = staff.restore(&office.tenant, "luna", 1, 0, by.clone()).await.unwrap();
    assert_eq!((luna.profile.version, luna.changed), (2, false));
    let notes: Vec<_> = staff.versions(&office.tenant, "luna").await.unwrap();
    let notes: Vec<_> = notes.iter().map(|version| (version.version, version.note.as_str())).collect();
    assert_eq!(notes, [(2, "Restored version 0"), (1, "Ours"), (0, "As it comes with the appliance")]);
    let luna = staff.restore(&office.tenant, "luna", 2, 1, by).await.unwrap();
    assert_eq!(luna.profile.soul.text(), "You are Luna of Acme.");

    let found = audit::find(&office.tenant, &audit::Filter::default(), None, 100).await.unwrap();
    let mut actions: Vec<_> = found.entries.iter().map(|entry| entry.action.as_str()).collect();
    actions.retain(|action| action.starts_with("agent."));
    actions.sort_unstable();
    assert_eq!(actions, ["agent.changed", "agent.restored", "agent.restored"]);
}

#[tokio::test]
async fn of_two_people_who_edit_at_once_neither_loses_anything() {
    let office = Office::with(&[LEAVE]).await;
    let staff = office.agents.staff();
    let mine = Draft { soul: "Mine.".to_owned(), ..draft(&office, "nova").await };
    let theirs = Draft { soul: "Theirs.".to_owned(), ..mine.clone() };
    let (one, other) = tokio::join!(
        staff.change(&office.tenant, "nova", 0, &mine, Reason::Changed, Actor::Operator),
        staff.change(&office.tenant, "nova", 0, &theirs, Reason::Changed, Actor::Operator),
    );
    let error = match (one, other) {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
        (one, other) => panic!("{one:?} {other:?}"),
    };
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.message().contains("newest version is 1"), "{}", error.message());
    assert_eq!(staff.versions(&office.tenant, "nova").await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_agent_is_added_switched_off_and_on_and_the_last_one_stays() {
    let office = Office::with(&[LEAVE]).await;
    let staff = office.agents.staff();
    let marple =
        Draft { name: "Ms. Marple".to_owned(), soul: "You see through people.".to_owned(), ..Draft::default() };
    staff.add(&office.tenant, &marple.id(), &marple, Reason::Created, Actor::Operator).await.unwrap();
    assert_eq!(ids(&office).await.last().unwrap(), "ms-marple");
    let again = staff.add(&office.tenant, "ms-marple", &marple, Reason::Created, Actor::Operator).await;
    assert_eq!(again.unwrap_err().kind(), Kind::Conflict);
    says(&office, 1);
    let events = office.events(Ask { agent: "ms-marple".to_owned(), ..office.question("Who did it?") }).await;
    assert!(matches!(events.last(), Some(RunEvent::Finished(_))), "{events:?}");
    // Without a list of tools there are none, and nothing is looked up for it in another way either.
    let (text, tools) = office.chat(0);
    assert_eq!(tools, Vec::<String>::new());
    assert!(text.contains("you were given none of the organisation's") && !text.contains("sixteen weeks"), "{text}");
    assert!(!events.iter().any(|event| matches!(event, RunEvent::Retrieved { .. })), "{events:?}");

    for id in SEVEN {
        staff.set_enabled(&office.tenant, id, false, Actor::Operator).await.unwrap();
    }
    let refused = office.agents.ask(&office.tenant, office.question("Hello?")).await.err().unwrap();
    assert_eq!((refused.kind(), refused.remedy_text()), (Kind::NotFound, Some("ask one of `ms-marple`")));
    let last = staff.set_enabled(&office.tenant, "ms-marple", false, Actor::Operator).await;
    assert_eq!(last.unwrap_err().kind(), Kind::Conflict);
    staff.set_enabled(&office.tenant, "atlas", true, Actor::Operator).await.unwrap();
    assert_eq!(ids(&office).await, ["atlas", "ms-marple"]);
}

#[tokio::test]
async fn an_agent_is_offered_the_tools_that_were_chosen_for_it() {
    let office = Office::with(&[LEAVE]).await;
    says(&office, 2);
    office.answer("First?").await;
    let all = office.chat(0).1;
    assert!(all.len() > 1, "{all:?}");
    let one = Draft { tools: vec![all[0].clone()], ..draft(&office, "atlas").await };
    office.agents.staff().change(&office.tenant, "atlas", 0, &one, Reason::Changed, Actor::Operator).await.unwrap();
    office.answer("Second?").await;
    assert_eq!(office.chat(1).1, all[..1]);
}

#[tokio::test]
async fn leave_rules_and_questions_handed_on_hold_for_others_than_atlas() {
    let (post, delegate) = (Post::default(), Arc::new(Delegate::default()));
    let office = Office::with_tools(&[LEAVE], vec![post.tool(), delegate.clone()]).await;
    delegate.introduce(&office.agents);
    let (luna, orion) = ("luna".to_owned(), "orion".to_owned());

    // Luna hands a question to Penny; the post is not among what Luna is offered.
    office.ollama.script([
        Script::call("delegate_ask", &json!({"agent": "penny", "question": "What is left of the budget?"})),
        Script::say("EUR 200 net."),
        Script::say("Penny says EUR 200 net."),
    ]);
    let events = office.events(Ask { agent: luna, ..office.question("Can we afford it?") }).await;
    let Some(RunEvent::Finished(answer)) = events.last() else { panic!("{events:?}") };
    assert_eq!(answer.answer, "Penny says EUR 200 net.");
    assert!(office.chat(1).0.contains("You are Penny"), "Penny answers as herself");
    assert!(!office.chat(0).1.iter().any(|tool| tool.contains("post")), "{:?}", office.chat(0).1);

    // Orion is asked for leave, and a rule for Orion alone is Orion's alone.
    let letter = json!({"to": "jo", "text": "Dear all"});
    office.ollama.script([Script::call("post_send", &letter), Script::say("Sent.")]);
    let events = office.events(Ask { agent: orion.clone(), ..office.question("Write to Jo.") }).await;
    let RunEvent::Started { conversation: Some(conversation), .. } = events[0] else { panic!("{events:?}") };
    let asked = office.pending().await;
    assert_eq!(asked.iter().map(|approval| approval.agent.as_str()).collect::<Vec<_>>(), ["orion"]);
    let allow = Decision::Allow { edited: None, always: false };
    office.agents.decide(&office.tenant, office.asker(), asked[0].id, allow).await.unwrap();
    assert_eq!(office.answered(conversation).await.1, "Sent.");
    let rule = Some((Rule::Deny, AfterUntrusted::Ask));
    office.agents.set_policy(&office.tenant, office.user, "post.send", Some(&orion), rule).await.unwrap();
    office.ollama.script([Script::call("post_send", &letter), Script::say("I may not.")]);
    let events = office.events(Ask { agent: orion, ..office.question("Again.") }).await;
    assert!(matches!(events.last(), Some(RunEvent::Finished(answer)) if answer.answer == "I may not."), "{events:?}");
    assert_eq!(post.sent(), std::slice::from_ref(&letter));
    office.ollama.script([Script::call("post_send", &letter)]);
    let events = office.events(Ask { agent: "nova".to_owned(), ..office.question("And you?") }).await;
    assert!(matches!(events.last(), Some(RunEvent::Waiting { .. })), "{events:?}");
}

#[tokio::test]
async fn a_profile_is_tried_without_being_saved() {
    let office = Office::with(&[LEAVE]).await;
    says(&office, 1);
    let thread = Thread::Apart { history: Vec::new() };
    let soul = Some(Soul::new("You answer in rhyme."));
    let events = office.events(Ask { thread, soul, ..office.question("Hello?") }).await;
    assert!(matches!(events.last(), Some(RunEvent::Finished(_))), "{events:?}");
    assert!(office.chat(0).0.contains("You answer in rhyme."));
    assert_eq!(draft(&office, "atlas").await.soul.lines().next(), Some("# SOUL.md - Who You Are"));
    assert!(office.agents.conversations(&office.tenant, office.user).await.unwrap().is_empty());
}

#[tokio::test]
async fn another_agent_may_be_asked_in_the_same_conversation_and_each_answer_says_whose_it_is() {
    let office = Office::with(&[LEAVE]).await;
    says(&office, 2);
    let events = office.events(office.question("One?")).await;
    let RunEvent::Started { conversation: Some(conversation), .. } = events[0] else { panic!("{events:?}") };
    let thread = Thread::Of(conversation);
    office.events(Ask { agent: "penny".to_owned(), thread, ..office.question("Two?") }).await;
    let kept = office.agents.conversation(&office.tenant, office.user, conversation).await.unwrap().unwrap();
    let agents: Vec<_> = kept.messages.iter().map(|message| message.agent.as_deref().unwrap()).collect();
    assert_eq!(agents, ["atlas", "atlas", "penny", "penny"]);
    assert_eq!(kept.agent, "atlas");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_the_staff_work_without_script_and_for_programs() {
    let house = House::new().await;
    house.user("mel@example.org", "Mel Member", &house.acme, Role::Member).await;
    let mut mel = house.signed_in("mel@example.org").await;
    let page = mel.get("/agents").await.body;
    for name in ["Atlas", "Luna", "Hunter", "Nova", "Iris", "Penny", "Orion"] {
        assert!(page.contains(&format!("<h2>{name}</h2>")), "{name}");
    }
    assert!(!mel.get("/agents/luna").await.body.contains("<textarea"), "members read only");

    let mut ada = house.signed_in(ADA).await;
    let fields = |version: &'static str, soul: &'static str, wish: &'static str| {
        [("do", wish), ("version", version), ("name", "Luna"), ("soul", soul), ("tool", "*"), ("hue", "300")]
    };
    let preview = submit(&mut ada, "/agents/luna", "/agents/luna", &fields("0", "**Bold** Luna", "preview")).await;
    assert!(
        preview.body.contains("<strong>Bold</strong>") && preview.body.contains("Preview, not saved"),
        "{}",
        preview.body
    );
    assert_eq!(
        submit(&mut ada, "/agents/luna", "/agents/luna", &fields("0", "Bold Luna\nTwo", "save")).await.status,
        303
    );
    let other = submit(&mut ada, "/agents/luna", "/agents/luna", &fields("0", "Shy Luna\nTwo", "save")).await;
    assert_eq!(other.status, 409);
    assert!(other.body.contains("Shy Luna") && other.body.contains("class=\"gone\""), "{}", other.body);
    assert!(other.body.contains("name=\"version\" value=\"1\""), "saving again overwrites knowingly");
    let history = ada.get("/agents/luna?version=1").await.body;
    assert!(history.contains("What version 1 changed"), "{history}");
    let restored = submit(&mut ada, "/agents/luna", "/agents/luna/restore", &[("base", "1"), ("version", "0")]).await;
    assert_eq!(restored.status, 303);
    assert_eq!(submit(&mut ada, "/agents/luna", "/agents/luna/state", &[("enabled", "false")]).await.status, 303);
    assert!(!ada.get("/chat").await.body.contains("value=\"luna\""));
    let long = "x".repeat(20_001);
    let long = [("do", "save"), ("version", "3"), ("name", "Luna"), ("soul", long.as_str())];
    assert_eq!(submit(&mut ada, "/agents/luna", "/agents/luna", &long).await.status, 413);

    let new = json!({ "name": "Ms. Marple", "soul": "You see through people." });
    let made = api(&mut ada, Method::POST, "/api/agents", Some(new)).await;
    assert_eq!((made.status.as_u16(), made.json()["id"].clone()), (201, json!("ms-marple")), "{}", made.body);
    let changed = json!({ "version": 1, "name": "Ms. Marple", "soul": "You knit." });
    let changed = api(&mut ada, Method::POST, "/api/agents/ms-marple", Some(changed)).await;
    assert_eq!(changed.json()["version"], 2, "{}", changed.body);
    let actions: Vec<_> = house.audit(&house.acme).await.into_iter().map(|entry| entry.0).collect();
    let actions: Vec<_> = actions.iter().filter(|action| action.starts_with("agent.")).collect();
    assert_eq!(actions, ["agent.changed", "agent.restored", "agent.disabled", "agent.created", "agent.changed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_the_staff_fit_every_screen() {
    let house = House::new().await;
    let db = house.app.tenants.open(&house.acme).await.unwrap();
    let staff = house.app.agents.staff();
    let luna = Draft::of(&staff.member(&db, "luna").await.unwrap().profile);
    let soul = luna.soul.replace("Three routes, one recommendation.", "Two routes, one recommendation.");
    let edited = Draft {
        soul: soul.replace("You do not publish", "You never publish"),
        note: "Less to choose from".into(),
        ..luna
    };
    staff.change(&db, "luna", 0, &edited, Reason::Changed, Actor::Operator).await.unwrap();

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = house.router.clone().layer(axum::Extension(Peer("127.0.0.1".parse().unwrap())));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let browser = Browser::start().await;
    browser.open(&format!("{url}/agents")).await;
    browser.type_into("[name=email]", ADA).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}\u{E007}")).await;
    browser.find(".rail [aria-current][href='/agents']").await;

    // The picker gives the answer the mark and the name of whom is asked.
    browser.open(&format!("{url}/chat?agent=penny")).await;
    browser.type_into("#question", "What is due?\u{E007}").await;
    browser.see(".answer .by", "Penny").await;

    for width in [360, 1440] {
        browser.resize(width, 900);
        for colours in ["light", "dark"] {
            browser.prefer(colours);
            for (page, name) in [
                ("/agents", "agents"),
                ("/agents/luna", "editor"),
                ("/agents/luna?version=1", "history"),
                ("/agents/import", "import"),
                ("/chat?agent=penny", "picker"),
                ("/boardroom", "boardroom"),
            ] {
                browser.open(&format!("{url}{page}")).await;
                look(&browser, &format!("{name}-{width}-{colours}")).await;
            }
            // What comes of the editor's buttons, and of files.
            browser.open(&format!("{url}/agents/luna")).await;
            browser.run("document.querySelector('[value=preview]').click()", vec![]).await;
            browser.see("summary", "Preview, not saved").await;
            look(&browser, &format!("preview-{width}-{colours}")).await;
            browser.open(&format!("{url}/agents/luna")).await;
            browser.type_into("[name=question]", "Who are you?").await;
            browser.run("document.querySelector('[value=try]').click()", vec![]).await;
            browser.see("#tried", "The answer").await;
            look(&browser, &format!("tried-{width}-{colours}")).await;
            browser.open(&format!("{url}/agents/import")).await;
            let choose = "const files = new DataTransfer();
                for (const [name, text] of arguments[0]) files.items.add(new File([text], name));
                const box = document.querySelector('[type=file]');
                box.files = files.files;
                box.form.requestSubmit();";
            browser.run(choose, vec![json!(CLAWD)]).await;
            browser.see("#fates", "What becomes").await;
            look(&browser, &format!("imported-{width}-{colours}")).await;
        }
    }
    serving.abort();
}

/// The page fits, a screen reader finds its way, and a picture is kept.
async fn look(browser: &Browser, name: &str) {
    let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
    assert_eq!(beyond, json!(0), "{name}");
    assert_eq!(browser.barriers().await, Vec::<String>::new(), "{name}");
    if let Ok(directory) = env::var("AEGIS_TEST_PICTURES") {
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        browser.picture(&Path::new(&directory).join(format!("{name}.png")));
    }
}
