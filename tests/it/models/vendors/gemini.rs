//! Gemini's `streamGenerateContent`.

use aegis::models::chat::{ChatRequest, Finish, FinishReason, Message, ModelError, Speaker, ToolCall};
use serde_json::{Value, json};

use super::{
    KEY, Told, answer, closes_when_dropped, configured, conversation, cut_at_every_byte, gather, model, opened,
    stand_in::{Reply, Vendor},
    transcript,
};

fn chunk(parts: &Value, finish: Option<&str>, counted: u32) -> String {
    let mut candidate = json!({ "content": { "parts": parts, "role": "model" }, "index": 0 });
    if let Some(reason) = finish {
        candidate["finishReason"] = json!(reason);
    }
    let usage = json!({ "promptTokenCount": 51, "candidatesTokenCount": counted, "thoughtsTokenCount": 30, "totalTokenCount": 81 + counted });
    format!(
        "data: {}\r\n\r\n",
        json!({ "candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-3-pro", "responseId": "x" })
    )
}

/// As the reference shows it: thoughts, text, two calls in one chunk (the first with a signature, the second with an id),
/// lines that end as on Windows, and a last chunk with nothing but a signature and the reason.
fn stream() -> String {
    [
        chunk(&json!([{ "text": "Hm, 世界", "thought": true }]), None, 0),
        chunk(&json!([{ "text": "Grüße" }]), None, 2),
        chunk(&json!([{ "text": "" }]), None, 2),
        chunk(&json!([{ "text": " dort." }]), None, 5),
        chunk(
            &json!([
                { "functionCall": { "name": "knowledge_search", "args": { "query": "leave" } }, "thoughtSignature": "EjQKMgEM" },
                { "functionCall": { "name": "knowledge_search", "args": { "query": "pay" }, "id": "fc_2" } },
            ]),
            None,
            9,
        ),
        chunk(&json!([{ "text": "", "thoughtSignature": "Zm9v" }]), Some("STOP"), 12),
    ]
    .concat()
}

fn expected() -> Told {
    let call = |id: &str, query: &str| (id.to_owned(), "knowledge.search".to_owned(), json!({ "query": query }));
    Told {
        text: "Grüße dort.".to_owned(),
        thoughts: "Hm, 世界".to_owned(),
        calls: vec![call("", "leave"), call("", "pay")],
        finish: Some(Finish { reason: FinishReason::ToolCalls, prompt_tokens: 51, completion_tokens: 42 }),
    }
}

#[tokio::test]
async fn a_gemini_stream_cut_at_every_byte_is_the_answer_or_a_clear_error() {
    let stream = stream();
    let (told, error) = answer("gemini", Reply::stream(stream.as_str())).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(told.calls[1].0, "fc_2", "an id that was given is kept");
    assert!(!told.calls[0].0.is_empty(), "one that was not is made up");
    let reason = stream.find("\"finishReason\":\"STOP\"").expect("a reason");
    let whole_at = reason + stream[reason..].find('\r').expect("a line's end");
    cut_at_every_byte("gemini", &stream, whole_at, &expected()).await;
}

#[tokio::test]
async fn a_transcript_of_gemini() {
    transcript("gemini", &stream()).await;
}

