//! Ollama: answers, contexts, tools, and each way of failing.

use std::time::Duration;

use aegis::models::{
    chat::{ChatEvent, ChatModel, ChatRequest, Finish, FinishReason, Message, ModelError, Speaker, ToolCall},
    embedding::EmbeddingModel,
    ollama::OllamaEmbedding,
};
use axum::body::Body;
use futures::StreamExt;
use serde_json::json;

use super::{all, ask, chat_model, ollama_at, search_tool, server, text_of};
use crate::ollama_stand_in::{Model, Script, StandIn};

async fn failure(ollama: &StandIn, script: Script) -> (String, ModelError) {
    ollama.script([script]);
    let model = chat_model(&ollama_at(&ollama.url()));
    match model.chat(ask("Hello?")).await {
        Err(error) => (String::new(), error),
        Ok(stream) => {
            let (events, error) = all(stream).await;
            (text_of(&events), error.expect("an error at the end"))
        }
    }
}

#[tokio::test]
async fn an_answer_streams_piece_by_piece_and_ends_with_its_counts() {
    let ollama = StandIn::start().await;
    ollama.script([Script::say("Grüße aus Zürich — naïve 世界.")]);
    let stream = chat_model(&ollama_at(&ollama.url())).chat(ask("Say something.")).await.expect("it answers");
    let (events, error) = all(stream).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(text_of(&events), "Grüße aus Zürich — naïve 世界.");
    assert!(events.len() > 3, "it came in pieces: {events:?}");
    let finish = Finish { reason: FinishReason::Stop, prompt_tokens: 26, completion_tokens: 6 };
    assert_eq!(events.last(), Some(&ChatEvent::Done(finish)));
}

#[tokio::test]
async fn num_ctx_grows_with_the_prompt_and_a_prompt_that_cannot_fit_is_refused_before_it_is_sent() {
    let ollama = StandIn::start().await;
    let model = chat_model(&ollama_at(&ollama.url()));
    for words in [10, 3000, 10] {
        all(model.chat(ask(&"word ".repeat(words))).await.expect("it answers")).await;
    }
    let contexts: Vec<_> = ollama.chats().iter().map(|chat| chat["options"]["num_ctx"].as_u64()).collect();
    assert_eq!(
        contexts,
        [Some(2048), Some(8192), Some(8192)],
        "the third does not make the server load the model again"
    );
    let refused = model.chat(ask(&"word ".repeat(20_000))).await.err();
    assert!(matches!(refused, Some(ModelError::ContextOverflow { limit: 16_384, .. })), "{refused:?}");
    assert_eq!(ollama.chats().len(), 3);
}

#[tokio::test]
async fn the_models_own_limit_bounds_the_context() {
    let ollama = StandIn::start().await;
    ollama.model(Model {
        name: "llama3.2:latest".to_owned(),
        capabilities: vec!["completion"],
        parameters: 3_000_000_000,
        context_length: 4096,
    });
    let model = chat_model(&ollama_at(&ollama.url()));
    let capabilities = model.capabilities().await.expect("it is there");
    assert_eq!(
        (capabilities.context_tokens, capabilities.tools, capabilities.small),
        (4096, true, false),
        "tools by the prompt"
    );
    all(model.chat(ask(&"word ".repeat(1500))).await.expect("it answers")).await;
    assert_eq!(ollama.chats()[0]["options"]["num_ctx"], 4096);
}

#[tokio::test]
async fn capabilities_are_asked_once_and_a_small_model_is_not_trusted_with_tools() {
    let ollama = StandIn::start().await;
    ollama.model(Model {
        name: "llama3.2:latest".to_owned(),
        capabilities: vec!["completion", "tools", "thinking"],
        parameters: 494_032_768,
        context_length: 32_768,
    });
    let model = chat_model(&ollama_at(&ollama.url()));
    for _ in 0..3 {
        let capabilities = model.capabilities().await.expect("it is there");
        assert!(!capabilities.tools && capabilities.small && capabilities.thinking);
    }
    assert_eq!(ollama.shows(), 1);
}

