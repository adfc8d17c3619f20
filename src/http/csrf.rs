//! Cross-site request forgery: every request that changes something must come from our own page.
//!
//! Two independent checks. The browser's own word (`Sec-Fetch-Site`, else `Origin`) says that the request was made by
//! this site; and a token that only our pages know is in the header `x-csrf-token` or in the form field `csrf`. The
//! token is a salted hash of the session's cookie (of a cookie made for the form, before there is a session), so it
//! ends with the session, needs no database, and differs on every page, which leaves compression nothing to guess at.
//!
//! A request with an API token (`Authorization: Bearer`) is outside of this: its cookies are not read.

use axum::{
    body::{Body, Bytes},
    extract::{Form, FromRequest, Request},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::context::{RequestContext, is_for_programs};
use crate::support::{Error, Kind, Result, random};

/// The header that scripts send the token in.
pub const HEADER: &str = "x-csrf-token";

/// The most of a URL-encoded form that is read to find its token: a secret of 64 KiB may triple in the encoding.
const FORM_LIMIT: usize = 256 * 1024;
/// The most of a multipart form that is read to find its token, which must be the first field.
const FIRST_FIELD_LIMIT: usize = 4 * 1024;
const SALT_DIGITS: usize = 16;

/// A new token bound to `secret`, the value of a cookie.
pub fn token(secret: &str) -> String {
    let salt = hex::encode(random::bytes::<{ SALT_DIGITS / 2 }>());
    let seal = seal(&salt, secret);
    salt + &seal
}

/// Lets a request that changes something pass only with both checks met.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match check(request).await {
        Ok(request) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

async fn check(request: Request) -> Result<Request> {
    let Some(context) = request.extensions().get::<RequestContext>().cloned() else {
        return Err(Error::internal("the CSRF guard stands outside http::middleware::apply"));
    };
    if context.bearer().is_some() {
        // No cookie counts then, and no page of another site can add the header: it would first have to ask (CORS), and
        // we never allow it.
        return Ok(request);
    }
    from_this_site(request.headers(), context.kit().public_authority())?;
    let secret = context.csrf_secret().ok_or_else(|| no_cookie(&request))?;
    let (request, given) = take_token(request).await?;
    let given = given.ok_or_else(|| refused("the request carries no token"))?;
    if is_bound_to(&given, secret) { Ok(request) } else { Err(refused("the token is bound to another cookie")) }
}

/// A browser says where a request was made. One that says neither (a program) has only the token to show.
fn from_this_site(headers: &HeaderMap, public_authority: Option<&str>) -> Result<()> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    if let Some(site) = text("sec-fetch-site") {
        let ours = matches!(site, "same-origin" | "none");
        return if ours { Ok(()) } else { Err(refused("another site made the request")) };
    }
    let Some(origin) = text("origin") else { return Ok(()) };
    let origin = origin.split_once("://").map_or("", |(_, authority)| authority);
    let ours = [text("host"), public_authority];
    if ours.into_iter().flatten().any(|host| host.eq_ignore_ascii_case(origin)) {
        Ok(())
    } else {
        Err(refused("another origin made the request"))
    }
}

/// Finds the token, and gives the request back whole.
async fn take_token(request: Request) -> Result<(Request, Option<String>)> {
    if let Some(value) = request.headers().get(HEADER) {
        let token = value.to_str().ok().map(str::to_owned);
        return Ok((request, token));
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/x-www-form-urlencoded") {
        return from_urlencoded(request).await;
    }
    if let Some(boundary) = boundary(kind).map(str::to_owned) {
        return from_multipart(request, &boundary).await;
    }
    Ok((request, None))
}

async fn from_urlencoded(request: Request) -> Result<(Request, Option<String>)> {
    #[derive(Deserialize)]
    struct Field {
        csrf: Option<String>,
    }
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, FORM_LIMIT)
        .await
        .map_err(|fault| Error::new(Kind::TooLarge, "The form is larger than is accepted here").because(fault))?;
    let copy = Request::from_parts(parts.clone(), Body::from(bytes.clone()));
    let token = Form::<Field>::from_request(copy, &()).await.ok().and_then(|form| form.0.csrf);
    Ok((Request::from_parts(parts, Body::from(bytes)), token))
}

async fn from_multipart(request: Request, boundary: &str) -> Result<(Request, Option<String>)> {
    let (parts, body) = request.into_parts();
    let mut rest = body.into_data_stream();
    let mut read = Vec::new();
    let mut seen = Vec::new();
    while seen.len() < FIRST_FIELD_LIMIT && first_field_end(&seen, boundary).is_none() {
        let Some(piece) = rest.next().await else { break };
        let piece = piece.map_err(|fault| Error::invalid("The request broke off").because(fault))?;
        let room = FIRST_FIELD_LIMIT - seen.len();
        seen.extend_from_slice(&piece[..piece.len().min(room)]);
        read.push(piece);
    }
    let token = first_field(&seen, boundary);
    Ok((Request::from_parts(parts, Body::from_stream(whole(read, rest))), token))
}

