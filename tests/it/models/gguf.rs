//! The built-in engine with a real model, SmolLM2-135M-Instruct, in its own process.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use aegis::{
    config,
    models::{
        chat::{ChatEvent, ChatModel, ChatRequest, Finish, FinishReason, Message, ModelError, Speaker, ToolSpec},
        gguf::{Gguf, discover},
    },
};
use futures::StreamExt;
use serde_json::json;

use super::{all, ask, text_of};

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_aegis"))
}

/// The model that `packaging/fetch` brings.
pub(super) fn model_file() -> PathBuf {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join(".pack/models");
    let mut files = std::fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "gguf")).unwrap()
}

fn section() -> config::Builtin {
    // One thread: other tests run beside it.
    config::Builtin { file: None, max_context: 1024, threads: 1, unload_seconds: 600 }
}

fn engine() -> Gguf {
    Gguf::new(program(), model_file(), &section())
}

fn with_passage(question: &str) -> ChatRequest {
    ChatRequest {
        messages: vec![
            Message::new(Speaker::System, "Answer in one short sentence, from the passage only."),
            Message::new(
                Speaker::User,
                format!("Passage: Employees are entitled to sixteen weeks of parental leave.\n\nQuestion: {question}"),
            ),
        ],
        max_tokens: Some(40),
        temperature: Some(0.0),
        ..ChatRequest::default()
    }
}

/// Long enough to be stopped on the way.
fn long_story() -> ChatRequest {
    ChatRequest { max_tokens: Some(900), ..ask("Tell me a very long story about a lighthouse and the sea.") }
}

#[tokio::test]
async fn a_real_model_answers_from_a_passage_and_always_says_the_same() {
    let engine = engine();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let (events, error) = all(engine.chat(with_passage("How long is parental leave?")).await.unwrap()).await;
        assert!(error.is_none(), "{error:?}");
        let Some(ChatEvent::Done(finish)) = events.last() else { panic!("{events:?}") };
        assert_eq!(finish.reason, FinishReason::Stop);
        assert!((30..120).contains(&finish.prompt_tokens) && finish.completion_tokens > 3, "{finish:?}");
        answers.push((text_of(&events), finish.clone()));
    }
    let said = answers[0].0.to_lowercase();
    assert!(said.contains("16 weeks") || said.contains("sixteen weeks"), "{said}");
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn what_the_model_is_comes_from_the_file_and_starts_nothing() {
    let engine = engine();
    assert_eq!(
        engine.name(),
        format!("builtin/{}", model_file().file_stem().unwrap().to_str().unwrap().to_lowercase())
    );
    let capabilities = engine.capabilities().await.unwrap();
    assert!(capabilities.small && !capabilities.tools, "135 million parameters are not trusted with tools");
    assert_eq!(capabilities.context_tokens, 1024);
    assert_eq!(engine.process_id(), None);
}

