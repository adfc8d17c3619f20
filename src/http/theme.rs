//! `POST /theme`: light, dark, or as the machine is set, kept by the browser.

use axum::{
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{context::RequestContext, cookie, extract::Form, frame::Theme};
use crate::support::Result;

const YEAR_SECONDS: i64 = 365 * 24 * 60 * 60;

/// The form.
#[derive(Debug, Deserialize)]
pub struct ThemeForm {
    theme: String,
}

/// `POST /theme`: keeps the choice for a year and goes back to the page that the form was on.
pub async fn set_theme(context: RequestContext, headers: HeaderMap, Form(form): Form<ThemeForm>) -> Result<Response> {
    let theme = Theme::from_name(Some(&form.theme)).name();
    let cookie = cookie::set_open("theme", theme, YEAR_SECONDS, context.kit().secure())?;
    Ok(([cookie], Redirect::to(&page_before(&headers))).into_response())
}

/// The path of the page that the form was on. Only the path: where it leads is this server whatever the header says.
fn page_before(headers: &HeaderMap) -> String {
    let referer = headers.get(header::REFERER).and_then(|value| value.to_str().ok());
    let path = referer.and_then(|address| address.parse::<Uri>().ok()).map(|uri| uri.path().to_owned());
    path.filter(|path| path.starts_with('/') && !path.starts_with("//")).unwrap_or_else(|| "/".to_owned())
}