#[tokio::test]
async fn a_tool_call_has_our_name_and_an_id_and_its_result_goes_back_under_the_servers_name() {
    let ollama = StandIn::start().await;
    ollama.script([Script::call("knowledge_search", &json!({ "query": "leave" }))
        .and_call("knowledge_search", &json!({ "query": "pay" }))]);
    let model = chat_model(&ollama_at(&ollama.url()));
    let mut request = ChatRequest { tools: vec![search_tool()], ..ask("How long is parental leave?") };
    let (events, _) = all(model.chat(request.clone()).await.expect("it answers")).await;
    let calls: Vec<ToolCall> = events
        .iter()
        .filter_map(|event| if let ChatEvent::ToolCall(call) = event { Some(call.clone()) } else { None })
        .collect();
    assert_eq!(calls.len(), 2);
    assert_eq!((calls[0].name.as_str(), &calls[0].arguments), ("knowledge.search", &json!({ "query": "leave" })));
    assert!(!calls[0].id.is_empty() && calls[0].id != calls[1].id);
    assert!(matches!(events.last(), Some(ChatEvent::Done(Finish { reason: FinishReason::ToolCalls, .. }))));

    request.messages.push(Message { tool_calls: calls.clone(), ..Message::new(Speaker::Assistant, "") });
    for call in &calls {
        let result = json!({ "passages": [{ "mark": 1, "text": "Sixteen weeks. In two parts." }] });
        request.messages.push(Message {
            tool_call_id: Some(call.id.clone()),
            tool_name: Some(call.name.clone()),
            ..Message::new(Speaker::Tool, result.to_string())
        });
    }
    let (events, _) = all(model.chat(request).await.expect("it answers")).await;
    assert_eq!(text_of(&events), "Sixteen weeks. [1]", "the stand-in's own answer");
    let sent = &ollama.chats()[1];
    assert_eq!(sent["tools"][0]["function"]["name"], "knowledge_search");
    assert_eq!(sent["messages"][1]["tool_calls"][0]["function"]["name"], "knowledge_search");
    assert_eq!(sent["messages"][2]["tool_name"], "knowledge_search");
    assert_eq!(sent["messages"][2]["tool_call_id"], calls[0].id.as_str());
}

