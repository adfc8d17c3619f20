//! The axum kit: what every route gets without asking.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aegis::{
    config,
    http::{
        Kit, assets,
        context::RequestContext,
        csrf,
        extract::Json,
        health::{Readiness, Ready, show_health, show_readiness},
        middleware,
        serve::{Patience, serve},
        sse, theme,
    },
    support::{Error, Result},
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::Multipart,
    http::{Request, StatusCode, header},
    routing::{get, post},
};
use futures::StreamExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::visitor::Visitor;

/// The value of the cookie that the tests' forms are bound to.
const BINDING: &str = "0123456789abcdef";

fn kit(public_url: &str) -> Kit {
    Kit::new(&config::Server { listen: String::new(), public_url: public_url.to_owned() }).unwrap()
}

async fn fault() -> Result<()> {
    Err(Error::internal("the password of the database is hunter2"))
}

async fn panicking(context: RequestContext) {
    assert!(context.nonce().is_empty(), "hunter2 again");
}

async fn upload(mut parts: Multipart) -> Result<String> {
    let mut read = String::new();
    while let Some(part) = parts.next_field().await.map_err(|fault| Error::invalid(fault.body_text()))? {
        let name = part.name().unwrap_or_default().to_owned();
        let bytes = part.bytes().await.map_err(|fault| Error::invalid(fault.body_text()))?;
        write!(read, "{name}:{} ", bytes.len()).unwrap();
    }
    Ok(read)
}

