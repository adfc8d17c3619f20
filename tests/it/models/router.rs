//! The router: when it switches, when it must not, and whom it leaves alone for a while.

use std::{sync::Arc, time::Duration};

use aegis::{
    config::Config,
    egress::Egress,
    models::{
        Router,
        chat::{ChatEvent, ChatModel, ChatRequest},
        router_with_engine,
    },
};
use futures::StreamExt;

use super::{Stopped, all, ask, chat_model, ollama_at, search_tool, text_of};
use crate::ollama_stand_in::{Model, Script, StandIn};

fn chain(ollamas: &[&StandIn], clock: &Stopped) -> Router {
    let models = ollamas.iter().map(|ollama| Arc::new(chat_model(&ollama_at(&ollama.url()))) as Arc<dyn ChatModel>);
    Router::new(models.collect(), clock.shared())
}

#[tokio::test]
async fn the_first_model_that_answers_is_taken_and_the_others_failures_are_handed_back() {
    let (broken, working) = (StandIn::start().await, StandIn::start().await);
    broken.script([Script::refuse(500, "llama runner process has terminated")]);
    working.script([Script::say("Here I am.")]);
    let answering = chain(&[&broken, &working], &Stopped::new()).chat(|_| ask("Hello?")).await.expect("one answers");
    assert_eq!(answering.model, "ollama/llama3.2");
    assert_eq!(answering.attempts.len(), 1);
    assert!(answering.attempts[0].error.contains("has terminated"), "{:?}", answering.attempts);
    assert_eq!(text_of(&all(answering.stream).await.0), "Here I am.");
}

#[tokio::test]
async fn a_failure_after_loading_and_thinking_still_moves_on_and_one_after_the_first_word_does_not() {
    let (first, second) = (StandIn::start().await, StandIn::start().await);
    let router = chain(&[&first, &second], &Stopped::new());
    first.script([
        Script::say("").think("Hm, let me").load_for(Duration::from_secs(2)).then_error("boom"),
        Script::say("I was going to").then_error("boom"),
    ]);
    second.script([Script::say("From the second.")]);

    let mut watched = Vec::new();
    let answering =
        router.chat_watched(|_| ask("Hello?"), |_, event| watched.push(event)).await.expect("the second answers");
    assert_eq!(watched.first(), Some(&ChatEvent::Loading));
    assert!(watched.iter().any(|event| matches!(event, ChatEvent::Thinking(_))), "{watched:?}");
    assert_eq!((text_of(&all(answering.stream).await.0).as_str(), answering.attempts.len()), ("From the second.", 1));

    let answering = router.chat(|_| ask("Hello?")).await.expect("the first answers");
    let (events, error) = all(answering.stream).await;
    assert_eq!(text_of(&events), "I was going to");
    assert!(error.is_some(), "the failure is passed on");
    assert_eq!(second.chats().len(), 1, "nobody else is asked");
}

#[tokio::test]
async fn what_came_before_the_first_word_is_in_the_stream_when_nobody_watches() {
    let ollama = StandIn::start().await;
    ollama.script([Script::say("Four.").think("Two and two.")]);
    let answering = chain(&[&ollama], &Stopped::new()).chat(|_| ask("2 + 2?")).await.expect("it answers");
    let (events, _) = all(answering.stream).await;
    assert!(matches!(events.first(), Some(ChatEvent::Thinking(_))), "{events:?}");
    assert_eq!(text_of(&events), "Four.");
}

#[tokio::test]
async fn a_lone_model_that_is_not_there_is_left_alone_for_a_while_and_then_asked_again() {
    let ollama = StandIn::start().await;
    let clock = Stopped::new();
    let router = chain(&[&ollama], &clock);
    ollama.without_models();
    let first = router.chat(|_| ask("Hello?")).await.err().expect("no model");
    assert!(first.attempts[0].error.contains("ollama pull llama3.2"), "{first}");
    let shows = ollama.shows();
    let second = router.chat(|_| ask("Hello?")).await.err().expect("no model");
    assert!(second.attempts[0].error.contains("asked again in 15 s"), "{second}");
    assert_eq!(ollama.shows(), shows, "it was not asked");

    ollama.model(Model {
        name: "llama3.2:latest".to_owned(),
        capabilities: vec!["completion"],
        parameters: 3_000_000_000,
        context_length: 8192,
    });
    clock.advance(16);
    ollama.script([Script::say("Back.")]);
    let answering = router.chat(|_| ask("Hello?")).await.expect("it is back");
    assert_eq!(text_of(&all(answering.stream).await.0), "Back.");
}

