//! Leave: what reaches outside waits until somebody allows exactly that, and is done once.

use std::time::Duration;

use aegis::{
    agents::{
        MessageState, RunEvent, Thread,
        approvals::{Approval, ApprovalState, Because, Decider, Decision},
        policy::{AfterUntrusted, Rule},
        replay::{Answers, Recording, Step},
    },
    support::{
        Kind,
        ids::{ConversationId, RunId, UserId},
    },
};
use futures::StreamExt;
use serde_json::{Value, json};

use super::{LEAVE, Office, post::Post};
use crate::ollama_stand_in::Script;

const LETTER: &str = "Dear all";

fn letter(to: &str) -> Value {
    json!({"to": to, "text": LETTER})
}

fn allow() -> Decision {
    Decision::Allow { edited: None, always: false }
}

impl Office {
    pub(super) fn asker(&self) -> Decider {
        Decider { user: self.user, anybodys: false, manages: false }
    }

    pub(super) async fn pending(&self) -> Vec<Approval> {
        self.agents.approvals(&self.tenant, self.asker()).await.unwrap().0
    }

    /// Asks, and gives the run that waits now, its conversation, and what it has asked.
    pub(super) async fn asks_for_leave(&self, question: &str) -> (RunId, ConversationId, Vec<Approval>) {
        let events = self.events(self.question(question)).await;
        let RunEvent::Started { run, conversation: Some(conversation) } = events[0] else { panic!("{events:?}") };
        assert!(matches!(events.last(), Some(RunEvent::Waiting { .. })), "{events:?}");
        self.settled(run).await;
        (run, conversation, self.pending().await)
    }

