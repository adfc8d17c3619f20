//! `http.fetch`: reads a page of a server that the operator has allowed. An address carries words out, so this is an effect
//! on the outside world, and what comes back was written by others.

use std::fmt::Write as _;

use async_trait::async_trait;
use encoding_rs::{Encoding, UTF_8};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    first,
    sandbox::{Made, Sandbox, Work},
    understand,
};
use crate::{
    agents::tool::{Effects, Tool, ToolContext, ToolOutput},
    egress::{Egress, Failure, Method, Request, Response, Url, header, origin},
    models::chat::ToolSpec,
    support::{Error, Kind, Result},
};

/// The longest address, in characters.
const ADDRESS: usize = 2_000;
/// The largest body that is made text of, in bytes.
const BODY: usize = 4 << 20;
/// How much text of a page is given at once, in characters.
const TEXT: usize = 20_000;
/// The longest title, in characters.
const TITLE: usize = 200;
/// Characters of a line of a page's text.
const WIDTH: usize = 100;
/// How much of a page is looked through for its charset, as browsers do.
const PRESCAN: usize = 1024;

/// `http.fetch`
#[derive(Clone)]
pub struct Fetch {
    egress: Egress,
    sandbox: Sandbox,
}

impl Fetch {
    /// Goes out through `egress`, and reads pages in the sandbox.
    pub fn new(egress: Egress, sandbox: Sandbox) -> Self {
        Self { egress, sandbox }
    }
}

#[derive(Deserialize)]
struct Arguments {
    address: String,
    from: Option<usize>,
}

