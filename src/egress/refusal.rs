//! Why a request is not sent, in words for the person who has to decide whether it should be.

use std::net::IpAddr;

use super::Url;
use crate::support::{Error, Kind};

/// Why a request is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing in the configuration allows it.
    #[error("{0} is not on the allow-list")]
    NotListed(String),
    /// It is allowed by name, and its address lies where a name of the internet has no business.
    #[error("{}", at(.host, *.address, .what))]
    Address {
        /// The name, or the address that stands in the URL.
        host: String,
        /// What the name resolved to.
        address: Option<IpAddr>,
        /// "a private address"
        what: &'static str,
    },
    /// Neither http nor https.
    #[error("\"{0}\" is not sent: only http and https are")]
    Scheme(String),
    /// The server sends the request on to another host.
    #[error("the server redirects to another address, {}", super::origin(.0))]
    Redirected(Url),
    /// The server sends an encrypted request on to where it would not be.
    #[error("the server redirects from https to an address without encryption, {}", super::origin(.0))]
    Downgraded(Url),
    /// From here to there and back.
    #[error("the server redirects too often")]
    RedirectedTooOften,
    /// A client that was handed out for one address was used for another.
    #[error("the request goes to another address than it was allowed for")]
    Elsewhere,
    /// The client cannot be made.
    #[error("the client cannot be made: {0}")]
    NoClient(String),
}

impl Refusal {
    /// What the person can do about it.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NotListed(_) => Some("add it to [egress] allow in config.toml"),
            Self::Redirected(_) => {
                Some("if that address is right, use it, and allow it in [egress] allow in config.toml")
            }
            Self::Address { .. } => Some(
                "a server of your own network is reached by the setting of its provider, such as models.ollama.url",
            ),
            Self::Scheme(_) | Self::Downgraded(_) | Self::RedirectedTooOften | Self::Elsewhere | Self::NoClient(_) => {
                None
            }
        }
    }

    /// The refusal somewhere among the causes of `error`.
    pub(super) fn within<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(refusal) = error.downcast_ref::<Self>() {
                return Some(refusal);
            }
            cause = error.source();
        }
        None
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let error = Self::new(Kind::Forbidden, refusal.to_string());
        match refusal.remedy() {
            Some(remedy) => error.remedy(remedy),
            None => error,
        }
    }
}

fn at(host: &str, address: Option<IpAddr>, what: &str) -> String {
    match address {
        Some(address) => format!("{host} resolves to {address}, which is {what}"),
        None => format!("{host} is {what}"),
    }
}
