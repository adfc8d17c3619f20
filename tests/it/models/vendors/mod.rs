//! The contract of the providers over HTTP: what they send, and what they make of the vendors' documented streams, cut at
//! every byte, and of the oddities of those who follow them.

mod anthropic;
mod embedding;
mod gemini;
mod openai;
mod refusals;
mod stand_in;

use std::sync::Arc;

use aegis::{
    config::Config,
    egress::Egress,
    models::{
        chat::{
            ChatEvent, ChatModel, ChatRequest, ChatStream, Finish, FinishReason, Message, ModelError, Speaker, ToolCall,
        },
        provider,
    },
};
use futures::StreamExt;
use serde_json::{Value, json};

use super::search_tool;
use stand_in::{Reply, Vendor};

const KEY: &str = "sk-canary-7f3a91";

/// The configuration of one provider `cloud`, with short limits.
fn configured(kind: &str, settings: &[(&str, &str)]) -> Config {
    let fixed = [("kind", kind), ("key", KEY), ("load_timeout_seconds", "5"), ("idle_timeout_seconds", "5")];
    let variables = fixed.iter().filter(|(name, _)| settings.iter().all(|(given, _)| given != name)).chain(settings);
    let variables = variables
        .map(|(name, value)| (format!("AEGIS_PROVIDERS__CLOUD__{}", name.to_uppercase()), (*value).to_owned()));
    Config::load_from(None, variables, None).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn opened(config: &Config, model: &str) -> Arc<dyn ChatModel> {
    let egress = Egress::new(config).expect("usable addresses");
    provider::open("cloud", config, model, &egress).expect("it can be opened")
}

fn model(kind: &str, url: &str) -> Arc<dyn ChatModel> {
    opened(&configured(kind, &[("url", url)]), "test-model")
}

/// A conversation with everything in it: instructions, a question, two calls at once, their results, a further question.
fn conversation() -> ChatRequest {
    let call = |id: &str, query: &str| ToolCall {
        id: id.to_owned(),
        name: "knowledge.search".to_owned(),
        arguments: json!({ "query": query }),
    };
    let result = |id: &str, text: &str| Message {
        tool_call_id: Some(id.to_owned()),
        tool_name: Some("knowledge.search".to_owned()),
        ..Message::new(Speaker::Tool, text)
    };
    ChatRequest {
        messages: vec![
            Message::new(Speaker::System, "Be brief."),
            Message::new(Speaker::System, "Cite."),
            Message::new(Speaker::User, "How long is leave?"),
            Message {
                tool_calls: vec![call("call_1", "leave"), call("call_2", "pay")],
                ..Message::new(Speaker::Assistant, "Let me look.")
            },
            result("call_1", "{\"passages\": [\"16 weeks\"]}"),
            result("call_2", "nothing"),
            Message::new(Speaker::User, "And?"),
        ],
        tools: vec![search_tool()],
        max_tokens: Some(300),
        temperature: Some(0.0),
        schema: None,
    }
}

/// What an answer comes to.
#[derive(Debug, Clone, Default, PartialEq)]
struct Told {
    text: String,
    thoughts: String,
    calls: Vec<(String, String, Value)>,
    finish: Option<Finish>,
}

impl Told {
    fn reason(&self) -> Option<FinishReason> {
        self.finish.as_ref().map(|finish| finish.reason)
    }
}

async fn gather(stream: ChatStream) -> (Told, Option<ModelError>) {
    let mut told = Told::default();
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        assert!(told.finish.is_none(), "something comes after the end: {event:?}");
        match event {
            Ok(ChatEvent::Text(text)) => told.text.push_str(&text),
            Ok(ChatEvent::Thinking(text)) => told.thoughts.push_str(&text),
            Ok(ChatEvent::ToolCall(call)) => told.calls.push((call.id, call.name, call.arguments)),
            Ok(ChatEvent::Done(finish)) => told.finish = Some(finish),
            Ok(ChatEvent::Loading) => {}
            Err(error) => return (told, Some(error)),
        }
    }
    (told, None)
}

