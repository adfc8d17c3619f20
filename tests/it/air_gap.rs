//! The proof that nothing leaves: the whole appliance is set up, signed in to, given a document and asked, in a network
//! of its own that has nothing but loopback, and again beside an interface that leads out, where every packet would be
//! seen. That packets are seen at all is shown first, with some that the test sends and some that the appliance sends
//! when it is told to.

mod capture;
mod namespace;

use std::{
    fs,
    net::{ToSocketAddrs as _, UdpSocket},
    os::unix::fs::symlink,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{appliance::Appliance, ollama_stand_in::StandIn, without_script::Visitor};
use capture::{Capture, sent_through};
use namespace::{INTERFACE, Network, is_inside};

const EMAIL: &str = "jo@acme.example";
const PASSWORD: &str = "correct horse battery";

#[test]
fn with_loopback_alone_everything_works() {
    namespace::run(Network::Loopback, "air_gap::inside_with_loopback_alone");
}

#[test]
fn where_a_way_out_is_open_not_one_packet_takes_it() {
    namespace::run(Network::WayOut, "air_gap::inside_beside_a_way_out");
}

#[test]
#[ignore = "is run by the test above, in a namespace"]
fn inside_with_loopback_alone() {
    if !is_inside() {
        return;
    }
    let routes = fs::read_to_string("/proc/net/route").unwrap();
    assert_eq!(routes.lines().count(), 1, "there is a way out: {routes}");
    let took = drive("");
    println!("PROOF  loopback alone: set up, signed in, uploaded, asked, answered in {took:.1?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "is run by the test above, in a namespace"]
async fn inside_beside_a_way_out() {
    if !is_inside() {
        return;
    }
    let ollama = StandIn::start().await;
    let with_ollama = format!(
        "[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = {:?}\n[embedding]\nmodel = \"ollama/nomic-embed-text\"\n\
         [egress]\nallow = [\"api.example.org\"]\n",
        // By its name, which is known without asking a name server.
        ollama.url().replace("127.0.0.1", "localhost")
    );
    tokio::task::spawn_blocking(move || {
        the_capture_sees_what_is_sent();
        the_capture_sees_the_appliance("10.200.0.7", "tcp 10.200.0.7:11434");
        the_capture_sees_the_appliance("ollama.example.org", "udp 198.51.100.53:53");
        capture::until_quiet();
        let (capture, before) = (Capture::start(), sent_through(INTERFACE));
        let (by_default, by_ollama) = (drive(""), drive(&with_ollama));
        let (frames, after) = (capture.end(), sent_through(INTERFACE));
        println!("PROOF  {INTERFACE}, with the settings that it comes with: answered in {by_default:.1?}");
        println!("PROOF  {INTERFACE}, with Ollama on loopback for chat and embedding: answered in {by_ollama:.1?}");
        println!("PROOF  {INTERFACE}, captured meanwhile: {} frames", frames.len());
        println!(
            "PROOF  {INTERFACE}, its own counters: {} packets, {} bytes sent",
            after.0 - before.0,
            after.1 - before.1
        );
        assert_eq!(frames, Vec::<String>::new());
        assert_eq!(before, after, "the interface has sent something");
    })
    .await
    .unwrap();
    assert!(!ollama.chats().is_empty(), "it was the stand-in that answered");
}

/// Datagrams in both families, and a name that is looked up.
fn the_capture_sees_what_is_sent() {
    let capture = Capture::start();
    let before = sent_through(INTERFACE);
    UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"control", "203.0.113.9:9").unwrap();
    UdpSocket::bind("[::]:0").unwrap().send_to(b"control", "[2001:db8:9::9]:9").unwrap();
    assert!("a-name-to-look-up.example.org:80".to_socket_addrs().is_err(), "nobody answers here");
    let frames = capture.end();
    for expected in ["udp 203.0.113.9:9", "udp [2001:db8:9::9]:9", "udp 198.51.100.53:53"] {
        assert!(frames.iter().any(|frame| frame == expected), "{expected} is not among {frames:?}");
        println!("PROOF  control: {expected} was sent, and seen");
    }
    assert!(sent_through(INTERFACE).0 >= before.0 + 3);
}

/// Told to ask a server that lies outside, it does, and that is seen.
fn the_capture_sees_the_appliance(host: &str, expected: &str) {
    let capture = Capture::start();
    let settings = format!("[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = \"http://{host}:11434\"\n");
    let findings = Appliance::new(&settings).json(&["doctor"]);
    assert!(findings.to_string().contains(host), "{findings}");
    let frames = capture.end();
    assert!(frames.iter().any(|frame| frame == expected), "{expected} is not among {frames:?}");
    println!("PROOF  control: told to use an Ollama at {host}, the appliance sent {frames:?}, and was seen");
}

/// Sets the appliance up, signs in, uploads and asks, as a person with a browser does, and as the command line does.
fn drive(settings: &str) -> Duration {
    let began = Instant::now();
    let mut aegis = Appliance::new(settings);
    fs::create_dir_all(aegis.data_dir().join("models")).unwrap();
    let model = Path::new(env!("AEGIS_PACK")).join("models/smollm2-135m-instruct-q4_1.gguf");
    symlink(model, aegis.data_dir().join("models/model.gguf")).unwrap();
    aegis.serve();

    let log = aegis.log();
    let (_, token) = log.split_once("/setup?token=").expect("the log says how the first owner gets in");
    let token = token.split('"').next().unwrap();
    let mut visitor = Visitor::of(&aegis);
    let page = visitor.get(&format!("/setup?token={token}"));
    let fields = [
        ("token", token),
        ("organisation", "Acme Ltd"),
        ("slug", "acme"),
        ("name", "Jo"),
        ("email", EMAIL),
        ("password", PASSWORD),
    ];
    let page = visitor.submit(&page, "/setup", &fields);
    assert_eq!(page.status, 200, "{}", page.html);
    visitor.submit(&page, "/sign-out", &[]);
    let door = visitor.get("/knowledge");
    assert!(door.path.starts_with("/sign-in"), "{}", door.path);
    let fields = [("email", EMAIL), ("password", PASSWORD), ("next", "/knowledge")];
    let knowledge = visitor.submit(&door, "/sign-in", &fields);
    assert_eq!(knowledge.path, "/knowledge", "{}", knowledge.html);

    let egress = visitor.get("/api/egress");
    assert!(egress.html.contains("models.ollama.url"), "who has set it up is its operator: {}", egress.html);
    let handbook = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/samples/employee-handbook.md")).unwrap();
    let mut page = visitor.upload(&knowledge, "/knowledge", &[("employee-handbook.md", &handbook)]);
    while !page.html.contains("state ready") {
        assert!(began.elapsed() < Duration::from_mins(3), "{}", page.html);
        thread::sleep(Duration::from_millis(200));
        page = visitor.get("/knowledge");
    }
    let chat = visitor.get("/chat");
    let question = [("question", "How many weeks of parental leave are there at full pay?")];
    let answer = visitor.submit(&chat, "/chat", &question);
    assert!(answer.path.starts_with("/chat/") && answer.html.contains("16"), "{}", answer.html);
    assert!(answer.html.contains("employee-handbook.md"), "the answer cites the document: {}", answer.html);

    let asked = aegis.json(&["ask", "--tenant", "acme", "How many weeks of parental leave are there at full pay?"]);
    assert_eq!(asked["quoting"], false, "a model answers: {asked}");
    assert_eq!(aegis.json(&["doctor"])["ok"], true);
    assert_eq!(aegis.json(&["audit", "verify", "--tenant", "acme"])["intact"], true);
    aegis.stop();
    began.elapsed()
}
