//! `[egress]`: the hosts that the appliance may reach beside those of the providers that are switched on.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::support::{
    Error, Result,
    address::{self, Place},
};

/// The ports that an entry without one allows: those of https and http.
const USUAL_PORTS: [u16; 2] = [443, 80];

/// `[egress]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// What may be reached: `host`, `*.host` for what lies below it, `host:port`. See [`AllowedHost`].
    pub allow: Vec<String>,
    /// Seconds that a request may take, its answer included, unless its caller says otherwise.
    pub timeout_seconds: u64,
    /// The largest answer that is read, in MiB.
    pub max_response_mib: u64,
}

/// An entry of `[egress] allow`. There is no way to write one that means everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// In lower case, without a dot at its end.
    Name(String),
    /// `*.name`
    Below(String),
    Address(IpAddr),
}

impl AllowedHost {
    /// Whether this entry allows `host`, as a parsed URL has it (in lower case, addresses in their usual form, IPv6 in
    /// brackets), on `port`.
    pub fn allows(&self, host: &str, port: u16) -> bool {
        let usual = self.port.map_or(USUAL_PORTS.contains(&port), |allowed| allowed == port);
        usual
            && match &self.host {
                Host::Name(name) => name == host,
                Host::Below(name) => {
                    host.strip_suffix(name.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                }
                Host::Address(IpAddr::V4(address)) => host == address.to_string(),
                Host::Address(IpAddr::V6(address)) => host == format!("[{address}]"),
            }
    }
}

impl FromStr for AllowedHost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| Err(Error::invalid(format!("\"{text}\" {why}")));
        if text.contains("://") || text.contains('/') || text.contains('@') {
            let host = text.split("://").last().unwrap_or_default().split('/').next().unwrap_or_default();
            let host = host.rsplit('@').next().unwrap_or_default();
            return wrong("is not a host").map_err(|error| error.remedy(format!("write \"{host}\"")));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || (host.starts_with('[') && host.ends_with(']')) => {
                match port.parse() {
                    Ok(port) if port > 0 => (host, Some(port)),
                    _ => return wrong("has a port that is none"),
                }
            }
            _ => (text, None),
        };
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = inner.parse::<Ipv6Addr>() {
            return Self::of_address(text, address.into(), port);
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Self::of_address(text, address.into(), port);
        }
        let (name, below) = host.strip_prefix("*.").map_or((host, false), |name| (name, true));
        if name == "*" || name.is_empty() {
            return wrong("would allow everything").map_err(|error| error.remedy("name the hosts one by one"));
        }
        if !name.is_ascii() {
            return wrong("is not ASCII")
                .map_err(|error| error.remedy("write the name as the name server knows it: \"xn--…\""));
        }
        if !is_name(name) {
            return wrong("is not a host")
                .map_err(|error| error.remedy("write \"api.example.org\", \"*.example.org\" or \"example.org:8443\""));
        }
        if below && !name.contains('.') {
            return wrong("would allow a whole top-level domain")
                .map_err(|error| error.remedy("write \"*.example.org\""));
        }
        let name = name.to_ascii_lowercase();
        Ok(Self { host: if below { Host::Below(name) } else { Host::Name(name) }, port })
    }
}

impl AllowedHost {
    fn of_address(text: &str, address: IpAddr, port: Option<u16>) -> Result<Self> {
        match address::place(address) {
            Place::Public => Ok(Self { host: Host::Address(address), port }),
            Place::Private(what) | Place::Never(what) => {
                Err(Error::invalid(format!("\"{text}\" is {what}, which the allow-list cannot open")).remedy(
                    "a server of your own network is reached by the setting of its provider, such as models.ollama.url",
                ))
            }
        }
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Below(name) => write!(f, "*.{name}")?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Letters, digits, hyphens and dots, and not what a browser would take for an IPv4 address in an odd form: a name
/// whose last part is a number.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !part.is_empty() && part.len() <= 63 && part.bytes().all(allowed)
    };
    let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    name.len() <= 253 && name.split('.').all(part) && !number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> AllowedHost {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn an_entry_allows_its_host_on_the_usual_ports_or_on_its_own() {
        assert!(entry("api.example.org").allows("api.example.org", 443));
        assert!(entry("API.Example.org").allows("api.example.org", 80));
        assert!(!entry("api.example.org").allows("api.example.org", 8443));
        assert!(entry("api.example.org:8443").allows("api.example.org", 8443));
        assert!(!entry("api.example.org:8443").allows("api.example.org", 443));
        for other in ["example.org", "x.api.example.org", "api.example.org.", "api.example.org.evil.org", "1.1.1.1"] {
            assert!(!entry("api.example.org").allows(other, 443), "{other}");
        }
        assert!(entry("[2606:4700::1111]:8443").allows("[2606:4700::1111]", 8443));
        assert!(entry("1.1.1.1").allows("1.1.1.1", 443));
    }

    #[test]
    fn a_wildcard_allows_what_lies_below_and_nothing_beside() {
        for (host, allowed) in [
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            (".example.org", false),
            ("evilexample.org", false),
            ("a.example.org.evil.org", false),
        ] {
            assert_eq!(entry("*.example.org").allows(host, 443), allowed, "{host}");
        }
        assert!(entry("*.example.org:8443").allows("a.example.org", 8443));
    }

    #[test]
    fn an_entry_that_would_open_too_much_or_means_nothing_is_refused() {
        for text in [
            "",
            "*",
            "*.",
            "*.org",
            "*:443",
            "a b",
            "exa*mple.org",
            "*.*.org",
            "https://api.example.org/v1",
            "a@b.org",
            "api.example.org:0",
            "api.example.org:99999",
            "api.example.org:https",
            "api..example.org",
            "api.example.org.",
            "127.0.0.1",
            "10.0.0.1:80",
            "169.254.169.254",
            "[::1]:8080",
            "::1",
            "[::ffff:8.8.8.8]",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "127.1",
            "017700000001",
            "bücher.example",
        ] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
        let error = "https://api.example.org/v1".parse::<AllowedHost>().unwrap_err();
        assert_eq!(error.remedy_text(), Some("write \"api.example.org\""));
    }

    #[test]
    fn an_entry_is_shown_as_it_is_understood() {
        for text in ["api.example.org", "*.example.org:8443", "[2606:4700::1111]", "1.1.1.1:53"] {
            assert_eq!(entry(text).to_string(), text);
        }
    }
}
