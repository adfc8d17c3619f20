//! `http.fetch`, as an agent calls it: what is read, what is refused, and pages that were made to do harm.

use std::time::{Duration, Instant};

use aegis::{
    agents::{
        tool::{Effects, Tool, ToolContext, ToolOutput},
        tools::{Fetch, sandbox::Sandbox},
    },
    support::{Kind, Result},
};
use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Redirect},
    routing::get,
};
use serde_json::json;

use super::World;
use crate::{appliance::AEGIS, harness::TestDb, tools};

struct Reader {
    world: World,
    fetch: Fetch,
    context: ToolContext,
    _db: TestDb,
}

impl Reader {
    async fn new(app: Router) -> Self {
        let db = TestDb::new().await;
        let context = tools::context(db.tenant("acme").await.1);
        let world = World::with(app, &[("AEGIS_EGRESS__MAX_RESPONSE_MIB", "8")], |_| Vec::new()).await;
        let fetch = Fetch::new(world.egress.clone(), Sandbox::new(AEGIS.into()));
        Self { world, fetch, context, _db: db }
    }

    async fn get(&self, address: &str) -> Result<ToolOutput> {
        self.fetch.call(&self.context, json!({"address": address})).await
    }

    async fn page(&self, path: &str) -> Result<String> {
        let output = self.get(self.world.url("api.example.org", path).as_str()).await?;
        Ok(output.content.as_str().unwrap().to_owned())
    }

    /// What the tool says of a page that cannot be read.
    async fn refusal(&self, path: &str) -> String {
        self.page(path).await.unwrap_err().message().to_owned()
    }
}

fn typed(kind: &'static str, body: impl Into<Vec<u8>>) -> axum::routing::MethodRouter {
    let body = body.into();
    get(move || async move { ([(CONTENT_TYPE, kind)], body) })
}

#[tokio::test]
async fn pages_texts_and_json_are_read_and_everything_else_is_refused_by_its_type() {
    let html = b"<html><head><meta charset=windows-1252><title>Caf\xe9</title></head><body><h1>Hours</h1>\
                 <p>Open from <b>nine</b>.</p><script>alert('x')</script></body></html>";
    let app = Router::new()
        .route("/page", typed("text/html", &html[..]))
        .route("/text", typed("text/plain; charset=iso-8859-1", &b"gr\xfc\xdfe"[..]))
        .route("/json", typed("application/json", &br#"{"open": "nine"}"#[..]))
        .route("/markdown", typed("text/markdown", "# Hours\n\nNine."))
        .route("/picture", typed("image/png", &b"\x89PNG"[..]))
        .route("/program", typed("application/octet-stream", &b"\x7fELF"[..]))
        .route("/gone", get(|| async { StatusCode::NOT_FOUND.into_response() }))
        .route("/moved", get(|| async { Redirect::temporary("/text") }));
    let reader = Reader::new(app).await;
    assert_eq!((reader.fetch.effects(), reader.fetch.returns_untrusted_text()), (Effects::Outside, true));

    let page = reader.page("page").await.unwrap();
    assert!(
        page.starts_with(&format!("Address: {}\nTitle: Café\n", reader.world.url("api.example.org", "page"))),
        "{page}"
    );
    assert!(page.contains("Hours") && page.contains("Open from nine.") && !page.contains("alert"), "{page}");
    assert!(reader.page("text").await.unwrap().ends_with("\n\ngrüße"));
    assert!(reader.page("json").await.unwrap().ends_with(r#"{"open": "nine"}"#));
    assert!(reader.page("markdown").await.unwrap().ends_with("# Hours\n\nNine."));
    assert!(reader.page("moved").await.unwrap().ends_with("grüße"));
    assert!(reader.refusal("picture").await.starts_with("the server sent image/png;"));
    assert!(reader.refusal("program").await.starts_with("the server sent application/octet-stream;"));
    assert!(reader.refusal("gone").await.starts_with("the server answered 404"));
    assert!(reader.world.journal.all().iter().all(|attempt| attempt.purpose == "fetch"));
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_refused_with_what_can_be_done_about_it() {
    let reader =
        Reader::new(Router::new().route("/out", get(|| async { Redirect::temporary("http://evil.example/") }))).await;
    let port = reader.world.port;
    let error = reader.get("https://www.example.com/?stolen=words").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Forbidden);
    assert_eq!(
        error.message(),
        "www.example.com is not on the allow-list; to allow it, the operator of this appliance can add it to [egress] allow in config.toml"
    );
    for inside in
        [format!("http://127.0.0.1:{port}/"), format!("http://localhost:{port}/"), "http://169.254.169.254/".to_owned()]
    {
        assert_eq!(reader.get(&inside).await.unwrap_err().kind(), Kind::Forbidden, "{inside}");
    }
    assert!(reader.refusal("out").await.contains("allow"));
    for wrong in ["file:///etc/passwd", "http://me:secret@api.example.org/", "not an address"] {
        assert_eq!(reader.get(wrong).await.unwrap_err().kind(), Kind::Invalid, "{wrong}");
    }
    reader.world.nobody_came_in();
}

#[tokio::test]
async fn a_page_that_was_made_to_do_harm_is_read_or_refused_and_the_appliance_goes_on() {
    const DEPTH: usize = 100_000;
    let formatting = (0..400).map(|n| format!("<b x={n}>")).collect::<Vec<_>>().concat();
    let app = Router::new()
        .route("/deep", typed("text/html", format!("{}deep{}", "<div>".repeat(DEPTH), "</div>".repeat(DEPTH))))
        .route("/unclosed", typed("text/html", "<span>".repeat(DEPTH) + "deep"))
        .route("/tables", typed("text/html", "<table><tr><td>".repeat(20_000) + "deep"))
        .route("/lists", typed("text/html", "<ul><li>".repeat(DEPTH) + "deep"))
        .route("/formatting", typed("text/html", formatting + &"<p>".repeat(DEPTH)))
        .route("/wide", typed("text/html", format!("<table><tr><td colspan={}>x", usize::MAX)))
        .route("/large", typed("text/html", "<p>x".repeat(1_500_000)))
        .route("/endless", typed("text/plain", vec![b'x'; 9 << 20]))
        .route("/fine", typed("text/html", "<p>fine"));
    let reader = Reader::new(app).await;
    for path in ["deep", "unclosed", "tables", "lists", "formatting", "wide", "large", "endless"] {
        let began = Instant::now();
        let told = reader.page(path).await;
        let shown =
            told.as_ref().map_or_else(|error| error.message().to_owned(), |page| format!("{} bytes", page.len()));
        println!("{:>6} ms  {path:<12} {shown:.100}", began.elapsed().as_millis());
        assert!(began.elapsed() < Duration::from_secs(30), "{path}");
        if let Err(error) = told {
            assert!(matches!(error.kind(), Kind::Invalid | Kind::TooLarge), "{path}: {error:?}");
        }
    }
    assert!(reader.page("fine").await.unwrap().ends_with("fine"));
}
