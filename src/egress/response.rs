//! What comes back: how a request failed, in the words that callers decide by, and bodies read up to a limit.

use reqwest::header::HeaderMap;

use super::Refusal;

/// An answer that has been read to its end.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as it was sent: nothing is decompressed.
    pub body: Vec<u8>,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was not sent, or not sent on: the configuration does not allow it.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Nothing listens there, or the name does not resolve.
    #[error("nothing answers there: {0}")]
    Unreachable(String),
    /// A limit that was set on the request ran out.
    #[error("the answer took too long")]
    TimedOut,
    /// The body is longer than the caller reads.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// The connection broke, or what came is not HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        if let Some(refusal) = Refusal::within(&error) {
            return Self::Refused(refusal.clone());
        }
        // A connection that does not open in time is a server that is not there, not a slow one.
        if error.is_connect() {
            Self::Unreachable(innermost(&error))
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Broken(innermost(&error))
        }
    }
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// [`Failure::TooLarge`] as soon as more comes; whatever breaks the connection.
pub async fn read_bounded(response: reqwest::Response, limit: usize) -> Result<Vec<u8>, Failure> {
    read(response, limit, |_| {}).await
}

/// As [`read_bounded`]; `watch` is told of each piece.
pub(super) async fn read(
    mut response: reqwest::Response,
    limit: usize,
    mut watch: impl FnMut(usize),
) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        watch(chunk.len());
        if body.len() + chunk.len() > limit {
            return Err(Failure::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The cause that says most; the outer ones repeat the address, which may hold credentials.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if std::ptr::addr_eq(cause, error) { "the request failed".to_owned() } else { cause.to_string() }
}
