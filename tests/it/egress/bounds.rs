//! How much is read and how long is waited, whatever the other side does.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use aegis::egress::{Failure, read_bounded};
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, header},
    response::IntoResponse,
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use futures::{StreamExt, stream};

use super::World;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit_only_even_if_it_never_ends() {
    let endless = || async { Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 64 << 10]))) };
    let exact = || async { vec![b'x'; MIB] };
    let long = || async { vec![b'x'; MIB + 1] };
    let app = Router::new().route("/endless", get(endless)).route("/exact", get(exact)).route("/long", get(long));
    let world = World::with(app, &[("AEGIS_EGRESS__MAX_RESPONSE_MIB", "1")], |_| Vec::new()).await;
    assert_eq!(world.get(world.url("api.example.org", "exact")).await.unwrap().body.len(), MIB);
    for path in ["endless", "long"] {
        let failure = world.get(world.url("api.example.org", path)).await.unwrap_err();
        assert!(matches!(failure, Failure::TooLarge(MIB)), "{path}: {failure}");
    }
    assert_eq!(world.journal.outcomes(), ["done api.example.org", "failed api.example.org", "failed api.example.org"]);
    let at = world.url("api.example.org", "long");
    let outbound = world.egress.client_for("library", &at).unwrap();
    let response = outbound.get(at).send().await.unwrap();
    assert!(matches!(read_bounded(response, 9_999).await, Err(Failure::TooLarge(9_999))));
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_only_drips_ends_in_time() {
    let never = || async { std::future::pending::<&str>().await };
    let drips = || async {
        let drops = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok::<_, std::io::Error>("x")
        });
        Body::from_stream(drops)
    };
    let app = Router::new().route("/never", get(never)).route("/drips", get(drips));
    let world = World::with(app, &[("AEGIS_EGRESS__TIMEOUT_SECONDS", "1")], |_| Vec::new()).await;
    for path in ["never", "drips"] {
        let began = Instant::now();
        let failure = world.get(world.url("api.example.org", path)).await.unwrap_err();
        assert!(matches!(failure, Failure::TimedOut), "{path}: {failure}");
        let took = began.elapsed();
        assert!((900..4000).contains(&took.as_millis()), "{path} took {took:?}");
    }
    assert_eq!(world.journal.all()[1].reason.as_deref(), Some("the answer took too long"));
    assert!(world.journal.all()[1].bytes.is_some_and(|bytes| bytes > 3), "what dripped is counted");
}

#[tokio::test]
async fn a_compressed_answer_stays_compressed_and_none_is_asked_for() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        bomb.write_all(&vec![0; MIB]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let size = bomb.len();
    let app = Router::new().fallback(get(move |headers: HeaderMap| async move {
        assert!(!headers.contains_key(header::ACCEPT_ENCODING), "{headers:?}");
        ([(header::CONTENT_ENCODING, "gzip")], bomb.clone()).into_response()
    }));
    let world = World::with(app, &[("AEGIS_EGRESS__MAX_RESPONSE_MIB", "1")], |_| Vec::new()).await;
    let answer = world.get(world.url("api.example.org", "")).await.unwrap();
    assert_eq!(answer.body.len(), size);
    assert!(size < MIB, "{size} bytes stand for 64 MiB");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_from_one_that_is_refused() {
    let world = World::new(Router::new()).await;
    world.names.says("api.example.org", &[]);
    let failure = world.get(world.url("api.example.org", "")).await.unwrap_err();
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
    assert_eq!(world.journal.outcomes(), ["failed api.example.org"]);
}
