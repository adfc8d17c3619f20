//! The only way out. Every outbound request goes through here: the configuration allows its address first ([`allow`]),
//! the address is looked at once more after its name was resolved and at every connection ([`guard`]), and each
//! attempt is logged with the tenant and what it was for ([`attempt`]), so that "air-gapped" can be checked.
//!
//! What holds for whom:
//!
//! | | [`Egress::send`] | a client of [`Egress::client_for`] in the hands of a library |
//! |---|---|---|
//! | address allowed, checked after resolution | yes | yes: the client itself can reach nothing but the origin it was asked for |
//! | redirects | to allowed hosts, each a new attempt, only GET and HEAD, without headers and body | within the origin |
//! | time | `[egress] timeout_seconds` | the same; for a provider of one's own network its settings, and an hour at most |
//! | size of the answer | `[egress] max_response_mib` | whoever reads it bounds it: [`read_bounded`] for whole answers, a line at a time for streams |
//! | logged: purpose, tenant, host, port, outcome, duration | yes | yes |
//! | logged: status and bytes | yes | as far as the holder of the [`Outbound`] says |
//!
//! Nothing is taken from the environment (no proxy variables), answers are not decompressed, cookies are not kept,
//! and no `Referer` is sent.

mod allow;
mod attempt;
mod guard;
mod outbound;
mod refusal;
mod resolve;
mod response;
mod values;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use reqwest::{Client, Method, Request, Response as Answer, Url, header};

use crate::{
    config::Config,
    support::{Error, Result},
};

use allow::{AllowList, Network};
pub use allow::{Allowed, Grant};
pub use attempt::{Attempt, Caller, Journal, Outcome, on_behalf_of};
pub use outbound::Outbound;
pub use refusal::Refusal;
pub use resolve::{Looking, Lookup, Surroundings};
pub use response::{Failure, Response, read_bounded};

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// Clients that are kept, each for one origin. A wildcard may stand for any number of them.
const KEPT_CLIENTS: usize = 64;

/// How much is waited and read.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// For a request with its answer.
    whole: Duration,
    /// For the body of an answer, in bytes.
    response: usize,
}

/// Sends requests, and hands out clients, for addresses that the configuration allows. Cheap to clone.
#[derive(Clone)]
pub struct Egress(Arc<Inner>);

struct Inner {
    list: AllowList,
    limits: Limits,
    surroundings: Surroundings,
    journal: Option<Arc<dyn Journal>>,
    /// By origin.
    clients: Mutex<HashMap<String, Client>>,
}

/// What became of one request.
enum Sent {
    Answered(Response),
    /// To another origin.
    Redirected(Url),
}

impl Egress {
    /// Allows what `config` names: `[egress] allow`, and the addresses of the providers that are switched on.
    ///
    /// # Errors
    /// `Invalid` when an address in the configuration cannot be used.
    pub fn new(config: &Config) -> Result<Self> {
        Self::with(config, Vec::new(), Surroundings::default(), None)
    }

    /// As [`Egress::new`]; each attempt is told to `journal`.
    ///
    /// # Errors
    /// As for [`Egress::new`].
    pub fn with_journal(config: &Config, journal: Arc<dyn Journal>) -> Result<Self> {
        Self::with(config, Vec::new(), Surroundings::default(), Some(journal))
    }

