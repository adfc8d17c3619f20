//! A server that is reached by HTTP: each message is one request through the guarded way out, and its answer is read whole,
//! within the bounds that hold there. Messages that come beside an answer are passed on; a stream of the server's own is not
//! opened.
//!
//! Format: <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports>.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{SinkExt, StreamExt, channel::mpsc};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorData, ServerJsonRpcMessage};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::egress::{
    Egress, Method, Request, Response, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

/// Messages that wait to be sent, and to be read.
const WAITING: usize = 16;
/// The most characters of an answer that is no message, for the error.
const EXCERPT: usize = 200;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const REVISION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// What is sent, and what comes back.
pub(super) type Pipes = (mpsc::Sender<ClientJsonRpcMessage>, mpsc::Receiver<ServerJsonRpcMessage>);

/// A server at an address, and what it is shown.
#[derive(Clone)]
struct Server {
    egress: Egress,
    url: Url,
    /// The configured ones.
    headers: HeaderMap,
    /// Those that stand once the server has let us in.
    session: Arc<Mutex<HeaderMap>>,
}

/// Opens the way to a server. `headers` go with every message. It is closed when the pipes are dropped, and what was on its
/// way then is given up.
pub(super) fn open(egress: Egress, url: Url, headers: HeaderMap) -> Pipes {
    let (to_server, mut outgoing) = mpsc::channel(WAITING);
    let (mut incoming, from_server) = mpsc::channel(WAITING);
    let server = Server { egress, url, headers, session: Arc::default() };
    tokio::spawn(async move {
        let mut on_the_way = JoinSet::new();
        loop {
            let answers = tokio::select! {
                message = outgoing.next() => match message {
                    None => break,
                    // What the session is made of comes one after the other.
                    Some(message) if is_call(&message) => {
                        let server = server.clone();
                        on_the_way.spawn(async move { server.send(message).await });
                        Vec::new()
                    }
                    Some(message) => server.send(message).await,
                },
                Some(answered) = on_the_way.join_next() => answered.unwrap_or_default(),
            };
            for answer in answers {
                if incoming.send(answer).await.is_err() {
                    return;
                }
            }
        }
        server.leave().await;
    });
    (to_server, from_server)
}

fn is_call(message: &ClientJsonRpcMessage) -> bool {
    matches!(message, ClientJsonRpcMessage::Request(request)
        if !matches!(request.request, ClientRequest::InitializeRequest(_)))
}

impl Server {
    /// What the server says to a message. A request always gets an answer, if need be one of ours that says what went wrong.
    async fn send(&self, message: ClientJsonRpcMessage) -> Vec<ServerJsonRpcMessage> {
        let id = match &message {
            ClientJsonRpcMessage::Request(request) => Some(request.id.clone()),
            _ => None,
        };
        match self.exchange(&message).await {
            Ok(answers) => answers,
            Err(why) => {
                tracing::debug!(server = %self.url, why, "an MCP server did not answer");
                id.map(|id| ServerJsonRpcMessage::error(ErrorData::internal_error(why, None), Some(id)))
                    .into_iter()
                    .collect()
            }
        }
    }

    async fn exchange(&self, message: &ClientJsonRpcMessage) -> Result<Vec<ServerJsonRpcMessage>, String> {
        let body = serde_json::to_vec(message).map_err(|error| error.to_string())?;
        let mut request = self.request(Method::POST);
        *request.body_mut() = Some(body.into());
        let response = self.egress.send("mcp", request).await.map_err(|failure| failure.to_string())?;
        let awaited = matches!(message, ClientJsonRpcMessage::Request(_));
        if !(200..300).contains(&response.status) {
            return Err(format!("the server answered {}: {}", response.status, excerpt(&response.body)));
        }
        if !awaited {
            return Ok(Vec::new());
        }
        let answers = messages(&response)?;
        if let ClientJsonRpcMessage::Request(request) = message
            && matches!(request.request, ClientRequest::InitializeRequest(_))
        {
            self.enter(&response, &answers);
        }
        Ok(answers.into_iter().filter_map(|answer| serde_json::from_value(answer).ok()).collect())
    }

    /// Keeps what goes with every message from now on: the session's name and the revision that was agreed on.
    fn enter(&self, response: &Response, answers: &[Value]) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.clear();
        if let Some(name) = response.headers.get(&SESSION) {
            session.insert(SESSION, name.clone());
        }
        let revision = answers.iter().find_map(|answer| answer["result"]["protocolVersion"].as_str());
        if let Some(revision) = revision.and_then(|revision| HeaderValue::from_str(revision).ok()) {
            session.insert(REVISION, revision);
        }
    }

    /// Tells the server that nobody will come back to the session; whether it heard that is its own affair.
    async fn leave(&self) {
        let named = self.session.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&SESSION);
        if named && let Err(failure) = self.egress.send("mcp", self.request(Method::DELETE)).await {
            tracing::debug!(server = %self.url, %failure, "an MCP session was not ended");
        }
    }

    fn request(&self, method: Method) -> Request {
        let mut request = Request::new(method, self.url.clone());
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.extend(self.session.lock().unwrap_or_else(PoisonError::into_inner).clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }
}

/// The messages in an answer, which is one as JSON, or several as events.
fn messages(response: &Response) -> Result<Vec<Value>, String> {
    let kind = response.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let body = String::from_utf8_lossy(&response.body);
    let none = || format!("the server's answer is no message: {}", excerpt(&response.body));
    if !kind.starts_with("text/event-stream") {
        return serde_json::from_str(&body).map(|message| vec![message]).map_err(|_| none());
    }
    let (mut found, mut data) = (Vec::new(), String::new());
    for line in body.lines().chain([""]) {
        if let Some(more) = line.strip_prefix("data:") {
            data.push_str(more.strip_prefix(' ').unwrap_or(more));
            data.push('\n');
        } else if line.is_empty() && !data.trim().is_empty() {
            found.push(serde_json::from_str(&data).map_err(|_| none())?);
            data.clear();
        }
    }
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(EXCERPT * 4)]).chars().take(EXCERPT).collect()
}
