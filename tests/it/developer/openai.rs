//! `/v1` by the official `openai` package.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Desk, blocking};
use crate::{
    appliance::get,
    ollama_stand_in::{Script, StandIn},
};

const SCRIPT: &str = "openai_client.py";

/// The text of all messages of the newest chat.
fn newest(ollama: &StandIn) -> (Value, String) {
    let chat = ollama.chats().pop().expect("a chat");
    let text = chat["messages"].to_string();
    (chat, text)
}

async fn abandoned(ollama: &StandIn, before: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while ollama.abandoned() == before {
        assert!(Instant::now() < deadline, "the run goes on though its client has gone");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_lists_agents_and_asks_them_whole_and_in_pieces() {
    let desk = Desk::new().await;
    let token = desk.token(&["chat:write", "knowledge:read"]);
    desk.python(SCRIPT, "models", &token);
    desk.python(SCRIPT, "chat", &token);
    let (_, text) = newest(&desk.ollama);
    assert!(text.contains("Answer like a pirate.") && text.contains("It was fine."), "{text}");
    desk.python(SCRIPT, "stream", &token);
    desk.python(SCRIPT, "embeddings", &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_programs_own_tools_go_round_and_an_answer_fits_its_schema() {
    let desk = Desk::new().await;
    let token = desk.token(&["chat:write"]);
    let both =
        || Script::call("get_weather", &json!({"city": "Oslo"})).and_call("get_weather", &json!({"city": "Rome"}));
    desk.ollama.script([both(), Script::say("It is 7 degrees in Oslo and 21 in Rome.")]);
    desk.python(SCRIPT, "tools", &token);
    let (chat, text) = newest(&desk.ollama);
    assert!(text.contains("7 degrees, rain") && text.contains("get_weather"), "{text}");
    let log = blocking(|| desk.aegis.json(&["audit", "show", "--tenant", "acme", "--limit", "500"])).to_string();
    assert!(log.contains("get_weather (the asking program's)"), "what its tools gave back taints the run: {log}");
    let offered: Vec<_> = chat["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]["name"]).collect();
    assert!(offered.contains(&&json!("get_weather")) && offered.contains(&&json!("knowledge_search")), "{offered:?}");

    desk.ollama.script([both(), both()]);
    desk.python(SCRIPT, "tools_stream", &token);

    // The first answer does not fit, so it is asked for again under the schema.
    desk.ollama.script([Script::say("Sixteen, I believe."), Script::say("{\"weeks\": 16, \"paid\": [1]}")]);
    desk.python(SCRIPT, "schema", &token);
    let (chat, _) = newest(&desk.ollama);
    assert_eq!(chat["format"]["properties"]["weeks"]["type"], "integer", "{chat}");
    desk.ollama.script([Script::say("Sixteen."), Script::say("Sixteen!")]);
    desk.python(SCRIPT, "schema_refused", &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_go_on_where_the_last_one_ended_even_after_a_restart() {
    let mut desk = Desk::new().await;
    let token = desk.token(&["chat:write"]);
    let first = desk.python(SCRIPT, "responses", &token);
    blocking(|| {
        desk.aegis.stop();
        desk.aegis.serve();
    });
    let id = first.lines().find_map(|line| line.strip_prefix("newest ")).expect("the response's id").to_owned();
    desk.python(SCRIPT, &format!("responses_after {id}"), &token);
    let (_, text) = newest(&desk.ollama);
    assert!(text.contains("How long is parental leave?"), "the conversation is remembered: {text}");
    desk.ollama.script([Script::call("get_weather", &json!({"city": "Oslo"})), Script::say("It rains.")]);
    desk.python(SCRIPT, "responses_tools", &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_the_exception_that_the_client_has_for_it() {
    let desk = Desk::new().await;
    let token = desk.token(&["chat:write"]);
    desk.python(SCRIPT, "errors", &token);
    desk.ollama.script([Script::say("It is").then_error("the runner has stopped")]);
    desk.python(SCRIPT, "broken", &token);
    let (status, body) = blocking(|| get(&format!("{}/v1/models", desk.aegis.url())));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["error"]["code"]), (401, &json!("invalid_api_key")), "{body}");
    desk.ollama.script((0..8).map(|_| Script::say(&"word ".repeat(400)).slowly(Duration::from_millis(50))));
    desk.python(SCRIPT, "too_many", &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_stops_its_run() {
    let desk = Desk::new().await;
    let token = desk.token(&["chat:write"]);
    for part in ["close", "time_out"] {
        let before = desk.ollama.abandoned();
        desk.ollama.script([Script::say(&"word ".repeat(400)).slowly(Duration::from_millis(50))]);
        desk.python(SCRIPT, part, &token);
        abandoned(&desk.ollama, before).await;
    }
}
