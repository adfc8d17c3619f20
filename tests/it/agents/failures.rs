//! Runs that do not come to their end: stopped, abandoned, broken off, shut down. Nothing that was written is lost.

use std::time::Duration;

use aegis::{
    agents::{Ask, Conversation, MessageState, Run, RunEvent, Thread},
    support::{Kind, ids::UserId},
};
use futures::StreamExt;

use super::{LEAVE, Office};
use crate::ollama_stand_in::Script;

/// Begins a run that has written a few words and hangs.
async fn hanging(office: &Office) -> Run {
    office.ollama.script([Script::say("Sixteen weeks").then_hang()]);
    let mut run = office.agents.ask(&office.tenant, office.question("How long is leave?")).await.unwrap();
    let mut text = String::new();
    while text != "Sixteen weeks" {
        match run.events.next().await.expect("the run goes on") {
            RunEvent::Text { text: more } => text.push_str(&more),
            RunEvent::Started { .. } | RunEvent::Loading { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    run
}

/// Waits until the answer is stored.
async fn stored(office: &Office, run: &Run) -> Conversation {
    for _ in 0..1500 {
        let found =
            office.agents.conversation(&office.tenant, office.user, run.conversation.unwrap()).await.unwrap().unwrap();
        if found.messages.len() == 2 && office.actions(run.id).await.iter().any(|action| action == "run.stopped") {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing was stored");
}

async fn abandoned(office: &Office) {
    for _ in 0..1500 {
        if office.ollama.abandoned() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the model was not told to stop");
}

#[tokio::test]
async fn a_run_is_stopped_by_its_own_person_alone_and_what_was_written_is_kept() {
    let office = Office::with(&[LEAVE]).await;
    let mut run = hanging(&office).await;
    assert!(!office.agents.cancel(&office.tenant, Some(UserId::generate()), run.id).await.unwrap(), "somebody else");
    let (_, other_tenant) = office.db.tenant("other").await;
    assert!(!office.agents.cancel(&other_tenant, Some(office.user), run.id).await.unwrap(), "another tenant");
    assert!(office.agents.cancel(&office.tenant, Some(office.user), run.id).await.unwrap());

    let rest: Vec<_> = run.events.by_ref().collect().await;
    assert!(matches!(&rest[..], [RunEvent::Failed { message, .. }] if message == "the answer was stopped"), "{rest:?}");
    let kept = stored(&office, &run).await;
    assert_eq!((kept.messages[1].state, kept.messages[1].text.as_str()), (MessageState::Stopped, "Sixteen weeks"));
    let entries = office.audit(run.id).await;
    let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["run.started", "model.called", "run.stopped"]);
    assert_eq!(
        (entries[1].detail["outcome"].as_str(), entries[1].detail["text"].as_str()),
        (Some("stopped"), Some("Sixteen weeks"))
    );
    abandoned(&office).await;
    assert!(!office.agents.cancel(&office.tenant, Some(office.user), run.id).await.unwrap(), "it is over");
}

#[tokio::test]
async fn a_reader_who_leaves_stops_a_run_apart_and_nothing_else() {
    let office = Office::with(&[LEAVE]).await;
    office.ollama.script([Script::say("Sixteen weeks").then_hang()]);
    let apart = Ask { thread: Thread::Apart { history: Vec::new() }, ..office.question("How long is leave?") };
    let mut run = office.agents.ask(&office.tenant, apart).await.unwrap();
    while !matches!(run.events.next().await, Some(RunEvent::Text { .. })) {}
    run.events = futures::stream::empty().boxed();
    abandoned(&office).await;

    office.ollama.script([Script::say("Sixteen whole weeks of leave.").slowly(Duration::from_millis(50))]);
    let mut run = office.agents.ask(&office.tenant, office.question("How long is leave?")).await.unwrap();
    while !matches!(run.events.next().await, Some(RunEvent::Text { .. })) {}
    run.events = futures::stream::empty().boxed();
    let again = office.agents.watch(&office.tenant, office.user, run.id).await.unwrap();
    let all: Vec<_> = again.collect().await;
    assert!(matches!(&all[0], RunEvent::Started { .. }), "it tells everything from the beginning: {all:?}");
    let Some(RunEvent::Finished(answer)) = all.last() else { panic!("{all:?}") };
    assert_eq!(answer.answer, "Sixteen whole weeks of leave.");
    let other = office.agents.watch(&office.tenant, UserId::generate(), run.id).await;
    assert_eq!(other.err().unwrap().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_shutdown_puts_runs_down_and_the_next_process_goes_on_with_them() {
    let office = Office::with(&[LEAVE]).await;
    let run = hanging(&office).await;
    office.agents.shutdown().await;
    let refused = office.agents.ask(&office.tenant, office.question("And now?")).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::Unavailable);

    let next = office.another_process();
    office.ollama.script([Script::say("Sixteen weeks it is.")]);
    assert_eq!(next.resume_all_of(&office.tenant, false).await.unwrap(), 1);
    assert_eq!(
        office.answered(run.conversation.unwrap()).await,
        (MessageState::Complete, "Sixteen weeks it is.".to_owned())
    );
    assert_eq!(
        office.actions(run.id).await,
        ["run.started", "model.called", "run.resumed", "model.called", "run.finished"]
    );
}

#[tokio::test]
async fn a_conversation_has_one_answer_in_the_making() {
    let office = Office::with(&[LEAVE]).await;
    let run = hanging(&office).await;
    let mut second = office.question("And?");
    second.thread = Thread::from(run.conversation);
    let refused = office.agents.ask(&office.tenant, second).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::Conflict);
}

#[tokio::test]
async fn a_model_that_fails_in_the_middle_leaves_its_words_marked_as_failed() {
    let office = Office::with(&[LEAVE]).await;
    office.ollama.script([Script::say("It is").then_error("llama runner process has terminated")]);
    let events = office.events(office.question("How long is leave?")).await;
    let Some(RunEvent::Failed { message, remedy }) = events.last() else { panic!("{events:?}") };
    assert!(message.starts_with("ollama/llama3.2 failed in the middle of its answer"), "{message}");
    assert!(remedy.is_some());
    let RunEvent::Started { run, conversation: Some(conversation) } = events[0] else { panic!("{events:?}") };
    let kept = office.agents.conversation(&office.tenant, office.user, conversation).await.unwrap().unwrap();
    let partial = &kept.messages[1];
    assert_eq!(
        (partial.state, partial.text.as_str(), partial.problem.as_ref()),
        (MessageState::Failed, "It is", Some(message))
    );
    let entries = office.audit(run).await;
    assert_eq!(entries[1].detail["outcome"], "failed");
    assert_eq!(entries[2].action, "run.failed");
}

#[tokio::test]
async fn a_model_that_fails_before_its_first_word_is_quoted_around() {
    let office = Office::with(&[LEAVE]).await;
    office.ollama.script([Script::refuse(500, "model requires more system memory (5.6 GiB) than is available")]);
    let answer = office.answer("How long is parental leave?").await;
    assert!(answer.quoting && answer.citations.len() == 1, "{answer:?}");
    let entries = office.audit(answer.run_id).await;
    assert_eq!(entries[1].action, "model.failed");
    assert_eq!(entries[1].detail["attempts"][0]["model"], "ollama/llama3.2");
    assert!(entries[1].detail["request"]["messages"].is_array());
}
