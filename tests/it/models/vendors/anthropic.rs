//! Anthropic's messages.

use aegis::models::chat::{ChatRequest, Finish, FinishReason, Message, ModelError, Speaker, ToolCall};
use serde_json::{Value, json};

use super::{
    KEY, Told, answer, closes_when_dropped, configured, conversation, cut_at_every_byte, gather, model, opened,
    stand_in::{Reply, Vendor},
    transcript,
};

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("a type"))
}

/// As "Streaming messages" shows it: thinking with its signature, text, two calls whose blocks are interleaved, pings.
fn stream() -> String {
    let start = |index: u64, block: Value| {
        event(&json!({ "type": "content_block_start", "index": index, "content_block": block }))
    };
    let delta =
        |index: u64, delta: Value| event(&json!({ "type": "content_block_delta", "index": index, "delta": delta }));
    let stop = |index: u64| event(&json!({ "type": "content_block_stop", "index": index }));
    let input = |index: u64, part: &str| delta(index, json!({ "type": "input_json_delta", "partial_json": part }));
    let tool = |id: &str| json!({ "type": "tool_use", "id": id, "name": "knowledge_search", "input": {} });
    [
        event(&json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "claude", "stop_reason": null, "usage": { "input_tokens": 25, "cache_read_input_tokens": 400, "cache_creation_input_tokens": 47, "output_tokens": 1 } } })),
        start(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
        event(&json!({ "type": "ping" })),
        delta(0, json!({ "type": "thinking_delta", "thinking": "Hm, 世界" })),
        delta(0, json!({ "type": "signature_delta", "signature": "EqQBCg==" })),
        stop(0),
        start(1, json!({ "type": "text", "text": "" })),
        delta(1, json!({ "type": "text_delta", "text": "Grüße." })),
        delta(1, json!({ "type": "text_delta", "text": "" })),
        stop(1),
        start(2, tool("toolu_a")),
        start(3, tool("toolu_b")),
        input(2, ""),
        input(2, "{\"query\": \"le"),
        input(3, "{\"query\":"),
        input(2, "ave\"}"),
        input(3, " \"pay\"}"),
        stop(2),
        stop(3),
        event(&json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use", "stop_sequence": null }, "usage": { "output_tokens": 89 } })),
        event(&json!({ "type": "message_stop" })),
    ]
    .concat()
}

fn expected() -> Told {
    let call = |id: &str, query: &str| (id.to_owned(), "knowledge.search".to_owned(), json!({ "query": query }));
    Told {
        text: "Grüße.".to_owned(),
        thoughts: "Hm, 世界".to_owned(),
        calls: vec![call("toolu_a", "leave"), call("toolu_b", "pay")],
        finish: Some(Finish { reason: FinishReason::ToolCalls, prompt_tokens: 472, completion_tokens: 89 }),
    }
}

#[tokio::test]
async fn an_anthropic_stream_cut_at_every_byte_is_the_answer_or_a_clear_error() {
    let stream = stream();
    let (told, error) = answer("anthropic", Reply::stream(stream.as_str())).await;
    assert_eq!((told, error.is_none()), (expected(), true));
    let reason = stream.find("\"stop_reason\":\"tool_use\"").expect("a reason");
    let whole_at = reason + stream[reason..].find('\n').expect("a line's end");
    cut_at_every_byte("anthropic", &stream, whole_at, &expected()).await;
}

#[tokio::test]
async fn a_transcript_of_anthropic() {
    transcript("anthropic", &stream()).await;
}

#[tokio::test]
async fn what_is_sent_to_anthropic_is_what_its_reference_says() {
    let vendor = Vendor::start().await;
    vendor.reply(Reply::stream(stream()));
    let model = opened(&configured("anthropic", &[("url", &format!("{}/v1", vendor.url()))]), "claude-sonnet-4-5");
    let schema = json!({ "type": "object", "properties": { "a": { "type": "object", "properties": {} } } });
    gather(model.chat(ChatRequest { schema: Some(schema), ..conversation() }).await.expect("it is sent")).await;
    let sent = vendor.last();
    assert_eq!(sent.line, "POST /v1/messages");
    assert_eq!((sent.header("x-api-key"), sent.header("anthropic-version")), (Some(KEY), Some("2023-06-01")));
    assert_eq!(sent.header("authorization"), None);
    let body = &sent.body;
    assert_eq!(
        (&body["model"], &body["max_tokens"], &body["stream"]),
        (&json!("claude-sonnet-4-5"), &json!(300), &json!(true))
    );
    assert_eq!(body["system"], "Be brief.\n\nCite.");
    assert_eq!(body["tools"][0]["name"], "knowledge_search");
    assert!(body["tools"][0]["input_schema"]["properties"]["query"].is_object());
    assert_eq!(body["output_config"]["format"]["type"], "json_schema");
    assert_eq!(body["output_config"]["format"]["schema"]["properties"]["a"]["additionalProperties"], false);
    assert_eq!(
        body["messages"],
        json!([
            { "role": "user", "content": [{ "type": "text", "text": "How long is leave?" }] },
            { "role": "assistant", "content": [
                { "type": "text", "text": "Let me look." },
                { "type": "tool_use", "id": "call_1", "name": "knowledge_search", "input": { "query": "leave" } },
                { "type": "tool_use", "id": "call_2", "name": "knowledge_search", "input": { "query": "pay" } },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "call_1", "content": "{\"passages\": [\"16 weeks\"]}" },
                { "type": "tool_result", "tool_use_id": "call_2", "content": "nothing" },
                { "type": "text", "text": "And?" },
            ] },
        ])
    );
}