fn app_under(public_url: &str) -> Router {
    let router = Router::new()
        .route("/nonce", get(|context: RequestContext| async move { context.nonce().to_owned() }))
        .route("/fault", get(fault))
        .route("/panic", get(panicking))
        .route("/long", get(|| async { "word ".repeat(1000) }))
        .route("/file", get(|| async { ([(header::CONTENT_TYPE, "application/pdf")], "word ".repeat(1000)) }))
        .route("/change", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/upload", post(upload))
        .route("/api/json", post(|Json(value): Json<serde_json::Value>| async move { value.to_string() }))
        .route("/theme", post(theme::set_theme))
        .route("/assets/{build}/{*path}", get(assets::show_asset));
    middleware::apply(router, kit(public_url))
}

fn app() -> Router {
    app_under("")
}

fn bound(app: &Router) -> Visitor {
    let mut visitor = Visitor::new(app);
    visitor.cookies.insert("aegis_form".into(), BINDING.into());
    visitor
}

#[tokio::test]
async fn every_answer_tells_browsers_to_hold_their_ground_whether_it_succeeds_or_not() {
    let mut visitor = Visitor::new(&app());
    for path in ["/nonce", "/fault", "/nowhere"] {
        let reply = visitor.get(path).await;
        let policy = reply.header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "style-src 'self';",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("referrer-policy"), "same-origin");
        assert_eq!(reply.header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(reply.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(reply.header("cache-control"), "private, no-store");
        assert_eq!(reply.header("strict-transport-security"), "");
    }
    let reply = Visitor::new(&app_under("https://aegis.example.org")).get("/nonce").await;
    assert_eq!(reply.header("strict-transport-security"), "max-age=31536000");
}

#[tokio::test]
async fn each_request_has_a_nonce_and_an_id_of_its_own_and_nobody_else_chooses_it() {
    let mut visitor = Visitor::new(&app());
    let (one, two) = (visitor.get("/nonce").await, visitor.get("/nonce").await);
    assert_ne!(one.body, two.body);
    assert!(one.header("content-security-policy").contains(&format!("'nonce-{}'", one.body)));
    assert!(!one.header("content-security-policy").contains(&two.body));
    let reply = visitor.send(Request::get("/nonce").header("x-request-id", "mine"), Body::empty()).await;
    assert_eq!(reply.header("x-request-id").len(), 16);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn a_fault_is_told_without_its_detail_as_a_page_or_as_an_envelope() {
    let mut visitor = Visitor::new(&app());
    for path in ["/fault", "/panic"] {
        let page = visitor.get(path).await;
        assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.body.contains(page.header("x-request-id")), "{}", page.body);
        let json = visitor.send(Request::get(path).header("accept", "application/json"), Body::empty()).await;
        assert_eq!(json.status, StatusCode::INTERNAL_SERVER_ERROR);
        let error = &json.json()["error"];
        assert_eq!(error["kind"], "internal");
        assert_eq!(error["request_id"], json.header("x-request-id"));
        assert!(error["message"].is_string() && error["remedy"].is_string());
        assert!(!page.body.contains("hunter2") && !json.body.contains("hunter2"));
    }
}

#[tokio::test]
async fn what_axum_refuses_by_itself_has_the_same_envelope() {
    let mut visitor = bound(&app());
    let missing = visitor.get("/api/nowhere").await;
    assert_eq!((missing.status, &missing.json()["error"]["kind"]), (StatusCode::NOT_FOUND, &"not_found".into()));
    let page = visitor.get("/%3Cscript%3E").await;
    assert!(page.status == StatusCode::NOT_FOUND && page.body.starts_with("<!doctype html>"), "{}", page.body);
    let method = visitor.get("/api/json").await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!((method.header("allow"), &method.json()["error"]["kind"]), ("POST", &"invalid".into()));
    let json = |body: String| {
        let request = Request::post("/api/json").header("content-type", "application/json");
        (request.header(csrf::HEADER, csrf::token(BINDING)), Body::from(body))
    };
    let (request, body) = json("{".into());
    let broken = visitor.send(request, body).await;
    assert_eq!((broken.status, &broken.json()["error"]["kind"]), (StatusCode::BAD_REQUEST, &"invalid".into()));
    let (request, body) = json(format!("\"{}\"", "x".repeat(middleware::BODY_LIMIT)));
    let large = visitor.send(request, body).await;
    assert_eq!((large.status, &large.json()["error"]["kind"]), (StatusCode::PAYLOAD_TOO_LARGE, &"too_large".into()));
}

#[tokio::test]
async fn nothing_is_changed_without_a_token_bound_to_the_browser() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let change = move || async move { counted.fetch_add(1, Ordering::SeqCst).to_string() };
    let app = middleware::apply(Router::new().route("/change", post(change.clone()).delete(change)), kit(""));
    let mut visitor = bound(&app);
    let token = csrf::token(BINDING);

    let other = csrf::token("another cookie");
    for fields in [&[][..], &[("csrf", "")], &[("csrf", other.as_str())], &[("x", token.as_str())]] {
        assert_eq!(visitor.post("/change", fields).await.status, StatusCode::FORBIDDEN, "{fields:?}");
    }
    let delete = visitor.send(Request::delete("/change"), Body::empty()).await;
    assert_eq!(delete.status, StatusCode::FORBIDDEN);
    visitor.site = "cross-site";
    assert_eq!(visitor.post("/change", &[("csrf", &token)]).await.status, StatusCode::FORBIDDEN);
    visitor.site = "same-origin";
    visitor.cookies.clear();
    assert_eq!(visitor.post("/change", &[("csrf", &token)]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(calls.load(Ordering::SeqCst), 0);

    let mut visitor = bound(&app);
    assert_eq!(visitor.post("/change", &[("csrf", &token)]).await.status, StatusCode::OK);
    let delete = Request::delete("/change").header(csrf::HEADER, &token);
    assert_eq!(visitor.send(delete, Body::empty()).await.status, StatusCode::OK);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn once_there_is_a_session_a_token_of_the_forms_cookie_is_not_enough() {
    let mut visitor = bound(&app());
    visitor.cookies.insert("aegis_session".into(), "f".repeat(43));
    let weak = visitor.post("/change", &[("csrf", &csrf::token(BINDING))]).await;
    assert_eq!(weak.status, StatusCode::FORBIDDEN);
    let strong = visitor.post("/change", &[("csrf", &csrf::token(&"f".repeat(43)))]).await;
    assert_eq!(strong.status, StatusCode::OK);
}

#[tokio::test]
async fn a_form_arrives_whole_after_its_token_was_looked_for() {
    let mut visitor = bound(&app());
    let token = csrf::token(BINDING);
    let reply = visitor.post("/change", &[("csrf", &token), ("text", "é&=")]).await;
    assert_eq!(reply.body, format!("csrf={}&text=%C3%A9%26%3D", "%00".repeat(token.len())).len().to_string());
    let large = visitor.post("/change", &[("csrf", &token), ("text", &"x".repeat(100_000))]).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);

    let file = "y".repeat(200_000);
    let form = |first: &str, second: &str| {
        let part = |name: &str| match name {
            "csrf" => format!("--B\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{token}\r\n"),
            _ => format!("--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n{file}\r\n"),
        };
        let pieces = format!("{}{}--B--\r\n", part(first), part(second)).into_bytes();
        // Small pieces, so that the token itself is cut in two.
        let pieces: Vec<_> =
            pieces.chunks(37).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
        let request = Request::post("/upload").header("content-type", "multipart/form-data; boundary=B");
        (request, Body::from_stream(futures::stream::iter(pieces)))
    };
    let (request, body) = form("csrf", "file");
    let first = visitor.send(request, body).await;
    assert_eq!((first.status, first.body.as_str()), (StatusCode::OK, "csrf:80 file:200000 "));
    let (request, body) = form("file", "csrf");
    assert_eq!(visitor.send(request, body).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_consoles_files_are_kept_for_ever_under_the_hash_of_all_of_them() {
    let mut visitor = Visitor::new(&app());
    let url = assets::asset_url("css/base.css");
    let css = visitor.get(&url).await;
    assert_eq!((css.status, css.header("content-type")), (StatusCode::OK, "text/css; charset=utf-8"));
    assert_eq!(css.header("cache-control"), "public, max-age=31536000, immutable");
    let again = Request::get(&url).header(header::IF_NONE_MATCH, css.header("etag"));
    let again = visitor.send(again, Body::empty()).await;
    assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    let old = visitor.get("/assets/0000/css/base.css").await;
    assert_eq!((old.status, old.header("cache-control")), (StatusCode::OK, "no-cache"));
    let font = visitor.get(&assets::asset_url("fonts/inter-latin.woff2")).await;
    assert_eq!((font.status, font.header("content-type")), (StatusCode::OK, "font/woff2"));
    for hidden in
        ["templates/error.html", "askama.toml", "../Cargo.toml", "..%2fCargo.toml", "css/..%2f..%2fCargo.toml"]
    {
        assert_eq!(visitor.get(&assets::asset_url(hidden)).await.status, StatusCode::NOT_FOUND, "{hidden}");
    }
}

#[tokio::test]
async fn text_is_compressed_for_those_who_can_read_it() {
    let mut visitor = Visitor::new(&app());
    let plain = visitor.get("/long").await;
    assert_eq!((plain.header("content-encoding"), plain.body.len()), ("", 5000));
    let request = Request::get("/long").header("accept-encoding", "gzip, br");
    let zipped = visitor.send(request, Body::empty()).await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    assert!(zipped.body.len() < 500);
    let request = Request::get("/file").header("accept-encoding", "gzip, br");
    assert_eq!(visitor.send(request, Body::empty()).await.header("content-encoding"), "");
}

#[tokio::test]
async fn the_theme_is_kept_in_a_cookie_and_leads_back_to_a_page_of_ours() {
    let mut visitor = bound(&app());
    let request = |referer: &str| {
        Request::post("/theme")
            .header("referer", referer)
            .header("content-type", "application/x-www-form-urlencoded")
            .header(csrf::HEADER, csrf::token(BINDING))
    };
    let reply = visitor.send(request("http://localhost:8480/knowledge?q=x"), "theme=dark".into()).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, "/knowledge"));
    assert_eq!(visitor.cookies["theme"], "dark");
    let page = visitor.get("/nowhere").await;
    assert!(page.body.contains("data-theme=\"dark\""), "{}", page.body);
    let reply = visitor.send(request("http://localhost//evil.example/x"), "theme=%0d%0aSet-Cookie:x".into()).await;
    assert_eq!((reply.header("location"), visitor.cookies["theme"].as_str()), ("/", "auto"));
}

#[tokio::test]
async fn events_reach_a_browser_one_by_one_and_a_stop_lets_them_finish() {
    let (send, receive) = mpsc::unbounded_channel::<serde_json::Value>();
    let receive = Arc::new(std::sync::Mutex::new(Some(receive)));
    let stream = move || async move {
        let receive = receive.lock().unwrap().take().unwrap();
        sse::events(UnboundedReceiverStream::new(receive).map(|event| event))
    };
    let app = middleware::apply(Router::new().route("/events", get(stream)), kit(""));
    let (address, stop, server) = started(app, Patience::default()).await;

    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n").await.unwrap();
    let mut read = String::new();
    read_until(&mut socket, &mut read, "\r\n\r\n").await;
    assert!(read.contains("content-type: text/event-stream") && !read.contains("content-encoding"), "{read}");
    assert!(read.contains("x-accel-buffering: no"), "{read}");
    send.send(serde_json::json!({"type": "text", "text": "first"})).unwrap();
    read_until(&mut socket, &mut read, "event: text\ndata: {\"type\":\"text\",\"text\":\"first\"}\n\n").await;
    stop.cancel();
    send.send(serde_json::json!({"type": "finished"})).unwrap();
    drop(send);
    socket.read_to_string(&mut read).await.unwrap();
    assert!(read.contains("event: finished\n") && read.ends_with("0\r\n\r\n"), "{read}");
    server.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_request_is_dropped() {
    let patience = Patience { head: Duration::from_millis(200), grace: Duration::from_millis(200) };
    let (address, stop, server) = started(app(), patience).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /nonce HTTP/1.1\r\nHost:").await.unwrap();
    let mut answer = String::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), slow.read_to_string(&mut answer)).await;
    assert!(ended.is_ok(), "the connection is still open");
    assert!(!answer.contains("200 OK"), "{answer}");
    stop.cancel();
    server.await.unwrap();
}

struct Failing;

#[async_trait::async_trait]
impl Readiness for Failing {
    async fn check(&self) -> Result<()> {
        Err(Error::unavailable("the database does not answer").because("secret detail"))
    }
}

#[tokio::test]
async fn a_process_that_lives_but_cannot_work_says_what_is_missing() {
    let router = Router::new().route("/healthz", get(show_health)).route("/readyz", get(show_readiness));
    let app = middleware::apply(router.with_state(Ready(Arc::new(Failing))), kit(""));
    let mut visitor = Visitor::new(&app);
    let alive = visitor.get("/healthz").await;
    assert_eq!((alive.status, alive.json()), (StatusCode::OK, serde_json::json!({"status": "ok"})));
    let ready = visitor.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.json()["error"]["message"], "The database does not answer");
    assert!(!ready.body.contains("secret"));
}

async fn started(
    app: Router,
    patience: Patience,
) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let server = tokio::spawn(serve(listener, app, patience, stop.clone()));
    (address, stop, server)
}

async fn read_until(socket: &mut TcpStream, read: &mut String, wanted: &str) {
    let mut buffer = [0; 4096];
    while !read.contains(wanted) {
        let length = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut buffer)).await.unwrap().unwrap();
        assert_ne!(length, 0, "the connection ended after {read}");
        read.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
}
