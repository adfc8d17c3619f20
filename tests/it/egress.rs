//! The one way out, on loopback alone: `127.0.0.2` plays the internet, `127.0.0.1` the inside that nobody may be led to.

mod appliance;
mod bounds;
mod fetch;
mod guard;
mod redirects;

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use aegis::{
    config::Config,
    egress::{Attempt, Egress, Failure, Grant, Journal, Looking, Lookup, Method, Request, Response, Surroundings, Url},
};
use axum::Router;
use tokio::net::TcpListener;

const INTERNET: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Two servers on one port, one on the internet and one inside, and names that say where they are.
struct World {
    port: u16,
    egress: Egress,
    names: Names,
    journal: Kept,
    /// How many connections the inside has seen. It should see none.
    intruders: Arc<AtomicUsize>,
}

impl World {
    /// `app` answers on the internet. `api.example.org` is allowed and leads there, `other.example.org` too.
    async fn new(app: Router) -> Self {
        Self::with(app, &[], |_| Vec::new()).await
    }

    /// With more settings, and what providers' settings grant.
    async fn with(app: Router, settings: &[(&str, &str)], granted: impl FnOnce(u16) -> Vec<Grant>) -> Self {
        let (public, private, port) = one_port().await;
        tokio::spawn(async move { axum::serve(public, app).await });
        let intruders = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&intruders);
        tokio::spawn(async move {
            while let Ok((_connection, _)) = private.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        });
        let allow = format!("api.example.org:{port}, other.example.org:{port}, *.wild.example.org:{port}");
        let mut variables = vec![("AEGIS_EGRESS__ALLOW".to_owned(), allow), chain("builtin")];
        variables.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = Config::load_from(None, variables, None).unwrap();
        let names = Names::default();
        names.says("api.example.org", &[&[INTERNET]]);
        names.says("other.example.org", &[&[INTERNET]]);
        let journal = Kept::default();
        let surroundings = Surroundings::pretended(Arc::new(names.clone()), [INTERNET]);
        let egress = Egress::with(&config, granted(port), surroundings, Some(Arc::new(journal.clone()))).unwrap();
        Self { port, egress, names, journal, intruders }
    }

    /// `http://HOST:PORT/PATH`
    fn url(&self, host: &str, path: &str) -> Url {
        Url::parse(&format!("http://{host}:{}/{path}", self.port)).unwrap()
    }

    async fn get(&self, url: Url) -> Result<Response, Failure> {
        self.egress.send("test", Request::new(Method::GET, url)).await
    }

    /// The same through a plain client, as a library would.
    async fn get_by_library(&self, url: Url) -> Result<String, Failure> {
        let at = self.url("api.example.org", "");
        let client = self.egress.client_for("library", &at).unwrap().client();
        Ok(client.get(url).send().await?.text().await?)
    }

    #[track_caller]
    fn nobody_came_in(&self) {
        assert_eq!(self.intruders.load(Ordering::SeqCst), 0, "a request reached the inside");
    }
}

fn chain(targets: &str) -> (String, String) {
    ("AEGIS_MODELS__CHAIN".to_owned(), targets.to_owned())
}

/// One port that is free on both addresses.
async fn one_port() -> (TcpListener, TcpListener, u16) {
    loop {
        let public = TcpListener::bind(SocketAddr::new(INTERNET, 0)).await.unwrap();
        let port = public.local_addr().unwrap().port();
        if let Ok(private) = TcpListener::bind(SocketAddr::new(INSIDE, port)).await {
            return (public, private, port);
        }
    }
}

/// A name server whose answers are written down beforehand: one after the other, the last one for ever.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers {
    planned: HashMap<String, VecDeque<Vec<IpAddr>>>,
    asked: Vec<String>,
}

impl Names {
    fn says(&self, name: &str, answers: &[&[IpAddr]]) {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        self.0.lock().unwrap().planned.insert(name.to_owned(), answers);
    }

    /// The names that were asked for.
    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }
}

impl Lookup for Names {
    fn lookup(&self, name: &str) -> Looking {
        let mut answers = self.0.lock().unwrap();
        answers.asked.push(name.to_owned());
        let answer = answers.planned.get_mut(name).and_then(|answers| {
            let first = answers.front().cloned();
            if answers.len() > 1 {
                answers.pop_front();
            }
            first
        });
        Box::pin(std::future::ready(answer.ok_or_else(|| "there is no such name".into())))
    }
}

/// Keeps what is noted.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Attempt>>>);

impl Kept {
    fn all(&self) -> Vec<Attempt> {
        self.0.lock().unwrap().clone()
    }

    /// Outcomes with their hosts: `answered api.example.org`.
    fn outcomes(&self) -> Vec<String> {
        self.all().iter().map(|attempt| format!("{} {}", attempt.outcome.name(), attempt.host)).collect()
    }
}

impl Journal for Kept {
    fn note(&self, attempt: &Attempt) {
        self.0.lock().unwrap().push(attempt.clone());
    }
}
