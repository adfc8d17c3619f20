//! The only outbound HTTP client. An address that the configuration does not name is refused before a
//! connection is opened, and every attempt is logged with its purpose, so that "air-gapped" can be checked.

mod response;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

pub use reqwest::{Client, Url};

use crate::{
    config::Config,
    support::{Error, Kind, Result},
};

pub use response::{Failure, read_bounded};

/// How long a connection may take to open. Reading has limits of its own, set by the caller.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Redirects that are followed, and only within the same origin.
const MAX_REDIRECTS: usize = 3;

/// Hands out clients for addresses that the configuration allows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Egress {
    allowed: Arc<BTreeSet<String>>,
    client: Client,
}

impl Egress {
    /// Allows what `config` names: the Ollama server.
    ///
    /// # Errors
    /// `Invalid` when an address in the configuration is not a URL of http or https.
    pub fn new(config: &Config) -> Result<Self> {
        Self::allowing([("models.ollama.url", config.models.ollama.url.as_str())])
    }

    /// Allows exactly these addresses; each comes with the key of the configuration that names it.
    ///
    /// # Errors
    /// As for [`Egress::new`].
    pub fn allowing<'a>(addresses: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut allowed = BTreeSet::new();
        for (key, address) in addresses {
            allowed.insert(origin(&parse(key, address)?));
        }
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(Duration::from_mins(1))
            .redirect(same_origin_redirects())
            .user_agent(concat!("aegis/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Error::internal)?;
        Ok(Self { allowed: Arc::new(allowed), client })
    }

    /// A client for a request to `url`, made for `purpose` ("chat", "embedding"). Ask again for every request:
    /// this is where it is checked and logged.
    ///
    /// # Errors
    /// `Forbidden` when the configuration does not name the address.
    pub fn client_for(&self, purpose: &'static str, url: &Url) -> Result<Client> {
        let origin = origin(url);
        if self.allowed.contains(&origin) {
            tracing::info!(purpose, address = %origin, "outbound request");
            return Ok(self.client.clone());
        }
        tracing::warn!(purpose, address = %origin, "outbound request refused: the configuration does not name this address");
        Err(Error::new(
            Kind::Forbidden,
            format!("a request to {origin} was refused: the configuration does not allow it"),
        ))
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

fn same_origin_redirects() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let stays = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
        if !stays {
            attempt.error("the server redirects to another address, which is not allowed")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("the server redirects too often")
        } else {
            attempt.follow()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a test's address")
    }

    #[test]
    fn only_the_configured_origin_is_allowed() {
        let egress = Egress::allowing([("models.ollama.url", "http://127.0.0.1:11434/")]).expect("a valid address");
        assert!(egress.client_for("chat", &url("http://127.0.0.1:11434/api/chat")).is_ok());
        for other in [
            "http://127.0.0.1:11435/api/chat",
            "https://127.0.0.1:11434/api/chat",
            "http://example.org/",
            "http://127.0.0.1:11434@example.org/",
            "http://127.0.0.1.example.org:11434/",
        ] {
            let refused = egress.client_for("chat", &url(other)).expect_err(other);
            assert_eq!(refused.kind(), Kind::Forbidden, "{other}");
        }
    }

    #[test]
    fn an_address_that_is_no_url_names_its_key() {
        for wrong in ["127.0.0.1:11434", "ollama", "file:///etc/passwd", ""] {
            let error = Egress::allowing([("models.ollama.url", wrong)]).expect_err(wrong);
            assert!(error.message().contains("models.ollama.url"), "{error}");
        }
    }
}
