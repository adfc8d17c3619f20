//! The guards that stand round every route, put up in one place.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, Predicate as _, predicate::SizeAbove},
    timeout::RequestBodyTimeoutLayer,
};
use tracing::{Instrument, field::Empty};

use super::{Kit, context::RequestContext, csrf, error};
use crate::support::Error;

/// The largest body that a route takes unless it says otherwise with its own `DefaultBodyLimit`: 1 MiB.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// How long a handler may take until its response begins. A stream may then go on for as long as it likes.
const DEADLINE: Duration = Duration::from_mins(1);
/// The same for uploads, which are as fast as the sender's line.
const UPLOAD_DEADLINE: Duration = Duration::from_mins(30);

/// The same for programs that wait for a whole answer of an agent: a little longer than the run itself may take.
const ANSWER_DEADLINE: Duration = Duration::from_mins(16);

/// A body that does not go on for so long is given up, however large it is to become.
const BODY_PAUSE: Duration = Duration::from_secs(30);

/// Puts the guards round all routes of `router`. From the outside in: request id, log and headers; compression;
/// panics caught; CSRF; body limit.
pub fn apply(router: Router, kit: Kit) -> Router {
    router
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(from_fn(csrf::guard))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(256).and(is_text)))
        .layer(from_fn_with_state(kit, enter))
}

/// Remembers in the request's log lines whose data it works on.
pub fn record_tenant(tenant: &crate::support::ids::TenantId) {
    tracing::Span::current().record("tenant", tenant.as_str());
}

async fn enter(State(kit): State<Kit>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let context = RequestContext::read(&kit, &request);
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let quiet = route.starts_with("/assets/") || matches!(route.as_str(), "/healthz" | "/readyz");
    let deadline = match &*route {
        "/v1/chat/completions" | "/v1/responses" | "/mcp" => ANSWER_DEADLINE,
        _ if is_upload(&request) => UPLOAD_DEADLINE,
        _ => DEADLINE,
    };
    let span = tracing::info_span!(
        "request",
        request_id = context.request_id(),
        method = %request.method(),
        route,
        tenant = Empty,
        run = Empty
    );
    request.extensions_mut().insert(context.clone());
    async move {
        let response = match tokio::time::timeout(deadline, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Error::unavailable("The request took too long and was given up")
                .remedy("Try again in a moment")
                .into_response(),
        };
        let mut response = error::render(response, &context);
        add_headers(&mut response, &context);
        let status = response.status().as_u16();
        let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
        if quiet {
            tracing::debug!(status, duration_ms, "request answered");
        } else {
            tracing::info!(status, duration_ms, "request answered");
        }
        response
    }
    .instrument(span)
    .await
}

fn is_upload(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["multipart/", "application/octet-stream", "application/offset+octet-stream"]
        .iter()
        .any(|known| kind.starts_with(known))
}

/// Only text gets smaller; and events must leave at once.
fn is_text(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    (kind.starts_with("text/") && kind != "text/event-stream")
        || matches!(kind, "application/json" | "image/svg+xml" | "application/manifest+json")
}

/// The headers that browsers need to be told to hold their ground. One that a handler has set stays.
fn add_headers(response: &mut Response, context: &RequestContext) {
    let policy = format!(
        "default-src 'none'; script-src 'self' 'nonce-{}'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        context.nonce()
    );
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(context.request_id()) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    }
    if context.kit().secure() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: under it browsers send `Origin: null` with our own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "private, no-store"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "tower-http hands the panic over")]
fn answer_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&'static str>().copied())
        .unwrap_or("without a message");
    Error::internal(format!("a handler panicked: {text}")).into_response()
}
