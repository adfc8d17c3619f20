//! The way out as its operator sees it: the list, the doctor, the log and the audit.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::{appliance::Appliance, ollama_stand_in::StandIn, without_script::Visitor};

const ALLOW: &str = "[models]\nchain = []\n[egress]\nallow = [\"api.example.org\", \"*.example.net:8443\"]\n";

#[test]
fn what_may_be_reached_is_listed_with_the_setting_that_allows_it() {
    let aegis = Appliance::new(ALLOW);
    let row = |address: &str| json!({ "address": address, "because_of": "egress.allow", "own_network": false });
    assert_eq!(aegis.json(&["egress"]), json!([row("api.example.org"), row("*.example.net:8443")]));
    let shown = String::from_utf8(aegis.run(&["egress"]).stdout).unwrap();
    insta::assert_snapshot!(shown, @r"
    ADDRESS             BECAUSE OF    NETWORK
    api.example.org     egress.allow  the internet only
    *.example.net:8443  egress.allow  the internet only
    ");
}

#[tokio::test]
async fn each_request_to_a_model_stands_in_the_tenants_audit_log_with_its_run() {
    let ollama = StandIn::start().await;
    let settings = format!(
        "[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = \"{}\"\n[embedding]\nmodel = \"ollama/nomic-embed-text\"\n",
        ollama.url()
    );
    let port = ollama.url().rsplit(':').next().unwrap().parse::<u64>().unwrap();
    let (log, entries, listed, findings) = tokio::task::spawn_blocking(move || {
        let mut aegis = Appliance::new(&settings);
        // A proxy of the environment would be a way round: it is not used.
        aegis.serve_with(&[("http_proxy", "http://127.0.0.1:1"), ("ALL_PROXY", "http://127.0.0.1:1")]);
        aegis.json(&["tenant", "create", "acme", "--name", "Acme Ltd"]);
        let document = aegis.file("leave.md", b"# Leave\n\nParental leave is sixteen weeks.\n");
        aegis.json(&["kb", "add", &document, "--tenant", "acme"]);
        let asked = aegis.json(&["ask", "--tenant", "acme", "How long is parental leave?"]);
        let run = asked["run_id"].as_str().unwrap();
        let listed = aegis.json(&["egress"]);
        let findings = aegis.json(&["doctor"]);
        let log = aegis.log();
        aegis.stop();
        // After the stop, so that the last attempt has been written.
        let entries = aegis.json(&["audit", "show", "--run", run, "--tenant", "acme"]);
        assert_eq!(aegis.json(&["audit", "verify", "--tenant", "acme"])["intact"], true);
        (log, entries, listed, findings)
    })
    .await
    .unwrap();

    let requests: Vec<&Value> =
        entries.as_array().unwrap().iter().filter(|entry| entry["action"] == "egress.requested").collect();
    let chats: Vec<_> = requests.iter().filter(|entry| entry["detail"]["purpose"] == "chat").collect();
    assert_eq!(chats.len(), ollama.chats().len(), "{entries:#}");
    assert!(requests.iter().any(|entry| entry["detail"]["purpose"] == "embedding"), "{entries:#}");
    assert!(requests.iter().any(|entry| entry["detail"]["purpose"] == "model details"), "{entries:#}");
    for chat in requests {
        let detail = &chat["detail"];
        assert_eq!(chat["subject"], format!("127.0.0.1:{port}"));
        assert_eq!((&detail["host"], &detail["port"]), (&json!("127.0.0.1"), &json!(port)));
        assert_eq!((&detail["outcome"], &detail["status"]), (&json!("done"), &json!(200)));
        assert!(detail["bytes"].as_u64().unwrap() > 50 && detail["duration_ms"].is_u64(), "{detail}");
        assert!(!chat.to_string().contains("leave"), "no word of the question: {chat}");
    }
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let logged = |purpose| {
        let is = |line: &&Value| line["message"] == "outbound request" && line["purpose"] == purpose;
        lines.iter().filter(is).filter(|line| line["tenant"].is_string()).count()
    };
    assert_eq!(logged("chat"), ollama.chats().len());
    assert!(logged("embedding") >= 2, "of the document and of the question");
    assert_eq!(listed, json!([{ "address": ollama.url(), "because_of": "models.ollama.url", "own_network": true }]));
    let told = findings["findings"].as_array().unwrap().iter().find(|finding| finding["part"] == "egress").unwrap();
    let detail = format!("nothing may be reached but {} (models.ollama.url)", ollama.url());
    assert_eq!((&told["state"], &told["detail"]), (&json!("ok"), &json!(detail)));
}

/// LiteLLM (CVE-2024-6587) took the provider's address from the request, and sent the key there.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_cannot_choose_which_server_is_asked() {
    let ollama = StandIn::start().await;
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let trapped = format!("http://{}/", trap.local_addr().unwrap());
    let settings = format!("[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = \"{}\"\n", ollama.url());
    tokio::task::spawn_blocking(move || {
        let mut aegis = Appliance::new(&settings);
        aegis.serve();
        aegis.with_owner("jo@acme.example", "correct horse battery");
        let mut visitor = Visitor::of(&aegis);
        let door = visitor.get("/sign-in");
        visitor.submit(&door, "/sign-in", &[("email", "jo@acme.example"), ("password", "correct horse battery")]);
        let chat = visitor.get("/chat");
        let mut fields = vec![("question", "How long is parental leave?")];
        for name in ["api_base", "base_url", "url", "endpoint", "model", "host", "proxy"] {
            fields.push((name, &trapped));
        }
        let answer = visitor.submit(&chat, "/chat", &fields);
        assert!(answer.path.starts_with("/chat"), "{}", answer.path);
    })
    .await
    .unwrap();
    assert!(!ollama.chats().is_empty(), "the configured server was asked");
    assert!(trap.accept().is_err(), "the server of the request was asked");
}