fn whole<E>(read: Vec<Bytes>, rest: impl Stream<Item = Result<Bytes, E>>) -> impl Stream<Item = Result<Bytes, E>> {
    stream::iter(read.into_iter().map(Ok)).chain(rest)
}

fn boundary(kind: &str) -> Option<&str> {
    let parameters = kind.strip_prefix("multipart/form-data")?;
    let value = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let value = value.trim_matches('"');
    (!value.is_empty()).then_some(value)
}

fn first_field_end(seen: &[u8], boundary: &str) -> Option<usize> {
    let delimiter = format!("\r\n--{boundary}");
    seen.windows(delimiter.len()).position(|window| window == delimiter.as_bytes())
}

/// The value of the first field, if it is called `csrf`.
fn first_field(seen: &[u8], boundary: &str) -> Option<String> {
    let end = first_field_end(seen, boundary)?;
    let field = std::str::from_utf8(&seen[..end]).ok()?;
    let field = field.strip_prefix("--")?.strip_prefix(boundary)?.strip_prefix("\r\n")?;
    let (headers, value) = field.split_once("\r\n\r\n")?;
    let is_token = headers.lines().any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("content-disposition:") && line.contains("name=\"csrf\"") && !line.contains("filename")
    });
    is_token.then(|| value.to_owned())
}

fn is_bound_to(token: &str, secret: &str) -> bool {
    let Some((salt, given)) = token.split_at_checked(SALT_DIGITS) else { return false };
    given.as_bytes().ct_eq(seal(salt, secret).as_bytes()).into()
}

fn seal(salt: &str, secret: &str) -> String {
    let digest =
        Sha256::new().chain_update(b"aegis csrf 1\0").chain_update(salt).chain_update(b"\0").chain_update(secret);
    hex::encode(digest.finalize())
}

/// A program without a session is told so; a page's form is told to be reloaded.
fn no_cookie(request: &Request) -> Error {
    if is_for_programs(request.uri().path()) {
        Error::new(Kind::Unauthenticated, "Nobody is signed in").remedy("Sign in, or send an API token")
    } else {
        refused("the browser sent no cookie that a token is bound to")
    }
}

fn refused(reason: &'static str) -> Error {
    Error::forbidden("The request did not come from a current page of this console, so nothing was changed")
        .remedy("Reload the page and try again")
        .because(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_token_holds_for_its_own_cookie_only_and_never_looks_the_same() {
        let (one, two) = (token("cookie"), token("cookie"));
        assert_ne!(one, two);
        assert!(is_bound_to(&one, "cookie") && is_bound_to(&two, "cookie"));
        assert!(!is_bound_to(&one, "other"));
        assert!(!is_bound_to("", "cookie") && !is_bound_to("éééééééééé", "cookie"));
    }

    #[test]
    fn other_sites_are_refused_by_the_browsers_word_or_by_origin() {
        let site = |pairs: &[(&'static str, &str)]| from_this_site(&headers(pairs), Some("aegis.example.org")).is_ok();
        assert!(site(&[("sec-fetch-site", "same-origin")]) && site(&[("sec-fetch-site", "none")]) && site(&[]));
        assert!(!site(&[("sec-fetch-site", "cross-site")]) && !site(&[("sec-fetch-site", "same-site")]));
        assert!(site(&[("origin", "http://localhost:8480"), ("host", "localhost:8480")]));
        assert!(site(&[("origin", "https://aegis.example.org"), ("host", "127.0.0.1:8480")]));
        assert!(!site(&[("origin", "https://evil.example"), ("host", "localhost:8480")]));
        assert!(!site(&[("origin", "null"), ("host", "localhost:8480")]));
    }

    #[test]
    fn the_first_field_of_a_multipart_form_is_the_token_and_no_other() {
        let form = |name: &str| {
            format!(
                "--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\nabc\r\n--B\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\nxyz\r\n--B--\r\n"
            )
        };
        assert_eq!(first_field(form("csrf").as_bytes(), "B").as_deref(), Some("abc"));
        assert_eq!(first_field(form("file").as_bytes(), "B"), None);
        assert_eq!(
            first_field(
                b"--B\r\nContent-Disposition: form-data; name=\"csrf\"; filename=\"x\"\r\n\r\nabc\r\n--B--",
                "B"
            ),
            None
        );
        assert_eq!(boundary("multipart/form-data; charset=utf-8; boundary=\"B\""), Some("B"));
    }
}