/// Asks for what `reply` is the answer to.
async fn answer(kind: &str, reply: Reply) -> (Told, Option<ModelError>) {
    let vendor = Vendor::start().await;
    vendor.reply(reply);
    gather(model(kind, &vendor.url()).chat(conversation()).await.expect("it is sent")).await
}

/// The stream in two pieces at every byte is the stream; cut off at every byte it is a clear error until the answer is
/// whole, which it is after `whole_at` bytes, and the answer from there on.
async fn cut_at_every_byte(kind: &'static str, stream: &str, whole_at: usize, expected: &Told) {
    let vendor = Arc::new(Vendor::start().await);
    let model = model(kind, &vendor.url());
    let (mut broken, mut whole) = (0, 0);
    for cut in 0..=stream.len() {
        vendor.reply(Reply::stream(stream).split_at(cut));
        let (told_of, error) = gather(model.chat(conversation()).await.expect("it is sent")).await;
        assert!(error.is_none(), "in two pieces at {cut}: {error:?}");
        assert_eq!(without_ids(&told_of), without_ids(expected), "in two pieces at {cut}");

        vendor.reply(Reply::stream(stream).close_at(cut));
        let (told_of, error) = gather(model.chat(conversation()).await.expect("it is sent")).await;
        if cut < whole_at {
            assert!(matches!(error, Some(ModelError::Network { .. })), "cut off at {cut}: {error:?}, {told_of:?}");
            assert!(
                told_of.finish.is_none() && expected.text.starts_with(&told_of.text),
                "cut off at {cut}: {told_of:?}"
            );
            assert!(expected.thoughts.starts_with(&told_of.thoughts), "cut off at {cut}: {told_of:?}");
            assert!(
                without_ids(expected).calls.starts_with(&without_ids(&told_of).calls),
                "cut off at {cut}: {told_of:?}"
            );
            broken += 1;
        } else {
            assert!(error.is_none(), "cut off at {cut}: {error:?}");
            assert_eq!((&told_of.text, &told_of.thoughts), (&expected.text, &expected.thoughts), "cut off at {cut}");
            assert_eq!(without_ids(&told_of).calls, without_ids(expected).calls, "cut off at {cut}");
            assert_eq!(told_of.reason(), expected.reason(), "cut off at {cut}");
            whole += 1;
        }
    }
    println!(
        "{kind}: {} bytes cut everywhere; split: the same answer each time; cut off: {broken} clear errors, {whole} whole answers",
        stream.len()
    );
}

/// Some ids are made up anew for each answer.
fn without_ids(told: &Told) -> Told {
    let calls = told.calls.iter().map(|(_, name, arguments)| (String::new(), name.clone(), arguments.clone()));
    Told { calls: calls.collect(), ..told.clone() }
}

/// What was sent and which events came, for people.
async fn transcript(kind: &str, stream: &str) {
    let vendor = Vendor::start().await;
    vendor.reply(Reply::stream(stream));
    let mut events = model(kind, &vendor.url()).chat(conversation()).await.expect("it is sent");
    let sent = |request: stand_in::Request| {
        println!("──── {kind}: sent\n{}", request.line);
        for (name, value) in request.headers.iter().filter(|(name, _)| name != "host") {
            println!("{name}: {}", value.replace(KEY, "•••"));
        }
        println!("\n{}\n──── {kind}: events", serde_json::to_string_pretty(&request.body).expect("JSON"));
    };
    let mut first = true;
    while let Some(event) = events.next().await {
        if std::mem::take(&mut first) {
            sent(vendor.last());
        }
        println!("{event:?}");
    }
}

/// The stand-in sees within a moment that nobody reads any longer.
async fn closes_when_dropped(kind: &str, beginning: &str) {
    let vendor = Vendor::start().await;
    vendor.reply(Reply::stream(beginning).then_hang());
    let mut stream = model(kind, &vendor.url()).chat(conversation()).await.expect("it is sent");
    assert!(stream.next().await.is_some_and(|event| event.is_ok()), "it has begun");
    assert_eq!(vendor.closed_by_client(), 0);
    drop(stream);
    for _ in 0..1000 {
        if vendor.closed_by_client() == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{kind}: the connection was not closed");
}
