//! What is known about a request before any handler runs: its id, its nonce, where it comes from, which cookies it carries.

use std::{fmt, net::IpAddr, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Kit,
    cookie::{self, KitCookie},
    csrf,
    frame::Theme,
};
use crate::support::{Error, random};

/// The address of the other end of the connection; `serve` puts it on each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// One request's surroundings. A cheap handle; any handler may extract it.
#[derive(Clone)]
pub struct RequestContext(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kit: Kit,
    request_id: String,
    nonce: String,
    theme: Theme,
    wants_json: bool,
    session: Option<String>,
    form_binding: Option<String>,
    browser: Option<String>,
    pending: Option<String>,
    journey: Option<String>,
    bearer: Option<String>,
    client: Option<IpAddr>,
    user_agent: Option<String>,
    path: String,
    reloadable: bool,
}

impl RequestContext {
    /// Reads it off a request.
    pub(super) fn read(kit: &Kit, request: &Request) -> Self {
        let headers = request.headers();
        let path = request.uri().path();
        let bearer = bearer(headers);
        // Whoever shows an API token is that token: no cookie adds to it, so that no other site can make use of one.
        let cookie = |cookie| if bearer.is_none() { kit.read_cookie(headers, cookie) } else { None };
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        Self(Arc::new(Inner {
            kit: kit.clone(),
            request_id: hex::encode(random::bytes::<8>()),
            nonce: URL_SAFE_NO_PAD.encode(random::bytes::<16>()),
            theme: Theme::from_name(cookie::read(headers, "theme").as_deref()),
            wants_json: bearer.is_some() || wants_json(path, headers),
            session: cookie(KitCookie::Session),
            form_binding: cookie(KitCookie::FormBinding),
            browser: cookie(KitCookie::Browser),
            pending: cookie(KitCookie::Pending),
            journey: cookie(KitCookie::Journey),
            client: client_address(peer, headers),
            user_agent: text(headers, header::USER_AGENT).map(|agent| agent.chars().take(200).collect()),
            path: request.uri().path_and_query().map_or(path, |whole| whole.as_str()).to_owned(),
            reloadable: request.method().is_safe(),
            bearer,
        }))
    }

    /// The same request, but with a fresh binding for a form that is shown before there is a session.
    /// Also gives the binding's cookie value, to be set; `None` when the browser has a session or a binding already.
    #[must_use]
    pub fn with_form_binding(&self) -> (Self, Option<String>) {
        if self.csrf_secret().is_some() {
            return (self.clone(), None);
        }
        let binding = hex::encode(random::bytes::<32>());
        let inner = Inner { form_binding: Some(binding.clone()), ..(*self.0).clone() };
        (Self(Arc::new(inner)), Some(binding))
    }

    /// The request's id, as in the log and in `x-request-id`.
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// The nonce of this page's scripts.
    pub fn nonce(&self) -> &str {
        &self.0.nonce
    }

    /// The colours that the browser asks for.
    pub fn theme(&self) -> Theme {
        self.0.theme
    }

    /// Whether errors are told as JSON; otherwise as a page.
    pub fn wants_json(&self) -> bool {
        self.0.wants_json
    }

    /// Whether it came by the developer API, which tells errors as OpenAI's clients expect them.
    pub fn speaks_openai(&self) -> bool {
        self.0.path.starts_with("/v1/")
    }

    /// The session's token, unchecked.
    pub fn session_token(&self) -> Option<&str> {
        self.0.session.as_deref()
    }

    /// The token by which the browser is known since somebody signed in with it, unchecked.
    pub fn browser_token(&self) -> Option<&str> {
        self.0.browser.as_deref()
    }

    /// The token of a sign-in whose code is still missing, unchecked.
    pub fn pending_token(&self) -> Option<&str> {
        self.0.pending.as_deref()
    }

    /// The token of a journey to another sign-in page, unchecked.
    pub fn journey_token(&self) -> Option<&str> {
        self.0.journey.as_deref()
    }

    /// Whether the request asks for a page to be shown, and changes nothing.
    pub fn is_page_view(&self) -> bool {
        self.0.reloadable && !self.0.wants_json
    }

