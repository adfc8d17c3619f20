//! A real OpenID provider (npm `oidc-provider`) in a process of its own, and a browser's way through its pages.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

/// Runs until it is dropped.
pub struct RealProvider {
    child: Child,
    /// Its address, which is its name.
    pub issuer: String,
}

impl RealProvider {
    /// Starts it; browsers may be sent back to these addresses.
    pub fn start(callbacks: &[&str]) -> Self {
        let mut child = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oidc/server.js"))
            .args(callbacks)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts; packaging/prerequisites tests installs it");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value =
            serde_json::from_str(&line).expect("the provider starts; packaging/fetch --tests brings what it needs");
        Self { child, issuer: said["issuer"].as_str().unwrap().to_owned() }
    }

    /// New keys in place of those that it has.
    pub fn rotate(&self) {
        assert_eq!(send("POST", &format!("{}/rotate", self.issuer), "", "").body, "rotated\n");
    }

    /// Signs in at the provider as `login` and agrees, as a browser does that was sent to `address`. Where the provider
    /// sends it at the end.
    pub fn agree(&self, address: &str, login: &str) -> String {
        self.walk(address, login, false)
    }

    /// The same, but somebody thinks better of it.
    pub fn refuse(&self, address: &str) -> String {
        self.walk(address, "", true)
    }

    fn walk(&self, address: &str, login: &str, abort: bool) -> String {
        let mut cookies: BTreeMap<String, String> = BTreeMap::new();
        let mut next = ("GET", address.to_owned(), String::new());
        for _ in 0..12 {
            let jar: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = send(next.0, &next.1, &jar.join("; "), &next.2);
            cookies.extend(answer.cookies);
            if let Some(location) = answer.location {
                let to = if location.starts_with('/') { format!("{}{location}", self.issuer) } else { location };
                if !to.starts_with(&self.issuer) {
                    return to;
                }
                next = ("GET", to, String::new());
                continue;
            }
            assert_eq!(answer.status, 200, "{}", answer.body);
            if abort {
                next = ("GET", format!("{}/abort", next.1), String::new());
                continue;
            }
            let (_, form) = answer.body.split_once("action=\"").expect("a form");
            let action = form.split_once('"').unwrap().0.to_owned();
            let body = if form.contains("value=\"login\"") {
                format!("prompt=login&login={login}&password=whatever")
            } else {
                "prompt=consent".to_owned()
            };
            next = ("POST", action, body);
        }
        panic!("the provider never sent the browser back");
    }
}

impl Drop for RealProvider {
    fn drop(&mut self) {
        self.child.kill().expect("the provider is told to end");
        self.child.wait().expect("the provider ends");
    }
}

struct Answer {
    status: u16,
    location: Option<String>,
    cookies: Vec<(String, String)>,
    body: String,
}

fn send(method: &str, url: &str, cookies: &str, body: &str) -> Answer {
    let rest = url.strip_prefix("http://").expect("a plain URL");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).expect("the provider accepts");
    write!(
        stream,
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: text/html\r\nCookie: {cookies}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let (mut location, mut cookies) = (None, Vec::new());
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("location") {
            location = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("set-cookie") {
            let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
            cookies.push((name.to_owned(), value.to_owned()));
        }
    }
    Answer { status, location, cookies, body: body.to_owned() }
}
