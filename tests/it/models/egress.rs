//! The one way out: what a server may make the client do.

use aegis::egress::{Egress, Failure, Url, read_bounded};
use axum::{Router, response::Redirect, routing::get};

/// A server that redirects, and one that it redirects to.
async fn servers() -> (Url, Url) {
    let elsewhere = serve(Router::new().route("/", get(|| async { "secrets" }))).await;
    let target = elsewhere.to_string();
    let redirecting = Router::new()
        .route("/away", get(move || async move { Redirect::temporary(&target) }))
        .route("/within", get(|| async { Redirect::temporary("/long") }))
        .route("/long", get(|| async { "x".repeat(10_000) }));
    (serve(redirecting).await, elsewhere)
}

async fn serve(app: Router) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    Url::parse(&format!("http://{address}/")).unwrap()
}

#[tokio::test]
async fn a_redirect_to_another_address_is_not_followed_and_one_within_is() {
    let (server, elsewhere) = servers().await;
    let egress = Egress::allowing([("models.ollama.url", server.as_str())]).unwrap();
    assert!(egress.client_for("test", &elsewhere).is_err());
    let client = egress.client_for("test", &server).unwrap();
    let away = client.get(server.join("away").unwrap()).send().await.map_err(Failure::from);
    assert!(matches!(&away, Err(Failure::Broken(why)) if why.contains("another address")), "{away:?}");
    let within = client.get(server.join("within").unwrap()).send().await.unwrap();
    assert_eq!(read_bounded(within, 10_000).await.unwrap().len(), 10_000);
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit_only() {
    let (server, _) = servers().await;
    let egress = Egress::allowing([("models.ollama.url", server.as_str())]).unwrap();
    let long = egress.client_for("test", &server).unwrap().get(server.join("long").unwrap()).send().await.unwrap();
    assert!(matches!(read_bounded(long, 9_999).await, Err(Failure::TooLarge(9_999))));
}
