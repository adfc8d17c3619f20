//! The cookies that the console sets.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum_extra::extract::cookie::CookieJar;

use super::Kit;
use crate::support::{Error, Result};

/// A cookie that decides who somebody is. Only the server reads it, and it is sent along when people come from
/// elsewhere by a link, but with no other request from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KitCookie {
    /// The session's token.
    Session,
    /// Binds forms to a browser that has no session yet: sign-in and set-up.
    FormBinding,
    /// Binds a sign-in whose code is still missing to the browser.
    Pending,
    /// Binds the way to another sign-in page and back to the browser.
    Journey,
    /// By which a browser is known since somebody signed in with it.
    Browser,
}

/// A header that sets a cookie; return it as `[set_cookie]` in front of a handler's response.
pub type SetCookie = (HeaderName, HeaderValue);

impl Kit {
    /// Sets one of our cookies for `seconds`; 0 removes it.
    ///
    /// # Errors
    /// `Internal` when the value cannot stand in a header.
    pub fn set_cookie(&self, cookie: KitCookie, value: &str, seconds: i64) -> Result<SetCookie> {
        set(self.cookie_name(cookie), value, Some(seconds), "; HttpOnly", self.secure())
    }

    /// Sets one of our cookies until the browser is closed.
    ///
    /// # Errors
    /// `Internal` when the value cannot stand in a header.
    pub fn set_cookie_until_closed(&self, cookie: KitCookie, value: &str) -> Result<SetCookie> {
        set(self.cookie_name(cookie), value, None, "; HttpOnly", self.secure())
    }

    /// The value of one of our cookies, if the request carries it.
    pub fn read_cookie(&self, headers: &HeaderMap, cookie: KitCookie) -> Option<String> {
        let value = read(headers, self.cookie_name(cookie))?;
        let well_formed = (1..=128).contains(&value.len());
        (well_formed && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))).then_some(value)
    }

    /// `__Host-` makes browsers refuse the cookie from a sibling host or over plain HTTP; it needs HTTPS.
    fn cookie_name(&self, cookie: KitCookie) -> &'static str {
        match (cookie, self.secure()) {
            (KitCookie::Session, false) => "aegis_session",
            (KitCookie::Session, true) => "__Host-aegis_session",
            (KitCookie::FormBinding, false) => "aegis_form",
            (KitCookie::FormBinding, true) => "__Host-aegis_form",
            (KitCookie::Pending, false) => "aegis_pending",
            (KitCookie::Pending, true) => "__Host-aegis_pending",
            (KitCookie::Journey, false) => "aegis_journey",
            (KitCookie::Journey, true) => "__Host-aegis_journey",
            (KitCookie::Browser, false) => "aegis_browser",
            (KitCookie::Browser, true) => "__Host-aegis_browser",
        }
    }
}

/// The value of a cookie that scripts may read too, such as `theme`.
pub(super) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(CookieJar::from_headers(headers).get(name)?.value().to_owned())
}

/// Sets a cookie that scripts may read too.
pub(super) fn set_open(name: &str, value: &str, seconds: i64, secure: bool) -> Result<SetCookie> {
    set(name, value, Some(seconds), "", secure)
}

/// Format: RFC 6265, section 4.1.
fn set(name: &str, value: &str, seconds: Option<i64>, http_only: &str, secure: bool) -> Result<SetCookie> {
    let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/{age}; SameSite=Lax{http_only}{secure}");
    Ok((header::SET_COOKIE, HeaderValue::from_str(&text).map_err(Error::internal)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn kit(public_url: &str) -> Kit {
        Kit::new(&config::Server { listen: String::new(), public_url: public_url.into() }).unwrap()
    }

    #[test]
    fn under_https_the_session_is_bound_to_the_host_and_never_sent_in_clear() {
        let (_, value) = kit("https://aegis.example.org").set_cookie(KitCookie::Session, "abc", 60).unwrap();
        assert_eq!(value, "__Host-aegis_session=abc; Path=/; Max-Age=60; SameSite=Lax; HttpOnly; Secure");
        let (_, value) = kit("").set_cookie(KitCookie::Session, "abc", 60).unwrap();
        assert_eq!(value, "aegis_session=abc; Path=/; Max-Age=60; SameSite=Lax; HttpOnly");
        let (_, value) = kit("").set_cookie_until_closed(KitCookie::Session, "abc").unwrap();
        assert_eq!(value, "aegis_session=abc; Path=/; SameSite=Lax; HttpOnly");
    }

    #[test]
    fn a_cookie_of_the_wrong_name_or_form_is_not_read() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "theme=dark; aegis_session=abc-_9; aegis_form=a.b".parse().unwrap());
        let (plain, secure) = (kit(""), kit("https://aegis.example.org"));
        assert_eq!(plain.read_cookie(&headers, KitCookie::Session).as_deref(), Some("abc-_9"));
        assert_eq!(plain.read_cookie(&headers, KitCookie::FormBinding), None);
        assert_eq!(secure.read_cookie(&headers, KitCookie::Session), None);
    }
}