    /// Allows exactly these providers' addresses; each comes with the key of the configuration that names it.
    ///
    /// # Errors
    /// As for [`Egress::new`].
    pub fn allowing<'a>(addresses: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let granted =
            addresses.into_iter().map(|(key, address)| Grant::provider(key, address)).collect::<Result<_>>()?;
        let limits = Limits { whole: Duration::from_mins(1), response: 32 << 20 };
        Ok(Self::made(AllowList::new(&[], granted)?, limits, Surroundings::default(), None))
    }

    /// As [`Egress::with_journal`], with `granted` allowed too, in other `surroundings` than the world.
    ///
    /// # Errors
    /// As for [`Egress::new`].
    pub fn with(
        config: &Config,
        mut granted: Vec<Grant>,
        surroundings: Surroundings,
        journal: Option<Arc<dyn Journal>>,
    ) -> Result<Self> {
        granted.extend(allow::of_providers(config)?);
        let settings = &config.egress;
        let limits = Limits {
            whole: Duration::from_secs(settings.timeout_seconds),
            response: usize::try_from(settings.max_response_mib << 20).unwrap_or(usize::MAX),
        };
        Ok(Self::made(AllowList::new(&settings.allow, granted)?, limits, surroundings, journal))
    }

    fn made(list: AllowList, limits: Limits, surroundings: Surroundings, journal: Option<Arc<dyn Journal>>) -> Self {
        Self(Arc::new(Inner { list, limits, surroundings, journal, clients: Mutex::default() }))
    }

    /// Everything that may be reached, and why.
    pub fn allowed(&self) -> Vec<Allowed> {
        self.0.list.entries()
    }

    /// A client for one request to `url`, made for `purpose` ("chat", "embedding"). Ask again for every request: this
    /// is where it is checked and logged. The client reaches the origin of `url` and nothing else.
    ///
    /// # Errors
    /// `Forbidden` when the configuration does not allow the address.
    pub fn client_for(&self, purpose: &'static str, url: &Url) -> Result<Outbound> {
        self.begin(purpose, url, Network::Own).map_err(Error::from)
    }

    /// Sends `request` and reads the whole answer, whatever its status. Redirects to allowed hosts are followed for GET
    /// and HEAD, without the request's headers: a key goes to the host that it was meant for and no further.
    ///
    /// # Errors
    /// [`Failure::Refused`] when the address is not allowed, or leads to one that is not.
    pub async fn send(&self, purpose: &'static str, request: Request) -> Result<Response, Failure> {
        let (mut next, mut allowed_in) = (request, Network::Own);
        for _ in 0..=MAX_REDIRECTS {
            let (method, from) = (next.method().clone(), next.url().clone());
            match self.send_once(purpose, next, allowed_in).await? {
                Sent::Answered(response) => return Ok(response),
                Sent::Redirected(to) if from.scheme() == "https" && to.scheme() != "https" => {
                    return Err(Refusal::Downgraded(to).into());
                }
                // No server may send us on to one of the own network.
                Sent::Redirected(to) => (next, allowed_in) = (Request::new(method, to), Network::Public),
            }
        }
        Err(Refusal::RedirectedTooOften.into())
    }

    async fn send_once(&self, purpose: &'static str, request: Request, allowed_in: Network) -> Result<Sent, Failure> {
        let mut outbound = self.begin(purpose, request.url(), allowed_in)?;
        let follows = matches!(*request.method(), Method::GET | Method::HEAD);
        let ended = async {
            let response = outbound.client().execute(request).await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            outbound.answered(Some(status));
            let body = response::read(response, self.0.limits.response, |bytes| outbound.received(bytes)).await?;
            Ok(Sent::Answered(Response { status, headers, body }))
        };
        match ended.await {
            Err(Failure::Refused(Refusal::Redirected(to))) if follows => {
                outbound.redirected(&to);
                Ok(Sent::Redirected(to))
            }
            Err(failure) => {
                outbound.failed(&failure);
                Err(failure)
            }
            answered => answered,
        }
    }

    /// Checks an attempt; one that is refused is over, and logged, before anything is sent.
    fn begin(&self, purpose: &'static str, url: &Url, allowed_in: Network) -> Result<Outbound, Refusal> {
        let mut attempt = Attempt::begin(purpose, url);
        let client = self.0.list.check(url, &self.0.surroundings).and_then(|network| match (allowed_in, network) {
            (Network::Public, Network::Own) => Err(Refusal::Redirected(url.clone())),
            _ => self.client(url, network),
        });
        match client {
            Ok(client) => Ok(Outbound::new(attempt, self.0.journal.clone(), client)),
            Err(refusal) => {
                attempt.outcome = Outcome::Refused;
                attempt.reason = Some(refusal.to_string());
                attempt.end(self.0.journal.as_ref());
                Err(refusal)
            }
        }
    }

    /// The client of an origin, with its open connections.
    fn client(&self, url: &Url, network: Network) -> Result<Client, Refusal> {
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = origin(url);
        if let Some(client) = clients.get(&origin) {
            return Ok(client.clone());
        }
        let client = guard::client(url, network, self.0.limits.whole, &self.0.surroundings)?;
        if clients.len() >= KEPT_CLIENTS {
            clients.clear();
        }
        clients.insert(origin, client.clone());
        Ok(client)
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Egress").field(&self.allowed()).finish()
    }
}

/// Reads an address of the configuration; `key` is named when it is wrong.
///
/// # Errors
/// `Invalid` when it is not a URL of http or https with a host.
pub fn parse(key: &str, address: &str) -> Result<Url> {
    let url = Url::parse(address).map_err(|error| {
        Error::invalid(format!("`{key}` is not an address: {error}")).remedy("write it as http://host:port")
    })?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(Error::invalid(format!("`{key}` must start with http:// or https://"))
            .remedy("write it as http://host:port"))
    }
}

/// Scheme, host and port: what may be reached, without credentials, path or query.
pub fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
