//! The models that an Ollama server keeps: listed, fetched, removed.
//!
//! What it rests on, in Ollama's source: `server/routes.go` answers `/api/tags`, `/api/ps`, `/api/delete`, and streams
//! `/api/pull` as one `api.ProgressResponse` a line; whatever fails after the first line comes as `{"error": …}` in a
//! stream whose status is 200. `server/download.go` reports a layer every 60 ms while it loads it, keeps what it has
//! beside the blob, and goes on there when the same layer is asked for again; it stops when nobody reads the stream.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use super::{
    Server,
    failure::{About, refusal},
};
use crate::{
    egress::{self, Failure, Method},
    models::chat::ModelError,
};

/// Lists come from memory or small files: a server that takes longer is in trouble.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Between two lines. While a large layer's hash is computed, nothing is said.
const SILENCE: Duration = Duration::from_mins(10);
/// The longest line of progress, and the most of a refusal that is read.
const LONGEST: usize = 64 * 1024;

/// A model that the server keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// `llama3.2:latest`
    pub name: String,
    /// Bytes on its disk.
    pub bytes: u64,
    /// `llama`
    pub family: String,
    /// `3.2B`
    pub parameters: String,
    /// `Q4_K_M`
    pub quantization: String,
    /// Bytes of memory that it takes now; none while it is not loaded.
    pub loaded_bytes: Option<u64>,
    /// When it is unloaded, if nobody asks it until then.
    pub unloads_at: Option<DateTime<Utc>>,
}

/// A line of a pull's progress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// `pulling manifest`, `pulling dde5aa3fc5ff`, `verifying sha256 digest`, `writing manifest`, `success`.
    pub status: String,
    /// The layer, if the line is about one.
    pub digest: String,
    /// Its size in bytes.
    pub total: u64,
    /// How much of it is there.
    pub completed: u64,
}

#[derive(Deserialize)]
struct Tags {
    models: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    #[serde(default)]
    size: u64,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    family: String,
    parameter_size: String,
    quantization_level: String,
}

#[derive(Deserialize)]
struct Running {
    models: Option<Vec<Loaded>>,
}

#[derive(Deserialize)]
struct Loaded {
    name: String,
    #[serde(default)]
    size: u64,
    expires_at: Option<DateTime<Utc>>,
}

