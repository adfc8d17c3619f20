//! The console without script, and without a browser: pages and forms alone.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Read, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::appliance::Appliance;

/// What remembers cookies and follows where it is sent, as a browser does.
pub struct Visitor {
    host: String,
    cookies: BTreeMap<String, String>,
}

/// Signs somebody in and gives the session's token, for tests that speak HTTP themselves.
pub fn sign_in(aegis: &Appliance, email: &str, password: &str) -> String {
    let mut visitor = Visitor::of(aegis);
    let page = visitor.get("/sign-in");
    let fields = [("email", email), ("password", password), ("next", "/knowledge")];
    let page = visitor.submit(&page, "/sign-in", &fields);
    assert_eq!((page.status, page.path.as_str()), (200, "/knowledge"), "{}", page.html);
    visitor.cookies["aegis_session"].clone()
}

/// A page as it came.
pub struct Page {
    pub status: u16,
    pub path: String,
    pub html: String,
}

impl Page {
    /// The first token in a form of the page.
    fn csrf(&self) -> String {
        let (_, rest) = self
            .html
            .split_once("name=\"csrf\" value=\"")
            .unwrap_or_else(|| panic!("no form on {}:\n{}", self.path, self.html));
        rest.split('"').next().unwrap_or_default().to_owned()
    }
}

impl Visitor {
    pub fn of(aegis: &Appliance) -> Self {
        Self { host: aegis.url().trim_start_matches("http://").to_owned(), cookies: BTreeMap::new() }
    }

    pub fn get(&mut self, path: &str) -> Page {
        self.request("GET", path, "", &[])
    }

    /// Sends a form as a browser does, with the token of `page`.
    pub fn submit(&mut self, page: &Page, path: &str, fields: &[(&str, &str)]) -> Page {
        let csrf = page.csrf();
        let mut body = format!("csrf={csrf}");
        for (name, value) in fields {
            body.push('&');
            body.push_str(name);
            body.push('=');
            for byte in value.bytes() {
                let _ = write!(body, "%{byte:02X}");
            }
        }
        self.request("POST", path, "application/x-www-form-urlencoded", body.as_bytes())
    }

    /// Sends files with the token of `page`.
    pub fn upload(&mut self, page: &Page, path: &str, files: &[(&str, &[u8])]) -> Page {
        let csrf = page.csrf();
        let mut body = format!("--B\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}\r\n").into_bytes();
        for (name, bytes) in files {
            body.extend_from_slice(
                format!("--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n")
                    .as_bytes(),
            );
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--B--\r\n");
        self.request("POST", path, "multipart/form-data; boundary=B", &body)
    }

    fn request(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Page {
        let mut stream = TcpStream::connect(&self.host).expect("the appliance accepts");
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept: text/html\r\nCookie: {}\r\n",
            self.host,
            cookies.join("; ")
        );
        if method == "POST" {
            let _ = write!(
                head,
                "Sec-Fetch-Site: same-origin\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).expect("the request is taken");
        stream.write_all(body).expect("the form is taken");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        let (head, html) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut location = None;
        for line in head.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            match name.to_ascii_lowercase().as_str() {
                "set-cookie" => {
                    let (name, value) =
                        value.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
                    self.cookies.insert(name.to_owned(), value.to_owned());
                }
                "location" => location = Some(value.to_owned()),
                _ => {}
            }
        }
        match location {
            Some(location) if (300..400).contains(&status) => self.get(&location),
            _ => Page { status, path: path.to_owned(), html: html.to_owned() },
        }
    }
}

#[test]
fn signing_in_adding_asking_and_deleting_work_without_script() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner("jo@acme.example", "correct horse battery");
    let mut visitor = Visitor::of(&aegis);

    let door = visitor.get("/chat");
    assert!(door.path.starts_with("/sign-in"), "{}", door.path);
    let fields = [("email", "jo@acme.example"), ("password", "correct horse battery"), ("next", "/knowledge")];
    let knowledge = visitor.submit(&door, "/sign-in", &fields);
    assert!(knowledge.path == "/knowledge" && knowledge.html.contains("Nothing to read yet"), "{}", knowledge.html);

    let text = b"# Leave\n\nEvery parent takes up to 16 weeks of paid leave <b>after a birth</b>.\n";
    let mut page = visitor.upload(
        &knowledge,
        "/knowledge",
        &[("leave.md", text), ("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")],
    );
    assert_eq!(page.status, 200, "{}", page.html);
    assert!(page.html.contains("picture.png"), "what was refused is named: {}", page.html);
    let deadline = Instant::now() + Duration::from_mins(1);
    while !page.html.contains("state ready") {
        assert!(Instant::now() < deadline, "{}", page.html);
        std::thread::sleep(Duration::from_millis(100));
        page = visitor.get("/knowledge");
    }

    let found = visitor.get("/knowledge?q=parental%20leave");
    assert!(found.html.contains("<mark>leave</mark>") && found.html.contains("&#60;b&#62;after"), "{}", found.html);

    let chat = visitor.get("/chat?ask=How%20long%20is%20it%3F");
    assert!(chat.html.contains("How long is it?"), "{}", chat.html);
    let answer = visitor.submit(&chat, "/chat", &[("question", "How many weeks of leave does a parent take?")]);
    assert!(answer.path.starts_with("/chat/"), "{}", answer.path);
    assert!(answer.html.contains("Quoting.") && answer.html.contains("16 weeks"), "{}", answer.html);
    assert!(!answer.html.contains("<b>after"), "what a document says stays text: {}", answer.html);

    let (_, link) = answer.html.split_once("class=\"cite\" href=\"").expect("a citation");
    let (document, passage) =
        link.split('"').next().and_then(|link| link.split_once('#')).expect("it leads to a passage");
    let shown = visitor.get(document);
    assert!(shown.html.contains(&format!("id=\"{passage}\"")), "{}", shown.html);

    let id = document.trim_start_matches("/knowledge/").split('?').next().expect("the document's id");
    let original = visitor.get(&format!("/knowledge/{id}/original"));
    assert_eq!(original.html.as_bytes(), text);
    let left = visitor.submit(&shown, &format!("/knowledge/{id}/delete"), &[]);
    assert!(left.path == "/knowledge" && !left.html.contains("leave.md"), "{}", left.html);
}

#[test]
fn a_form_without_its_token_changes_nothing() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner("jo@acme.example", "correct horse battery");
    let mut visitor = Visitor::of(&aegis);
    let door = visitor.get("/sign-in");
    visitor.submit(&door, "/sign-in", &[("email", "jo@acme.example"), ("password", "correct horse battery")]);

    let forged = Page { status: 200, path: String::new(), html: "name=\"csrf\" value=\"0123456789abcdef\"".to_owned() };
    for refused in [
        visitor.submit(&forged, "/chat", &[("question", "Who am I?")]),
        visitor.upload(&forged, "/knowledge", &[("a.md", b"# A")]),
        visitor.submit(&forged, "/sign-out", &[]),
    ] {
        assert_eq!(refused.status, 403, "{}: {}", refused.path, refused.html);
        assert!(refused.html.contains("nothing was changed"), "{}", refused.html);
    }
    assert!(visitor.get("/chat").html.contains("Your conversations appear here"));
}
