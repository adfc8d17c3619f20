//! The way to the appliance: HTTP over its admin socket, or an appliance booted for this one call.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::output::Output;
pub use crate::http::format::percent_encoded as encode;
use crate::{
    app::lifecycle::{Appliance, Serving, StartError},
    config::Config,
    support::{self, Error, Kind},
};

/// Long enough for an appliance that is just starting, or stopping, in another process.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to the appliance.
pub struct Client {
    socket: PathBuf,
    booted: Option<Appliance>,
}

impl Client {
    /// Finds the running appliance of the data directory; if there is none, boots one without its web server.
    pub async fn connect(config: &Config) -> anyhow::Result<Self> {
        let socket = Appliance::admin_socket(&config.data_dir);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if support::socket::connect(&socket).await.is_ok() {
                return Ok(Self { socket, booted: None });
            }
            match Appliance::start(config.clone(), Serving::AdminOnly).await {
                Ok(appliance) => return Ok(Self { socket, booted: Some(appliance) }),
                Err(StartError::Locked(_)) if Instant::now() < deadline => {
                    Output::note("waiting for the appliance that is starting or stopping …");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Stops what was booted for this call.
    pub async fn close(self) {
        if let Some(appliance) = self.booted {
            appliance.stop().await;
        }
    }

    /// GETs a JSON document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        read_json(self.send(Method::GET, path, "", Bytes::new()).await?).await
    }

    /// GETs and hands back the response, to be read as it comes.
    pub async fn get_stream(&self, path: &str) -> anyhow::Result<Response<Incoming>> {
        self.send(Method::GET, path, "", Bytes::new()).await
    }

    /// DELETEs and reads the JSON answer.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        read_json(self.send(Method::DELETE, path, "", Bytes::new()).await?).await
    }

    /// POSTs JSON and reads the JSON answer.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        read_json(self.post_for_stream(path, body).await?).await
    }

    /// POSTs a file's bytes and reads the JSON answer.
    pub async fn upload<T: DeserializeOwned>(&self, path: &str, file: &Path) -> anyhow::Result<T> {
        let bytes = tokio::fs::read(file)
            .await
            .map_err(|error| Error::invalid(format!("{} cannot be read", file.display())).because(error))?;
        read_json(self.send(Method::POST, path, "application/octet-stream", bytes.into()).await?).await
    }

    /// POSTs JSON and hands back the response, to be read as it comes.
    pub async fn post_for_stream(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Response<Incoming>> {
        self.send(Method::POST, path, "application/json", serde_json::to_vec(body)?.into()).await
    }

    async fn send(&self, method: Method, path: &str, media: &str, body: Bytes) -> anyhow::Result<Response<Incoming>> {
        let stream = support::socket::connect(&self.socket)
            .await
            .with_context(|| format!("the appliance does not answer at {}", self.socket.display()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "aegis");
        if !media.is_empty() {
            request = request.header(header::CONTENT_TYPE, media);
        }
        let response = sender.send_request(request.body(Full::new(body))?).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        Err(refusal(status, &text).into())
    }
}

async fn read_json<T: DeserializeOwned>(response: Response<Incoming>) -> anyhow::Result<T> {
    let body = response.into_body().collect().await?.to_bytes();
    serde_json::from_slice(&body)
        .context("the appliance answered with something else than expected; is it the same version?")
}

/// Turns the error envelope back into the error that it was made of.
fn refusal(status: StatusCode, body: &[u8]) -> Error {
    let envelope: Value = serde_json::from_slice(body).unwrap_or_default();
    let message =
        envelope["error"]["message"].as_str().map_or_else(|| format!("the appliance answered {status}"), str::to_owned);
    let error = Error::new(if status.is_server_error() { Kind::Internal } else { Kind::Invalid }, message);
    match envelope["error"]["remedy"].as_str() {
        Some(remedy) => error.remedy(remedy),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn a_piece_of_a_path_is_encoded_whole() {
        assert_eq!(encode("a b/ü?"), "a%20b%2F%C3%BC%3F");
    }
}
