//! Which addresses are reached, whatever their names say and whoever holds the client. Other products let themselves be
//! led inside by a second reading of the address (Open WebUI CVE-2026-45400) or by a redirect (-45401; Dify
//! CVE-2025-56520).

use std::{net::IpAddr, sync::Arc};

use aegis::{
    egress::{Failure, Grant, Outcome, Refusal, Url, on_behalf_of},
    support::ids::{RunId, TenantId},
};
use axum::{Router, http::header, routing::get};
use tokio::sync::Notify;

use super::{INSIDE, INTERNET, World};

/// Says hello, and closes, so that every request needs a connection of its own.
fn hello() -> Router {
    Router::new().fallback(get(|| async { ([(header::CONNECTION, "close")], "hello") }))
}

#[tokio::test]
async fn an_allowed_host_is_reached_and_the_attempt_is_noted_without_path_query_or_credentials() {
    let world = World::new(hello()).await;
    let mut url = world.url("api.example.org", "secret-path?key=secret-key#secret-part");
    url.set_username("secret-user").unwrap();
    url.set_password(Some("secret-password")).unwrap();
    let answer = world.get(url).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"hello".as_slice()));
    let attempts = world.journal.all();
    let [attempt] = attempts.as_slice() else { panic!("{attempts:?}") };
    assert_eq!((attempt.purpose, attempt.host.as_str(), attempt.port), ("test", "api.example.org", Some(world.port)));
    assert_eq!((attempt.outcome, attempt.status, attempt.bytes), (Outcome::Done, Some(200), Some(5)));
    let written = format!("{attempt:?} {}", serde_json::to_string(attempt).unwrap());
    assert!(!written.contains("secret"), "{written}");
}

#[tokio::test]
async fn a_host_that_is_not_listed_is_refused_before_its_name_is_even_looked_up() {
    let world = World::new(hello()).await;
    world.names.says("exfiltrated-secret.evil.example", &[&[INTERNET]]);
    for host in ["exfiltrated-secret.evil.example", "127.0.0.2", "127.0.0.1", "wild.example.org"] {
        let failure = world.get(world.url(host, "")).await.unwrap_err();
        assert!(
            matches!(&failure, Failure::Refused(Refusal::NotListed(place)) if place.starts_with(host)),
            "{failure}"
        );
    }
    assert_eq!(world.names.asked(), Vec::<String>::new());
    let [first, ..] = &world.journal.all()[..] else { panic!("nothing was noted") };
    assert_eq!(first.outcome, Outcome::Refused);
    let why = format!("exfiltrated-secret.evil.example:{} is not on the allow-list", world.port);
    assert_eq!(first.reason.as_deref(), Some(why.as_str()));
    assert_eq!(world.journal.all().len(), 4);
    world.nobody_came_in();
}

#[tokio::test]
async fn a_listed_name_that_resolves_to_where_no_name_of_the_internet_does_is_refused() {
    let world = World::new(hello()).await;
    for address in [
        "127.0.0.1",
        "127.0.0.3",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "169.254.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "100.100.100.200",
        "::",
        "::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:127.0.0.2",
        "::ffff:169.254.169.254",
        "::7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001::1",
        "2001:db8::1",
    ] {
        let address: IpAddr = address.parse().unwrap();
        world.names.says("api.example.org", &[&[address]]);
        let failure = world.get(world.url("api.example.org", "")).await.unwrap_err();
        assert!(
            matches!(&failure, Failure::Refused(Refusal::Address { address: Some(found), .. }) if *found == address),
            "{address}: {failure}"
        );
        // One bad address among good ones spoils the name.
        world.names.says("api.example.org", &[&[INTERNET, address]]);
        let failure = world.get(world.url("api.example.org", "")).await.unwrap_err();
        assert!(matches!(failure, Failure::Refused(Refusal::Address { .. })), "{address}: {failure}");
    }
    let last = world.journal.all().pop().unwrap();
    assert_eq!(last.outcome, Outcome::Refused);
    let why = "api.example.org resolves to 2001:db8::1, which is an address for documentation";
    assert_eq!(last.reason.as_deref(), Some(why));
    world.nobody_came_in();
}

#[tokio::test]
async fn a_name_server_that_changes_its_mind_gains_nothing() {
    let world = World::new(hello()).await;
    world.names.says("api.example.org", &[&[INTERNET], &[INTERNET], &[INSIDE]]);
    let url = world.url("api.example.org", "");
    for _ in 0..2 {
        assert_eq!(world.get(url.clone()).await.unwrap().body, b"hello");
    }
    // Looked up once a connection: there is no second answer between the look and the connection.
    assert_eq!(world.names.asked().len(), 2);
    let failure = world.get(url).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused(Refusal::Address { .. })), "{failure}");
    assert_eq!(world.names.asked().len(), 3);
    world.nobody_came_in();
}

