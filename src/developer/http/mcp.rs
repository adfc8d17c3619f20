//! `/mcp`: the MCP server over streamable HTTP, behind the guards of every route and two of its own.

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Uri, header, uri::Authority},
    response::Response,
};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};

use super::{super::mcp::Desk, DeveloperState};
use crate::{
    accounts::http::InTenant,
    http::{context::RequestContext, middleware::BODY_LIMIT},
    support::{Error, Result},
};

/// `POST /mcp`: one message of an MCP client.
///
/// The service is made for the one request, with whoever sent it: there is nothing that two requests share.
pub async fn serve_mcp(
    State(state): State<DeveloperState>,
    context: RequestContext,
    tenant: InTenant,
    request: Request,
) -> Result<Response> {
    check_host(request.uri(), request.headers(), context.kit().public_authority())?;
    let DeveloperState { agents, knowledge, lanes, clock, .. } = state;
    let InTenant { signed_in, db } = tenant;
    let desk = Desk { agents, knowledge, lanes, clock, signed_in, db, kit: context.kit().clone() };
    // Host and origin are checked above, by what is configured.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_max_request_body_bytes(BODY_LIMIT)
        .disable_allowed_hosts()
        .disable_allowed_origins();
    let sessions = Arc::new(NeverSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(desk.clone()), sessions, config);
    Ok(service.handle(request).await.map(Body::new))
}

/// A page of another site that has made its name point to this machine (DNS rebinding) names itself in `Host`; one that
/// has not, in `Origin`.
fn check_host(uri: &Uri, headers: &HeaderMap, public: Option<&str>) -> Result<()> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let host = text(header::HOST).or_else(|| uri.authority().map(Authority::as_str)).unwrap_or_default();
    if !is_ours(host, public) {
        return Err(Error::forbidden("This server is not known by the name that the request gives it")
            .remedy("Come by the address of the console, which is `server.public_url` in the configuration"));
    }
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let origin = origin.split_once("://").map_or("", |(_, authority)| authority);
    let same = |ours: &str| ours.eq_ignore_ascii_case(origin);
    if same(host) || public.is_some_and(same) {
        return Ok(());
    }
    Err(Error::forbidden("A page of another site made this request").remedy("Let the program itself make it"))
}

/// Whether a host is the configured one, this machine, or an address, which no name server had a say in.
fn is_ours(host: &str, public: Option<&str>) -> bool {
    if public.is_some_and(|public| public.eq_ignore_ascii_case(host)) {
        return true;
    }
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_ours_and_a_page_of_another_site_are_refused() {
        let passes = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            check_host(&Uri::from_static("/mcp"), &headers, Some("aegis.example.org")).is_ok()
        };
        assert!(passes("aegis.example.org", None) && passes("127.0.0.1:8480", None) && passes("[::1]:8480", None));
        assert!(passes("localhost:8480", Some("http://localhost:8480")));
        assert!(passes("127.0.0.1:8480", Some("https://aegis.example.org")));
        assert!(
            !passes("rebound.example", None) && !passes("", None) && !passes("aegis.example.org.evil.example", None)
        );
        assert!(!passes("127.0.0.1:8480", Some("https://evil.example")) && !passes("127.0.0.1:8480", Some("null")));
    }
}
