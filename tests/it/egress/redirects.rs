//! Where a server may send a request on to.

use std::sync::{Arc, Mutex};

use aegis::egress::{Failure, Grant, Method, Refusal, Request, header};
use axum::{
    Router,
    extract::Query,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect},
    routing::any,
};
use serde::Deserialize;

use super::{INSIDE, World};

#[derive(Deserialize)]
struct To {
    to: String,
}

/// `/go?to=URL` redirects there; anything else says which headers it got.
fn redirecting(seen: Arc<Mutex<Vec<HeaderMap>>>) -> Router {
    let go = |Query(To { to }): Query<To>| async move { Redirect::temporary(&to) };
    let note = move |headers: HeaderMap| async move {
        seen.lock().unwrap().push(headers);
        (StatusCode::OK, "arrived").into_response()
    };
    Router::new().route("/go", any(go)).fallback(any(note))
}

/// The address that redirects to `to`.
fn going(world: &World, to: &str) -> aegis::egress::Url {
    let mut url = world.url("api.example.org", "go");
    url.query_pairs_mut().append_pair("to", to);
    url
}

#[tokio::test]
async fn a_redirect_to_the_inside_is_refused_in_every_spelling_and_through_every_client() {
    let grant = |port| vec![Grant::provider("models.ollama.url", &format!("http://127.0.0.1:{port}")).unwrap()];
    let world = World::with(redirecting(Arc::default()), &[], grant).await;
    world.names.says("other.example.org", &[&[INSIDE]]);
    let port = world.port;
    for host in [
        // The first is the exception of a provider: ours to ask, and nobody's to send us to.
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "127.0.0.3",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0",
        "localhost",
        "other.example.org",
        "api.example.org@127.0.0.1",
        "169.254.169.254",
        "evil.example",
    ] {
        let to = format!("http://{host}:{port}/latest/meta-data/");
        let failure = world.get(going(&world, &to)).await.unwrap_err();
        assert!(matches!(failure, Failure::Refused(_)), "{to}: {failure:?}");
        let failure = world.get_by_library(going(&world, &to)).await.unwrap_err();
        assert!(matches!(failure, Failure::Refused(Refusal::Redirected(_))), "{to}: {failure:?}");
    }
    for to in ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/"] {
        // What is no address of the web is not even taken for a redirect: the answer is what the server said.
        assert!(world.get(going(&world, to)).await.map_or(true, |answer| answer.status == 307), "{to}");
    }
    world.nobody_came_in();
}

#[tokio::test]
async fn a_redirect_to_an_allowed_host_is_a_new_attempt_without_the_keys_of_the_first() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let world = World::new(redirecting(seen.clone())).await;
    let to = world.url("other.example.org", "there").to_string();
    let mut request = Request::new(Method::GET, going(&world, &to));
    for name in ["x-api-key", "authorization", "cookie"] {
        request.headers_mut().insert(name, header::HeaderValue::from_static("hunter2"));
    }
    let answer = world.egress.send("test", request).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"arrived".as_slice()));
    assert_eq!(world.journal.outcomes(), ["done api.example.org", "done other.example.org"]);
    let [arrived] = &seen.lock().unwrap()[..] else { panic!("one request arrives") };
    let carried = arrived.iter().any(|(name, value)| name == header::REFERER || value.as_bytes() == b"hunter2");
    assert!(!carried, "{arrived:?}");
}

#[tokio::test]
async fn a_body_is_never_sent_on_to_another_host() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let world = World::new(redirecting(seen.clone())).await;
    let to = world.url("other.example.org", "there").to_string();
    let mut request = Request::new(Method::POST, going(&world, &to));
    *request.body_mut() = Some("a document".into());
    let failure = world.egress.send("test", request).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused(Refusal::Redirected(_))), "{failure:?}");
    assert!(seen.lock().unwrap().is_empty());
    assert_eq!(world.journal.outcomes(), ["refused api.example.org"]);
}

#[tokio::test]
async fn redirects_within_the_origin_are_followed_and_those_in_a_circle_are_not() {
    let world = World::new(redirecting(Arc::default())).await;
    assert_eq!(world.get(going(&world, "/there")).await.unwrap().body, b"arrived");
    assert_eq!(world.get_by_library(going(&world, "/there")).await.unwrap(), "arrived");
    let circle = Router::new().fallback(any(|| async { Redirect::temporary("/round") }));
    let world = World::new(circle).await;
    let failure = world.get(world.url("api.example.org", "")).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused(Refusal::RedirectedTooOften)), "{failure:?}");
    // Between two hosts, as well.
    let port = world.port;
    let between = move |headers: HeaderMap| async move {
        let here = headers[header::HOST].to_str().unwrap().starts_with("api");
        let there = if here { "other" } else { "api" };
        Redirect::temporary(&format!("http://{there}.example.org:{port}/"))
    };
    drop(world);
    let world = World::new(Router::new().fallback(any(between))).await;
    let failure = world.get(world.url("api.example.org", "")).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused(_)), "{failure:?}");
}
