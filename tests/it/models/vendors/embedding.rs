//! Embedding models of clouds: exactly what they are sent, and what is made of the answers.

use std::sync::Arc;

use aegis::{
    egress::Egress,
    models::{
        chat::ModelError,
        embedding::{EmbeddingModel, EmbeddingModels, Input},
        meter::Price,
        provider,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{KEY, Reply, Vendor, configured};

fn embedding(kind: &str, vendor: &Vendor, model: &str, settings: &[(&str, &str)]) -> Arc<dyn EmbeddingModel> {
    let url = vendor.url();
    let config = configured(kind, &[&[("url", url.as_str())], settings].concat());
    let egress = Egress::new(&config).expect("usable addresses");
    provider::open_embedding(&format!("cloud/{model}"), &config, &egress).expect("it can be opened")
}

fn base64(vector: &[f32]) -> String {
    STANDARD.encode(vector.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

fn json_of(body: &Value) -> Reply {
    Reply::stream(body.to_string()).header("content-type", "application/json")
}

/// OpenAI's answer, its items in the order given.
fn openai(items: &[(usize, Value)]) -> Reply {
    let data: Vec<Value> = items
        .iter()
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    json_of(&json!({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}}))
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[tokio::test]
async fn openai_is_asked_for_a_batch_in_base64_and_its_vectors_come_back_in_order() {
    let vendor = Vendor::start().await;
    let model = embedding("openai", &vendor, "text-embedding-3-small@2", &[]);
    assert_eq!((model.name().as_str(), model.dimensions()), ("cloud/text-embedding-3-small@2", 2));
    assert_eq!(model.max_tokens(), 8191);
    vendor.reply(openai(&[(1, json!(base64(&[0.0, 2.0]))), (0, json!(base64(&[3.0, 4.0])))]));
    let counted = model.embed_counted(&texts(&["one", "two"]), Input::Passage).await.expect("it embeds");
    assert_eq!(counted.vectors, [[0.6, 0.8], [0.0, 1.0]], "of length 1, by their index");
    assert_eq!(counted.tokens, Some(7), "as the provider counted");
    let sent = vendor.last();
    assert_eq!(sent.line, "POST /embeddings");
    assert_eq!(sent.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    let expected = json!({
        "model": "text-embedding-3-small", "input": ["one", "two"], "encoding_format": "base64", "dimensions": 2,
    });
    assert_eq!(sent.body, expected);
}

#[tokio::test]
async fn many_texts_go_in_several_requests() {
    let vendor = Vendor::start().await;
    let model = embedding("openai", &vendor, "bge-m3", &[]);
    let items = |count: usize| (0..count).map(|index| (index, json!([1.0, 0.0]))).collect::<Vec<_>>();
    vendor.reply(openai(&items(32)));
    vendor.reply(openai(&items(8)));
    assert_eq!(model.dimensions(), 0, "nothing is known of it");
    let vectors = model.embed(&vec!["a".to_owned(); 40]).await.expect("it embeds");
    assert_eq!((vectors.len(), model.dimensions()), (40, 2));
    let sent: Vec<usize> =
        vendor.requests().iter().map(|request| request.body["input"].as_array().expect("texts").len()).collect();
    assert_eq!(sent, [32, 8]);
    assert!(vendor.last().body.get("dimensions").is_none());
}

#[tokio::test]
async fn a_server_without_base64_is_asked_for_numbers_from_then_on() {
    let vendor = Vendor::start().await;
    let model = embedding("openai", &vendor, "text-embedding-nomic-embed-text-v1.5", &[]);
    vendor.reply(Reply::refuse(400, &json!({"error": {"message": "Unsupported parameter: 'encoding_format'"}})));
    vendor.reply(openai(&[(0, json!([0.5, 0.0]))]));
    vendor.reply(openai(&[(0, json!([0.5, 0.0]))]));
    assert_eq!(model.embed_query("leave").await.expect("it embeds"), [1.0, 0.0]);
    model.embed(&texts(&["passage"])).await.expect("it embeds");
    let sent: Vec<Value> = vendor.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(sent.len(), 3, "the complaint is met once: {sent:?}");
    assert!(sent[1].get("encoding_format").is_none() && sent[2].get("encoding_format").is_none());
    assert_eq!(sent[1]["input"], json!(["search_query: leave"]), "the model's own words are put before it");
    assert_eq!(sent[2]["input"], json!(["search_document: passage"]));
}

#[tokio::test]
async fn gemini_is_told_what_each_text_is_for() {
    let vendor = Vendor::start().await;
    let model = embedding("gemini", &vendor, "gemini-embedding-001@768", &[]);
    assert_eq!((model.dimensions(), model.max_tokens()), (768, 2048));
    let vector = |first: f32| {
        let mut values = vec![0.0; 768];
        values[0] = first;
        json!({ "values": values })
    };
    vendor.reply(json_of(&json!({ "embeddings": [vector(2.0), vector(-3.0)] })));
    let counted = model.embed_counted(&texts(&["one", "two"]), Input::Passage).await.expect("it embeds");
    assert_eq!((counted.vectors[0][0], counted.vectors[1][0], counted.tokens), (1.0, -1.0, None));
    let sent = vendor.last();
    assert_eq!(sent.line, "POST /models/gemini-embedding-001:batchEmbedContents");
    assert_eq!(sent.header("x-goog-api-key"), Some(KEY));
    let request = |text: &str, task: &str| {
        json!({
            "model": "models/gemini-embedding-001", "content": {"parts": [{"text": text}]},
            "taskType": task, "outputDimensionality": 768,
        })
    };
    let expected = [request("one", "RETRIEVAL_DOCUMENT"), request("two", "RETRIEVAL_DOCUMENT")];
    assert_eq!(sent.body, json!({ "requests": expected }));
    vendor.reply(json_of(&json!({ "embeddings": [vector(1.0)] })));
    model.embed_query("what?").await.expect("it embeds");
    assert_eq!(vendor.last().body["requests"][0], request("what?", "RETRIEVAL_QUERY"));
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_as_long_as_the_provider_says() {
    let limited = |pause: &str| {
        Reply::refuse(429, &json!({"error": {"message": "Rate limit reached"}})).header("retry-after", pause)
    };
    let vendor = Vendor::start().await;
    let model = embedding("openai", &vendor, "m", &[]);
    for reply in [limited("0.05"), limited("0"), openai(&[(0, json!([1.0]))])] {
        vendor.reply(reply);
    }
    model.embed(&texts(&["a"])).await.expect("the third time");
    assert_eq!(vendor.requests().len(), 3);

    vendor.reply(limited("3600"));
    let error = model.embed(&texts(&["a"])).await.expect_err("nobody waits for an hour");
    assert!(
        matches!(error, ModelError::RateLimited { retry_after: Some(pause) } if pause.as_secs() == 3600),
        "{error:?}"
    );
    vendor.reply(limited("30"));
    let error = model.embed_query("a").await.expect_err("a person waits");
    assert!(matches!(error, ModelError::RateLimited { .. }), "{error:?}");
    assert_eq!(vendor.requests().len(), 5, "a question is not held up");
}

#[tokio::test]
async fn a_text_that_is_too_long_is_cut_and_cut_again_when_the_server_counts_more() {
    let vendor = Vendor::start().await;
    let model = embedding("openai", &vendor, "m", &[("models", "{ m = { context = 1000 } }")]);
    let refusal =
        json!({"error": {"message": "maximum context length is 512 tokens, however you requested 980 tokens"}});
    vendor.reply(Reply::refuse(400, &refusal));
    vendor.reply(openai(&[(0, json!([1.0])), (1, json!([1.0]))]));
    let long = "parental leave ".repeat(2000);
    model.embed(&texts(&[&long, "short"])).await.expect("the second time");
    let sent: Vec<String> =
        vendor.requests().iter().map(|request| request.body["input"][0].as_str().expect("a text").to_owned()).collect();
    assert!(sent[0].len() > 1000 && sent[0].len() < long.len() / 2 && long.starts_with(&sent[0]));
    assert!(sent[1].len() < sent[0].len() * 6 / 10 && long.starts_with(&sent[1]));
    assert_eq!(vendor.last().body["input"][1], "short", "the other text is left alone");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_refused_and_names_no_key() {
    for (reply, said) in [
        (json_of(&json!({"data": []})), "gave a vector of 0 numbers"),
        (json_of(&json!({"error": "x"})), "cannot be understood"),
        (Reply::stream("<html>").header("content-type", "text/html"), "cannot be understood"),
        (openai(&[(0, json!([1.0])), (9, json!([1.0]))]), "cannot be understood"),
        (openai(&[(0, json!(base64(&[1.0]))), (1, json!("AAA="))]), "cannot be understood"),
        (openai(&[(0, json!([1.0, 0.0])), (1, json!([1.0]))]), "a vector of 1 numbers in place of 2"),
        (openai(&[(0, json!(base64(&[f32::NAN]))), (1, json!(base64(&[1.0])))]), "numbers that are none"),
        (Reply::refuse(401, &json!({"error": {"message": format!("wrong key {KEY}")}})), "refuses the credentials"),
        (
            Reply::refuse(404, &json!({"error": {"message": "The model `m` does not exist"}})),
            "the model m is not there",
        ),
    ] {
        let vendor = Vendor::start().await;
        let model = embedding("openai", &vendor, "m", &[]);
        vendor.reply(reply);
        let error = model.embed(&texts(&["a", "b"])).await.expect_err(said).to_string();
        assert!(error.contains(said) && !error.contains(KEY), "{said}: {error}");
    }
}

#[tokio::test]
async fn what_a_model_costs_is_what_the_configuration_says() {
    let vendor = Vendor::start().await;
    let priced = embedding("openai", &vendor, "m", &[("models", "{ m = { input_price = 0.02, output_price = 0.0 } }")]);
    assert_eq!(priced.price(), Price::PerMillion { input: 0.02, output: 0.0 });
    assert_eq!(embedding("openai", &vendor, "m", &[]).price(), Price::Free, "it runs on this machine");
    assert_eq!(embedding("openai", &vendor, "m", &[("local", "false")]).price(), Price::Unknown);
}

#[tokio::test]
async fn models_are_opened_once_and_the_wanted_one_is_the_first() {
    let vendor = Vendor::start().await;
    let url = vendor.url();
    let mut config = configured("openai", &[("url", &url)]);
    config.embedding.model = "cloud/small".to_owned();
    config.embedding.others = vec!["builtin".to_owned()];
    let models = EmbeddingModels::of(&config, &Egress::new(&config).expect("usable addresses")).expect("all are there");
    assert_eq!(models.wanted().name(), "cloud/small");
    assert_eq!(models.offered(), ["cloud/small", "builtin/all-minilm-l6-v2"]);
    let one = models.open("cloud/large@256").expect("of the same provider");
    assert!(Arc::ptr_eq(&one, &models.open("cloud/large@256").expect("it is there already")));
    assert_eq!(models.open("builtin").expect("as a person writes it").name(), "builtin/all-minilm-l6-v2");
    let error = models.open("clod/large").err().expect("there is no such provider");
    assert_eq!(error.remedy_text(), Some("did you mean \"cloud/large\"?"));
}
