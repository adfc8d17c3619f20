//! Language models: what a chat model and an embedding model are, who provides them, and how one is chosen.

pub mod anthropic;
mod assembly;
pub mod budget;
pub mod catalogue;
pub mod chat;
pub mod embedding;
pub mod gemini;
pub mod gguf;
pub mod meter;
pub mod minilm;
mod names;
pub mod ollama;
pub mod openai;
mod printed;
mod prompted;
pub mod provider;
pub mod router;
mod stream;
pub mod tokens;
mod wire;

use std::{collections::BTreeMap, path::Path};

use crate::{
    audit::Log,
    config::{self, Config, ProviderKind},
    egress::Egress,
    support::{Error, Result, clock::SharedClock},
};
use catalogue::Catalogue;
use embedding::EmbeddingModels;
pub use router::Router;

/// The routes of the configuration, the built-in engine run by this same binary.
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
    assembly::router(config, egress, clock, engine)
}

/// What models there are: those of `router`, and those that the Ollama servers of the configuration keep.
///
/// # Errors
/// `Invalid` when an address is wrong.
pub fn catalogue_of(
    router: &Router,
    config: &Config,
    egress: &Egress,
    log: Log,
    clock: &SharedClock,
) -> Result<Catalogue> {
    let mut servers = BTreeMap::new();
    if config.models.ask_ollama() || config.embedding.asks_ollama() {
        servers.insert("ollama".to_owned(), ollama::Server::new(&config.models.ollama, egress.clone())?);
    }
    for (name, provider) in config.providers.iter().filter(|(_, provider)| provider.kind() == ProviderKind::Ollama) {
        let settings = config::Ollama { url: provider.url().to_owned(), ..config.models.ollama.clone() };
        servers.insert(name.clone(), ollama::Server::new(&settings, egress.clone())?);
    }
    Ok(Catalogue::new(router.clone(), servers, log, clock.clone()))
}

/// The models of `[embedding]`. The wanted one is asked how long its vectors are; if its server does not answer yet, that
/// is logged, and learned with the first text.
///
/// # Errors
/// `Invalid` when a name means nothing, or an address or a key cannot be used.
pub async fn embedding_from(config: &Config, egress: &Egress) -> Result<EmbeddingModels> {
    let models = EmbeddingModels::of(config, egress)?;
    if let Err(error) = models.wanted().prepare().await {
        tracing::warn!(%error, "the embedding model cannot be asked yet");
    }
    Ok(models)
}