#[tokio::test]
async fn a_tool_call_is_held_to_the_tools_and_their_schema_by_a_grammar() {
    let tool = |name: &str, parameters: serde_json::Value| ToolSpec {
        name: name.to_owned(),
        description: "A tool.".to_owned(),
        parameters,
    };
    let request = ChatRequest {
        tools: vec![tool(
            "calendar.book",
            json!({
                "type": "object",
                "properties": {
                    "room": { "enum": ["Oslo", "Bergen"] },
                    "people": { "type": "integer" },
                    "catering": { "type": "boolean" },
                    "notes": { "type": "array", "items": { "type": "string", "maxLength": 20 }, "minItems": 1, "maxItems": 2 },
                },
                "required": ["room", "people", "catering", "notes"],
                "additionalProperties": false,
            }),
        )],
        max_tokens: Some(200),
        ..ask("Say <tool_call> and nothing else.")
    };
    let (events, error) = all(engine().chat(request).await.unwrap()).await;
    assert!(error.is_none(), "{error:?}");
    let [ChatEvent::Loading, ChatEvent::ToolCall(call), ChatEvent::Done(finish)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((call.name.as_str(), finish.reason), ("calendar.book", FinishReason::ToolCalls));
    let arguments = call.arguments.as_object().unwrap();
    assert_eq!(arguments.len(), 4, "{arguments:?}");
    assert!(matches!(arguments["room"].as_str(), Some("Oslo" | "Bergen")), "{arguments:?}");
    assert!(arguments["people"].is_i64() && arguments["catering"].is_boolean(), "{arguments:?}");
    let notes = arguments["notes"].as_array().unwrap();
    assert!((1..=2).contains(&notes.len()) && notes.iter().all(serde_json::Value::is_string), "{notes:?}");
}

#[tokio::test]
async fn questions_are_answered_one_after_another_by_one_process() {
    let engine = engine();
    let first = engine.chat(with_passage("How long is parental leave?")).await.unwrap();
    let second =
        engine.chat(ChatRequest { max_tokens: Some(3), ..ask("What is the capital of France?") }).await.unwrap();
    let ((first, _), (second, _)) = tokio::join!(all(first), all(second));
    assert!(text_of(&first).contains("weeks"), "{first:?}");
    assert!(
        matches!(
            second.last(),
            Some(ChatEvent::Done(Finish { reason: FinishReason::Length, completion_tokens: 3, .. }))
        ),
        "{second:?}"
    );
    let loads = first.iter().chain(&second).filter(|event| **event == ChatEvent::Loading).count();
    assert_eq!(loads, 1);
}

#[tokio::test]
async fn dropping_the_stream_stops_the_answer_and_the_next_one_does_not_wait_for_it() {
    let engine = engine();
    let mut story = engine.chat(long_story()).await.unwrap();
    while !matches!(story.next().await, Some(Ok(ChatEvent::Text(_)))) {}
    let process = engine.process_id();
    drop(story);
    let next = tokio::time::timeout(
        Duration::from_secs(20),
        all(engine.chat(with_passage("How long is parental leave?")).await.unwrap()),
    );
    let (events, error) = next.await.expect("the story was stopped");
    assert!(error.is_none() && text_of(&events).contains("weeks"), "{events:?} {error:?}");
    assert_eq!(engine.process_id(), process, "the model was not loaded again");
}

#[tokio::test]
async fn a_prompt_that_does_not_fit_is_refused_with_its_true_length() {
    let (events, error) = all(engine().chat(ask(&"word ".repeat(1500))).await.unwrap()).await;
    assert_eq!(text_of(&events), "");
    assert!(matches!(error, Some(ModelError::ContextOverflow { tokens: 1500..1600, limit: 1024 })), "{error:?}");
}

#[tokio::test]
async fn a_bad_file_is_an_error_with_a_reason_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broken.gguf");
    std::fs::write(&file, "this is a letter to my aunt").unwrap();
    let error = Gguf::new(program(), file.clone(), &section()).chat(ask("Hello?")).await.err().expect("no model");
    assert!(matches!(&error, ModelError::Server { message } if message.contains("not a GGUF file")), "{error:?}");

    // A good head and a body that ends in the middle: only llama.cpp notices.
    let whole = std::fs::read(model_file()).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let (_, error) = all(Gguf::new(program(), file.clone(), &section()).chat(ask("Hello?")).await.unwrap()).await;
    assert!(
        matches!(&error, Some(ModelError::Server { message }) if message.contains("is not within the file bounds")),
        "{error:?}"
    );

    // Metadata that does not belong together makes llama.cpp fail, or abort: the child ends, we do not.
    let mut scrambled = whole;
    let at = scrambled.windows(22).position(|bytes| bytes == b"llama.embedding_length").unwrap();
    scrambled[at + 26..at + 30].copy_from_slice(&7_u32.to_le_bytes());
    std::fs::write(&file, &scrambled).unwrap();
    let (_, error) = all(Gguf::new(program(), file, &section()).chat(ask("Hello?")).await.unwrap()).await;
    assert!(matches!(&error, Some(ModelError::Server { message }) if message.contains("broken")), "{error:?}");
}

#[tokio::test]
async fn an_engine_that_is_killed_in_mid_answer_fails_that_answer_and_serves_the_next() {
    let engine = engine();
    let mut story = engine.chat(long_story()).await.unwrap();
    while !matches!(story.next().await, Some(Ok(ChatEvent::Text(_)))) {}
    kill(engine.process_id().unwrap());
    let (_, error) = all(story).await;
    assert!(
        matches!(&error, Some(ModelError::Server { message }) if message.contains("killed by signal 9")),
        "{error:?}"
    );
    let (events, error) = all(engine.chat(with_passage("How long is parental leave?")).await.unwrap()).await;
    assert!(error.is_none() && text_of(&events).contains("weeks"), "{events:?} {error:?}");
    // One that died between two questions is noticed as well.
    kill(engine.process_id().unwrap());
    let (events, error) = all(engine.chat(with_passage("How long is parental leave?")).await.unwrap()).await;
    assert!(error.is_none() && text_of(&events).contains("weeks"), "{events:?} {error:?}");
}

#[tokio::test]
async fn the_model_leaves_memory_when_nobody_asks() {
    let engine = Gguf::new(program(), model_file(), &config::Builtin { unload_seconds: 3, ..section() });
    all(engine.chat(ChatRequest { max_tokens: Some(2), ..ask("Hello?") }).await.unwrap()).await;
    let process = engine.process_id().unwrap();
    for _ in 0..100 {
        // It counts as gone before it has ended.
        if engine.process_id().is_none() && !Path::new(&format!("/proc/{process}")).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it stays in memory");
}

#[tokio::test]
async fn the_engine_ends_when_its_input_does() {
    let mut child = tokio::process::Command::new(program())
        .args(["__engine".as_ref(), model_file().as_os_str(), "512".as_ref(), "1".as_ref()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    let ended = tokio::time::timeout(Duration::from_mins(1), child.wait()).await;
    assert!(ended.expect("it ends").unwrap().success());
}

#[test]
fn the_configured_file_is_used_and_else_the_first_in_the_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let models = directory.path().join("models");
    assert_eq!(discover(&section(), directory.path()), None);
    std::fs::create_dir(&models).unwrap();
    for name in ["b.gguf", "a.GGUF", "0.txt"] {
        std::fs::write(models.join(name), "").unwrap();
    }
    assert_eq!(discover(&section(), directory.path()), Some(models.join("a.GGUF")));
    let configured = config::Builtin { file: Some("/srv/model.gguf".into()), ..section() };
    assert_eq!(discover(&configured, directory.path()), Some("/srv/model.gguf".into()));
}

fn kill(process: u32) {
    let process = nix::unistd::Pid::from_raw(i32::try_from(process).unwrap());
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL).unwrap();
}
