//! How an error leaves the house: a JSON envelope for programs, a page for people, and one line in the log for us.
//!
//! A handler returns `support::Error`; the response carries it to the outermost middleware, which knows the request
//! and calls [`render`].

use std::{error::Error as _, sync::Arc};

use askama::Template;
use axum::{
    Json,
    extract::rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    context::RequestContext,
    frame::Frame,
    openai::{self, Particulars},
};
use crate::support::{Error, Kind};

/// The page for an error.
#[derive(Template)]
#[template(path = "error.html", config = "web/askama.toml")]
struct ErrorPage<'a> {
    frame: Frame,
    /// The HTTP status.
    status: u16,
    /// What happened.
    message: String,
    /// What to do next.
    remedy: Option<String>,
    /// For the administrator, to find it in the log.
    request_id: &'a str,
}

/// An error on its way out.
#[derive(Clone)]
struct Failure(Arc<Error>);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = status_of(self.kind()).into_response();
        add_wait(&self, &mut response);
        response.extensions_mut().insert(Failure(Arc::new(self)));
        response
    }
}

/// The HTTP status of a kind of failure.
pub fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The word for a kind of failure in the envelope.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid => "invalid",
        Kind::Unauthenticated => "unauthenticated",
        Kind::Forbidden => "forbidden",
        Kind::NotFound => "not_found",
        Kind::Conflict => "conflict",
        Kind::TooLarge => "too_large",
        Kind::TooMany => "too_many",
        Kind::Unavailable => "unavailable",
        Kind::Internal => "internal",
    }
}

/// What every API answers instead of what was asked for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Envelope {
    /// Why.
    pub error: Refusal,
}

/// Why something was not done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Refusal {
    /// For programs: `invalid`, `unauthenticated`, `forbidden`, `not_found`, `conflict`, `too_large`, `too_many`,
    /// `unavailable` or `internal`.
    kind: &'static str,
    /// What happened, for a person.
    message: String,
    /// What to do next, for a person.
    remedy: Option<String>,
    /// The request's number in the server's log.
    request_id: String,
}

/// An error as every API answers it. A fault of ours is told without its detail.
pub fn envelope(error: &Error, request_id: &str) -> Envelope {
    let (message, remedy) = told(error);
    let kind = kind_name(error.kind());
    Envelope { error: Refusal { kind, message, remedy, request_id: request_id.to_owned() } }
}

/// The answer to a form that is shown again with what was wrong: the error's status round the form's page.
pub fn form_refused(error: &Error, form: Response) -> Response {
    let mut response = form;
    *response.status_mut() = status_of(error.kind());
    add_wait(error, &mut response);
    response
}

/// Whether showing a form again cannot help: the error has a page of its own.
pub fn is_of_the_server(kind: Kind) -> bool {
    matches!(kind, Kind::Internal | Kind::Unavailable | Kind::NotFound)
}

/// An error in sentences, for the form that it is shown in.
pub fn in_sentences(error: &Error) -> String {
    let (message, remedy) = told(error);
    remedy.map_or_else(|| format!("{message}."), |remedy| format!("{message}. {remedy}."))
}

/// Gives a failed response its body, and logs it once. Responses that succeeded pass through, and so do failures
/// that a handler has already given a page or JSON.
pub(super) fn render(mut response: Response, context: &RequestContext) -> Response {
    let failure = response.extensions_mut().remove::<Failure>().map(|failure| failure.0);
    let Some(error) = failure.or_else(|| plain_failure(&response)) else { return response };
    log(&error);
    let status = response.status();
    let particulars = response.extensions_mut().remove::<Particulars>().unwrap_or_default();
    let body = if context.speaks_openai() {
        Json(openai::envelope(error.kind(), in_sentences(&error), &particulars)).into_response()
    } else if context.wants_json() {
        Json(envelope(&error, context.request_id())).into_response()
    } else {
        error_page(&error, status, context)
    };
    let mut headers = std::mem::take(response.headers_mut());
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        headers.remove(name);
    }
    headers.extend(body.headers().iter().map(|(name, value)| (name.clone(), value.clone())));
    *response.headers_mut() = headers;
    *response.body_mut() = body.into_body();
    response
}

/// A failure that axum or a layer answered by itself, in plain text or without a body.
fn plain_failure(response: &Response) -> Option<Arc<Error>> {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !(status.is_client_error() || status.is_server_error()) || !(kind.is_empty() || kind.starts_with("text/plain")) {
        return None;
    }
    Some(Arc::new(match status {
        StatusCode::NOT_FOUND => Error::new(Kind::NotFound, "There is no page at this address"),
        StatusCode::METHOD_NOT_ALLOWED => Error::invalid("This address does not take that method"),
        StatusCode::PAYLOAD_TOO_LARGE => Error::new(Kind::TooLarge, "The request is larger than is accepted here"),
        StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE => {
            Error::unavailable("The request took too long")
        }
        status if status.is_server_error() => Error::internal(format!("answered {status} without a reason")),
        status => Error::invalid(format!("The request cannot be understood ({status})")),
    }))
}

