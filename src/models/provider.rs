//! The providers of `[providers.<name>]`: from a name of the configuration to a chat model.
//!
//! **genai or requests of our own?** We read genai 0.7.0-beta.20 (jeremychone/rust-genai, `bd84fbb`) for it, and send the
//! requests ourselves. It is built on reqwest 0.13 and takes a client of that version only (`ClientBuilder::with_reqwest`),
//! while the guarded client of [`crate::egress`] is one of 0.12, as ollama-rs and teloxide want it: with genai in the tree
//! the cloud would be the one thing that goes round the guard. What it does well is worth saying: a refusal keeps its
//! status, body and headers, `Retry-After` among them (`webc/web_stream.rs`), mid-stream errors come as errors, and
//! dropping its stream closes the connection. But of several calls in one delta its OpenAI reader takes the first alone, and
//! one without an index not at all (`adapters/openai/streamer.rs`, `delta_tool_calls.first()`); a Gemini stream that ends
//! before its finish reason ends as a whole answer does (`adapters/gemini/streamer.rs`, "Defensive fallback"), so that what
//! was cut is taken for what was meant; bodies and events of any size are read into memory; and there is no limit between
//! two pieces of an answer. What would remain of it is the shape of three requests, which are short.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    anthropic::Anthropic,
    chat::{Capabilities, ChatModel},
    embedding::{EmbeddingModel, Remote},
    gemini::{Gemini, GeminiVectors},
    meter::Price,
    minilm::MiniLm,
    ollama,
    openai::{OpenAi, OpenAiVectors},
    wire::{Endpoint, refusal::About},
};
use crate::{
    config::{Config, EmbeddingName, Provider, ProviderKind, ProviderModel},
    egress::{
        self, Egress, Url,
        header::{AUTHORIZATION, HeaderName, HeaderValue},
    },
    support::{
        Error, Result,
        address::{self, Place},
    },
};

/// Until an answer must have begun, and between two pieces of it, where the configuration does not say.
const LOAD_TIMEOUT: u64 = 120;
const IDLE_TIMEOUT: u64 = 60;

/// Assumed where the configuration does not say how much a model reads: a server of one's own is given little memory.
const LOCAL_CONTEXT: u32 = 8192;
const OPENAI_CONTEXT: u32 = 128_000;

/// What an embedding model reads of which nothing is known.
const UNKNOWN_EMBEDDING_TOKENS: usize = 512;

/// The model `model` of the provider `name`: one of `[providers]`, or `ollama` for the server of `[models.ollama]`.
/// Nothing is asked of it yet.
///
/// # Errors
/// `Invalid` when there is no such provider, its address cannot be used, or its key cannot be read.
pub fn open(name: &str, config: &Config, model: &str, egress: &Egress) -> Result<Arc<dyn ChatModel>> {
    if name == "ollama" {
        let server = ollama::Server::new(&config.models.ollama, egress.clone())?;
        let settings = crate::config::Ollama { model: model.to_owned(), ..config.models.ollama.clone() };
        return Ok(Arc::new(ollama::OllamaChat::new(server, &settings)));
    }
    let provider = of_name(name, config)?;
    let setting = format!("providers.{name}");
    if provider.kind() == ProviderKind::Ollama {
        let settings = another_ollama(provider, config, model);
        let server = ollama::Server::new(&settings, egress.clone())?;
        return Ok(Arc::new(ollama::OllamaChat::new(server, &settings).named(name)));
    }
    let endpoint = endpoint(name, setting, provider, model, egress)?;
    Ok(match provider.kind() {
        ProviderKind::Gemini => Arc::new(Gemini::new(endpoint)),
        ProviderKind::Anthropic => Arc::new(Anthropic::new(endpoint)),
        ProviderKind::OpenAi | ProviderKind::Ollama => Arc::new(OpenAi::new(endpoint)),
    })
}

/// The embedding model of this name, as `[embedding]` explains names. Nothing is asked of it yet.
///
/// # Errors
/// `Invalid` when the configuration has no such model, an address cannot be used, or a key cannot be read.
pub fn open_embedding(name: &str, config: &Config, egress: &Egress) -> Result<Arc<dyn EmbeddingModel>> {
    if let Some((message, suggestion)) = config.embedding_problem(name) {
        return Err(Error::invalid(message).remedy(suggestion));
    }
    let EmbeddingName { provider: of, model, dimensions } = EmbeddingName::of(name);
    if of == "builtin" {
        return Ok(Arc::new(MiniLm::new()));
    }
    if of == "ollama" {
        let server = ollama::Server::new(&config.models.ollama, egress.clone())?;
        return Ok(Arc::new(ollama::OllamaEmbedding::new(server, model)));
    }
    let provider = of_name(of, config)?;
    if provider.kind() == ProviderKind::Ollama {
        let server = ollama::Server::new(&another_ollama(provider, config, model), egress.clone())?;
        return Ok(Arc::new(ollama::OllamaEmbedding::new(server, model).named(of)));
    }
    let endpoint = endpoint(of, format!("providers.{of}"), provider, model, egress)?;
    let gemini = provider.kind() == ProviderKind::Gemini;
    let known = if gemini { GeminiVectors::known(model) } else { OpenAiVectors::known(model) };
    let given = provider.model(model).context.and_then(|tokens| usize::try_from(tokens).ok());
    let max_tokens = given.or(known.map(|(tokens, _)| tokens)).unwrap_or(UNKNOWN_EMBEDDING_TOKENS);
    let about = About {
        model: model.to_owned(),
        setting: endpoint.setting.clone(),
        tokens: u32::try_from(max_tokens).unwrap_or(u32::MAX),
        limit: u32::try_from(max_tokens).unwrap_or(u32::MAX),
        key: endpoint.key.clone(),
    };
    let (name, model, price) = (name.to_owned(), model.to_owned(), price(of, config, model));
    let dimensions_known = OnceLock::new();
    if let Some(length) = dimensions.or(known.map(|(_, length)| length)) {
        let _ = dimensions_known.set(length);
    }
    Ok(if gemini {
        let vendor = GeminiVectors::new(endpoint, dimensions, about);
        Arc::new(Remote { vendor, name, model, max_tokens, price, dimensions: dimensions_known })
    } else {
        let vendor = OpenAiVectors::new(endpoint, dimensions, about);
        Arc::new(Remote { vendor, name, model, max_tokens, price, dimensions: dimensions_known })
    })
}