#[tokio::test]
async fn a_question_that_is_too_long_says_nothing_against_the_model() {
    let ollama = StandIn::start().await;
    let router = chain(&[&ollama], &Stopped::new());
    router.chat(|_| ask(&"word ".repeat(30_000))).await.err().expect("it does not fit");
    ollama.script([Script::say("Short and good.")]);
    assert!(router.chat(|_| ask("Hello?")).await.is_ok());
}

#[tokio::test]
async fn the_request_is_written_for_the_model_and_again_without_tools_when_it_has_none_after_all() {
    let ollama = StandIn::start().await;
    ollama.script([
        Script::refuse(400, "registry.ollama.ai/library/llama3.2:latest does not support tools"),
        Script::say("Without."),
    ]);
    let request_for = |capabilities: &aegis::models::chat::Capabilities| ChatRequest {
        tools: if capabilities.tools { vec![search_tool()] } else { Vec::new() },
        ..ask("Hello?")
    };
    let answering = chain(&[&ollama], &Stopped::new()).chat(request_for).await.expect("it answers");
    assert!(answering.request.tools.is_empty() && !answering.capabilities.tools && answering.attempts.is_empty());
    assert_eq!(text_of(&all(answering.stream).await.0), "Without.");
    assert!(ollama.chats()[0]["tools"].is_array() && ollama.chats()[1]["tools"].is_null());
}

#[tokio::test]
async fn dropping_the_question_while_a_model_loads_stops_it() {
    let ollama = StandIn::start().await;
    ollama.script([Script::say("never").slowly(Duration::from_secs(3))]);
    let router = chain(&[&ollama], &Stopped::new());
    let begun = async {
        while ollama.chats().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = router.chat(|_| ask("Hello?")) => panic!("it is still loading"),
        () = begun => {}
    }
    for _ in 0..1000 {
        if ollama.abandoned() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server was not told to stop");
}

#[tokio::test]
async fn the_status_tells_what_is_wrong_and_what_to_do() {
    let (working, empty) = (StandIn::start().await, StandIn::start().await);
    empty.without_models();
    let status = chain(&[&working, &empty], &Stopped::new()).status().await;
    assert!(
        status[0].ok
            && status[0].problem.is_none()
            && status[0].capabilities.is_some_and(|capabilities| capabilities.tools)
    );
    assert!(!status[1].ok);
    assert_eq!(status[1].remedy.as_deref(), Some("run `ollama pull llama3.2`"));
}

#[tokio::test]
async fn an_empty_chain_has_no_model() {
    let nobody =
        Router::new(Vec::new(), Stopped::new().shared()).chat(|_| ask("Hello?")).await.err().expect("no model");
    assert!(nobody.attempts.is_empty());
    assert_eq!(futures::stream::iter(nobody.attempts).count().await, 0);
}

/// The default chain, Ollama and then the built-in engine, with nothing listening where Ollama would be.
fn configured_chain(data_dir: &std::path::Path, clock: &Stopped) -> Router {
    let mut config = Config::load_from(None, [], Some(data_dir)).unwrap();
    "http://127.0.0.1:9".clone_into(&mut config.models.ollama.url);
    let egress = Egress::new(&config).unwrap();
    router_with_engine(&config, &egress, clock.shared(), env!("CARGO_BIN_EXE_aegis").as_ref()).unwrap()
}

#[tokio::test]
async fn without_ollama_the_built_in_engine_answers_and_ollama_is_not_tried_at_every_question() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("models")).unwrap();
    std::os::unix::fs::symlink(super::gguf::model_file(), directory.path().join("models/smollm2.gguf")).unwrap();
    let router = configured_chain(directory.path(), &Stopped::new());
    for expected in ["does not answer", "asked again in"] {
        let request = |_: &_| ChatRequest { max_tokens: Some(12), ..ask("What is the capital of France?") };
        let answering = router.chat(request).await.unwrap();
        assert_eq!(answering.model, "builtin/smollm2");
        assert!(answering.capabilities.small);
        assert!(answering.attempts[0].error.contains(expected), "{:?}", answering.attempts);
        assert!(text_of(&all(answering.stream).await.0).contains("Paris"));
    }
}

#[tokio::test]
async fn without_a_model_file_the_built_in_engine_is_not_in_the_chain_and_the_status_tells_why() {
    let directory = tempfile::tempdir().unwrap();
    let router = configured_chain(directory.path(), &Stopped::new());
    let nobody = router.chat(|_| ask("Hello?")).await.err().unwrap();
    assert_eq!(nobody.attempts.len(), 1, "{nobody}");
    let status = router.status().await;
    assert!(status[0].remedy.as_deref().unwrap().contains("ollama serve"), "{status:?}");
    assert!(status[1].model == "builtin" && status[1].remedy.as_deref().unwrap().contains("models"), "{status:?}");
}
