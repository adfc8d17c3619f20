//! The original of a document: to be saved, or, where a browser shows it without doing anything that it says, opened at
//! a page.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::KnowledgeState;
use crate::{
    accounts::http::InTenant,
    http::{
        extract::{Path, Query},
        format::percent_encoded,
    },
    knowledge::{Original, extract::Kind},
    support::{Error, Result, ids::DocumentId},
};

/// `?show`
#[derive(Deserialize)]
pub struct How {
    /// Whether to open it in the browser, where that is safe.
    show: Option<String>,
}

/// `GET /knowledge/{document}/original`: the file as it was added. It is to be saved, and never shown by the browser in
/// our name, whatever is in it. A PDF alone may be asked to be shown: browsers draw it in a place of its own, which
/// reaches neither our pages nor our cookies, and open it at the page that is cited.
pub async fn download_original(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<DocumentId>,
    Query(how): Query<How>,
) -> Result<Response> {
    let found = state.library(&tenant).original(id).await?;
    let Original { title, media_type, bytes, parts } = found.ok_or_else(|| Error::not_found("the document"))?;
    let shown = how.show.is_some() && media_type == Kind::Pdf.media_type();
    let kind = HeaderValue::from_str(&media_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let disposition = if shown { "inline" } else { "attachment" };
    let disposition = HeaderValue::from_str(&named(disposition, &title)).map_err(Error::internal)?;
    // In a sandbox Chromium shows no PDF at all; what is left of the policy still keeps it from loading anything.
    let policy = if shown {
        "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'"
    } else {
        "sandbox; default-src 'none'"
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_LENGTH, HeaderValue::from(bytes)),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}

/// RFC 6266: a name for old browsers in plain letters, and the true one percent-encoded.
fn named(disposition: &str, file_name: &str) -> String {
    let plain: String = file_name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ') { c } else { '_' })
        .collect();
    let encoded = percent_encoded(file_name);
    format!("{disposition}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_leave_its_header() {
        assert_eq!(
            named("attachment", "a\"\r\nSet-Cookie: x ü.pdf"),
            "attachment; filename=\"a___Set-Cookie_ x _.pdf\"; filename*=UTF-8''a%22%0D%0ASet-Cookie%3A%20x%20%C3%BC.pdf"
        );
    }
}
