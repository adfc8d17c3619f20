//! Chat completions: OpenAI's own stream, and those of the many who follow it.

use aegis::models::chat::{ChatRequest, Finish, FinishReason, ModelError};
use serde_json::{Value, json};

use super::stand_in::{Reply, Vendor};
use super::{
    Told, answer, closes_when_dropped, configured, conversation, cut_at_every_byte, gather, model, opened, transcript,
};

/// As the API reference has it ("The chat completion chunk object", "Streaming"), with two calls at once, fragments that
/// are interleaved, a character that is split by any cut, empty deltas, and the counts in a chunk without choices.
fn stream() -> String {
    let chunk = |choices: Value, usage: Value| {
        format!(
            "data: {}\n\n",
            json!({ "id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1_694_268_190, "model": "gpt-4o-mini", "system_fingerprint": "fp_44709d6fcb", "choices": choices, "usage": usage })
        )
    };
    let delta = |delta: Value, finish: Value| {
        chunk(json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }]), Value::Null)
    };
    let fragment = |index: u64, id: Value, name: Value, arguments: &str| {
        let mut call = json!({ "index": index, "function": { "arguments": arguments } });
        if id.is_string() {
            call["id"] = id;
            call["type"] = json!("function");
            call["function"]["name"] = name;
        }
        delta(json!({ "tool_calls": [call] }), Value::Null)
    };
    [
        delta(json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null),
        delta(json!({ "content": "Grüße" }), Value::Null),
        delta(json!({}), Value::Null),
        delta(json!({ "content": " 世界." }), Value::Null),
        fragment(0, json!("call_a"), json!("knowledge_search"), ""),
        fragment(0, Value::Null, Value::Null, "{\"query\":"),
        fragment(1, json!("call_b"), json!("knowledge_search"), "{\"que"),
        fragment(0, Value::Null, Value::Null, "\"leave\"}"),
        fragment(1, Value::Null, Value::Null, "ry\":\"pay\"}"),
        delta(json!({}), json!("tool_calls")),
        chunk(json!([]), json!({ "prompt_tokens": 82, "completion_tokens": 17, "total_tokens": 99 })),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat()
}

fn expected() -> Told {
    let call = |id: &str, query: &str| (id.to_owned(), "knowledge.search".to_owned(), json!({ "query": query }));
    Told {
        text: "Grüße 世界.".to_owned(),
        thoughts: String::new(),
        calls: vec![call("call_a", "leave"), call("call_b", "pay")],
        finish: Some(Finish { reason: FinishReason::ToolCalls, prompt_tokens: 82, completion_tokens: 17 }),
    }
}

/// Where the finish reason's event is whole, so that the answer is.
fn whole_at(stream: &str) -> usize {
    let finish = stream.find("\"finish_reason\":\"").expect("a finish reason");
    finish + stream[finish..].find('\n').expect("a line's end")
}

#[tokio::test]
async fn an_openai_stream_cut_at_every_byte_is_the_answer_or_a_clear_error() {
    let stream = stream();
    let (told, error) = answer("openai", Reply::stream(stream.as_str())).await;
    assert_eq!((told, error.is_none()), (expected(), true));
    cut_at_every_byte("openai", &stream, whole_at(&stream), &expected()).await;
}

#[tokio::test]
async fn a_transcript_of_openai() {
    transcript("openai", &stream()).await;
}