impl Server {
    /// The models that it keeps, by name, with what is loaded now.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn kept(&self) -> Result<Vec<Kept>, ModelError> {
        let tags: Tags = self.ask("model list", "api/tags").await?;
        // A server that cannot tell what is loaded still keeps what it keeps.
        let running: Running = self.ask("loaded models", "api/ps").await.unwrap_or(Running { models: None });
        let loaded: BTreeMap<String, Loaded> =
            running.models.unwrap_or_default().into_iter().map(|loaded| (loaded.name.clone(), loaded)).collect();
        let mut kept: Vec<Kept> = tags.models.unwrap_or_default().into_iter().map(|tag| kept(tag, &loaded)).collect();
        kept.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(kept)
    }

    async fn ask<Answer: serde::de::DeserializeOwned>(
        &self,
        purpose: &'static str,
        path: &str,
    ) -> Result<Answer, ModelError> {
        let body = self.whole(purpose, Method::GET, path, "").await?;
        serde_json::from_slice(&body).map_err(|error| {
            tracing::debug!(%error, path, "Ollama's list cannot be read");
            ModelError::Server { message: "its answer cannot be understood; is this an Ollama server?".to_owned() }
        })
    }

    /// Removes a model from its disk.
    ///
    /// # Errors
    /// `ModelMissing` when it has no such model.
    pub async fn remove(&self, model: &str) -> Result<(), ModelError> {
        self.whole("model removal", Method::DELETE, "api/delete", model).await.map(drop)
    }

    /// Has it fetch a model, and tells how far it is until `success` has come. Dropping the stream stops the server,
    /// which keeps what it has for the next time.
    ///
    /// # Errors
    /// In the stream: the server's own words when it cannot; `NotRunning`, `Network` or `TimedOut` when it went away.
    pub fn pull(&self, model: &str) -> impl Stream<Item = Result<Progress, ModelError>> + Send + use<> {
        let (server, model) = (self.clone(), model.to_owned());
        stream::once(async move { server.begin_pull(&model).await }).try_flatten()
    }

    async fn begin_pull(
        &self,
        model: &str,
    ) -> Result<impl Stream<Item = Result<Progress, ModelError>> + Send + use<>, ModelError> {
        let mut outbound = self.outbound("model pull")?;
        let request = outbound.post(self.url("api/pull")?).json(&json!({ "model": model, "stream": true }));
        let sent = tokio::time::timeout(SILENCE, request.send()).await.map_err(|_| Failure::TimedOut);
        let response = sent.and_then(|sent| sent.map_err(Failure::from));
        let response = response.map_err(|failure| self.unanswered(&mut outbound, failure, SILENCE))?;
        let status = response.status();
        outbound.answered(Some(status.as_u16()));
        if !status.is_success() {
            let body = egress::read_bounded(response, LONGEST).await.unwrap_or_default();
            return Err(refusal(About::model(model), Some(status.as_u16()), None, &String::from_utf8_lossy(&body)));
        }
        let state = (self.clone(), outbound, response, Vec::new(), model.to_owned());
        Ok(stream::try_unfold(state, |(server, mut outbound, mut response, mut buffer, model)| async move {
            loop {
                if let Some(end) = buffer.iter().position(|&byte: &u8| byte == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    if let Some(progress) = read(&line, &model)? {
                        return Ok(Some((progress, (server, outbound, response, buffer, model))));
                    }
                    continue;
                }
                if buffer.len() > LONGEST {
                    return Err(ModelError::Server { message: "a line of its progress is too long".to_owned() });
                }
                let chunk = tokio::time::timeout(SILENCE, response.chunk()).await.map_err(|_| Failure::TimedOut);
                let chunk = chunk.and_then(|chunk| chunk.map_err(Failure::from));
                let chunk = chunk.map_err(|failure| match server.unanswered(&mut outbound, failure, SILENCE) {
                    // The connection broke, or its hour is over: the rest can be fetched by another one.
                    ModelError::Server { message } => ModelError::Network { message },
                    other => other,
                })?;
                let Some(chunk) = chunk else { return Ok(None) };
                outbound.received(chunk.len());
                buffer.extend_from_slice(&chunk);
            }
        }))
    }

    /// Asks about `model`, if it is about one, and reads the whole answer.
    async fn whole(
        &self,
        purpose: &'static str,
        method: Method,
        path: &str,
        model: &str,
    ) -> Result<Vec<u8>, ModelError> {
        let mut outbound = self.outbound(purpose)?;
        let mut request = outbound.request(method, self.url(path)?);
        if !model.is_empty() {
            request = request.json(&json!({ "model": model }));
        }
        let asked = async {
            let response = request.send().await?;
            outbound.answered(Some(response.status().as_u16()));
            let status = response.status();
            let body = egress::read_bounded(response, super::LARGEST_ANSWER).await?;
            outbound.received(body.len());
            Ok((status, body))
        };
        let asked = tokio::time::timeout(TIMEOUT, asked).await.unwrap_or(Err(Failure::TimedOut));
        let (status, body) = asked.map_err(|failure| self.unanswered(&mut outbound, failure, TIMEOUT))?;
        if status.is_success() {
            return Ok(body);
        }
        Err(refusal(About::model(model), Some(status.as_u16()), None, &String::from_utf8_lossy(&body)))
    }
}

fn kept(tag: Tag, loaded: &BTreeMap<String, Loaded>) -> Kept {
    let details = tag.details.unwrap_or_default();
    let loaded = loaded.get(&tag.name);
    Kept {
        bytes: tag.size,
        family: details.family,
        parameters: details.parameter_size,
        quantization: details.quantization_level,
        loaded_bytes: loaded.map(|loaded| loaded.size),
        unloads_at: loaded.and_then(|loaded| loaded.expires_at),
        name: tag.name,
    }
}

/// None for a blank line.
fn read(line: &[u8], model: &str) -> Result<Option<Progress>, ModelError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Line {
        Failed { error: String },
        Progress(Progress),
    }
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice(line) {
        Ok(Line::Progress(progress)) => Ok(Some(progress)),
        // The registry's word for a model that there is not.
        Ok(Line::Failed { error }) if error.contains("file does not exist") => {
            Err(ModelError::Server { message: format!("there is no model {model} in the registry that it asks") })
        }
        Ok(Line::Failed { error }) => Err(ModelError::Server { message: error.chars().take(300).collect() }),
        Err(error) => {
            tracing::debug!(%error, "a line of a pull cannot be read");
            Err(ModelError::Server {
                message: "its progress cannot be understood; is this an Ollama server?".to_owned(),
            })
        }
    }
}