#[tokio::test]
async fn a_client_in_a_librarys_hands_reaches_its_origin_and_nothing_else() {
    let world = World::new(hello()).await;
    assert_eq!(world.get_by_library(world.url("api.example.org", "x")).await.unwrap(), "hello");
    world.names.says("inside.example.org", &[&[INSIDE]]);
    let mut elsewhere: Vec<Url> = [
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "127.0.0.2",
        "0",
        "inside.example.org",
        "other.example.org",
        "localhost",
        "api.example.org.",
        "api.example.org@127.0.0.1",
        "refused.invalid",
    ]
    .into_iter()
    .map(|host| world.url(host, ""))
    .collect();
    elsewhere.push(Url::parse("http://api.example.org/").unwrap());
    elsewhere.push(Url::parse(&format!("https://api.example.org:{}/", world.port)).unwrap());
    elsewhere.push(Url::parse(&format!("https://127.0.0.1:{}/", world.port)).unwrap());
    for url in elsewhere {
        let failure = world.get_by_library(url.clone()).await.unwrap_err();
        assert!(matches!(failure, Failure::Refused(Refusal::Elsewhere)), "{url}: {failure:?}");
    }
    world.nobody_came_in();
}

#[tokio::test]
async fn the_same_host_in_other_spellings_is_the_same_host() {
    let world = World::new(hello()).await;
    world.names.says("a.wild.example.org", &[&[INTERNET]]);
    for host in ["API.Example.ORG", "api%2Eexample.org", "api。example.org", "a.WILD.example.org"] {
        assert_eq!(world.get(world.url(host, "")).await.unwrap().body, b"hello", "{host}");
    }
    assert!(world.journal.all().iter().all(|attempt| attempt.host.ends_with(".example.org")));
}

#[tokio::test]
async fn a_provider_of_the_own_network_is_reached_there_and_only_at_its_port() {
    let grant = |port| vec![Grant::provider("models.ollama.url", &format!("http://ollama.lan:{port}")).unwrap()];
    let world = World::with(hello(), &[], grant).await;
    // Not one of the addresses that play the internet.
    let server = tokio::net::TcpListener::bind(("127.0.0.3", world.port)).await.unwrap();
    tokio::spawn(async move { axum::serve(server, hello()).await });
    world.names.says("ollama.lan", &[&["127.0.0.3".parse().unwrap()]]);
    assert_eq!(world.get(world.url("ollama.lan", "api/chat")).await.unwrap().body, b"hello");
    let other_port = Url::parse("http://ollama.lan:1/").unwrap();
    assert!(matches!(world.get(other_port).await, Err(Failure::Refused(Refusal::NotListed(_)))));
    // Even so not where no server can be: a name server that sends it to the cloud's metadata is not followed.
    world.names.says("ollama.lan", &[&["169.254.169.254".parse().unwrap()]]);
    let failure = world.get(world.url("ollama.lan", "")).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused(Refusal::Address { .. })), "{failure}");
    let listed = world.egress.allowed();
    assert!(listed[0].own_network && listed[0].because_of == "models.ollama.url", "{listed:?}");
    assert!(listed[1..].iter().all(|allowed| !allowed.own_network && allowed.because_of == "egress.allow"));
}

#[tokio::test]
async fn an_attempt_is_made_in_somebodys_name_and_stays_so_within_a_run() {
    let world = World::new(hello()).await;
    let (ours, theirs) = (TenantId::from_random([1; 10]), TenantId::from_random([2; 10]));
    let run = RunId::generate();
    let ask = || async { world.get(world.url("api.example.org", "")).await.unwrap() };
    ask().await;
    on_behalf_of(&ours, None, ask()).await;
    on_behalf_of(&ours, Some(run), on_behalf_of(&ours, None, ask())).await;
    on_behalf_of(&ours, Some(run), on_behalf_of(&theirs, None, ask())).await;
    let callers: Vec<_> = world.journal.all().into_iter().map(|attempt| attempt.caller).collect();
    let callers: Vec<_> = callers.iter().map(|caller| caller.as_ref().map(|c| (&c.tenant, c.run))).collect();
    assert_eq!(callers, [None, Some((&ours, None)), Some((&ours, Some(run))), Some((&theirs, None))]);
}

#[tokio::test]
async fn an_attempt_that_is_given_up_is_noted_too() {
    let arrived = Arc::new(Notify::new());
    let silent = {
        let arrived = arrived.clone();
        move || async move {
            arrived.notify_one();
            std::future::pending::<&str>().await
        }
    };
    let world = World::new(Router::new().fallback(get(silent))).await;
    tokio::select! {
        answer = world.get(world.url("api.example.org", "")) => panic!("nobody answered, and yet: {answer:?}"),
        () = arrived.notified() => {}
    }
    assert_eq!(world.journal.outcomes(), ["stopped api.example.org"]);
    drop(world.egress.client_for("test", &world.url("api.example.org", "")).unwrap());
    assert_eq!(world.journal.outcomes().len(), 2);
}