/// The settings of an Ollama server that is not that of `[models.ollama]`.
fn another_ollama(provider: &Provider, config: &Config, model: &str) -> crate::config::Ollama {
    let usual = &config.models.ollama;
    crate::config::Ollama {
        url: provider.url().to_owned(),
        model: model.to_owned(),
        max_context: provider.model(model).context.unwrap_or(usual.max_context),
        load_timeout_seconds: provider.load_timeout_seconds.unwrap_or(usual.load_timeout_seconds),
        idle_timeout_seconds: provider.idle_timeout_seconds.unwrap_or(usual.idle_timeout_seconds),
        ..usual.clone()
    }
}

/// What a call of this model costs: what the configuration says; nothing on a machine of one's own.
pub fn price(name: &str, config: &Config, model: &str) -> Price {
    let Some(provider) = config.providers.get(name) else {
        return if matches!(name, "ollama" | "builtin") { Price::Free } else { Price::Unknown };
    };
    let ProviderModel { input_price, output_price, .. } = provider.model(model);
    match (input_price, output_price) {
        (Some(input), Some(output)) => Price::PerMillion { input, output },
        _ if is_local(provider) => Price::Free,
        _ => Price::Unknown,
    }
}

fn of_name<'c>(name: &str, config: &'c Config) -> Result<&'c Provider> {
    config.providers.get(name).ok_or_else(|| {
        let there = config.providers.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let there = if there.is_empty() { "there are none".to_owned() } else { format!("there are: {there}") };
        Error::invalid(format!("there is no provider `{name}`")).remedy(format!("write [providers.{name}]; {there}"))
    })
}

/// Whether it runs on a machine of one's own: the configuration says so, or its address is of this machine or its network.
fn is_local(provider: &Provider) -> bool {
    provider.local.unwrap_or_else(|| {
        let Ok(url) = Url::parse(provider.url()) else { return false };
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let by_name = host == "localhost" || host.ends_with(".localhost") || provider.kind() == ProviderKind::Ollama;
        host.parse::<IpAddr>().map_or(by_name, |ip| matches!(address::place(ip), Place::Private(_)))
    })
}

fn endpoint(name: &str, setting: String, provider: &Provider, model: &str, egress: &Egress) -> Result<Endpoint> {
    let mut base = egress::parse(&format!("{setting}.url"), provider.url())?;
    if !base.path().ends_with('/') {
        // Without it, joining would replace the last part of the path.
        base.set_path(&format!("{}/", base.path()));
    }
    let key = provider.key.as_ref().map(crate::config::Secret::read).transpose().map_err(|error| {
        Error::invalid(format!("`{setting}.key`: {}", error.message()))
            .remedy(error.remedy_text().unwrap_or("write key = { file = \"/path\" } or { env = \"NAME\" }").to_owned())
    })?;
    let local = is_local(provider);
    let known = provider.model(model);
    let seconds = |given: Option<u64>, otherwise| Duration::from_secs(given.unwrap_or(otherwise));
    Ok(Endpoint {
        name: format!("{name}/{model}"),
        model: model.to_owned(),
        headers: headers(provider.kind(), key.as_deref(), &setting)?,
        key: key.map(Arc::from),
        egress: egress.clone(),
        base,
        load_timeout: seconds(provider.load_timeout_seconds, LOAD_TIMEOUT),
        idle_timeout: seconds(provider.idle_timeout_seconds, IDLE_TIMEOUT),
        local,
        capabilities: Capabilities {
            tools: known.tools.unwrap_or(true),
            thinking: known.thinking.unwrap_or(false),
            context_tokens: known.context.unwrap_or(if local { LOCAL_CONTEXT } else { usual_context(provider.kind()) }),
            small: false,
            structured: known.structured.unwrap_or(true),
        },
        setting,
    })
}

fn usual_context(kind: ProviderKind) -> u32 {
    match kind {
        ProviderKind::Gemini => 1_048_576,
        ProviderKind::Anthropic => 200_000,
        ProviderKind::OpenAi | ProviderKind::Ollama => OPENAI_CONTEXT,
    }
}

/// The headers of every request. The key is one of them, never a part of the address, and never shown.
fn headers(kind: ProviderKind, key: Option<&str>, setting: &str) -> Result<Vec<(HeaderName, HeaderValue)>> {
    let mut headers = Vec::new();
    if kind == ProviderKind::Anthropic {
        headers.push((HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01")));
    }
    if let Some(key) = key {
        let (name, value) = match kind {
            ProviderKind::Anthropic => (HeaderName::from_static("x-api-key"), key.to_owned()),
            ProviderKind::Gemini => (HeaderName::from_static("x-goog-api-key"), key.to_owned()),
            ProviderKind::OpenAi | ProviderKind::Ollama => (AUTHORIZATION, format!("Bearer {key}")),
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            Error::invalid(format!("`{setting}.key` holds signs that no key has"))
                .remedy("look for a line break or a blank in it")
        })?;
        value.set_sensitive(true);
        headers.push((name, value));
    }
    Ok(headers)
}
