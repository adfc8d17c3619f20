//! A client that can reach one origin and nothing else, whoever holds it and whatever URL they give it.
//!
//! Three things hold it, all inside the client: its resolver knows one name ([`Guarded`]); connections to anywhere else,
//! addresses in place of names among them, are led into a dead end; and redirects stay within the origin.

use std::{sync::LazyLock, time::Duration};

use reqwest::{Client, Proxy, redirect};

use super::{MAX_REDIRECTS, Refusal, Surroundings, Url, allow::Network, resolve::Guarded};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest request to a provider of the own network. A model may take minutes to load and more to answer; its
/// settings set the real limits.
const LONGEST: Duration = Duration::from_hours(1);

/// Where connections are led that nobody allowed: a name that no resolver of ours gives an address. (The address of a
/// URL goes past the resolver, but not past the choice of a proxy, which the client makes for every connection.)
static DEAD_END: LazyLock<Option<Url>> = LazyLock::new(|| Url::parse("http://refused.invalid").ok());

/// A client for the origin of `url`, which may lie in `network`.
pub(super) fn client(
    url: &Url,
    network: Network,
    timeout: Duration,
    surroundings: &Surroundings,
) -> Result<Client, Refusal> {
    let origin = url.origin();
    let host = url.host_str().unwrap_or_default().to_owned();
    let resolver = Guarded { host, network, surroundings: surroundings.clone() };
    let dead_end = DEAD_END.clone().ok_or_else(|| Refusal::NoClient("there is no dead end".to_owned()))?;
    let timeout = match network {
        Network::Public => timeout,
        Network::Own => LONGEST,
    };
    Client::builder()
        .proxy(Proxy::custom(move |to| (to.origin() != origin).then(|| dead_end.clone())))
        .dns_resolver(std::sync::Arc::new(resolver))
        .redirect(within_the_origin())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .tcp_keepalive(Duration::from_mins(1))
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .referer(false)
        .user_agent(concat!("aegis/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Refusal::NoClient(error.to_string()))
}

fn within_the_origin() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let stays = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
        if !stays {
            let to = attempt.url().clone();
            attempt.error(Refusal::Redirected(to))
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error(Refusal::RedirectedTooOften)
        } else {
            attempt.follow()
        }
    })
}