    /// Waits until nothing goes on in the run in this process.
    async fn settled(&self, run: RunId) {
        for _ in 0..2000 {
            match self.agents.watch(&self.tenant, self.user, run).await {
                Ok(events) => {
                    let all: Vec<_> = events.collect().await;
                    if let [RunEvent::Waiting { .. }] = all[..] {
                        return;
                    }
                }
                Err(_) => return,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the run never settles");
    }

    /// The answer that is in the conversation in the end.
    pub(super) async fn answered(&self, conversation: ConversationId) -> (MessageState, String) {
        for _ in 0..3000 {
            let found = self.agents.conversation(&self.tenant, self.user, conversation).await.unwrap().unwrap();
            if let [.., _, answer] = &found.messages[..]
                && found.messages.len() % 2 == 0
            {
                return (answer.state, answer.text.clone());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("there is no answer");
    }
}

#[tokio::test]
async fn what_reaches_outside_waits_shows_exactly_what_it_sends_and_is_done_once_when_allowed() {
    let post = Post::default();
    let office = Office::with_tools(&[LEAVE], vec![post.tool()]).await;
    office.ollama.script([Script::call("post_send", &letter("jo@acme.example")), Script::say("It is sent.")]);
    let (run, conversation, asked) = office.asks_for_leave("Write to Jo.").await;
    assert_eq!(post.sent(), Vec::<Value>::new(), "nothing is sent before");
    let [approval] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((&approval.arguments, approval.because), (&letter("jo@acme.example"), Because::Rule));
    assert_eq!(office.agents.approvals_waiting(&office.tenant, office.asker()).await.unwrap(), 1);

    let another = office
        .agents
        .ask(&office.tenant, aegis::agents::Ask { thread: Thread::Of(conversation), ..office.question("And?") });
    assert_eq!(another.await.err().unwrap().kind(), Kind::Conflict, "one answer at a time");

    let stranger = Decider { user: UserId::generate(), anybodys: false, manages: true };
    let refused = office.agents.decide(&office.tenant, stranger, approval.id, allow()).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::NotFound);

    office.agents.decide(&office.tenant, office.asker(), approval.id, allow()).await.unwrap();
    assert_eq!(office.answered(conversation).await, (MessageState::Complete, "It is sent.".to_owned()));
    assert_eq!(post.sent(), [letter("jo@acme.example")]);
    let again = office.agents.decide(&office.tenant, office.asker(), approval.id, allow()).await;
    assert_eq!(again.unwrap_err().kind(), Kind::Conflict);

    let actions = office.actions(run).await;
    assert_eq!(
        actions,
        [
            "run.started",
            "model.called",
            "approval.requested",
            "approval.decided",
            "run.resumed",
            "tool.called",
            "model.called",
            "run.finished"
        ]
    );
    let key = post.keys();
    assert!(key.len() == 1 && key[0].starts_with(&run.to_string()), "{key:?}");
}

#[tokio::test]
async fn what_is_denied_is_not_done_and_the_model_reads_why() {
    let post = Post::default();
    let office = Office::with_tools(&[LEAVE], vec![post.tool()]).await;
    office.ollama.script([Script::call("post_send", &letter("all@acme.example")), Script::say("I leave it.")]);
    let (run, conversation, asked) = office.asks_for_leave("Write to all.").await;
    let deny = Decision::Deny { reason: Some("not before Monday".to_owned()) };
    office.agents.decide(&office.tenant, office.asker(), asked[0].id, deny).await.unwrap();
    assert_eq!(office.answered(conversation).await.1, "I leave it.");
    assert_eq!(post.sent(), Vec::<Value>::new());
    assert!(office.chat(1).0.contains("the person denied it and said: not before Monday"), "{}", office.chat(1).0);
    let decided = office.audit(run).await.into_iter().find(|entry| entry.action == "approval.decided").unwrap();
    assert_eq!((decided.outcome(), decided.reason()), ("refused", Some("not before Monday")));
}

#[tokio::test]
async fn what_was_changed_is_what_is_sent_and_the_log_has_both() {
    let post = Post::default();
    let office = Office::with_tools(&[LEAVE], vec![post.tool()]).await;
    office.ollama.script([Script::call("post_send", &letter("jo@acme.example")), Script::say("Sent.")]);
    let (run, conversation, asked) = office.asks_for_leave("Write to Jo.").await;
    let edit = |edited: Value| Decision::Allow { edited: Some(edited), always: false };
    let wrong = office.agents.decide(&office.tenant, office.asker(), asked[0].id, edit(json!({"to": 7}))).await;
    let wrong = wrong.unwrap_err();
    assert!(wrong.kind() == Kind::Invalid && wrong.message().contains("`text` is missing"), "{wrong:?}");
    let better = json!({"to": "jo@acme.example", "text": "Dear Jo"});
    office.agents.decide(&office.tenant, office.asker(), asked[0].id, edit(better.clone())).await.unwrap();
    office.answered(conversation).await;
    assert_eq!(post.sent(), std::slice::from_ref(&better));
    assert!(office.chat(1).0.contains("The person changed the call"), "{}", office.chat(1).0);
    let entries = office.audit(run).await;
    let edited = entries.iter().find(|entry| entry.action == "approval.edited").unwrap();
    assert_eq!((&edited.detail["before"], &edited.detail["after"]), (&letter("jo@acme.example"), &better));

    // A replay sends nothing, and puts the same before the model.
    let recording = Recording::read(&entries).unwrap();
    let again = office.agents.replay(&office.tenant, &recording, Answers::Recorded).await.unwrap();
    let told = |steps: &[Step]| -> Vec<_> {
        let texts = |step: &Step| {
            let messages = step.detail["request"]["messages"].as_array().cloned().unwrap_or_default();
            messages.iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let told = |step: &Step| (step.action.clone(), texts(step), step.detail["sent"].clone());
        steps.iter().map(told).collect()
    };
    assert_eq!(told(&again.steps), told(&recording.steps));
    assert_eq!(post.sent().len(), 1);
}

#[tokio::test]
async fn calls_of_one_answer_are_made_in_their_order_and_only_when_all_before_are_decided() {
    let post = Post::default();
    let office = Office::with_tools(&[LEAVE], vec![post.tool()]).await;
    let both = Script::call("post_send", &letter("one")).and_call("post_send", &letter("two"));
    office.ollama.script([both, Script::say("Both are sent.")]);
    let (_, conversation, asked) = office.asks_for_leave("Write to both.").await;
    assert_eq!(asked.len(), 2, "both are asked at once");
    let of = |to: &str| asked.iter().find(|approval| approval.arguments["to"] == to).unwrap().id;
    office.agents.decide(&office.tenant, office.asker(), of("two"), allow()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(post.sent(), Vec::<Value>::new(), "the first comes first");
    office.agents.decide(&office.tenant, office.asker(), of("one"), allow()).await.unwrap();
    office.answered(conversation).await;
    assert_eq!(post.sent(), [letter("one"), letter("two")]);
}

#[tokio::test]
async fn always_is_a_rule_for_this_tool_and_agent_that_only_managers_set() {
    let post = Post::default();
    let office = Office::with_tools(&[LEAVE], vec![post.tool()]).await;
    office.ollama.script([Script::call("post_send", &letter("one")), Script::say("Sent.")]);
    let (_, conversation, asked) = office.asks_for_leave("Write.").await;
    let always = Decision::Allow { edited: None, always: true };
    let refused = office.agents.decide(&office.tenant, office.asker(), asked[0].id, always.clone()).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Forbidden);
    let manager = Decider { manages: true, ..office.asker() };
    office.agents.decide(&office.tenant, manager, asked[0].id, always).await.unwrap();
    office.answered(conversation).await;
    office.ollama.script([Script::call("post_send", &letter("two")), Script::say("Sent again.")]);
    assert_eq!(office.answer("Write again.").await.answer, "Sent again.");
    assert_eq!(post.sent(), [letter("one"), letter("two")]);
    let policies = office.agents.policies(&office.tenant).await.unwrap();
    assert_eq!((policies[0].agent.as_deref(), policies[0].rule), (Some("atlas"), Rule::Allow));

    office
        .agents
        .set_policy(&office.tenant, office.user, "post.send", Some("atlas"), Some((Rule::Deny, AfterUntrusted::Ask)))
        .await
        .unwrap();
    office.ollama.script([Script::call("post_send", &letter("three")), Script::say("I may not.")]);
    assert_eq!(office.answer("Write a third time.").await.answer, "I may not.");
    assert_eq!(post.sent().len(), 2);
}

#[tokio::test]
async fn what_nobody_decides_in_time_is_not_done_and_the_run_goes_on() {
    let post = Post::default();
    let office = Office::with_tools(&[LEAVE], vec![post.tool()]).await;
    office.ollama.script([Script::call("post_send", &letter("jo")), Script::say("Nobody answered.")]);
    let (run, conversation, asked) = office.asks_for_leave("Write to Jo.").await;
    office.db.clock.advance(chrono::Duration::hours(73));
    let late = office.agents.decide(&office.tenant, office.asker(), asked[0].id, allow()).await;
    assert_eq!(late.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(office.answered(conversation).await.1, "Nobody answered.");
    assert_eq!(post.sent(), Vec::<Value>::new());
    assert!(office.actions(run).await.contains(&"approval.expired".to_owned()));
    let (_, decided) = office.agents.approvals(&office.tenant, office.asker()).await.unwrap();
    assert_eq!(decided[0].state, ApprovalState::Expired);
}

#[tokio::test]
async fn a_run_that_waits_can_be_stopped_and_what_it_asked_is_withdrawn() {
    let post = Post::default();
    let office = Office::with_tools(&[LEAVE], vec![post.tool()]).await;
    office.ollama.script([Script::call("post_send", &letter("jo"))]);
    let (run, conversation, asked) = office.asks_for_leave("Write to Jo.").await;
    assert!(!office.agents.cancel(&office.tenant, Some(UserId::generate()), run).await.unwrap(), "somebody else");
    assert!(office.agents.cancel(&office.tenant, Some(office.user), run).await.unwrap());
    assert_eq!(office.answered(conversation).await.0, MessageState::Stopped);
    let late = office.agents.decide(&office.tenant, office.asker(), asked[0].id, allow()).await;
    assert_eq!(late.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(post.sent(), Vec::<Value>::new());
    assert!(office.actions(run).await.contains(&"approval.withdrawn".to_owned()));
}

#[tokio::test]
async fn where_nobody_can_be_asked_the_answer_is_no_and_the_model_is_told() {
    let post = Post::default();
    let office = Office::with_tools(&[LEAVE], vec![post.tool()]).await;
    for apart in [true, false] {
        office.ollama.script([Script::call("post_send", &letter("jo")), Script::say("I cannot.")]);
        let mut ask = office.question("Write to Jo.");
        if apart {
            ask.thread = Thread::Apart { history: Vec::new() };
        } else {
            ask.user = None;
        }
        let events = office.events(ask).await;
        assert!(matches!(events.last(), Some(RunEvent::Finished(_))), "{events:?}");
        let said = office.ollama.chats().last().unwrap().to_string();
        assert!(said.contains("here is nobody to ask"), "{said}");
    }
    assert_eq!(post.sent(), Vec::<Value>::new());
    assert_eq!(office.pending().await, Vec::new());
}
