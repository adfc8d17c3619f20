//! Each refusal in its class, whoever says it and when; and what is never said: the key.

use std::time::Duration;

use aegis::{
    config::Config,
    egress::Egress,
    models::{chat::ModelError, meter::Price, provider},
};
use serde_json::{Value, json};

use super::stand_in::{Reply, Vendor};
use super::{KEY, answer, configured, conversation, gather, model, opened};

async fn class(kind: &str, reply: Reply) -> String {
    let (_, error) = answer(kind, reply).await;
    let error = error.expect("an error");
    assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
    match &error {
        ModelError::ContextOverflow { tokens, limit } => format!("overflow {tokens} {limit}"),
        ModelError::RateLimited { retry_after } => format!("limited {retry_after:?}"),
        ModelError::Overloaded { retry_after } => format!("overloaded {retry_after:?}"),
        ModelError::Refused { .. } => "refused".to_owned(),
        ModelError::Unauthorized => "unauthorized".to_owned(),
        ModelError::ModelMissing { model, .. } => format!("missing {model}"),
        ModelError::NoTools { .. } => "no tools".to_owned(),
        ModelError::Network { .. } => "network".to_owned(),
        ModelError::TimedOut { .. } => "timed out".to_owned(),
        ModelError::Server { message } => format!("server: {message}"),
        other => format!("{other:?}"),
    }
}

fn openai(message: &str, kind: &str, code: &str) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
}

#[tokio::test]
async fn refusals_of_openai_and_those_who_follow_it_have_their_class() {
    for (status, body, expected) in [
        (
            401,
            openai(&format!("Incorrect API key provided: {KEY}."), "invalid_request_error", "invalid_api_key"),
            "unauthorized",
        ),
        (403, json!({ "error": { "message": "Country, region, or territory not supported" } }), "unauthorized"),
        (
            404,
            openai(
                "The model `test-model` does not exist or you do not have access to it.",
                "invalid_request_error",
                "model_not_found",
            ),
            "missing test-model",
        ),
        (
            400,
            json!({ "error": { "message": "test-model is not a valid model ID", "code": 400 } }),
            "missing test-model",
        ),
        (
            400,
            openai(
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 10,307 tokens.",
                "invalid_request_error",
                "context_length_exceeded",
            ),
            "overflow 10307 8192",
        ),
        (
            400,
            json!({ "object": "error", "message": "This model's maximum context length is 32768 tokens. However, you requested 40000 tokens", "type": "BadRequestError", "code": 400 }),
            "overflow 40000 32768",
        ),
        (
            400,
            json!({ "error": "Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens" }),
            "overflow 9000 4096",
        ),
        (429, openai("Rate limit reached", "tokens", "rate_limit_exceeded"), "limited None"),
        (
            429,
            openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
            "server: the account has nothing left: You exceeded your current quota",
        ),
        (
            402,
            json!({ "error": { "message": "Insufficient Balance" } }),
            "server: the account has nothing left: Insufficient Balance",
        ),
        (
            400,
            openai(
                "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                "",
                "content_filter",
            ),
            "refused",
        ),
        (404, json!({ "error": { "message": "No endpoints found that support tool use." } }), "no tools"),
        (
            400,
            json!({ "object": "error", "message": "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set" }),
            "no tools",
        ),
        (503, openai("The engine is currently overloaded", "server_error", ""), "overloaded None"),
        (502, json!({}), "network"),
        (500, openai("The server had an error", "server_error", ""), "server: The server had an error"),
        (
            404,
            json!({ "detail": "Not Found" }),
            "server: there is nothing at its address (Not Found); see `providers.cloud.url`",
        ),
        (418, json!({ "detail": format!("your key is {KEY}") }), "server: your key is •••"),
    ] {
        assert_eq!(class("openai", Reply::refuse(status, &body)).await, expected, "{status} {body}");
    }
    let proxy = Reply::stream("<html>502 Bad Gateway</html>").header("content-type", "text/html");
    assert_eq!(class("openai", proxy).await, "network", "a page is no answer");
}

#[tokio::test]
async fn when_to_try_again_is_taken_from_the_headers_or_the_details() {
    let limited = || Reply::refuse(429, &json!({ "error": { "message": "slow down" } }));
    assert_eq!(class("openai", limited().header("retry-after", "20")).await, "limited Some(20s)");
    assert_eq!(
        class("openai", limited().header("retry-after", "1").header("retry-after-ms", "250")).await,
        "limited Some(250ms)"
    );
    let date = limited()
        .header("date", "Wed, 21 Oct 2026 07:28:00 GMT")
        .header("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT");
    assert_eq!(class("openai", date).await, "limited Some(30s)");
    let busy = Reply::refuse(503, &json!({})).header("retry-after", "5");
    assert_eq!(class("openai", busy).await, format!("overloaded {:?}", Some(Duration::from_secs(5))));
}

