//! What the providers over HTTP have in common: the address and the key, a request whose answer is a stream of events,
//! its limits of time and size, and the classes of errors.

pub(super) mod refusal;
mod remembered;
mod retry;
pub(super) mod sse;
mod whole;

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    chat::{Capabilities, ChatEvent, ChatRequest, Finish, ModelError},
    stream::Events,
    tokens,
};
use crate::egress::{
    self, Egress, Failure, Outbound, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use refusal::About;
pub(super) use remembered::Remembered;

/// A model that has not said anything for so long is being loaded, where it is on a machine of one's own.
const LOADING_AFTER: Duration = Duration::from_millis(1500);
/// The longest that an answer may take as a whole; what is between its pieces has a limit of its own.
const LONGEST_ANSWER: Duration = Duration::from_hours(1);
/// The most of an answer that is read.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// The most of a refusal that is read.
const LARGEST_REFUSAL: usize = 64 * 1024;
/// How long the counts are waited for after an answer that is complete without them.
const TRAILER: Duration = Duration::from_secs(2);
/// How many times a request is sent again without a field that the provider does not know.
const RELAXED: usize = 3;

/// One model of one provider.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// `groq/llama-3.3-70b-versatile`
    pub(super) name: String,
    /// `llama-3.3-70b-versatile`
    pub(super) model: String,
    /// `providers.groq`
    pub(super) setting: String,
    pub(super) egress: Egress,
    /// Its path ends with a slash.
    pub(super) base: Url,
    /// The headers of every request, the key among them, marked as sensitive.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The key once more, to be struck out of what the vendor says.
    pub(super) key: Option<Arc<str>>,
    pub(super) load_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) local: bool,
    pub(super) capabilities: Capabilities,
}

/// How far an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// More has to come.
    More,
    /// The answer is whole; the counts may follow.
    Complete,
    /// Nothing follows.
    Last,
}

/// Understands one vendor's events.
pub(super) trait Reader: Send {
    /// Takes the data of one event. What was said before an error is in `events` all the same.
    fn take(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<Step, ModelError>;

    /// The answer is whole: what was held back, and how it ended.
    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<Finish, ModelError>;
}

impl Endpoint {
    /// What is known about a request, should it fail.
    pub(super) fn about(&self, request: &ChatRequest) -> About {
        About {
            model: self.model.clone(),
            setting: self.setting.clone(),
            tokens: u32::try_from(tokens::of_request(request)).unwrap_or(u32::MAX),
            limit: self.capabilities.context_tokens,
            key: self.key.clone(),
        }
    }

    /// Sends `body` to `url` and passes on what `reader` understands of the answer. Dropping it closes the connection.
    /// `relax` changes a body that the provider refused with these words; false when it is not to be tried again.
    pub(super) async fn answer(
        &self,
        url: Url,
        mut body: Value,
        about: About,
        relax: fn(&mut Value, &str) -> bool,
        mut reader: impl Reader,
        mut events: Events,
    ) -> Result<(), ModelError> {
        let deadline = Instant::now() + self.load_timeout;
        let mut relaxed = 0;
        let (mut outbound, response) = loop {
            let (mut outbound, response) = self.send(&url, &body, deadline, &mut events).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            outbound.answered(Some(status.as_u16()));
            if status.is_success() && is_stream(&headers) {
                break (outbound, response);
            }
            let read = timeout_at(deadline, egress::read_bounded(response, LARGEST_REFUSAL)).await;
            let said = read.ok().and_then(Result::ok).unwrap_or_default();
            if status.is_success() {
                return Err(not_a_stream(&about, &said));
            }
            let words = String::from_utf8_lossy(&said).to_lowercase();
            relaxed += 1;
            if !matches!(status.as_u16(), 400 | 422) || relaxed > RELAXED || !relax(&mut body, &words) {
                return Err(about.refusal(status.as_u16(), &headers, &said));
            }
            tracing::info!(model = self.name, "the provider does not know a field of the request; it is sent without");
        };
        self.read(&mut outbound, response, deadline, &mut reader, &mut events).await
    }

    async fn send(
        &self,
        url: &Url,
        body: &Value,
        deadline: Instant,
        events: &mut Events,
    ) -> Result<(Outbound, crate::egress::Answer), ModelError> {
        let mut outbound = self.egress.client_for("chat", url).map_err(|error| server(error.to_string()))?;
        let mut request = outbound.post(url.clone()).timeout(LONGEST_ANSWER).header(ACCEPT, "text/event-stream");
        for (name, value) in &self.headers {
            request = request.header(name.clone(), value.clone());
        }
        let mut sent = std::pin::pin!(request.json(body).send());
        let early = if self.local { timeout(LOADING_AFTER, &mut sent).await.ok() } else { None };
        let answered = if let Some(answered) = early {
            Ok(answered)
        } else {
            if self.local {
                events.send(ChatEvent::Loading).await;
            }
            timeout_at(deadline, sent).await
        };
        match answered {
            Ok(Ok(response)) => Ok((outbound, response)),
            Ok(Err(error)) => Err(self.unanswered(&mut outbound, error.into(), self.load_timeout)),
            Err(_) => Err(self.unanswered(&mut outbound, Failure::TimedOut, self.load_timeout)),
        }
    }

