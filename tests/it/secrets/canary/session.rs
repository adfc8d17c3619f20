//! A client of the console that keeps everything it was answered.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::TcpStream,
};

/// Everything that came out of the appliance, by where.
#[derive(Default)]
pub struct Transcript(pub Vec<(String, Vec<u8>)>);

impl Transcript {
    pub fn keep(&mut self, place: impl Into<String>, what: impl Into<Vec<u8>>) {
        self.0.push((place.into(), what.into()));
    }
}

/// One browser.
pub struct Session {
    host: String,
    pub cookies: BTreeMap<String, String>,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The token in the page's form.
    pub fn csrf(&self) -> &str {
        let (_, rest) =
            self.body.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("no form: {}", self.body));
        rest.split('"').next().unwrap()
    }
}

impl Session {
    pub fn new(url: &str) -> Self {
        Self { host: url.trim_start_matches("http://").to_owned(), cookies: BTreeMap::new() }
    }

    pub fn get(&mut self, seen: &mut Transcript, path: &str) -> Answer {
        self.request(seen, "GET", path, "", "")
    }

    /// A form, with the token of the page that it is on.
    pub fn form(&mut self, seen: &mut Transcript, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.get(seen, page).csrf().to_owned();
        let mut body = format!("csrf={csrf}");
        for (name, value) in fields {
            write!(body, "&{name}={}", encode(value)).unwrap();
        }
        self.request(seen, "POST", path, "Content-Type: application/x-www-form-urlencoded\r\n", &body)
    }

    /// JSON, or what pretends to be, with a session's token.
    pub fn json(&mut self, seen: &mut Transcript, method: &str, path: &str, body: &str) -> Answer {
        let session = self.get(seen, "/api/session").body;
        let session: serde_json::Value = serde_json::from_str(&session).unwrap_or_default();
        let csrf = session["csrf_token"].as_str().unwrap_or_default();
        self.request(seen, method, path, &format!("Content-Type: application/json\r\nX-CSRF-Token: {csrf}\r\n"), body)
    }

    pub fn request(&mut self, seen: &mut Transcript, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nSec-Fetch-Site: same-origin\r\nCookie: {}\r\n\
             {headers}Content-Length: {}\r\n\r\n{body}",
            self.host,
            cookies.join("; "),
            body.len()
        );
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        for line in head.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            if name.eq_ignore_ascii_case("set-cookie") {
                let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            } else {
                seen.keep(format!("a header of {method} {path}"), line);
            }
        }
        seen.keep(format!("the answer to {method} {path}"), body);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, body: body.to_owned() }
    }
}

pub fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"))
}
