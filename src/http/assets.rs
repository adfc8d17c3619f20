//! The console's files: styles, scripts, icons and fonts, out of the binary.
//!
//! Their address carries a hash over all of them, `/assets/<hash>/js/app.js`, so that browsers keep them for ever and
//! fetch them anew after an upgrade; modules and styles name each other relatively and stay under the same hash.

use std::{borrow::Cow, sync::LazyLock};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use super::extract::Path;
use crate::support::{Error, Result};

#[derive(RustEmbed)]
#[folder = "web/"]
struct Web;

/// Inter, the Latin part of it, which the pack brings.
const FONT: &str = "fonts/inter-latin.woff2";
static FONT_BYTES: &[u8] = include_bytes!(concat!(env!("AEGIS_PACK"), "/fonts/inter-latin.woff2"));

/// Every style in one file, so that a page waits for one answer rather than for six. The tokens come first, because
/// they say the order of the layers; thanks to the layers the rest may come in any order.
const STYLES: &str = "css/all.css";
static STYLES_BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut paths: Vec<_> = Web::iter().filter(|path| path.starts_with("css/")).collect();
    paths.sort_by_key(|path| (path != "css/tokens.css", path.clone()));
    paths.iter().filter_map(|path| Web::get(path)).flat_map(|file| file.data.into_owned()).collect()
});

/// One hash over every file, cut to 16 digits.
static BUILD: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    for path in Web::iter().filter(|path| is_public(path)) {
        digest.update(path.as_bytes());
        if let Some(file) = Web::get(&path) {
            digest.update(file.metadata.sha256_hash());
        }
    }
    digest.update(FONT_BYTES);
    hex::encode(&digest.finalize()[..8])
});

/// The address of a file under `web/`: `css/base.css` is served at `/assets/<hash>/css/base.css`.
pub fn asset_url(path: &str) -> String {
    format!("/assets/{}/{path}", *BUILD)
}

/// `GET /assets/{build}/{*path}`
///
/// A page from before an upgrade may still ask under the old hash: it gets the file as it is now, to be asked for
/// again next time.
pub async fn show_asset(Path((build, path)): Path<(String, String)>, headers: HeaderMap) -> Result<Response> {
    let (bytes, hash) = find(&path).ok_or_else(|| Error::not_found("the file"))?;
    let etag = format!("W/\"{}\"", hex::encode(&hash[..8]));
    let caching = if build == *BUILD { "public, max-age=31536000, immutable" } else { "no-cache" };
    let unchanged = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, content_type(&path))], body(bytes)).into_response()
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response.headers_mut().insert(header::ETAG, HeaderValue::from_str(&etag).map_err(Error::internal)?);
    Ok(response)
}

fn find(path: &str) -> Option<(Cow<'static, [u8]>, [u8; 32])> {
    if path == FONT {
        return Some((Cow::Borrowed(FONT_BYTES), Sha256::digest(FONT_BYTES).into()));
    }
    if path == STYLES {
        return Some((Cow::Borrowed(&STYLES_BYTES), Sha256::digest(&*STYLES_BYTES).into()));
    }
    let file = Web::get(path).filter(|_| is_public(path))?;
    Some((file.data, file.metadata.sha256_hash()))
}

/// The templates lie beside what browsers may have.
fn is_public(path: &str) -> bool {
    let of_the_console = ["css/", "js/", "icons/"].iter().any(|folder| path.starts_with(folder));
    of_the_console || (!path.contains('/') && [".svg", ".png", ".webmanifest"].iter().any(|end| path.ends_with(end)))
}

fn body(bytes: Cow<'static, [u8]>) -> Body {
    match bytes {
        Cow::Borrowed(bytes) => Body::from(bytes),
        Cow::Owned(bytes) => Body::from(bytes),
    }
}

fn content_type(path: &str) -> String {
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    if kind.type_() == "text" { format!("{kind}; charset=utf-8") } else { kind.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_consoles_files_is_served() {
        assert!(find("css/base.css").is_some());
        for path in ["templates/error.html", "../Cargo.toml", "css/../../Cargo.toml", "/etc/passwd", "askama.toml", ""]
        {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn all_styles_come_together_and_begin_with_the_order_of_the_layers() {
        let (bytes, _) = find(STYLES).unwrap();
        let styles = std::str::from_utf8(&bytes).unwrap();
        assert!(styles.starts_with("@layer base, components, pages;"), "{}", &styles[..60]);
        for part in ["--canvas:", ".rail", ".answer", ".passage"] {
            assert!(styles.contains(part), "{part}");
        }
    }

    #[test]
    fn scripts_and_styles_have_the_types_that_nosniff_asks_for() {
        assert_eq!(content_type("js/app.js"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("css/base.css"), "text/css; charset=utf-8");
        assert_eq!(content_type("icons.svg"), "image/svg+xml");
        assert_eq!(content_type("fonts/inter.woff2"), "font/woff2");
    }
}
