//! What may be reached: the entries of `[egress] allow`, and the servers of providers that are switched on.
//!
//! Everything is decided on the parsed URL that the client will use, so that there is no second reading of an address:
//! odd spellings of IPv4, credentials before the host, upper case and Unicode have been dealt with by then.

use std::{
    fmt, iter,
    net::{IpAddr, Ipv6Addr},
};

use serde::Serialize;
use utoipa::ToSchema;

use super::{Refusal, Surroundings, Url, origin, parse};
use crate::{
    config::{AllowedHost, Config, Preset},
    support::{
        Error, Result,
        address::{self, Place},
    },
};

/// The key under which the list's own entries are shown.
const LIST: &str = "egress.allow";

/// Which addresses a name may resolve to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    /// Those of the internet.
    Public,
    /// Those, this machine's and its network's: the operator has named the server in the configuration.
    Own,
}

impl Network {
    /// What speaks against `address`, if something does.
    pub(super) fn objection(self, address: IpAddr, surroundings: &Surroundings) -> Option<&'static str> {
        match address::place(address) {
            Place::Public => None,
            Place::Private(_) if self == Self::Own || surroundings.is_public(address) => None,
            Place::Private(what) | Place::Never(what) => Some(what),
        }
    }
}

/// An address that a part of the configuration names and that may therefore be reached.
#[derive(Debug, Clone)]
pub struct Grant {
    by: String,
    url: Url,
    network: Network,
}

impl Grant {
    /// The server that the operator has named under `key`: exactly this scheme, host and port, even in the own network.
    ///
    /// # Errors
    /// `Invalid` when `address` is not a URL of http or https, or is one where no server can be.
    pub fn provider(key: &str, address: &str) -> Result<Self> {
        let url = parse(key, address)?;
        if let Some(Place::Never(what)) = literal(&url).map(address::place) {
            return Err(Error::invalid(format!("`{key}` is {what}: no server is there"))
                .remedy("write the address at which the server is reached, such as http://127.0.0.1:11434"));
        }
        Ok(Self { by: key.to_owned(), url, network: Network::Own })
    }

    /// A vendor's published address that a switched-on integration needs, on the internet.
    ///
    /// # Errors
    /// `Invalid` when `address` is not a URL of http or https.
    pub fn vendor(by: &str, address: &str) -> Result<Self> {
        Ok(Self { by: by.to_owned(), url: parse(by, address)?, network: Network::Public })
    }
}

/// The servers that the configuration switches on.
pub(super) fn of_providers(config: &Config) -> Result<Vec<Grant>> {
    let mut granted = Vec::new();
    if config.embedding.asks_ollama() || config.models.ask_ollama() {
        granted.push(Grant::provider("models.ollama.url", &config.models.ollama.url)?);
    }
    for (name, provider) in &config.providers {
        // The operator has named a server of their own; a vendor's lies on the internet.
        granted.push(match &provider.url {
            Some(url) => Grant::provider(&format!("providers.{name}.url"), url)?,
            None => Grant::vendor(&format!("providers.{name}"), provider.url())?,
        });
    }
    for address in &config.mcp.addresses {
        granted.push(Grant::provider("mcp.addresses", address)?);
    }
    for (name, provider) in &config.oidc {
        let endpoints = provider.endpoints.iter().map(String::as_str);
        for address in iter::once(provider.issuer()).chain(endpoints) {
            // The operator has named it: the company's own server may well be in the company's own network.
            granted.push(match provider.preset {
                Some(_) => Grant::vendor(&format!("oidc.{name}"), address)?,
                None => Grant::provider(&format!("oidc.{name}.issuer"), address)?,
            });
        }
        for address in provider.preset.map(Preset::endpoints).unwrap_or_default() {
            granted.push(Grant::vendor(&format!("oidc.{name}.preset"), address)?);
        }
    }
    Ok(granted)
}

/// One thing that may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Allowed {
    /// `api.example.org`, `*.example.org`, `http://127.0.0.1:11434`.
    pub address: String,
    /// The setting that allows it: `egress.allow`, `models.ollama.url`.
    pub because_of: String,
    /// Whether it may lie in the own network; otherwise its name must resolve to addresses of the internet.
    pub own_network: bool,
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.address, self.because_of)
    }
}

/// Everything that may be reached.
pub(super) struct AllowList {
    granted: Vec<Grant>,
    hosts: Vec<AllowedHost>,
}

impl AllowList {
    /// The configured hosts, and those of what is switched on.
    pub(super) fn new(hosts: &[String], granted: Vec<Grant>) -> Result<Self> {
        Ok(Self { granted, hosts: hosts.iter().map(|entry| entry.parse()).collect::<Result<_>>()? })
    }

    /// What is allowed, and by which setting.
    pub(super) fn entries(&self) -> Vec<Allowed> {
        let granted = self.granted.iter().map(|grant| Allowed {
            address: origin(&grant.url),
            because_of: grant.by.clone(),
            own_network: grant.network == Network::Own,
        });
        let hosts = self.hosts.iter().map(|entry| Allowed {
            address: entry.to_string(),
            because_of: LIST.to_owned(),
            own_network: false,
        });
        granted.chain(hosts).collect()
    }