    /// The API token that the request shows, unchecked; empty when it shows something that cannot be one. A request with
    /// one carries no cookie, whatever the browser sent.
    pub fn bearer(&self) -> Option<&str> {
        self.0.bearer.as_deref()
    }

    /// The client's address, when it is known.
    pub fn client(&self) -> Option<IpAddr> {
        self.0.client
    }

    /// What the browser says it is, cut to 200 characters.
    pub fn user_agent(&self) -> Option<&str> {
        self.0.user_agent.as_deref()
    }

    /// Where to return to after signing in: the page itself, or the start when the request was no plain page view.
    pub fn return_path(&self) -> &str {
        if self.0.reloadable { &self.0.path } else { "/" }
    }

    /// The server's settings.
    pub fn kit(&self) -> &Kit {
        &self.0.kit
    }

    /// A token for this page's forms and scripts, if there is something to bind it to.
    pub fn csrf_token(&self) -> Option<String> {
        self.csrf_secret().map(csrf::token)
    }

    /// The cookie that CSRF tokens are bound to: the session's once there is one, never a weaker one beside it.
    pub(super) fn csrf_secret(&self) -> Option<&str> {
        self.0.session.as_deref().or(self.0.form_binding.as_deref())
    }
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext").field("request_id", &self.0.request_id).finish_non_exhaustive()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Error::internal("the route stands outside http::middleware::apply"))
    }
}

/// What stands behind `Authorization: Bearer` (RFC 6750, section 2.1); another scheme is none of ours. Two such headers
/// are no token.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let token = shown.next()?;
    Some(if shown.next().is_none() { token.to_owned() } else { String::new() })
}

/// Whether nobody looks at this path with a browser.
pub(super) fn is_for_programs(path: &str) -> bool {
    path.starts_with("/api/") || path.starts_with("/v1/") || path == "/mcp"
}

fn wants_json(path: &str, headers: &HeaderMap) -> bool {
    let accept = text(headers, header::ACCEPT).unwrap_or_default();
    is_for_programs(path)
        || matches!(path, "/healthz" | "/readyz")
        || ((accept.contains("application/json") || accept.contains("text/event-stream"))
            && !accept.contains("text/html"))
}

/// Behind a proxy on this machine the last `X-Forwarded-For` entry, which that proxy wrote, is the client; nobody
/// else's word is taken.
fn client_address(peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = peer?.to_canonical();
    if !peer.is_loopback() {
        return Some(peer);
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
    let last = forwarded.and_then(|list| list.rsplit(',').next()).and_then(|entry| entry.trim().parse::<IpAddr>().ok());
    Some(last.map_or(peer, |address| address.to_canonical()))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proxy_on_this_machine_may_say_who_the_client_is() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "198.51.100.1, 203.0.113.9".parse().unwrap());
        let from = |peer: &str| client_address(Some(peer.parse().unwrap()), &headers).unwrap().to_string();
        assert_eq!(from("127.0.0.1"), "203.0.113.9");
        assert_eq!(from("::ffff:127.0.0.1"), "203.0.113.9");
        assert_eq!(from("192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn a_bearer_is_read_by_its_scheme_and_two_are_none() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers)
        };
        assert_eq!(of(&["Bearer aegis_x"]).as_deref(), Some("aegis_x"));
        assert_eq!(of(&["bearer  aegis_x "]).as_deref(), Some("aegis_x"));
        assert_eq!((of(&["Basic YTpi"]), of(&[])), (None, None));
        assert_eq!(of(&["Bearer aegis_x", "Bearer aegis_y"]).as_deref(), Some(""));
        assert_eq!(of(&["Bearer "]).as_deref(), Some(""));
    }

    #[test]
    fn a_browser_gets_pages_and_a_program_gets_json() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8".parse().unwrap());
        assert!(!wants_json("/chat", &headers));
        assert!(wants_json("/api/chat", &headers));
        headers.insert(header::ACCEPT, "application/json".parse().unwrap());
        assert!(wants_json("/chat", &headers));
    }
}
