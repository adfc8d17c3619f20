//! `/v1/embeddings`: vectors of the appliance's own embedding model.

use axum::{Json, extract::State};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{super::Problem, DeveloperState};
use crate::{
    accounts::http::InTenant,
    egress,
    http::extract,
    support::{Error, Kind},
};

/// The most texts at once.
const TEXTS: usize = 256;

/// What is to be turned into vectors.
#[derive(Deserialize, ToSchema)]
pub struct EmbeddingRequest {
    /// The appliance's embedding model, as answers name it, with or without its provider.
    model: String,
    /// A text, or up to 256 texts.
    #[schema(value_type = Object)]
    input: Value,
    /// `float` or `base64`, which are the floats' bytes, little-endian.
    encoding_format: Option<String>,
    /// As many as the model's vectors have.
    dimensions: Option<usize>,
}

/// Vectors.
#[derive(Serialize, ToSchema)]
pub struct EmbeddingList {
    /// `list`
    object: &'static str,
    /// One for each text, in order.
    data: Vec<Embedding>,
    /// The model.
    model: String,
    /// `prompt_tokens` and `total_tokens`
    #[schema(value_type = Object)]
    usage: Value,
}

/// The vector of a text.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names are OpenAI's")]
pub struct Embedding {
    /// `embedding`
    object: &'static str,
    /// Which of the texts, from 0.
    index: usize,
    /// Numbers, or base64.
    #[schema(value_type = Object)]
    embedding: Value,
}

/// Turn texts into vectors
///
/// By the appliance's embedding model, whose vectors have length 1.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "openai",
    request_body = EmbeddingRequest,
    responses((status = 200, body = EmbeddingList))
)]
pub async fn embed(
    State(state): State<DeveloperState>,
    tenant: InTenant,
    extract::Json(body): extract::Json<EmbeddingRequest>,
) -> Result<Json<EmbeddingList>, Problem> {
    let model = &*state.embedding;
    let name = model.name();
    if body.model != name && name.split_once('/').is_none_or(|(_, alone)| alone != body.model) {
        let error = Error::new(Kind::NotFound, "there is no embedding model of that name")
            .remedy(format!("name the one that this appliance has: `{name}`"));
        return Err(Problem { error, param: Some("model"), code: Some("model_not_found") });
    }
    if body.dimensions.is_some_and(|wanted| wanted != model.dimensions()) {
        let message = format!("the vectors of {name} have {} dimensions", model.dimensions());
        return Err(Problem::unsupported("dimensions", message));
    }
    let base64 = match body.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Problem::of("encoding_format", "`encoding_format` must be float or base64")),
    };
    let texts = texts(&body.input)?;
    let tokens: usize = texts.iter().map(|text| model.count_tokens(text)).sum();
    let _lane = state.lanes.enter(tenant.db.tenant(), tenant.signed_in.user.id)?;
    let vectors = egress::on_behalf_of(tenant.db.tenant(), None, model.embed(&texts)).await;
    let vectors = vectors.map_err(|error| {
        Error::unavailable("the embedding model does not answer").remedy("try again in a moment").because(error)
    })?;
    let data = vectors.into_iter().enumerate().map(|(index, vector)| {
        let embedding = if base64 { json!(STANDARD.encode(bytes(&vector))) } else { json!(vector) };
        Embedding { object: "embedding", index, embedding }
    });
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Ok(Json(EmbeddingList { object: "list", data: data.collect(), model: name, usage }))
}

fn texts(input: &Value) -> Result<Vec<String>, Problem> {
    let wrong = |message: String| Problem::of("input", message);
    let texts = match input {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => {
            let text = |item: &Value| match item {
                Value::String(text) => Ok(text.clone()),
                Value::Number(_) | Value::Array(_) => Err(Problem::unsupported(
                    "input",
                    "numbers of tokens mean something to another model only: send text",
                )),
                _ => Err(wrong("`input` must be a text, or a list of texts".to_owned())),
            };
            items.iter().map(text).collect::<Result<_, _>>()?
        }
        _ => return Err(wrong("`input` must be a text, or a list of texts".to_owned())),
    };
    if texts.is_empty() || texts.len() > TEXTS {
        return Err(wrong(format!("`input` must have 1 to {TEXTS} texts")));
    }
    if texts.iter().any(|text| text.trim().is_empty()) {
        return Err(wrong("a text of the input is empty".to_owned()));
    }
    Ok(texts)
}

fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|value| value.to_le_bytes()).collect()
}