    /// Whether `url` may be reached, and in which network.
    pub(super) fn check(&self, url: &Url, surroundings: &Surroundings) -> Result<Network, Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme(url.scheme().to_owned()));
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(Refusal::Scheme(url.scheme().to_owned()));
        };
        let granted = self.granted.iter().filter(|grant| grant.url.origin() == url.origin());
        // Named by two settings, it may do what either allows.
        let network = match granted.map(|grant| grant.network).max_by_key(|network| *network == Network::Own) {
            Some(network) => network,
            None if self.hosts.iter().any(|entry| entry.allows(host, port)) => Network::Public,
            None => return Err(Refusal::NotListed(place_of(url))),
        };
        match literal(url).and_then(|address| network.objection(address, surroundings)) {
            Some(what) => Err(Refusal::Address { host: host.to_owned(), address: None, what }),
            None => Ok(network),
        }
    }
}

/// Host and port, the port only where it is not the usual one.
fn place_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The address, where the URL has one in place of a name.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.map_or_else(|| host.parse().ok(), |host| host.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Kind;

    fn list(hosts: &[&str], providers: &[&str]) -> AllowList {
        let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
        let granted = providers.iter().map(|url| Grant::provider("models.ollama.url", url).unwrap()).collect();
        AllowList::new(&hosts, granted).unwrap()
    }

    fn check(list: &AllowList, url: &str) -> Result<Network, Refusal> {
        list.check(&Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}")), &Surroundings::default())
    }

    #[test]
    fn only_the_configured_origin_is_allowed() {
        let list = list(&[], &["http://127.0.0.1:11434/"]);
        for same in ["http://127.0.0.1:11434/api/chat", "http://0x7f.1:11434/", "http://user@2130706433:11434/"] {
            assert_eq!(check(&list, same), Ok(Network::Own), "{same}");
        }
        for other in [
            "http://127.0.0.1:11435/api/chat",
            "https://127.0.0.1:11434/api/chat",
            "http://127.0.0.2:11434/",
            "http://localhost:11434/",
            "http://[::1]:11434/",
            "http://[::ffff:127.0.0.1]:11434/",
            "http://example.org/",
            "http://127.0.0.1:11434@example.org/",
            "http://127.0.0.1.example.org:11434/",
        ] {
            assert!(matches!(check(&list, other), Err(Refusal::NotListed(_))), "{other}");
        }
    }

    #[test]
    fn what_is_decided_is_what_the_client_will_connect_to() {
        let list = list(&["api.example.org", "xn--bcher-kva.example", "*.wild.example"], &[]);
        for allowed in [
            "https://api.example.org/v1?key=x",
            "https://API.EXAMPLE.ORG/",
            "http://api.example.org:80/",
            "https://user:password@api.example.org/",
            "https://api%2eexample.org/",
            "https://BÜCHER.example/",
            "https://a.b.wild.example/",
            "https:\\\\api.example.org\\path",
            "https://api。example.org/",
        ] {
            assert_eq!(check(&list, allowed), Ok(Network::Public), "{allowed}");
        }
        for refused in [
            "https://api.example.org:8443/",
            "https://api.example.org./",
            "https://api.example.org@evil.org/",
            "https://evil.org/@api.example.org",
            "https://evil.org#@api.example.org",
            "https://evil.org\\@api.example.org/",
            "https://api.example.org.evil.org/",
            "https://wild.example/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0177.0.0.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://127.0.0.1./",
            "https://①②⑦.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://169.254.169.254/latest/meta-data/",
        ] {
            let refusal = check(&list, refused).expect_err(refused);
            assert!(matches!(refusal, Refusal::NotListed(_)), "{refused}: {refusal}");
        }
        for other in ["ftp://api.example.org/", "file:///etc/passwd", "gopher://api.example.org/", "data:text/plain,x"]
        {
            assert!(matches!(check(&list, other), Err(Refusal::Scheme(_))), "{other}");
        }
    }

    #[test]
    fn an_address_that_is_refused_says_what_to_do() {
        let error = Error::from(check(&list(&[], &[]), "https://api.example.org/").unwrap_err());
        assert_eq!(error.kind(), Kind::Forbidden);
        assert_eq!(error.message(), "api.example.org is not on the allow-list");
        assert_eq!(error.remedy_text(), Some("add it to [egress] allow in config.toml"));
    }

    #[test]
    fn an_address_that_is_no_url_names_its_key() {
        for wrong in
            ["127.0.0.1:11434", "ollama", "file:///etc/passwd", "", "http://0.0.0.0:11434", "http://[fe80::1]/"]
        {
            let error = Grant::provider("models.ollama.url", wrong).expect_err(wrong);
            assert!(error.message().contains("models.ollama.url"), "{error}");
        }
    }

    #[test]
    fn a_provider_that_is_switched_off_is_not_reached() {
        let loaded = |chain: &str, embedding: &str| {
            let variables = [("AEGIS_MODELS__CHAIN", chain), ("AEGIS_EMBEDDING__MODEL", embedding)];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            of_providers(&Config::load_from(None, variables, None).unwrap()).unwrap().len()
        };
        assert_eq!(loaded("ollama,builtin", "builtin"), 1);
        assert_eq!(loaded("builtin", "ollama/nomic-embed-text"), 1);
        assert_eq!(loaded("builtin", "builtin"), 0);
        // One of its other models, and a route that is not the default one.
        assert_eq!(loaded("ollama/qwen3:8b,builtin", "builtin"), 1);
        let route = ("AEGIS_MODELS__ROUTES__CAREFUL__CHAIN".to_owned(), "ollama".to_owned());
        let chain = ("AEGIS_MODELS__CHAIN".to_owned(), "builtin".to_owned());
        let config = Config::load_from(None, [chain, route], None).unwrap();
        assert_eq!(of_providers(&config).unwrap().len(), 1);
    }
}
