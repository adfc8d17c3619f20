//! Files in pieces, by the protocol that upload clients know: tus 1.0.0 with its extensions creation and termination
//! (<https://tus.io/protocols/resumable-upload>).

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use utoipa::OpenApi;

use super::{KnowledgeState, upload::named};
use crate::{
    accounts::http::InTenant,
    http::extract::Path,
    knowledge::uploads::Arrived,
    support::{Error, Result, ids::UploadId},
};

const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const VERSION: &str = "1.0.0";
/// What a piece is sent as.
const PIECE: &str = "application/offset+octet-stream";

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(begin_upload, show_upload, append_upload, drop_upload),
    components(schemas(UploadId)),
    tags((name = "uploads", description = "Large files in pieces, over a line that may break: tus 1.0.0"))
)]
pub struct UploadsApi;

/// Begin an upload
///
/// Where to send the file to is in `Location`. By tus 1.0.0 (creation).
#[utoipa::path(
    post,
    path = "/api/uploads",
    tag = "uploads",
    params(
        ("upload-length" = i64, Header, description = "The file's size in bytes"),
        ("upload-metadata" = String, Header,
            description = "`filename` and, where it is not the default one, `collection` with its id, each in Base64")
    ),
    responses((status = 201, description = "There is room for it"))
)]
pub async fn begin_upload(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    headers: HeaderMap,
) -> Result<Response> {
    let length = number(&headers, &LENGTH)?;
    let metadata = headers.get(METADATA).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = field(metadata, "filename")?.filter(|name| !name.trim().is_empty());
    let name =
        name.ok_or_else(|| Error::invalid("The upload has no name").remedy("send `filename` in Upload-Metadata"))?;
    let collection = named(&field(metadata, "collection")?.unwrap_or_default())?;
    let user = tenant.signed_in.user.id;
    let id = state.library(&tenant).begin_upload(user, &name, length, collection).await?;
    let location = HeaderValue::try_from(format!("/api/uploads/{id}")).map_err(Error::internal)?;
    let headers = [(header::LOCATION, location), (RESUMABLE, HeaderValue::from_static(VERSION))];
    Ok((StatusCode::CREATED, headers).into_response())
}

/// Show how far an upload has come
#[utoipa::path(
    get,
    path = "/api/uploads/{upload}",
    tag = "uploads",
    params(("upload" = UploadId, Path)),
    responses((status = 204, description = "In `Upload-Offset`, of `Upload-Length`"))
)]
pub async fn show_upload(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<UploadId>,
) -> Result<Response> {
    let arrived = state.library(&tenant).upload_state(tenant.signed_in.user.id, id).await?;
    Ok(told(arrived))
}

/// Send the next piece
///
/// From where the upload has come to. With the last one the file becomes a document, or is refused with the reason.
#[utoipa::path(
    patch,
    path = "/api/uploads/{upload}",
    tag = "uploads",
    params(
        ("upload" = UploadId, Path),
        ("upload-offset" = i64, Header, description = "Where in the file the piece begins")
    ),
    request_body(content = String, content_type = "application/offset+octet-stream"),
    responses((status = 204, description = "It is here"))
)]
pub async fn append_upload(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<UploadId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind != PIECE {
        return Err(Error::invalid("A piece of a file is expected").remedy(format!("send it as {PIECE}")));
    }
    let offset = number(&headers, &OFFSET)?;
    let (user, body) = (tenant.signed_in.user.id, body.into_data_stream());
    let (arrived, _) = state.library(&tenant).append_upload(user, id, offset, body).await?;
    Ok(told(arrived))
}

/// Give an upload up
#[utoipa::path(
    delete,
    path = "/api/uploads/{upload}",
    tag = "uploads",
    params(("upload" = UploadId, Path)),
    responses((status = 204, description = "What has come of it is gone"))
)]
pub async fn drop_upload(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<UploadId>,
) -> Result<Response> {
    state.library(&tenant).drop_upload(tenant.signed_in.user.id, id).await?;
    Ok((StatusCode::NO_CONTENT, [(RESUMABLE, VERSION)]).into_response())
}

fn told(arrived: Arrived) -> Response {
    let headers = [
        (RESUMABLE, HeaderValue::from_static(VERSION)),
        (OFFSET, HeaderValue::from(arrived.received)),
        (LENGTH, HeaderValue::from(arrived.bytes)),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<i64> {
    let number = headers.get(name).and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
    number
        .filter(|number| *number >= 0)
        .ok_or_else(|| Error::invalid(format!("{name} is missing or no number")).remedy("send how many bytes"))
}

/// A value of `Upload-Metadata`: `filename aGVsbG8udHh0,collection …`.
fn field(metadata: &str, name: &str) -> Result<Option<String>> {
    let found = metadata.split(',').map(str::trim).find_map(|pair| match pair.split_once(' ') {
        Some((key, value)) if key == name => Some(value.trim()),
        _ => None,
    });
    let Some(encoded) = found else { return Ok(None) };
    let decoded = BASE64_STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.map(Some).ok_or_else(|| {
        Error::invalid(format!("`{name}` in Upload-Metadata cannot be read")).remedy("write it as UTF-8 in Base64")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_by_name() {
        let metadata = "filetype dGV4dA==, filename SFIvw5xiZXIudHh0,empty";
        assert_eq!(field(metadata, "filename").unwrap().as_deref(), Some("HR/Über.txt"));
        assert_eq!(field(metadata, "collection").unwrap(), None);
        assert!(field("filename ***", "filename").is_err());
    }
}
