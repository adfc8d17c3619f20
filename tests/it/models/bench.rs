//! AEGIS's router against LiteLLM's proxy, over the same mock of a provider, with the same load. How to run it, and what it
//! does and does not say, stands in `tests/bench/README.md`.

use std::{
    env,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use aegis::{
    audit::{self, Action, Actor, NewEntry},
    config::{self, Config},
    db::TenantDb,
    egress::Egress,
    models::{
        Router,
        budget::Budgets,
        chat::{ChatEvent, ChatRequest, Message, Speaker},
        router_with_engine,
    },
    support::{clock::SharedClock, ids::RunId},
};
use axum::{
    Json,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::TestDb;

const CONNECTIONS: usize = 32;
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(10);

/// What came of one round of load.
struct Figures {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark, run by hand: tests/bench/README.md"]
async fn the_router_against_litellms_proxy() {
    let litellm = env::var("LITELLM").expect("LITELLM=/path/to/venv/bin/litellm, see tests/bench/README.md");
    let home = tempfile::tempdir().unwrap();
    let provider = serve(axum::Router::new().route("/v1/chat/completions", post(provide))).await;
    let db = TestDb::new().await;
    let (_, tenant) = db.tenant("acme").await;
    let settings = Config::load(None, Some(home.path())).unwrap().budgets;
    let budgets = Budgets::new(
        &config::Budgets { money_per_month: 1e9, paid_tokens_per_month: 0, ..settings },
        db.shared_clock(),
    );
    let router = router(provider, home.path(), db.shared_clock());
    let proxy = Proxy { router, budgets, tenant, clock: db.shared_clock() };
    let aegis =
        serve(axum::Router::new().route("/v1/chat/completions", post(answer)).with_state(Arc::new(proxy))).await;
    let (mut child, other) = start_litellm(&litellm, provider, home.path()).await;

    println!("{:<22} {:>10} {:>10} {:>10} {:>10}", "", "req/s", "p50 ms", "p99 ms", "added p50");
    let mut all = Vec::new();
    for connections in [1, CONNECTIONS] {
        let mut direct = 0.0;
        for (name, address) in [("directly", provider), ("AEGIS", aegis), ("LiteLLM", other)] {
            load(address, connections, WARM_UP).await;
            let figures = load(address, connections, MEASURED).await;
            if name == "directly" {
                direct = figures.p50_ms;
            }
            let added = figures.p50_ms - direct;
            let what = format!("{name}, {connections} conn.");
            println!(
                "{what:<22} {:>10.0} {:>10.2} {:>10.2} {added:>10.2}",
                figures.per_second, figures.p50_ms, figures.p99_ms
            );
            all.push((figures, added));
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for (place, connections) in [(0, 1), (3, CONNECTIONS)] {
        let ((ours, added), (theirs, theirs_added)) = (&all[place + 1], &all[place + 2]);
        println!(
            "{connections} connections: AEGIS answers {:.1} x as many requests a second, and adds {:.2} x the time",
            ours.per_second / theirs.per_second,
            added / theirs_added
        );
    }
}

/// The router as the configuration makes it: one cloud provider.
fn router(provider: SocketAddr, home: &Path, clock: SharedClock) -> Router {
    let file = home.join("config.toml");
    let text = format!(
        "[models]\nchain = [\"mock/gpt\"]\n[providers.mock]\nkind = \"openai\"\nurl = \"http://{provider}/v1\"\nkey = \"k\"\nlocal = false\n\
         models = {{ gpt = {{ context = 128000, input_price = 1.0, output_price = 2.0 }} }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let config = Config::load_from(Some(&file), [], Some(home)).unwrap();
    let egress = Egress::new(&config).unwrap();
    router_with_engine(&config, &egress, clock, Path::new("/nonexistent")).unwrap()
}

struct Proxy {
    router: Router,
    budgets: Budgets,
    tenant: TenantDb,
    clock: SharedClock,
}

/// What a proxy does: the router with a meter, the whole answer, and the entry in the audit log before it is given out.
async fn answer(State(proxy): State<Arc<Proxy>>, Json(body): Json<Value>) -> Json<Value> {
    let messages = body["messages"].as_array().unwrap().iter();
    let messages: Vec<Message> =
        messages.map(|message| Message::new(Speaker::User, message["content"].as_str().unwrap())).collect();
    let request = ChatRequest { messages, max_tokens: Some(64), ..ChatRequest::default() };
    let run = RunId::generate();
    let router = proxy.router.metered(proxy.budgets.meter(&proxy.tenant, "atlas", run));
    let mut answering = router.chat(|_| request.clone()).await.unwrap();
    let (mut text, mut finish) = (String::new(), None);
    while let Some(event) = answering.stream.next().await {
        match event.unwrap() {
            ChatEvent::Text(piece) => text.push_str(&piece),
            ChatEvent::Done(done) => finish = Some(done),
            _ => {}
        }
    }
    let finish = finish.unwrap();
    let detail = json!({ "request": request, "text": text, "finish": finish, "why": answering.why });
    let entry = NewEntry {
        actor: Actor::System,
        action: Action::ModelCalled,
        run: Some(run),
        subject: Some(answering.model.clone()),
        detail,
    };
    audit::append(&proxy.tenant, &*proxy.clock, entry).await.unwrap();
    Json(json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": answering.model,
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": finish.prompt_tokens, "completion_tokens": finish.completion_tokens,
                   "total_tokens": finish.prompt_tokens + finish.completion_tokens },
    }))
}

/// The provider: the same answer to everybody, at once; streamed to those who want that.
async fn provide(Json(body): Json<Value>) -> Response {
    let usage = json!({ "prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18 });
    if body["stream"] != true {
        return Json(json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Good morning to you all." }, "finish_reason": "stop" }],
            "usage": usage,
        }))
        .into_response();
    }
    let chunk = |delta: Value, reason: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt", "choices": [choice] })
    };
    let mut lines = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
    lines.extend(
        "Good morning to you all.".split_inclusive(' ').map(|word| chunk(json!({ "content": word }), Value::Null)),
    );
    lines.push(chunk(json!({}), json!("stop")));
    lines.push(json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt", "choices": [], "usage": usage }));
    lines.push(json!("[DONE]"));
    let text = lines
        .iter()
        .fold(String::new(), |text, line| text + "data: " + line.as_str().unwrap_or(&line.to_string()) + "\n\n");
    ([(CONTENT_TYPE, "text/event-stream")], text).into_response()
}

async fn serve(app: axum::Router) -> SocketAddr {
    let app = app.route("/health", get(|| async { "ok" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

async fn start_litellm(program: &str, provider: SocketAddr, home: &Path) -> (Child, SocketAddr) {
    let file = home.join("litellm.yaml");
    let settings = include_str!("../../bench/router/litellm.yaml").replace("PROVIDER", &provider.to_string());
    std::fs::write(&file, settings).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut child = Command::new(program)
        .args(["--config", file.to_str().unwrap(), "--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--num_workers", "1", "--telemetry", "False"])
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("LITELLM_LOG", "ERROR")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("LiteLLM starts");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    for _ in 0..600 {
        if TcpStream::connect(address).await.is_ok() && ask_once(address).await.is_some() {
            return (child, address);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("LiteLLM does not answer");
}

fn body() -> Bytes {
    json!({ "model": "gpt", "messages": [{ "role": "user", "content": "Say good morning to everybody in the house." }], "max_tokens": 64 })
        .to_string()
        .into()
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

async fn connect(address: SocketAddr) -> Option<Sender> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

async fn ask(sender: &mut Sender, address: SocketAddr) -> Option<()> {
    sender.ready().await.ok()?;
    let request = hyper::Request::post("/v1/chat/completions")
        .header("host", address.to_string())
        .header("content-type", "application/json")
        .header("authorization", "Bearer sk-bench")
        .body(Full::new(body()))
        .ok()?;
    let response = sender.send_request(request).await.ok()?;
    let is_well = response.status().is_success();
    let answer = response.into_body().collect().await.ok()?.to_bytes();
    (is_well && answer.windows(12).any(|window| window == b"Good morning")).then_some(())
}

async fn ask_once(address: SocketAddr) -> Option<()> {
    ask(&mut connect(address).await?, address).await
}

/// So many connections, each with one request after the other. An answer that is wrong ends the benchmark.
async fn load(address: SocketAddr, connections: usize, time: Duration) -> Figures {
    let started = Instant::now();
    let all = (0..connections).map(|_| {
        tokio::spawn(async move {
            let mut sender = connect(address).await.expect("a connection");
            let mut times = Vec::new();
            while started.elapsed() < time {
                let asked = Instant::now();
                ask(&mut sender, address).await.expect("a whole answer");
                times.push(asked.elapsed().as_secs_f64() * 1000.0);
            }
            times
        })
    });
    let mut times: Vec<f64> = futures::future::join_all(all).await.into_iter().flat_map(Result::unwrap).collect();
    let per_second = f64::from(u32::try_from(times.len()).unwrap()) / started.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    Figures { per_second, p50_ms: times[times.len() / 2], p99_ms: times[times.len() * 99 / 100] }
}