fn error_page(error: &Error, status: StatusCode, context: &RequestContext) -> Response {
    let (message, remedy) = told(error);
    let fallback = message.clone();
    let frame = Frame::public(context, heading(error.kind()));
    let page = ErrorPage { frame, status: status.as_u16(), message, remedy, request_id: context.request_id() };
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(fault) => {
            tracing::error!(error = %fault, "the error page cannot be rendered");
            fallback.into_response()
        }
    }
}

fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid => "That cannot be done like this",
        Kind::Unauthenticated => "You are not signed in",
        Kind::Forbidden => "That is not allowed",
        Kind::NotFound => "Nothing here",
        Kind::Conflict => "That contradicts what is there",
        Kind::TooLarge => "That is too large",
        Kind::TooMany => "Too many attempts",
        Kind::Unavailable => "Not available now",
        Kind::Internal => "Something went wrong",
    }
}

/// What a person may read of an error: what happened, and what to do next.
fn told(error: &Error) -> (String, Option<String>) {
    if error.kind() == Kind::Internal {
        let remedy = "Try again. If it happens again, give your administrator the request's number.";
        return ("Something went wrong on the server".to_owned(), Some(remedy.to_owned()));
    }
    (capital(error.message()), error.remedy_text().map(capital))
}

/// Messages are written to stand in a line of a terminal; on a page a sentence begins with a capital.
fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

fn add_wait(error: &Error, response: &mut Response) {
    if let Some(wait) = error.wait() {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
}

fn log(error: &Error) {
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push_str(": ");
        causes.push_str(&inner.to_string());
        cause = inner.source();
    }
    let reason = format_args!("{}{causes}", error.message());
    match error.kind() {
        Kind::Internal => tracing::error!(%reason, "request failed by a fault of ours"),
        Kind::Unavailable => tracing::warn!(%reason, "request failed for want of a part"),
        kind => tracing::debug!(%reason, kind = kind_name(kind), "request refused"),
    }
}

/// For a body that axum refuses: too large, or not what it says it is.
fn refused_body(status: StatusCode, text: &str) -> Error {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Error::new(Kind::TooLarge, "The request is larger than is accepted here"),
        _ => Error::invalid(format!("The request cannot be understood: {}", without_values(text))),
    }
}

/// A parser's words without what it repeats of the input, which may be a secret: everything between quotes or
/// backticks goes, but for names of fields, which are ours.
fn without_values(text: &str) -> String {
    let mut told = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(['"', '`']) {
        let (before, quoted) = rest.split_at(start);
        told.push_str(before);
        let quote = if quoted.starts_with('"') { '"' } else { '`' };
        // To the last quote: there may be some inside the value.
        let end = if before.ends_with("missing field ") { quoted[1..].find(quote) } else { quoted[1..].rfind(quote) };
        let Some(end) = end else { break };
        let value = &quoted[..end + 2];
        told.push_str(if before.ends_with("missing field ") { value } else { "…" });
        rest = &quoted[end + 2..];
    }
    if !rest.contains(['"', '`']) {
        told.push_str(rest);
    }
    told
}

impl From<JsonRejection> for Error {
    fn from(rejection: JsonRejection) -> Self {
        refused_body(rejection.status(), &rejection.body_text())
    }
}

impl From<FormRejection> for Error {
    fn from(rejection: FormRejection) -> Self {
        refused_body(rejection.status(), &rejection.body_text())
    }
}

impl From<QueryRejection> for Error {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(format!("The address cannot be understood: {}", without_values(&rejection.body_text())))
    }
}

impl From<PathRejection> for Error {
    fn from(rejection: PathRejection) -> Self {
        let why = without_values(&rejection.body_text());
        Self::new(Kind::NotFound, "There is no page at this address").because(why)
    }
}

#[cfg(test)]
mod tests {
    use super::without_values;

    #[test]
    fn what_a_parser_repeats_of_the_input_is_left_out_and_our_own_names_stay() {
        for (said, told) in [
            ("JSON: missing field `value` at line 1 column 9", "JSON: missing field `value` at line 1 column 9"),
            (r#"invalid type: string "hunter2", expected a map"#, "invalid type: string …, expected a map"),
            (r#"value: invalid type: string "hun\"ter2", expected u8"#, "value: invalid type: string …, expected u8"),
            ("unknown variant `hunter2`, expected `owner` or `admin`", "unknown variant …"),
            ("unknown field `hunter2", "unknown field "),
        ] {
            assert_eq!(without_values(said), told);
        }
    }
}
