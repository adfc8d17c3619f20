//! Language models: what a chat model and an embedding model are, who provides them, and how one is chosen.

pub mod budget;
pub mod chat;
pub mod embedding;
pub mod gguf;
pub mod meter;
pub mod minilm;
mod names;
pub mod ollama;
mod printed;
pub mod router;
mod stream;
pub mod tokens;

use std::{path::Path, sync::Arc};

use crate::{
    config::{Config, EmbeddingProvider},
    egress::Egress,
    support::{Error, Result, clock::SharedClock},
};
use chat::ChatModel;
use embedding::EmbeddingModel;
pub use router::Router;
use router::TargetStatus;

/// The chain of `models.chain`, the built-in engine run by this same binary.
///
/// # Errors
/// `Invalid` when the chain names something unknown, or an address is wrong.
pub fn router_from(config: &Config, egress: &Egress, clock: SharedClock) -> Result<Router> {
    let program = std::env::current_exe().map_err(Error::internal)?;
    router_with_engine(config, egress, clock, &program)
}

/// As [`router_from`], with `engine` as the binary that runs the built-in engine.
///
/// # Errors
/// As for [`router_from`].
pub fn router_with_engine(config: &Config, egress: &Egress, clock: SharedClock, engine: &Path) -> Result<Router> {
    let mut models: Vec<Arc<dyn ChatModel>> = Vec::new();
    let mut absent = Vec::new();
    for target in &config.models.chain {
        match target.as_str() {
            "ollama" => {
                let server = ollama::Server::new(&config.models.ollama, egress.clone())?;
                models.push(Arc::new(ollama::OllamaChat::new(server, &config.models.ollama)));
            }
            "builtin" => match gguf::discover(&config.models.builtin, &config.data_dir) {
                Some(file) => models.push(Arc::new(gguf::Gguf::new(engine.to_owned(), file, &config.models.builtin))),
                None => absent.push(no_model_file(&config.data_dir)),
            },
            other => {
                let problem = format!("`models.chain` names `{other}`, which is no chat model");
                return Err(Error::invalid(problem).remedy("use `ollama` and `builtin`"));
            }
        }
    }
    Ok(Router::new(models, clock).with_absent(absent))
}

fn no_model_file(data_dir: &Path) -> TargetStatus {
    TargetStatus {
        model: "builtin".to_owned(),
        ok: false,
        problem: Some("there is no model file for the built-in engine".to_owned()),
        remedy: Some(format!(
            "put a chat model's .gguf file into {} and restart, or take `builtin` out of `models.chain`",
            data_dir.join("models").display()
        )),
        capabilities: None,
        price: meter::Price::Free,
        cooling_seconds: None,
    }
}

/// The model of `[embedding]`. One of Ollama is asked for its dimensions; if the server does not answer yet,
/// that is logged, and learned with the first text.
///
/// # Errors
/// `Invalid` when an address is wrong.
pub async fn embedding_from(config: &Config, egress: &Egress) -> Result<Arc<dyn EmbeddingModel>> {
    match config.embedding.provider {
        EmbeddingProvider::Builtin => Ok(Arc::new(minilm::MiniLm::new())),
        EmbeddingProvider::Ollama => {
            let server = ollama::Server::new(&config.models.ollama, egress.clone())?;
            let model = ollama::OllamaEmbedding::new(server, &config.embedding.ollama_model);
            if let Err(error) = model.ask().await {
                tracing::warn!(%error, "the embedding model cannot be asked yet");
            }
            Ok(Arc::new(model))
        }
    }
}