#[tokio::test]
async fn what_is_sent_to_gemini_is_what_its_reference_says_and_the_key_is_not_in_the_address() {
    let vendor = Vendor::start().await;
    vendor.reply(Reply::stream(stream()));
    let url = format!("{}/v1beta", vendor.url());
    let thinks = "{ \"gemini-2.5-flash\" = { thinking = true } }";
    let model = opened(&configured("gemini", &[("url", &url), ("models", thinks)]), "gemini-2.5-flash");
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    gather(model.chat(ChatRequest { schema: Some(schema.clone()), ..conversation() }).await.expect("it is sent")).await;
    let sent = vendor.last();
    assert_eq!(sent.line, "POST /v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
    assert_eq!(sent.header("x-goog-api-key"), Some(KEY));
    let body = &sent.body;
    assert_eq!(body["systemInstruction"], json!({ "parts": [{ "text": "Be brief." }, { "text": "Cite." }] }));
    assert_eq!(body["tools"][0]["functionDeclarations"][0]["name"], "knowledge_search");
    assert!(body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"]["properties"]["query"].is_object());
    assert_eq!(
        body["generationConfig"],
        json!({ "maxOutputTokens": 300, "temperature": 0.0, "thinkingConfig": { "includeThoughts": true }, "responseMimeType": "application/json", "responseJsonSchema": schema })
    );
    assert_eq!(
        body["contents"],
        json!([
            { "role": "user", "parts": [{ "text": "How long is leave?" }] },
            { "role": "model", "parts": [
                { "text": "Let me look." },
                { "functionCall": { "name": "knowledge_search", "args": { "query": "leave" } } },
                { "functionCall": { "name": "knowledge_search", "args": { "query": "pay" } } },
            ] },
            { "role": "user", "parts": [
                { "functionResponse": { "name": "knowledge_search", "response": { "passages": ["16 weeks"] } } },
                { "functionResponse": { "name": "knowledge_search", "response": { "result": "nothing" } } },
                { "text": "And?" },
            ] },
        ])
    );
}

#[tokio::test]
async fn signatures_and_ids_go_back_with_the_calls_they_came_with() {
    let vendor = Vendor::start().await;
    let config = configured("gemini", &[("url", &vendor.url())]);
    let model = opened(&config, "gemini-3-pro");
    vendor.reply(Reply::stream(stream()));
    let mut request = ChatRequest { messages: vec![Message::new(Speaker::User, "Leave?")], ..conversation() };
    let (told, _) = gather(model.chat(request.clone()).await.expect("it is sent")).await;
    let tool_calls: Vec<ToolCall> =
        told.calls.into_iter().map(|(id, name, arguments)| ToolCall { id, name, arguments }).collect();
    request.messages.push(Message { tool_calls: tool_calls.clone(), ..Message::new(Speaker::Assistant, "") });
    for call in &tool_calls {
        request.messages.push(Message {
            tool_call_id: Some(call.id.clone()),
            tool_name: Some(call.name.clone()),
            ..Message::new(Speaker::Tool, "16 weeks")
        });
    }
    vendor.reply(Reply::stream(stream()));
    gather(model.chat(request.clone()).await.expect("it is sent")).await;
    let sent = vendor.last().body;
    let (calls, results) = (&sent["contents"][1]["parts"], &sent["contents"][2]["parts"]);
    assert_eq!((&calls[0]["thoughtSignature"], calls[0]["functionCall"].get("id")), (&json!("EjQKMgEM"), None));
    assert_eq!((calls[1].get("thoughtSignature"), &calls[1]["functionCall"]["id"]), (None, &json!("fc_2")));
    assert_eq!(
        (results[0]["functionResponse"].get("id"), &results[1]["functionResponse"]["id"]),
        (None, &json!("fc_2"))
    );

    vendor.reply(Reply::stream(stream()));
    gather(opened(&config, "gemini-3-pro").chat(request).await.expect("it is sent")).await;
    let sent = vendor.last().body;
    assert_eq!(
        sent["contents"][1]["parts"][0]["thoughtSignature"], "skip_thought_signature_validator",
        "after a restart"
    );
}

#[tokio::test]
async fn how_an_answer_of_gemini_ends_is_told() {
    for (reason, expected) in
        [("STOP", FinishReason::Stop), ("MAX_TOKENS", FinishReason::Length), ("SAFETY", FinishReason::Refused)]
    {
        let (told, error) = answer("gemini", Reply::stream(chunk(&json!([{ "text": "Fo" }]), Some(reason), 1))).await;
        assert_eq!((told.text.as_str(), told.reason(), error.is_none()), ("Fo", Some(expected), true), "{reason}");
    }
    let (_, error) = answer("gemini", Reply::stream(chunk(&json!([]), Some("PROHIBITED_CONTENT"), 0))).await;
    assert!(
        matches!(&error, Some(ModelError::Refused { reason }) if reason.contains("PROHIBITED_CONTENT")),
        "{error:?}"
    );
    let blocked = json!({ "promptFeedback": { "blockReason": "SAFETY" }, "usageMetadata": { "promptTokenCount": 5 } });
    let (_, error) = answer("gemini", Reply::stream(format!("data: {blocked}\n\n"))).await;
    assert!(matches!(&error, Some(ModelError::Refused { reason }) if reason.contains("SAFETY")), "{error:?}");
    let malformed = json!({ "candidates": [{ "finishReason": "MALFORMED_FUNCTION_CALL" }] });
    let (_, error) = answer("gemini", Reply::stream(format!("data: {malformed}\n\n"))).await;
    assert!(matches!(error, Some(ModelError::Server { .. })), "{error:?}");
}

#[tokio::test]
async fn refusals_of_gemini_have_their_class_before_and_in_the_answer() {
    let error = |code: u16, status: &str, message: &str, details: Value| json!({ "error": { "code": code, "message": message, "status": status, "details": details } });
    let none = || json!([]);
    let wait = json!([{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "39s" }]);
    let wrong_key = json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID" }]);
    for (body, expected) in [
        (error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", wrong_key), "Unauthorized"),
        (error(403, "PERMISSION_DENIED", "no", none()), "Unauthorized"),
        (error(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta", none()), "ModelMissing"),
        (
            error(
                400,
                "INVALID_ARGUMENT",
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                none(),
            ),
            "ContextOverflow { tokens: 1200000, limit: 1048576 }",
        ),
        (
            error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", wait),
            "RateLimited { retry_after: Some(39s) }",
        ),
        (error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.", none()), "Overloaded"),
        (error(500, "INTERNAL", "An internal error has occurred", none()), "Server"),
    ] {
        let status = body["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok()).expect("a code");
        let (_, refused) = answer("gemini", Reply::refuse(status, &json!([body]))).await;
        assert!(format!("{refused:?}").contains(expected), "{body}: {refused:?}");
        let begun = chunk(&json!([{ "text": "So" }]), None, 1);
        let (told, refused) = answer("gemini", Reply::stream(format!("{begun}data: {body}\n\n"))).await;
        assert_eq!(told.text, "So");
        assert!(format!("{refused:?}").contains(expected), "in the answer {body}: {refused:?}");
    }
}

#[tokio::test]
async fn a_model_that_does_not_think_is_asked_again_without() {
    let vendor = Vendor::start().await;
    let models = "{ \"gemma\" = { thinking = true } }";
    vendor.reply(Reply::refuse(400, &json!({ "error": { "code": 400, "message": "Thinking is not supported for this model", "status": "INVALID_ARGUMENT" } })));
    vendor.reply(Reply::stream(stream()));
    let model = opened(&configured("gemini", &[("url", &vendor.url()), ("models", models)]), "gemma");
    let (told, error) = gather(model.chat(conversation()).await.expect("it is sent")).await;
    assert_eq!((told.text.as_str(), error.is_none()), ("Grüße dort.", true));
    assert!(vendor.last().body["generationConfig"].get("thinkingConfig").is_none());
}

#[tokio::test]
async fn dropping_a_gemini_stream_closes_the_connection() {
    closes_when_dropped("gemini", &stream()[..stream().find("functionCall").expect("a call")]).await;
    let vendor = Vendor::start().await;
    vendor.reply(Reply::stream(stream()));
    assert!(gather(model("gemini", &vendor.url()).chat(conversation()).await.expect("it is sent")).await.1.is_none());
}
