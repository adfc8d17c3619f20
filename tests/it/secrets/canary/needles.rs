//! Secrets to look for, in every form that a careless line of code may have given them.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// What is looked for.
pub struct Needles {
    /// What is said when it is found, how it was encoded, the bytes.
    forms: Vec<(String, &'static str, Vec<u8>)>,
    /// Whether a form begins with these two bytes; and which ones do.
    beginnings: Vec<Vec<usize>>,
}

impl Needles {
    pub fn new() -> Self {
        Self { forms: Vec::new(), beginnings: vec![Vec::new(); 1 << 16] }
    }

    /// Looks for `secret`, which is called `label`, from now on.
    pub fn add(&mut self, label: &str, secret: &str) {
        assert!(secret.len() >= 16, "{label} is too short to be told from chance");
        let mut forms =
            vec![("plain", secret.to_owned()), ("hex", hex::encode(secret)), ("HEX", hex::encode_upper(secret))];
        let percent = |digits: fn(u8) -> String| {
            secret.bytes().fold(String::new(), |text, byte| format!("{text}%{}", digits(byte)))
        };
        forms.push(("URL-encoded", percent(|byte| format!("{byte:02X}"))));
        forms.push(("URL-encoded", percent(|byte| format!("{byte:02x}"))));
        let decimal: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        forms.push(("bytes", decimal.join(", ")));
        forms.push(("bytes", decimal.join(",")));
        for (name, engine) in [("base64", STANDARD_NO_PAD), ("base64url", URL_SAFE_NO_PAD)] {
            forms.extend((0..3).map(|before| (name, base64_inside(&engine, secret, before))));
        }
        if secret.contains(['+', '/', '=', '"', '&']) {
            forms.push(("JSON", serde_json::to_string(secret).unwrap().trim_matches('"').to_owned()));
            forms.push(("HTML", secret.replace('&', "&#38;").replace('"', "&#34;")));
            let mut url = String::new();
            for c in secret.chars() {
                if c.is_ascii_alphanumeric() || "-_.~".contains(c) {
                    url.push(c);
                } else {
                    c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| write!(url, "%{byte:02X}").unwrap());
                }
            }
            forms.push(("URL-encoded", url));
        }
        for (how, form) in forms {
            let form = form.into_bytes();
            self.beginnings[usize::from(u16::from_be_bytes([form[0], form[1]]))].push(self.forms.len());
            self.forms.push((label.to_owned(), how, form));
        }
    }

    pub fn forms(&self) -> usize {
        self.forms.len()
    }

    /// What is found in `hay`: `user's password (base64) in the server's log: …around it…`
    pub fn search(&self, place: &str, hay: &[u8]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for at in 0..hay.len().saturating_sub(1) {
            let candidates = &self.beginnings[usize::from(u16::from_be_bytes([hay[at], hay[at + 1]]))];
            for candidate in candidates {
                let (label, how, form) = &self.forms[*candidate];
                if hay[at..].starts_with(form) {
                    let around = &hay[at.saturating_sub(100)..(at + form.len() + 20).min(hay.len())];
                    let around = String::from_utf8_lossy(around).replace(char::is_control, "·");
                    found.insert(format!("{label} ({how}) in {place}: …{around}…"));
                }
            }
        }
        found
    }

    /// All files below `directory`, but for one; and how many bytes those were.
    pub fn search_files(&self, directory: &Path, except: &Path) -> (BTreeSet<String>, u64) {
        let (mut found, mut bytes) = (BTreeSet::new(), 0);
        let mut directories = vec![directory.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).unwrap().flatten() {
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                if kind.is_dir() {
                    directories.push(path);
                } else if kind.is_file() && path != except {
                    // The database may just be removing it.
                    let Ok(content) = fs::read(&path) else { continue };
                    bytes += content.len() as u64;
                    found.extend(self.search(&path.display().to_string(), &content));
                }
            }
        }
        (found, bytes)
    }
}

/// `secret` as it looks inside something longer that was encoded, behind `before` bytes of a group of three: without
/// the letters that its neighbours have a part in.
fn base64_inside(engine: &impl base64::Engine, secret: &str, before: usize) -> String {
    let padded = format!("{}{secret}", "\0".repeat(before));
    let encoded = engine.encode(&padded);
    let first = [0, 2, 3][before];
    let last = padded.len() / 3 * 4;
    encoded[first..last].to_owned()
}

#[test]
fn a_secret_is_found_in_every_form_and_nothing_else_is() {
    let mut needles = Needles::new();
    needles.add("the password", "hunter2-hunter2-&hunter2");
    let secret = "hunter2-hunter2-&hunter2";
    for (form, hay) in [
        ("plain", secret.to_owned()),
        ("hex", hex::encode(format!("x{secret}x"))),
        ("base64", STANDARD_NO_PAD.encode(format!("x{secret}x"))),
        ("base64", STANDARD_NO_PAD.encode(format!("xx{secret}"))),
        ("base64url", URL_SAFE_NO_PAD.encode(format!("xxx{secret}xxx"))),
        ("bytes", format!("{:?}", secret.as_bytes())),
        ("URL-encoded", secret.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"))),
        ("URL-encoded", secret.replace('&', "%26")),
        ("HTML", secret.replace('&', "&#38;")),
    ] {
        let found = needles.search("a place", format!("before {hay} after").as_bytes());
        assert!(found.iter().any(|found| found.contains(form)), "{form}: {hay}: {found:?}");
    }
    assert!(needles.search("a place", b"hunter2-hunter2-hunter2 and so on").is_empty());
}