#[tokio::test]
async fn a_tool_call_printed_as_text_is_a_tool_call() {
    let ollama = StandIn::start().await;
    ollama.script([Script::say(r#"{"name": "knowledge_search", "parameters": {"query": "parental leave"}}"#)]);
    let model = chat_model(&ollama_at(&ollama.url()));
    let request = ChatRequest { tools: vec![search_tool()], ..ask("How long is parental leave?") };
    let (events, _) = all(model.chat(request).await.expect("it answers")).await;
    assert!(
        matches!(&events[..], [ChatEvent::ToolCall(call), ChatEvent::Done(finish)]
            if call.name == "knowledge.search" && call.arguments["query"] == "parental leave" && finish.reason == FinishReason::ToolCalls),
        "{events:?}"
    );
}

#[tokio::test]
async fn thoughts_come_apart_from_the_answer() {
    let ollama = StandIn::start().await;
    ollama.script([Script::say("Four.").think("Two and two.").cut_by_length()]);
    let (events, _) = all(chat_model(&ollama_at(&ollama.url())).chat(ask("2 + 2?")).await.expect("it answers")).await;
    assert_eq!(text_of(&events), "Four.");
    let thoughts: String = events
        .iter()
        .filter_map(|event| if let ChatEvent::Thinking(text) = event { Some(text.as_str()) } else { None })
        .collect();
    assert_eq!(thoughts, "Two and two.");
    assert!(matches!(events.last(), Some(ChatEvent::Done(Finish { reason: FinishReason::Length, .. }))));
}

#[tokio::test]
async fn a_cold_model_is_reported_as_loading_and_not_timed_out() {
    let ollama = StandIn::start().await;
    ollama.script([Script::say("Awake.").load_for(Duration::from_millis(2500))]);
    let (events, error) =
        all(chat_model(&ollama_at(&ollama.url())).chat(ask("Hello?")).await.expect("it answers")).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!((events.first(), text_of(&events).as_str()), (Some(&ChatEvent::Loading), "Awake."));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_from_one_that_fails() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let error = chat_model(&ollama_at(&address)).chat(ask("Hello?")).await.err().expect("nobody answers");
    assert!(matches!(&error, ModelError::NotRunning { address: named } if *named == address), "{error:?}");
}

#[tokio::test]
async fn a_missing_model_comes_with_the_command_that_pulls_it() {
    let ollama = StandIn::start().await;
    ollama.without_models();
    let error = chat_model(&ollama_at(&ollama.url())).chat(ask("Hello?")).await.err().expect("there is none");
    assert!(matches!(&error, ModelError::ModelMissing { remedy, .. } if remedy == "ollama pull llama3.2"), "{error:?}");
}

#[tokio::test]
async fn a_model_that_was_removed_after_it_was_asked_about_is_missing_too() {
    let ollama = StandIn::start().await;
    let model = chat_model(&ollama_at(&ollama.url()));
    model.capabilities().await.expect("it is there");
    ollama.without_models();
    let (_, error) = all(model.chat(ask("Hello?")).await.expect("it is sent")).await;
    assert!(matches!(error, Some(ModelError::ModelMissing { .. })), "{error:?}");
    assert!(
        matches!(model.capabilities().await, Err(ModelError::ModelMissing { .. })),
        "the answer is not believed any longer"
    );
}

#[tokio::test]
async fn running_out_of_memory_is_recognised_in_old_words_and_new() {
    let ollama = StandIn::start().await;
    for words in [
        "model requires more system memory (5.6 GiB) than is available (3.1 GiB)",
        "llama-server process has terminated: error: cudaMalloc failed: out of memory",
    ] {
        let (_, error) = failure(&ollama, Script::refuse(500, words)).await;
        assert!(matches!(&error, ModelError::OutOfMemory { model } if model == "llama3.2"), "{words}: {error:?}");
    }
}

#[tokio::test]
async fn each_refusal_has_its_own_kind() {
    let ollama = StandIn::start().await;
    let (_, tools) =
        failure(&ollama, Script::refuse(400, "registry.ollama.ai/library/gemma:2b does not support tools")).await;
    assert!(matches!(tools, ModelError::NoTools { .. }), "{tools:?}");
    let (_, long) = failure(&ollama, Script::refuse(400, "the input length exceeds the context length")).await;
    assert!(matches!(long, ModelError::ContextOverflow { limit: 2048, .. }), "{long:?}");
    let (_, busy) =
        failure(&ollama, Script::refuse(503, "server busy, please try again.  maximum pending requests exceeded"))
            .await;
    assert!(matches!(busy, ModelError::Overloaded { .. }), "{busy:?}");
    let words = "the prompt is longer than the context length currently available to the model; shorten the prompt";
    let (_, long) = failure(&ollama, Script::refuse(400, words)).await;
    assert!(matches!(long, ModelError::ContextOverflow { .. }), "{long:?}");
    let (_, limited) = failure(&ollama, Script::refuse(429, "slow down")).await;
    assert!(matches!(limited, ModelError::RateLimited { .. }), "{limited:?}");
    let (_, gone) = failure(&ollama, Script::refuse(404, "model \"llama3.2\" not found, try pulling it first")).await;
    assert!(matches!(gone, ModelError::ModelMissing { .. }), "{gone:?}");
    let (_, other) = failure(&ollama, Script::refuse(500, "llama runner process has terminated: exit status 2")).await;
    assert!(matches!(&other, ModelError::Server { message } if message.contains("exit status 2")), "{other:?}");
}

#[tokio::test]
async fn an_error_in_mid_stream_ends_the_answer_after_what_was_said() {
    let ollama = StandIn::start().await;
    let (said, error) =
        failure(&ollama, Script::say("The answer is").then_error("an error was encountered while running the model"))
            .await;
    assert_eq!(said, "The answer is");
    assert!(
        matches!(&error, ModelError::Server { message } if message.contains("while running the model")),
        "{error:?}"
    );
    let (said, error) = failure(&ollama, Script::say("The answer is").then_cut()).await;
    assert_eq!(said, "The answer is");
    assert!(matches!(error, ModelError::Network { .. }), "{error:?}");
    let (_, error) = failure(&ollama, Script::say("").then_garbage()).await;
    assert!(matches!(&error, ModelError::Server { message } if message.contains("Ollama server")), "{error:?}");
}

#[tokio::test]
async fn silence_ends_in_a_time_out_while_loading_and_between_words() {
    let ollama = StandIn::start().await;
    let (said, error) = failure(&ollama, Script::say("One two").then_hang()).await;
    assert_eq!(said, "One two");
    assert!(matches!(error, ModelError::TimedOut { after } if after.as_secs() == 5), "{error:?}");

    ollama.script([Script::say("too late").load_for(Duration::from_secs(30))]);
    let impatient = aegis::config::Ollama { load_timeout_seconds: 2, ..ollama_at(&ollama.url()) };
    let (events, error) = all(chat_model(&impatient).chat(ask("Hello?")).await.expect("it is sent")).await;
    assert_eq!(events, [ChatEvent::Loading]);
    assert!(matches!(error, Some(ModelError::TimedOut { after }) if after.as_secs() == 2), "{error:?}");
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let ollama = StandIn::start().await;
    ollama.script([Script::say(&"word ".repeat(500)).slowly(Duration::from_millis(20))]);
    let mut stream = chat_model(&ollama_at(&ollama.url())).chat(ask("Talk.")).await.expect("it answers");
    assert!(matches!(stream.next().await, Some(Ok(ChatEvent::Text(_)))));
    assert_eq!(ollama.abandoned(), 0);
    drop(stream);
    for _ in 0..1000 {
        if ollama.abandoned() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server was not told to stop");
}

fn calls_of<'e>(events: &'e [ChatEvent]) -> Vec<(&'e str, &'e serde_json::Value)> {
    let call = |event: &'e ChatEvent| match event {
        ChatEvent::ToolCall(call) => Some((call.name.as_str(), &call.arguments)),
        _ => None,
    };
    events.iter().filter_map(call).collect()
}

#[tokio::test]
async fn a_model_without_tools_is_told_of_them_and_its_calls_and_their_results_travel_as_text() {
    let ollama = StandIn::start().await;
    ollama.model(Model {
        name: "llama3.2:latest".to_owned(),
        capabilities: vec!["completion"],
        parameters: 7_000_000_000,
        context_length: 8192,
    });
    let model = chat_model(&ollama_at(&ollama.url()));
    assert!(model.capabilities().await.expect("it is there").tools);
    let printed =
        "I look.\n<tool_call>{\"name\": \"knowledge_search\", \"arguments\": {\"query\": \"leave\"}}</tool_call>";
    ollama.script([Script::say(printed), Script::say("Sixteen weeks.")]);
    let mut request = ChatRequest { tools: vec![search_tool()], ..ask("How long is leave?") };
    let (events, _) = all(model.chat(request.clone()).await.expect("it answers")).await;
    assert_eq!(text_of(&events), "I look.\n");
    assert_eq!(calls_of(&events), [("knowledge.search", &json!({ "query": "leave" }))]);
    assert!(matches!(events.last(), Some(ChatEvent::Done(Finish { reason: FinishReason::ToolCalls, .. }))));
    let sent = &ollama.chats()[0];
    assert!(sent["tools"].is_null(), "the server would refuse them");
    assert!(sent["messages"][0]["content"].as_str().is_some_and(|system| system.contains("knowledge_search")));

    let Some(ChatEvent::ToolCall(call)) = events.iter().find(|event| matches!(event, ChatEvent::ToolCall(_))) else {
        panic!("no call");
    };
    request.messages.push(Message { tool_calls: vec![call.clone()], ..Message::new(Speaker::Assistant, "I look.") });
    request.messages.push(Message { tool_call_id: Some(call.id.clone()), ..Message::new(Speaker::Tool, "16 weeks") });
    let (events, _) = all(model.chat(request).await.expect("it answers")).await;
    assert_eq!(text_of(&events), "Sixteen weeks.");
    let sent = &ollama.chats()[1]["messages"];
    assert!(sent[2]["content"].as_str().is_some_and(|said| said.contains("<tool_call>")), "{sent}");
    assert_eq!(
        (&sent[3]["role"], sent[3]["content"].as_str().map(|said| said.contains("16 weeks"))),
        (&json!("user"), Some(true))
    );
}

#[tokio::test]
async fn a_call_that_cannot_be_read_is_asked_for_once_more_under_a_schema() {
    let ollama = StandIn::start().await;
    let model = chat_model(&ollama_at(&ollama.url()));
    let request = ChatRequest { tools: vec![search_tool()], ..ask("How long is leave?") };
    let broken = "<tool_call>{\"name\": \"knowledge_search\", \"arguments\": {\"query\": \"how lo";
    let whole = "{\"name\": \"knowledge_search\", \"arguments\": {\"query\": \"how long\"}}";
    ollama.script([Script::say(broken), Script::say(whole)]);
    let (events, error) = all(model.chat(request.clone()).await.expect("it answers")).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        (text_of(&events), calls_of(&events)),
        (String::new(), vec![("knowledge.search", &json!({ "query": "how long" }))])
    );
    let finish = Finish { reason: FinishReason::ToolCalls, prompt_tokens: 52, completion_tokens: 13 };
    assert!(
        matches!(events.last(), Some(ChatEvent::Done(done)) if done.reason == finish.reason && done.prompt_tokens == finish.prompt_tokens),
        "both are counted: {events:?}"
    );
    let asked = &ollama.chats()[1];
    assert_eq!(asked["format"]["properties"]["name"]["const"], "knowledge_search");
    assert_eq!(ollama.chats().len(), 2);

    ollama.script([Script::say(broken), Script::say("I cannot.")]);
    let (events, _) = all(model.chat(request).await.expect("it answers")).await;
    assert_eq!((text_of(&events).as_str(), calls_of(&events).len()), (broken, 0), "asked once, and nothing is lost");
    assert_eq!(ollama.chats().len(), 4);
}

#[tokio::test]
async fn what_a_model_counts_is_learned_and_the_context_grows_with_it() {
    let ollama = StandIn::start().await;
    let model = chat_model(&ollama_at(&ollama.url()));
    let question = "word ".repeat(600);
    ollama.script([Script::say("One.").count(3500), Script::say("Two.")]);
    for _ in 0..2 {
        all(model.chat(ask(&question)).await.expect("it answers")).await;
    }
    let contexts: Vec<_> = ollama.chats().iter().map(|chat| chat["options"]["num_ctx"].as_u64()).collect();
    assert_eq!(contexts, [Some(4096), Some(8192)], "a prompt that was estimated at 1,272 tokens had 3,500");
}

#[tokio::test]
async fn no_more_answers_are_asked_for_at_once_than_the_server_gives() {
    let ollama = StandIn::start().await;
    let settings = aegis::config::Ollama { parallel: 1, keep_alive_minutes: 7, ..ollama_at(&ollama.url()) };
    let model = chat_model(&settings);
    ollama.script([Script::say("One two three.").slowly(Duration::from_millis(100)), Script::say("Next.")]);
    let mut first = model.chat(ask("First?")).await.expect("it answers");
    assert!(matches!(first.next().await, Some(Ok(ChatEvent::Text(_)))));
    let second = model.chat(ask("Second?")).await.expect("it waits");
    let (first, second) = tokio::join!(all(first), async {
        let (events, _) = all(second).await;
        (events, ollama.chats().len())
    });
    assert_eq!((text_of(&first.0).as_str(), text_of(&second.0).as_str()), ("two three.", "Next."));
    assert!(!second.0.contains(&ChatEvent::Loading), "waiting is not loading");
    assert_eq!(ollama.chats()[0]["keep_alive"], "7m");
}

#[tokio::test]
async fn an_answer_that_never_ends_is_given_up() {
    let endless =
        || async { Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 20]))) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(endless)).await });
    let model = OllamaEmbedding::new(server(&ollama_at(&address)), "nomic-embed-text");
    let error = model.embed_query("x").await.expect_err("there is no end");
    assert!(matches!(&error, ModelError::Server { message } if message.contains("longer than")), "{error:?}");
}

#[tokio::test]
async fn an_embedding_model_tells_its_size_and_gives_vectors_of_length_one() {
    let ollama = StandIn::start().await;
    let model = OllamaEmbedding::new(server(&ollama_at(&ollama.url())), "nomic-embed-text");
    model.ask().await.expect("it is there");
    assert_eq!((model.dimensions(), model.max_tokens()), (768, 2048));
    let texts: Vec<String> = (0..40).map(|number| format!("passage number {number} about parental leave")).collect();
    let vectors = model.embed(&texts).await.expect("it embeds");
    let query = model.embed_query("parental leave").await.expect("it embeds");
    assert_eq!((vectors.len(), query.len()), (40, 768));
    let length: f32 = vectors[39].iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-4, "{length}");

    let missing = OllamaEmbedding::new(server(&ollama_at(&ollama.url())), "mxbai-embed-large");
    let error = missing.embed_query("x").await.expect_err("it was not pulled");
    assert!(
        matches!(&error, ModelError::ModelMissing { remedy, .. } if remedy == "ollama pull mxbai-embed-large"),
        "{error:?}"
    );
}