#[tokio::test]
async fn what_is_sent_to_openai_is_what_its_reference_says() {
    let vendor = Vendor::start().await;
    vendor.reply(Reply::stream(stream()));
    let model = opened(&configured("openai", &[("url", &format!("{}/openai/v1", vendor.url()))]), "test-model");
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false });
    gather(model.chat(ChatRequest { schema: Some(schema.clone()), ..conversation() }).await.expect("it is sent")).await;
    let sent = vendor.last();
    assert_eq!(sent.line, "POST /openai/v1/chat/completions");
    assert_eq!(sent.header("authorization"), Some("Bearer sk-canary-7f3a91"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    let body = &sent.body;
    assert_eq!(
        (&body["model"], &body["stream"], &body["stream_options"]),
        (&json!("test-model"), &json!(true), &json!({ "include_usage": true }))
    );
    assert_eq!((&body["max_tokens"], &body["temperature"]), (&json!(300), &json!(0.0)));
    assert_eq!(body["tools"][0]["function"]["name"], "knowledge_search");
    assert_eq!(body["response_format"]["json_schema"], json!({ "name": "answer", "schema": schema, "strict": true }));
    let roles: Vec<&str> =
        body["messages"].as_array().expect("messages").iter().filter_map(|m| m["role"].as_str()).collect();
    assert_eq!(roles, ["system", "system", "user", "assistant", "tool", "tool", "user"]);
    assert_eq!(
        body["messages"][3]["tool_calls"][0],
        json!({ "id": "call_1", "type": "function", "function": { "name": "knowledge_search", "arguments": "{\"query\":\"leave\"}" } })
    );
    assert_eq!(
        (&body["messages"][5]["tool_call_id"], &body["messages"][5]["content"]),
        (&json!("call_2"), &json!("nothing"))
    );
}

#[tokio::test]
async fn oddities_of_those_who_follow_openai_do_no_harm() {
    let say = |text: &str| format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": text } }] }));
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let with_message =
        "data: {\"choices\":[{\"delta\":{},\"message\":{\"content\":\"Four.\"},\"finish_reason\":\"stop\"}]}\n\n";
    for (oddity, stream) in [
        (
            "keep-alives as comments",
            format!(": OPENROUTER PROCESSING\n\n{}: ping\n\n{end}data: [DONE]\n\n", say("Four.")),
        ),
        ("lines that end as on Windows", format!("{}{end}data: [DONE]\n\n", say("Four.")).replace('\n', "\r\n")),
        ("no blank after data:", format!("{}{end}data: [DONE]\n\n", say("Four.")).replace("data: ", "data:")),
        ("no [DONE]", format!("{}{end}", say("Four."))),
        ("no empty line at the end", format!("{}{}", say("Four."), end.trim_end())),
        ("[DONE] without finish reason", format!("{}data: [DONE]\n\n", say("Four."))),
        ("the answer once more in a message", format!("{}{with_message}data: [DONE]\n\n", say("Four."))),
        (
            "choices and delta are null",
            format!(
                "data: {{\"choices\":null}}\n\ndata: {{\"choices\":[{{\"delta\":null}}]}}\n\n{}{end}",
                say("Four.")
            ),
        ),
        ("an empty event", format!("data: \n\n{}{end}", say("Four."))),
        ("error is null", format!("data: {{\"error\":null,\"choices\":[]}}\n\n{}{end}", say("Four."))),
        ("fields nobody knows", format!("event: completion\nid: 1\nretry: 3\nx: y\n{}{end}", say("Four."))),
        (
            "content in parts",
            format!(
                "data: {}\n\n{end}",
                json!({ "choices": [{ "delta": { "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "2+2" }] }, { "type": "text", "text": "Four." }] } }] })
            ),
        ),
    ] {
        let (told, error) = answer("openai", Reply::stream(stream)).await;
        assert_eq!(
            (told.text.as_str(), told.reason(), error.is_none()),
            ("Four.", Some(FinishReason::Stop), true),
            "{oddity}: {error:?}"
        );
        let finish = told.finish.expect("an end");
        assert!(finish.prompt_tokens > 0 && finish.completion_tokens > 0, "{oddity}: what nobody counted is estimated");
    }
}

#[tokio::test]
async fn a_server_that_keeps_the_connection_after_the_answer_is_not_waited_for() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"Four.\"},\"finish_reason\":\"stop\"}]}\n\n";
    let (told, error) = answer("openai", Reply::stream(stream).then_hang()).await;
    assert_eq!((told.text.as_str(), error.is_none()), ("Four.", true));
}

#[tokio::test]
async fn thoughts_of_those_who_follow_openai_come_apart_under_each_name() {
    for field in ["reasoning_content", "reasoning"] {
        let stream = format!(
            "data: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
            json!({ "choices": [{ "delta": { field: "Two and two." } }] }),
            json!({ "choices": [{ "delta": { "content": "Four." }, "finish_reason": "stop" }] })
        );
        let (told, _) = answer("openai", Reply::stream(stream)).await;
        assert_eq!((told.thoughts.as_str(), told.text.as_str()), ("Two and two.", "Four."), "{field}");
    }
    let printed =
        json!({ "choices": [{ "delta": { "content": "<think>Two and two.</think>Four." }, "finish_reason": "stop" }] });
    let (told, _) = answer("openai", Reply::stream(format!("data: {printed}\n\ndata: [DONE]\n\n"))).await;
    assert_eq!((told.thoughts.as_str(), told.text.as_str()), ("Two and two.", "Four."), "printed as text");
}

#[tokio::test]
async fn how_an_answer_of_openai_ends_is_told() {
    let end = |delta: Value, reason: &str| {
        Reply::stream(format!(
            "data: {}\n\ndata: [DONE]\n\n",
            json!({ "choices": [{ "delta": delta, "finish_reason": reason }] })
        ))
    };
    let (told, _) = answer("openai", end(json!({ "content": "Fo" }), "length")).await;
    assert_eq!(told.reason(), Some(FinishReason::Length));
    let (told, _) = answer("openai", end(json!({ "content": "Fo" }), "content_filter")).await;
    assert_eq!(told.reason(), Some(FinishReason::Refused), "something was said before");
    let (_, error) = answer("openai", end(json!({}), "content_filter")).await;
    assert!(matches!(error, Some(ModelError::Refused { .. })), "{error:?}");
    let (_, error) = answer("openai", end(json!({ "refusal": "I cannot help with that." }), "stop")).await;
    assert!(matches!(&error, Some(ModelError::Refused { reason }) if reason.contains("cannot help")), "{error:?}");
    let call = json!({ "tool_calls": [{ "index": 0, "id": "a", "function": { "name": "knowledge_search", "arguments": "{}" } }] });
    let (told, _) = answer("openai", end(call, "stop")).await;
    assert_eq!(told.reason(), Some(FinishReason::ToolCalls), "whatever the server calls it");
}

#[tokio::test]
async fn a_field_that_the_provider_does_not_know_is_left_out_and_the_request_sent_again() {
    let vendor = Vendor::start().await;
    vendor.reply(Reply::refuse(400, &json!({ "error": { "message": "Unsupported value: 'temperature' does not support 0 with this model.", "param": "temperature", "code": "unsupported_value" } })));
    vendor.reply(Reply::stream(stream()));
    let (told, error) = gather(model("openai", &vendor.url()).chat(conversation()).await.expect("it is sent")).await;
    assert_eq!((told.text.as_str(), error.is_none()), ("Grüße 世界.", true));
    let sent = vendor.requests();
    assert_eq!((sent[0].body.get("temperature").is_some(), sent[1].body.get("temperature")), (true, None));
}

#[tokio::test]
async fn dropping_an_openai_stream_closes_the_connection() {
    closes_when_dropped("openai", &stream()[..stream().find("tool_calls").expect("calls")]).await;
}
