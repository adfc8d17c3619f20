//! The axum kit: what every slice's `http.rs` stands on.
//!
//! A handler takes extractors, calls one use case and returns `support::Result<impl IntoResponse>`; errors become
//! an envelope or a page in [`error`], and [`middleware::apply`] puts the guards round all routes at once, so that
//! no handler can forget one.

pub mod assets;
mod connections;
pub mod context;
pub mod cookie;
pub mod csrf;
pub mod error;
pub mod extract;
pub mod format;
pub mod frame;
pub mod health;
pub mod middleware;
pub mod openai;
pub mod serve;
pub mod sse;
pub mod theme;

use std::sync::Arc;

use axum::{
    http::Uri,
    response::{Html, IntoResponse, Response},
};

use crate::{
    config,
    support::{Error, Result},
};

/// What the kit must know about the server it is part of. A cheap handle.
#[derive(Debug, Clone)]
pub struct Kit(Arc<Settings>);

#[derive(Debug)]
struct Settings {
    secure: bool,
    public_authority: Option<String>,
    base: String,
}

impl Kit {
    /// Reads the public address: under `https` cookies are `Secure` and bound to the host, and browsers are told to
    /// come by HTTPS only.
    ///
    /// # Errors
    /// `Invalid` when `server.public_url` is not an address.
    pub fn new(server: &config::Server) -> Result<Self> {
        if server.public_url.is_empty() {
            let base = format!("http://{}", server.listen);
            return Ok(Self(Arc::new(Settings { secure: false, public_authority: None, base })));
        }
        let wrong = || {
            Error::invalid(format!("server.public_url is not an address: {}", server.public_url))
                .remedy("Write it as https://aegis.example.org")
        };
        let uri: Uri = server.public_url.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?.as_str().to_ascii_lowercase();
        let base = server.public_url.trim_end_matches('/').to_owned();
        Ok(Self(Arc::new(Settings { secure, public_authority: Some(authority), base })))
    }

    /// Whether people reach the server by HTTPS.
    pub fn secure(&self) -> bool {
        self.0.secure
    }

    /// The whole address of a path of ours, for links that leave the console. It is made of the configuration alone:
    /// what a request says of its host may be anybody's word.
    pub fn link(&self, path: &str) -> String {
        format!("{}{path}", self.0.base)
    }

    /// Host and port of the public address, if one is configured.
    pub fn public_authority(&self) -> Option<&str> {
        self.0.public_authority.as_deref()
    }
}

/// Renders a page.
///
/// # Errors
/// `Internal` when the template cannot be rendered.
pub fn page(template: &impl askama::Template) -> Result<Response> {
    Ok(Html(template.render().map_err(Error::internal)?).into_response())
}
