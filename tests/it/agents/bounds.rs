//! What a model may get wrong, and what a run may not exceed.

use std::time::Duration;

use aegis::agents::RunEvent;
use serde_json::json;

use super::{LEAVE, Office};
use crate::ollama_stand_in::Script;

#[tokio::test]
async fn wrong_arguments_go_back_to_the_model_which_tries_again() {
    let office = Office::with(&[LEAVE]).await;
    office.ollama.script([
        Script::call("knowledge_search", &json!({"limit": 99})),
        Script::call("knowledge_search", &json!({"query": "leave", "limit": "1"})),
        Script::say("Sixteen weeks [1]."),
    ]);
    let answer = office.answer("How long is leave?").await;
    assert_eq!(answer.answer, "Sixteen weeks [1].");
    let (prompt, _) = office.chat(1);
    assert!(prompt.contains("Error: `query` is missing; `limit` must be at most 8"), "{prompt}");
    assert_eq!(office.shelf.queries(), ["leave"], "the tool never saw the wrong ones");
    let entries = office.audit(answer.run_id).await;
    assert_eq!(entries[2].detail["outcome"], "failed");
    assert_eq!(entries[2].detail["error"], "`query` is missing; `limit` must be at most 8");
}

#[tokio::test]
async fn a_tool_that_does_not_exist_is_told_with_those_that_do() {
    let office = Office::with(&[LEAVE]).await;
    office.ollama.script([Script::call("send_mail", &json!({"to": "x"})), Script::say("I cannot do that.")]);
    let answer = office.answer("Send a mail.").await;
    assert_eq!(answer.answer, "I cannot do that.");
    let (prompt, _) = office.chat(1);
    assert!(prompt.contains("there is no tool `send_mail`; there are `broken`, `knowledge.search`"), "{prompt}");
}

#[tokio::test]
async fn a_fault_of_ours_in_a_tool_is_told_without_its_secret() {
    let office = Office::with(&[LEAVE]).await;
    office.ollama.script([Script::call("broken", &json!({})), Script::say("It did not work.")]);
    let answer = office.answer("Try it.").await;
    assert_eq!(answer.answer, "It did not work.");
    assert!(office.chat(1).0.contains("something went wrong on the server"));
    let log = serde_json::to_string(&office.audit(answer.run_id).await).unwrap();
    assert!(!log.contains("hunter2") && !office.chat(1).0.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn a_model_that_turns_in_a_circle_has_to_answer() {
    let office = Office::with(&[LEAVE]).await;
    let again = || Script::call("knowledge_search", &json!({"query": "leave"}));
    office.ollama.script([again(), again(), Script::say("Sixteen weeks [1].")]);
    let answer = office.answer("How long is leave?").await;
    assert_eq!(answer.answer, "Sixteen weeks [1].");
    assert_eq!(office.shelf.queries(), ["leave"], "the second call was not made");
    let (prompt, tools) = office.chat(2);
    assert!(prompt.contains("already made exactly this call") && prompt.contains("no more tool calls"), "{prompt}");
    assert!(tools.is_empty());
}

#[tokio::test]
async fn a_model_that_only_ever_searches_is_stopped_after_six_steps() {
    let office = Office::with(&[LEAVE]).await;
    office.ollama.script((0..6).map(|n| Script::call("knowledge_search", &json!({"query": format!("leave {n}")}))));
    let answer = office.answer("How long is leave?").await;
    assert!(answer.quoting, "it never wrote a word: {}", answer.answer);
    assert_eq!(office.ollama.chats().len(), 6);
    assert!(office.chat(4).1.len() == 2 && office.chat(5).1.is_empty());
    assert_eq!(answer.tool_calls.len(), 5);
}

#[tokio::test]
async fn a_model_that_says_nothing_is_asked_once_more_and_then_quoted_around() {
    let office = Office::with(&[LEAVE]).await;
    office.ollama.script([Script::say(""), Script::say("Sixteen weeks.")]);
    assert_eq!(office.answer("How long is leave?").await.answer, "Sixteen weeks.");
    office.ollama.script([Script::say(""), Script::say(" ")]);
    assert!(office.answer("How long is leave?").await.quoting);
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_stopped_and_says_so() {
    let mut office = Office::with(&[LEAVE]).await;
    office.agents = office.agents.clone().with_patience(Duration::from_secs(5));
    office.ollama.script([Script::say("Sixteen weeks").then_hang()]);
    let events = office.events(office.question("How long is leave?")).await;
    let Some(RunEvent::Failed { message, remedy }) = events.last() else { panic!("{events:?}") };
    assert!(message.contains("took longer") && remedy.is_some(), "{message}");
    let RunEvent::Started { run, conversation: Some(conversation) } = events[0] else { panic!("{events:?}") };
    let kept = office.agents.conversation(&office.tenant, office.user, conversation).await.unwrap().unwrap();
    assert_eq!(kept.messages[1].text, "Sixteen weeks");
    assert_eq!(office.actions(run).await, ["run.started", "model.called", "run.failed"]);
}