#[tokio::test]
async fn thinking_blocks_go_back_with_the_calls_that_they_led_to() {
    let vendor = Vendor::start().await;
    let models = "{ \"claude\" = { thinking = true } }";
    let model = opened(&configured("anthropic", &[("url", &vendor.url()), ("models", models)]), "claude");
    vendor.reply(Reply::stream(stream()));
    let request = ChatRequest { messages: vec![Message::new(Speaker::User, "Leave?")], ..conversation() };
    let (told, _) = gather(model.chat(request.clone()).await.expect("it is sent")).await;
    let first = vendor.last().body;
    assert_eq!((&first["thinking"]["type"], first.get("temperature")), (&json!("enabled"), None));
    assert!(first["max_tokens"].as_u64() > first["thinking"]["budget_tokens"].as_u64(), "{first}");

    let tool_calls = told.calls.into_iter().map(|(id, name, arguments)| ToolCall { id, name, arguments }).collect();
    let mut goes_on = request;
    goes_on.messages.push(Message { tool_calls, ..Message::new(Speaker::Assistant, "Grüße.") });
    for id in ["toolu_a", "toolu_b"] {
        goes_on.messages.push(Message { tool_call_id: Some(id.to_owned()), ..Message::new(Speaker::Tool, "16 weeks") });
    }
    vendor.reply(Reply::stream(stream()));
    gather(model.chat(goes_on.clone()).await.expect("it is sent")).await;
    let second = vendor.last().body;
    assert_eq!(
        second["messages"][1]["content"][0],
        json!({ "type": "thinking", "thinking": "Hm, 世界", "signature": "EqQBCg==" })
    );
    assert!(second.get("thinking").is_some());

    let restarted = opened(&configured("anthropic", &[("url", &vendor.url()), ("models", models)]), "claude");
    vendor.reply(Reply::stream(stream()));
    gather(restarted.chat(goes_on).await.expect("it is sent")).await;
    let third = vendor.last().body;
    assert_eq!(
        (third.get("thinking"), &third["messages"][1]["content"][0]["type"]),
        (None, &json!("text")),
        "it goes on without"
    );
}

#[tokio::test]
async fn how_an_answer_of_anthropic_ends_is_told() {
    let end = |text: &str, reason: &str| {
        let block =
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": text } });
        let reason =
            json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": { "output_tokens": 3 } });
        Reply::stream(format!(
            "{}{}{}{}",
            event(&block),
            event(&json!({ "type": "a_thing_of_the_future", "x": 1 })),
            event(&reason),
            event(&json!({ "type": "message_stop" }))
        ))
    };
    for (reason, expected) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("refusal", FinishReason::Refused),
    ] {
        let (told, error) = answer("anthropic", end("Fo", reason)).await;
        assert_eq!((told.text.as_str(), told.reason(), error.is_none()), ("Fo", Some(expected), true), "{reason}");
    }
    let (_, error) = answer("anthropic", end("", "refusal")).await;
    assert!(matches!(error, Some(ModelError::Refused { .. })), "{error:?}");
}

#[tokio::test]
async fn refusals_of_anthropic_have_their_class_before_and_in_the_answer() {
    let error = |kind: &str, message: &str| json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": "req_1" });
    for (status, body, expected) in [
        (401, error("authentication_error", "invalid x-api-key"), "Unauthorized"),
        (403, error("permission_error", "no"), "Unauthorized"),
        (404, error("not_found_error", "model: claude-9"), "ModelMissing"),
        (
            400,
            error("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
            "ContextOverflow { tokens: 210000, limit: 200000 }",
        ),
        (413, error("request_too_large", "Request exceeds the maximum size"), "ContextOverflow"),
        (429, error("rate_limit_error", "slow down"), "RateLimited { retry_after: Some(7s) }"),
        (529, error("overloaded_error", "Overloaded"), "Overloaded"),
        (500, error("api_error", "Internal server error"), "Server"),
        (
            400,
            error("invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
            "nothing left",
        ),
        (400, error("invalid_request_error", "Output blocked by content filtering policy"), "Refused"),
    ] {
        let (_, refused) = answer("anthropic", Reply::refuse(status, &body).header("retry-after", "7")).await;
        assert!(format!("{refused:?}").contains(expected), "{status} {body}: {refused:?}");
        let begun = event(
            &json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "So" } }),
        );
        let (told, refused) = answer("anthropic", Reply::stream(format!("{begun}{}", event(&body)))).await;
        let is_known_by_its_words = !matches!(status, 403 | 404);
        assert_eq!(told.text, "So");
        let expected = expected.replace("Some(7s)", "None");
        assert!(
            !is_known_by_its_words || format!("{refused:?}").contains(&expected),
            "in the answer {body}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn an_older_model_gets_the_schema_in_words() {
    let vendor = Vendor::start().await;
    vendor.reply(Reply::refuse(400, &json!({ "type": "error", "error": { "type": "invalid_request_error", "message": "output_config: Extra inputs are not permitted" } })));
    vendor.reply(Reply::stream(stream()));
    let request = ChatRequest { schema: Some(json!({ "type": "object" })), ..conversation() };
    let (told, error) = gather(model("anthropic", &vendor.url()).chat(request).await.expect("it is sent")).await;
    assert_eq!((told.text.as_str(), error.is_none()), ("Grüße.", true));
    let again = vendor.last().body;
    assert!(
        again.get("output_config").is_none()
            && again["system"].as_str().is_some_and(|system| system.contains("JSON Schema"))
    );
}

#[tokio::test]
async fn dropping_an_anthropic_stream_closes_the_connection() {
    closes_when_dropped("anthropic", &stream()[..stream().find("toolu_a").expect("a call")]).await;
}