    async fn read(
        &self,
        outbound: &mut Outbound,
        mut response: crate::egress::Answer,
        deadline: Instant,
        reader: &mut impl Reader,
        events: &mut Events,
    ) -> Result<(), ModelError> {
        let mut lines = sse::Events::default();
        let (mut complete, mut received, mut said) = (false, 0, Vec::new());
        let mut limit = (deadline, self.load_timeout);
        loop {
            let chunk = timeout_at(limit.0, response.chunk()).await;
            // A broken connection is no worse than one that ended: what counts is whether the answer was whole.
            let mut broken = None;
            let chunk = match chunk {
                Ok(Ok(chunk)) => chunk,
                Err(_) if complete => None,
                Err(_) => return Err(self.unanswered(outbound, Failure::TimedOut, limit.1)),
                Ok(Err(error)) => {
                    broken = Some(Failure::from(error));
                    None
                }
            };
            match &chunk {
                Some(bytes) => {
                    outbound.received(bytes.len());
                    received += bytes.len();
                    lines.push(bytes)?;
                }
                None => lines.finish(),
            }
            if received > LARGEST_ANSWER {
                return Err(server("the answer is too long"));
            }
            while let Some(data) = lines.next() {
                let step = reader.take(&data, &mut said);
                events.send_all(std::mem::take(&mut said)).await;
                match step? {
                    Step::More => {}
                    Step::Complete => complete = true,
                    Step::Last => return finish(reader, events).await,
                }
            }
            if chunk.is_none() {
                return match broken {
                    _ if complete => finish(reader, events).await,
                    Some(failure) => Err(self.unanswered(outbound, failure, limit.1)),
                    None => Err(ModelError::Network { message: "it ended in the middle of the answer".to_owned() }),
                };
            }
            let idle = if complete { TRAILER } else { self.idle_timeout };
            limit = (Instant::now() + idle, idle);
        }
    }

    /// A request that got no answer, or whose answer broke off.
    fn unanswered(&self, outbound: &mut Outbound, failure: Failure, after: Duration) -> ModelError {
        outbound.failed(&failure);
        match failure {
            Failure::Unreachable(_) if self.local => ModelError::NotRunning { address: egress::origin(&self.base) },
            Failure::Unreachable(why) => {
                ModelError::Network { message: format!("nothing answers at {}: {why}", egress::origin(&self.base)) }
            }
            Failure::Broken(message) => ModelError::Network { message },
            Failure::TimedOut => ModelError::TimedOut { after },
            other => server(other.to_string()),
        }
    }
}

async fn finish(reader: &mut impl Reader, events: &mut Events) -> Result<(), ModelError> {
    let mut said = Vec::new();
    let finished = reader.finish(&mut said);
    events.send_all(said).await;
    events.send(ChatEvent::Done(finished?)).await;
    Ok(())
}

/// An answer that is JSON is an error that came with the wrong status, or the whole answer of a server that cannot stream.
fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    !kind.trim_start().to_ascii_lowercase().starts_with("application/json")
}

fn not_a_stream(about: &About, said: &[u8]) -> ModelError {
    match serde_json::from_slice::<Value>(said) {
        Ok(body) if body.get("error").is_some() || body.is_array() => about.said(&body),
        _ => server(format!("it does not stream its answer; see `{}.url`", about.setting)),
    }
}

/// The server failed, or said something that cannot be understood.
pub(super) fn server(message: impl Into<String>) -> ModelError {
    ModelError::Server { message: message.into() }
}

/// The data of one event as JSON.
pub(super) fn parsed(data: &[u8]) -> Result<Value, ModelError> {
    serde_json::from_slice(data).map_err(|error| {
        tracing::debug!(%error, "an event of the answer cannot be read");
        server("its answer cannot be understood; is this a server of that kind?")
    })
}

/// A count as the vendors give it.
pub(super) fn count(value: &Value) -> u32 {
    value.as_u64().map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX))
}

/// Puts the schema of the answer into the prompt, for a model that nobody holds to it.
pub(super) fn schema_in_words(schema: &Value) -> String {
    format!("Answer with one JSON object and nothing else, no fence round it. It must fit this JSON Schema:\n{schema}")
}

/// Whether `words` complain about the field of this name.
pub(super) fn complains_about(words: &str, field: &str) -> bool {
    const COMPLAINTS: [&str; 9] = [
        "unsupported",
        "not supported",
        "not support",
        "not permitted",
        "unrecognized",
        "unknown",
        "extra inputs",
        "deprecated",
        "invalid schema",
    ];
    words.contains(field) && COMPLAINTS.iter().any(|complaint| words.contains(complaint))
}
