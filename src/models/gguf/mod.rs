//! The built-in engine: any GGUF chat model from a file, run by llama.cpp in a child process of this same
//! binary, so that a bad file or a bug there ends the child and never the appliance.
//!
//! The child (`aegis __engine`) is started by the first question, serves one question at a time, and is
//! stopped when nobody has asked for a while. It speaks JSON lines over its standard input and output.

pub mod child;
mod engine;
mod generate;
mod grammar;
mod header;
mod prompt;
mod protocol;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use super::chat::{Capabilities, ChatModel, ChatRequest, ChatStream, ModelError};
use crate::config;
use engine::Engine;
use header::Header;

/// Below this many parameters a model is not trusted with tools, and forgets long instructions.
const SMALL: u64 = 1_000_000_000;

/// A chat model in a GGUF file.
pub struct Gguf {
    file: PathBuf,
    max_context: u32,
    engine: Arc<Engine>,
    header: Arc<Mutex<Option<(Version, Header)>>>,
}

/// By what it is seen that a file was replaced.
type Version = (Option<SystemTime>, u64);

impl Gguf {
    /// The model in `file`, run by `program`, the `aegis` binary. Nothing is started yet.
    pub fn new(program: PathBuf, file: PathBuf, config: &config::Builtin) -> Self {
        let arguments = child::arguments(&file, config.max_context, config.threads);
        let engine = Engine::new(program, arguments, stem(&file), Duration::from_secs(config.unload_seconds));
        Self { file, max_context: config.max_context, engine: Arc::new(engine), header: Arc::default() }
    }

    /// The process that has the model in memory; none while nobody asks.
    pub fn process_id(&self) -> Option<u32> {
        self.engine.process_id()
    }
}

/// The file to use: the configured one, else the first `*.gguf` in `models/` of the data directory.
pub fn discover(config: &config::Builtin, data_dir: &Path) -> Option<PathBuf> {
    if config.file.is_some() {
        return config.file.clone();
    }
    let entries = fs::read_dir(data_dir.join("models")).ok()?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .filter(|path| {
            path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) && path.is_file()
        })
        .min()
}

#[async_trait]
impl ChatModel for Gguf {
    fn name(&self) -> String {
        format!("builtin/{}", stem(&self.file))
    }

    fn is_deterministic(&self) -> bool {
        true
    }

    fn is_local(&self) -> bool {
        true
    }

    /// Read from the file's header by ourselves, in memory-safe code: the child is not started for it.
    async fn capabilities(&self) -> Result<Capabilities, ModelError> {
        let (file, kept) = (self.file.clone(), Arc::clone(&self.header));
        let read = tokio::task::spawn_blocking(move || current_header(&file, &kept)).await;
        let header = read.map_err(|error| ModelError::Server { message: error.to_string() })??;
        let small = header.parameters < SMALL;
        let mentions = |word: &str| header.chat_template.contains(word);
        Ok(Capabilities {
            tools: !small && mentions("tool"),
            thinking: mentions("<think>"),
            context_tokens: header.context_length.min(self.max_context),
            small,
            structured: true,
        })
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ModelError> {
        self.capabilities().await?;
        Ok(self.engine.chat(request))
    }
}

fn current_header(file: &Path, kept: &Mutex<Option<(Version, Header)>>) -> Result<Header, ModelError> {
    let unreadable = |error: std::io::Error| ModelError::Server {
        message: format!("the model file {} cannot be read: {error}", file.display()),
    };
    let metadata = fs::metadata(file).map_err(unreadable)?;
    let version = (metadata.modified().ok(), metadata.len());
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, header)) = kept.as_ref().filter(|(kept, _)| *kept == version) {
        return Ok(header.clone());
    }
    let header = Header::read(file).map_err(unreadable)?;
    *kept = Some((version, header.clone()));
    Ok(header)
}

fn stem(file: &Path) -> String {
    file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().to_lowercase())
}