#[tokio::test]
async fn an_error_in_mid_stream_has_its_class_and_comes_after_what_was_said() {
    let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"The answer\"}}]}\n\n";
    for (event, expected) in [
        (json!({ "error": { "message": "Overloaded", "type": "overloaded_error" } }), "Overloaded"),
        (json!({ "error": { "message": "Provider returned error", "code": 429 } }), "RateLimited"),
        (json!({ "error": { "message": "boom", "type": "server_error" } }), "Server"),
        (json!({ "error": "just words" }), "Server"),
    ] {
        let (told, error) = answer("openai", Reply::stream(format!("{begun}event: error\ndata: {event}\n\n"))).await;
        assert_eq!(told.text, "The answer");
        assert!(format!("{error:?}").contains(expected), "{event}: {error:?}");
    }
    let (told, error) = answer("openai", Reply::stream(format!("{begun}data: {{not json}}\n\n"))).await;
    assert_eq!(told.text, "The answer");
    assert!(matches!(error, Some(ModelError::Server { .. })), "{error:?}");
    let (_, error) = answer("openai", Reply::refuse(200, &json!({ "error": { "message": "no", "code": 429 } }))).await;
    assert!(matches!(error, Some(ModelError::RateLimited { .. })), "an error with the wrong status: {error:?}");
}

#[tokio::test]
async fn silence_and_a_server_that_is_not_there_are_told_apart() {
    let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"The\"}}]}\n\n";
    let (told, error) = answer("openai", Reply::stream(begun).then_hang()).await;
    assert_eq!(told.text, "The");
    assert!(matches!(error, Some(ModelError::TimedOut { after }) if after.as_secs() == 5), "{error:?}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let (_, error) = gather(model("openai", &address).chat(conversation()).await.expect("it is begun")).await;
    assert!(matches!(&error, Some(ModelError::NotRunning { address: named }) if *named == address), "{error:?}");
    let elsewhere = opened(&configured("openai", &[("url", &address), ("local", "false")]), "m");
    let (_, error) = gather(elsewhere.chat(conversation()).await.expect("it is begun")).await;
    assert!(matches!(&error, Some(ModelError::Network { .. })), "{error:?}");
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let vendor = Vendor::start().await;
    vendor.reply(Reply::stream(vec![b'x'; 5 << 20]));
    let (_, error) = gather(model("openai", &vendor.url()).chat(conversation()).await.expect("it is sent")).await;
    assert!(matches!(&error, Some(ModelError::Server { message }) if message.contains("too long")), "{error:?}");
}

#[test]
fn a_provider_costs_what_the_configuration_says_and_one_of_ones_own_nothing() {
    let priced = "{ \"m\" = { context = 4096, input_price = 0.59, output_price = 0.79, tools = false } }";
    let config = configured("openai", &[("url", "https://api.example.org/v1"), ("models", priced)]);
    assert_eq!(provider::price("cloud", &config, "m"), Price::PerMillion { input: 0.59, output: 0.79 });
    assert_eq!(provider::price("cloud", &config, "other"), Price::Unknown);
    assert!(!opened(&config, "m").is_local());
    for (url, local) in [
        ("http://127.0.0.1:1234/v1", true),
        ("http://192.168.1.20:8000/v1", true),
        ("http://localhost:1", true),
        ("http://8.8.8.8/v1", false),
        ("http://gpu.lan/v1", false),
    ] {
        let config = configured("openai", &[("url", url)]);
        assert_eq!(opened(&config, "m").is_local(), local, "{url}");
        assert_eq!(provider::price("cloud", &config, "m") == Price::Free, local, "{url}");
    }
    let said = configured("openai", &[("url", "http://gpu.lan/v1"), ("local", "true")]);
    assert_eq!(provider::price("cloud", &said, "m"), Price::Free);
}

#[tokio::test]
async fn what_is_known_of_a_model_is_what_the_configuration_says() {
    let models = "{ \"m\" = { context = 4096, tools = false, structured = false, thinking = true } }";
    let config = configured("openai", &[("url", "https://api.example.org/v1"), ("models", models)]);
    let known = opened(&config, "m").capabilities().await.expect("they are known");
    assert_eq!((known.context_tokens, known.tools, known.structured, known.thinking), (4096, false, false, true));
    let unknown = opened(&config, "x").capabilities().await.expect("they are assumed");
    assert_eq!(
        (unknown.context_tokens, unknown.tools, unknown.structured, unknown.small),
        (128_000, true, true, false)
    );
}

#[test]
fn a_key_is_in_no_error_and_no_list_and_the_host_of_a_provider_is_allowed() {
    let config = configured("openai", &[("url", "https://api.example.org/v1")]);
    let shown = format!("{config:?} {}", config.to_toml_masked().expect("TOML"));
    assert!(!shown.contains(KEY), "{shown}");
    let egress = Egress::new(&config).expect("usable");
    assert!(
        egress
            .allowed()
            .iter()
            .any(|entry| entry.address == "https://api.example.org" && entry.because_of == "providers.cloud.url")
    );
    let vendor = Config::load_from(
        None,
        [("AEGIS_PROVIDERS__A__KIND", "anthropic"), ("AEGIS_PROVIDERS__A__KEY", KEY)]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        None,
    )
    .expect("usable");
    let allowed = Egress::new(&vendor).expect("usable").allowed();
    assert!(
        allowed.iter().any(|entry| entry.address == "https://api.anthropic.com" && !entry.own_network),
        "{allowed:?}"
    );
    let unreadable = configured("openai", &[("key", "{ env = \"AEGIS_TEST_NO_SUCH_KEY\" }")]);
    let error = provider::open("cloud", &unreadable, "m", &egress).err().expect("there is no key");
    assert!(
        error.message().contains("providers.cloud.key") && error.message().contains("AEGIS_TEST_NO_SUCH_KEY"),
        "{error}"
    );
    let nobody = provider::open("clod", &config, "m", &egress).err().expect("there is no such provider");
    assert_eq!(nobody.remedy_text(), Some("write [providers.clod]; there are: cloud"));
}