#[async_trait]
impl Tool for Fetch {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "http.fetch".to_owned(),
            description:
                "Reads a web page, a text or a JSON document at an address (GET) and returns its text. Only servers \
                          that the operator of this appliance has allowed can be reached."
                    .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "address": {
                        "type": "string", "minLength": 8, "maxLength": ADDRESS,
                        "description": "The whole address, such as https://www.example.org/page"
                    },
                    "from": { "type": "integer", "minimum": 0, "description": "Read on from this character of the text" }
                },
                "required": ["address"],
                "additionalProperties": false
            }),
        }
    }

    fn effects(&self) -> Effects {
        Effects::Outside
    }

    fn returns_untrusted_text(&self) -> bool {
        true
    }

    fn knows_repetitions(&self) -> bool {
        // A GET changes nothing that its first time would not have changed.
        true
    }

    async fn call(&self, _: &ToolContext, arguments: Value) -> Result<ToolOutput> {
        let Arguments { address, from } = understand(arguments)?;
        let url = parse(&address)?;
        let mut request = Request::new(Method::GET, url.clone());
        let accepted = header::HeaderValue::from_static("text/html, text/plain, application/json, text/*;q=0.9");
        request.headers_mut().insert(header::ACCEPT, accepted);
        let agent = header::HeaderValue::from_static(concat!("AEGIS/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        let response = self.egress.send("fetch", request).await.map_err(|failure| refused(failure, &url))?;
        let (title, text) = self.read(response).await?;
        told(&url, &title, &text, from.unwrap_or(0))
    }
}

impl Fetch {
    /// Title and text of what came back.
    async fn read(&self, response: Response) -> Result<(String, String)> {
        if !(200..300).contains(&response.status) {
            return Err(Error::invalid(format!("the server answered {}; the address may be wrong", response.status)));
        }
        if response.body.len() > BODY {
            return Err(Error::new(Kind::TooLarge, format!("the page is larger than {} MiB", BODY >> 20)));
        }
        let declared =
            response.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let body = &response.body[..];
        match Format::of(declared, body) {
            Some(Format::Page) => match self.sandbox.run(Work::Page { html: decode(declared, body, true) }).await? {
                Made::Page { title, text } => Ok((title, text)),
                Made::Text(_) => Err(Error::internal("the sandbox gave something else than a page")),
            },
            Some(Format::Text) => Ok((String::new(), decode(declared, body, false))),
            None => {
                let kind = first(declared.split(';').next().unwrap_or_default().trim(), 60).0;
                let kind = if kind.is_empty() { "something that is no text" } else { kind };
                Err(Error::invalid(format!(
                    "the server sent {kind}; only pages, plain text, JSON and Markdown are read"
                )))
            }
        }
    }
}

fn parse(address: &str) -> Result<Url> {
    let wrong =
        |why: &str| Error::invalid(format!("{why}; write the whole address, such as https://www.example.org/page"));
    if first(address, ADDRESS).1 {
        return Err(wrong("the address is too long"));
    }
    let url = Url::parse(address.trim()).map_err(|_| wrong("this is no address"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("only addresses of http and https are read"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("an address with a name or a password in it is not sent"));
    }
    Ok(url)
}

/// In one sentence, because that is all that a model reads: what happened and what a person can do about it.
fn refused(failure: Failure, url: &Url) -> Error {
    match failure {
        Failure::Refused(refusal) => {
            let remedy =
                refusal.remedy().map(|remedy| format!("; to allow it, the operator of this appliance can {remedy}"));
            Error::forbidden(format!("{refusal}{}", remedy.unwrap_or_default()))
        }
        // Not the appliance's fault, so that it is not logged as one.
        other => Error::invalid(format!("{} could not be read: {other}", origin(url))),
    }
}

fn told(url: &Url, title: &str, text: &str, from: usize) -> Result<ToolOutput> {
    let total = text.chars().count();
    let start = match text.char_indices().nth(from) {
        Some((start, _)) => start,
        None if from == 0 => 0,
        None => {
            return Err(Error::invalid(format!("the text has {total} characters; there is nothing from {from} on")));
        }
    };
    let (shown, cut) = first(&text[start..], TEXT);
    let title = first(title.trim(), TITLE).0;
    let mut content = format!("Address: {url}\n");
    if !title.is_empty() {
        let _ = writeln!(content, "Title: {title}");
    }
    content.push('\n');
    content.push_str(if shown.trim().is_empty() { "(There is no text on it.)" } else { shown });
    if cut {
        let _ = write!(content, "\n\n(There are {total} characters; read on with from = {}.)", from + TEXT);
    }
    let what = if title.is_empty() { url.host_str().unwrap_or_default() } else { title };
    let summary = format!("{what} · {} characters", shown.chars().count());
    Ok(ToolOutput { summary, content: Value::String(content), sources: Vec::new() })
}

/// What can be made text of.
#[derive(Debug, PartialEq, Eq)]
enum Format {
    Page,
    Text,
}

impl Format {
    /// By what the server says it is; by its beginning where the server says nothing.
    fn of(declared: &str, body: &[u8]) -> Option<Self> {
        let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/html" | "application/xhtml+xml" => Some(Self::Page),
            "application/json" | "application/xml" | "application/yaml" | "application/x-ndjson" => Some(Self::Text),
            kind if kind.ends_with("+json") || kind.ends_with("+xml") => Some(Self::Text),
            kind if kind.starts_with("text/") => Some(Self::Text),
            "" if body.iter().take(PRESCAN).all(|byte| *byte != 0) => {
                let start = String::from_utf8_lossy(&body[..body.len().min(PRESCAN)]).trim_start().to_ascii_lowercase();
                Some(if start.starts_with("<!doctype html") || start.starts_with("<html") {
                    Self::Page
                } else {
                    Self::Text
                })
            }
            _ => None,
        }
    }
}

/// The text in the charset that the bytes begin with, the server names, or the page names; UTF-8 otherwise.
fn decode(declared: &str, body: &[u8], page: bool) -> String {
    let named = charset(declared).or_else(|| {
        let start = String::from_utf8_lossy(&body[..body.len().min(PRESCAN)]).to_ascii_lowercase();
        page.then(|| charset(&start)).flatten()
    });
    // A mark of the byte order at the start wins, as in browsers.
    let (text, _, _) = named.unwrap_or(UTF_8).decode(body);
    text.replace('\0', "")
}

/// The encoding after `charset=`.
fn charset(text: &str) -> Option<&'static Encoding> {
    let lower = text.to_ascii_lowercase();
    let at = lower.find("charset")? + "charset".len();
    let value = lower[at..].trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
    let end = value.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:.".contains(c))).unwrap_or(value.len());
    Encoding::for_label(&value.as_bytes()[..end])
}

