//! A server on a real socket that writes down what it is sent and answers with bytes, cut where a test wants.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A running stand-in.
pub struct Vendor {
    address: std::net::SocketAddr,
    shared: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    replies: VecDeque<Reply>,
    requests: Vec<Request>,
    closed_by_client: usize,
}

/// What was sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// `POST /v1/chat/completions`
    pub line: String,
    /// In lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Value,
}

impl Request {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// After so many bytes there is a pause, or the end.
    cut: Option<usize>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection ends after the body.
    Close,
    /// And at the cut already.
    CloseAtCut,
    /// Nothing more comes, and the connection stays.
    Hang,
}

impl Reply {
    /// A stream of events.
    pub fn stream(body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), "text/event-stream; charset=utf-8".to_owned())];
        Self { status: 200, headers, body: body.into(), cut: None, end: End::Close }
    }

    /// A refusal.
    pub fn refuse(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes(), cut: None, end: End::Close }
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(header, _)| header != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// In two pieces.
    pub fn split_at(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// No more than so much of it.
    pub fn close_at(mut self, bytes: usize) -> Self {
        (self.cut, self.end) = (Some(bytes), End::CloseAtCut);
        self
    }

    /// The connection stays open after it.
    pub fn then_hang(mut self) -> Self {
        self.end = End::Hang;
        self
    }
}

impl Vendor {
    /// Starts on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Mutex::new(State::default()));
        let accepted = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let shared = Arc::clone(&accepted);
                tokio::spawn(async move {
                    let _ = serve(connection, shared).await;
                });
            }
        });
        Self { address, shared, server }
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the next requests are answered with, in order.
    pub fn reply(&self, reply: Reply) {
        self.state().replies.push_back(reply);
    }

    /// Everything that was asked.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The last that was asked.
    pub fn last(&self) -> Request {
        self.state().requests.last().cloned().expect("a request")
    }

    /// How many connections were closed by the client before the answer ended.
    pub fn closed_by_client(&self) -> usize {
        self.state().closed_by_client
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut connection: TcpStream, shared: Arc<Mutex<State>>) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let Some(request) = read_request(&mut connection).await? else { return Ok(()) };
    let reply = {
        let mut state = lock(&shared);
        state.requests.push(request);
        state.replies.pop_front()
    };
    let reply = reply.unwrap_or_else(|| Reply::refuse(500, &serde_json::json!({ "error": "no reply is scripted" })));
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
    }
    connection.write_all(format!("{head}\r\n").as_bytes()).await?;
    let cut = reply.cut.unwrap_or(reply.body.len());
    connection.write_all(&reply.body[..cut]).await?;
    connection.flush().await?;
    if reply.end != End::CloseAtCut && cut < reply.body.len() {
        tokio::time::sleep(Duration::from_millis(2)).await;
        connection.write_all(&reply.body[cut..]).await?;
    }
    if reply.end == End::Hang {
        let mut rest = [0_u8; 64];
        // The client sends nothing more: what can be read is the end of the connection.
        let _ = connection.read(&mut rest).await;
        lock(&shared).closed_by_client += 1;
    }
    connection.shutdown().await
}

async fn read_request(connection: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut received = Vec::new();
    let head = loop {
        if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if connection.read_buf(&mut received).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&received[..head]).into_owned();
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let length: usize = length.unwrap_or(0);
    while received.len() < head + 4 + length {
        if connection.read_buf(&mut received).await? == 0 {
            return Ok(None);
        }
    }
    let body = serde_json::from_slice(&received[head + 4..]).unwrap_or(Value::Null);
    Ok(Some(Request { line, headers, body }))
}
