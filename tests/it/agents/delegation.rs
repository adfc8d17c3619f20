//! A question that one agent hands to another.

use std::{sync::Arc, time::Duration};

use aegis::{
    agents::{
        tool::{Tool, ToolContext},
        tools::Delegate,
    },
    audit::Actor,
    support::ids::RunId,
};
use serde_json::json;

use super::{LEAVE, NOTICE, Office, VISITORS};
use crate::ollama_stand_in::Script;

/// A colleague who may ask the office's agents.
fn colleague(office: &Office) -> (Delegate, ToolContext) {
    let delegate = Delegate::default();
    delegate.introduce(&office.agents);
    let context = ToolContext {
        conversation: None,
        db: office.tenant.clone(),
        run: RunId::generate(),
        agent: "sage".to_owned(),
        user: Some(office.user),
        actor: Actor::User { id: office.user },
        depth: 0,
        idempotency_key: String::new(),
        has_read: Vec::new(),
    };
    (delegate, context)
}

#[tokio::test]
async fn the_answer_comes_back_with_its_passages_and_the_run_it_was_made_in() {
    let office = Office::with(&[VISITORS, LEAVE]).await;
    office.ollama.script([
        Script::call("knowledge_search", &json!({"query": "leave"})),
        Script::say("Sixteen weeks [2], I think [7]."),
    ]);
    let (delegate, context) = colleague(&office);
    let output = delegate.call(&context, json!({"agent": "Atlas", "question": "How long is leave?"})).await.unwrap();
    assert_eq!(output.summary, "atlas answered, 1 passages");
    assert_eq!(output.sources.iter().map(|source| source.text.as_str()).collect::<Vec<_>>(), [LEAVE]);
    let text = output.content.as_str().unwrap();
    assert!(text.ends_with(":\n\nSixteen weeks (Handbook, page 2), I think."), "{text}");

    let run: RunId = text.split("/audit/runs/").nth(1).unwrap()[..36].parse().unwrap();
    assert_eq!(
        office.actions(run).await,
        ["run.started", "model.called", "run.tainted", "tool.called", "model.called", "run.finished"]
    );
    let started = &office.audit(run).await[0];
    assert_eq!((&started.actor, &started.detail["conversation"]), (&Actor::User { id: office.user }, &json!(null)));
    let (prompt, _) = office.chat(0);
    assert!(prompt.contains("Your colleague sage hands you this question"), "{prompt}");
}

#[tokio::test]
async fn nobody_asks_themselves_nor_hands_on_what_was_handed_on_twice_nor_asks_for_ever() {
    let office = Office::with(&[LEAVE]).await;
    let (delegate, context) = colleague(&office);
    let ask = |context: ToolContext, agent: &'static str| {
        let delegate = &delegate;
        async move {
            let told = delegate.call(&context, json!({"agent": agent, "question": "How long is leave?"})).await;
            told.map(|output| output.summary).map_err(|error| error.message().to_owned())
        }
    };
    let own = ToolContext { agent: "atlas".to_owned(), ..context.clone() };
    assert_eq!(ask(own, "atlas").await.unwrap_err(), "that is you: answer it yourself, or ask another colleague");
    let deep = ToolContext { depth: 2, ..context.clone() };
    assert_eq!(ask(deep, "atlas").await.unwrap_err(), "this question was handed on already; answer it yourself");
    let unknown = ask(context.clone(), "nobody").await.unwrap_err();
    assert!(unknown.starts_with("there is no colleague `nobody`; there are `atlas`"), "{unknown}");
    assert!(ask(context.clone(), "../atlas").await.is_err());
    for _ in 0..4 {
        ask(context.clone(), "atlas").await.unwrap();
    }
    assert!(ask(context.clone(), "atlas").await.unwrap_err().starts_with("4 questions were handed on already"));
    assert!(ask(ToolContext { run: RunId::generate(), ..context }, "atlas").await.is_ok());
}

#[tokio::test]
async fn a_caller_that_is_stopped_stops_its_colleague() {
    let office = Office::with(&[NOTICE]).await;
    office.ollama.script([Script::say("Four weeks and").then_hang()]);
    let (delegate, context) = colleague(&office);
    let delegate = Arc::new(delegate);
    let asking = {
        let (delegate, context) = (delegate.clone(), context.clone());
        tokio::spawn(async move { delegate.call(&context, json!({"agent": "atlas", "question": "Notice?"})).await })
    };
    while office.ollama.chats().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    asking.abort();
    let stopped = async {
        while office.ollama.abandoned() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), stopped).await.expect("the colleague's model is let go");
}

#[tokio::test]
async fn agents_that_are_gone_ask_nobody() {
    let office = Office::with(&[LEAVE]).await;
    let (delegate, context) = colleague(&office);
    let Office { agents, ollama: _ollama, db: _db, .. } = office;
    drop(agents);
    let error = delegate.call(&context, json!({"agent": "atlas", "question": "Leave?"})).await.unwrap_err();
    assert!(error.message().starts_with("no colleague can be asked now"), "{error}");
}