/// Title and text of a page. It may take all memory or all stack: only the sandbox's child calls this.
///
/// # Errors
/// That it cannot be read.
pub(super) fn page(html: &str) -> Result<(String, String), String> {
    let text = html2text::config::plain_no_decorate().no_link_wrapping().string_from_read(html.as_bytes(), WIDTH);
    let text = text.map_err(|error| format!("the page cannot be read as text: {error}"))?;
    Ok((title(html), squeezed(&text)))
}

/// What stands between the first `<title>` and its end.
fn title(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let Some(open) = lower.find("<title") else { return String::new() };
    let Some(start) = lower[open..].find('>').map(|end| open + end + 1) else { return String::new() };
    let end = lower[start..].find("</title").map_or(start, |end| start + end);
    let inside = first(&html[start..end], TITLE * 4).0.replace('<', "&lt;");
    // The entities are those of HTML; a text without tags is made of them in no time.
    let plain = html2text::config::plain_no_decorate().string_from_read(inside.as_bytes(), TITLE);
    plain.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

/// Without spaces at the ends of lines, and never two empty lines in a row.
fn squeezed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines().map(str::trim_end) {
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_text_with_its_title_and_without_scripts() {
        let html = "<html><head><title>Leave &amp; <b>notice</title><style>p{}</style><script>steal()</script></head>\
                    <body><h1>Leave</h1><p>Sixteen  weeks.</p><ul><li>One<li>Two</ul><img src=x alt=secret></body></html>";
        let (title, text) = page(html).unwrap();
        assert_eq!(title, "Leave & <b>notice");
        assert!(text.contains("Leave") && text.contains("Sixteen weeks.") && text.contains("One"), "{text}");
        assert!(!text.contains("steal") && !text.contains("p{}"), "{text}");
    }

    #[test]
    fn the_charset_is_that_of_the_bytes_the_header_or_the_page() {
        assert_eq!(decode("text/html; charset=iso-8859-1", b"caf\xe9", true), "café");
        assert_eq!(
            decode("text/html", b"<meta charset='windows-1252'>caf\xe9", true),
            "<meta charset='windows-1252'>café"
        );
        assert_eq!(decode("text/plain; charset=latin1", b"\xef\xbb\xbfcaf\xc3\xa9", false), "café");
        assert_eq!(decode("text/plain; charset=klingon", b"caf\xc3\xa9 \xff\0", false), "café \u{fffd}");
    }

    #[test]
    fn only_text_is_read_and_the_kind_is_what_the_server_says() {
        for (declared, body, format) in [
            ("text/html; charset=utf-8", "", Some(Format::Page)),
            ("application/ld+json", "", Some(Format::Text)),
            ("text/markdown", "<html>", Some(Format::Text)),
            ("", "<!DOCTYPE HTML>", Some(Format::Page)),
            ("", "words", Some(Format::Text)),
            ("", "\0\0", None),
            ("image/png", "words", None),
            ("application/pdf", "%PDF", None),
            ("application/octet-stream", "", None),
        ] {
            assert_eq!(Format::of(declared, body.as_bytes()), format, "{declared}");
        }
    }

    #[test]
    fn an_address_is_whole_and_carries_no_password() {
        assert!(parse(" https://www.example.org/a?b=c ").is_ok());
        for wrong in [
            "",
            "www.example.org",
            "file:///etc/passwd",
            "data:text/plain,x",
            "https://me:secret@example.org/",
            "gopher://x/",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&format!("https://example.org/{}", "a".repeat(ADDRESS))).is_err());
    }

    #[test]
    fn a_long_text_is_read_on_from_where_it_was_cut() {
        let url = parse("https://example.org/").unwrap();
        let text = "ä".repeat(TEXT + 10);
        let content = |from| told(&url, "", &text, from).map(|output| output.content.as_str().unwrap().to_owned());
        assert!(content(0).unwrap().ends_with(&format!("read on with from = {TEXT}.)")));
        assert!(content(TEXT).unwrap().ends_with(&"ä".repeat(10)));
        assert!(content(TEXT + 10).is_err());
    }
}
