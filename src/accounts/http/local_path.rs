//! Where to go after signing in: a path of this server and nothing else.

/// A path of this server, with its query: `/chat/1?x=y`.
///
/// Browsers take `//evil.example` and `/\evil.example` for another host, and drop tabs and line ends while reading an
/// address; none of these pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPath(String);

impl LocalPath {
    /// `text`, if it is a path of this server that makes sense after signing in; otherwise the start.
    pub fn or_start(text: &str) -> Self {
        let printable = text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        let local = text.starts_with('/') && !text.starts_with("//") && printable && text.len() <= 2048;
        let sensible = !["/sign-in", "/sign-out", "/setup", "/api/"].iter().any(|door| text.starts_with(door));
        Self(if local && sensible { text.to_owned() } else { "/".to_owned() })
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The token of the invitation that it leads to, if it leads to one.
    pub fn invitation(&self) -> Option<&str> {
        self.0.strip_prefix("/invitation/")
    }

    /// The address of the sign-in page that leads back here.
    pub fn through_sign_in(&self) -> String {
        self.through("/sign-in")
    }

    /// The address of a page that leads back here.
    pub(super) fn through(&self, page: &str) -> String {
        if self.0 == "/" { page.to_owned() } else { format!("{page}?next={}", encode(&self.0)) }
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters and `/`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex::encode_upper([byte]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_this_server_is_gone_to() {
        for local in ["/", "/chat", "/chat/1?x=y&z=%20#a", "/knowledge"] {
            assert_eq!(LocalPath::or_start(local).as_str(), local);
        }
        for foreign in [
            "",
            "chat",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "javascript:alert(1)",
            "/sign-in?next=/",
            "/sign-out",
            "/é",
        ] {
            assert_eq!(LocalPath::or_start(foreign).as_str(), "/", "{foreign:?}");
        }
    }

    #[test]
    fn the_way_back_survives_the_address_of_the_sign_in_page() {
        assert_eq!(LocalPath::or_start("/").through_sign_in(), "/sign-in");
        assert_eq!(LocalPath::or_start("/chat?a=b&c").through_sign_in(), "/sign-in?next=/chat%3Fa%3Db%26c");
    }
}
