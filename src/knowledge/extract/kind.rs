//! What a file is: by its content first, then by its name. Looks at bytes only, parses nothing.

use super::{Failure, text};

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Portable Document Format.
    Pdf,
    /// Office Open XML text document (Word).
    Docx,
    /// Markdown.
    Markdown,
    /// Plain text in any common encoding.
    Text,
}

/// What is said of files that cannot be read.
const SUPPORTED: &str = "AEGIS reads PDF, Word (.docx), Markdown and plain text files";

/// How much of a file's beginning and end is searched for marks.
const SEARCHED: usize = 1 << 20;

/// Text formats whose marks would be read as words.
const MARKED_UP: [&str; 8] = ["rtf", "html", "htm", "xhtml", "xml", "svg", "eml", "ps"];

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pdf, Self::Docx, Self::Markdown, Self::Text];

    /// Decides by content, then by the extension.
    ///
    /// # Errors
    /// A sentence that names what the file is, where that is known, and the formats that can be read.
    pub fn of(file_name: &str, bytes: &[u8]) -> Result<Self, Failure> {
        let extension = extension(file_name);
        let head = &bytes[..bytes.len().min(SEARCHED)];
        if contains(&head[..head.len().min(1024)], b"%PDF-") {
            return Ok(Self::Pdf);
        }
        if bytes.starts_with(b"PK\x03\x04") {
            return zip(&extension, bytes);
        }
        if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1]) {
            return compound_file(&extension, bytes);
        }
        // A file that claims a format with a mark and lacks the mark is damaged, whatever else it holds.
        match extension.as_str() {
            "pdf" => return Ok(Self::Pdf),
            "docx" | "docm" | "dotx" => return Ok(Self::Docx),
            _ => {}
        }
        if !text::is_text(head) {
            return Err(unsupported("The file's type is not known"));
        }
        let start = head.trim_ascii_start();
        let marked_up = MARKED_UP.contains(&extension.as_str())
            || start.starts_with(b"{\\rtf")
            || starts_with_ignoring_case(start, b"<!doctype html")
            || starts_with_ignoring_case(start, b"<html");
        if marked_up {
            return Err(unsupported(&format!("{} files cannot be read yet", name_of(&extension))));
        }
        Ok(match extension.as_str() {
            "md" | "markdown" | "mdown" | "mkd" | "mdx" => Self::Markdown,
            _ => Self::Text,
        })
    }

    /// The registered media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Self::Markdown => "text/markdown",
            Self::Text => "text/plain",
        }
    }

    /// The format of a media type that [`Kind::media_type`] gave.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        [Self::Pdf, Self::Docx, Self::Markdown, Self::Text].into_iter().find(|kind| kind.media_type() == media_type)
    }

    /// The format whose files usually end like this: `pdf`.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.extension() == extension)
    }

    /// How its files usually end, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Docx => "docx",
            Self::Markdown => "md",
            Self::Text => "txt",
        }
    }

    /// What people call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pdf => "PDF",
            Self::Docx => "Word",
            Self::Markdown => "Markdown",
            Self::Text => "Text",
        }
    }

    /// With its article, for sentences: "a PDF".
    pub fn description(self) -> &'static str {
        match self {
            Self::Pdf => "a PDF",
            Self::Docx => "a Word document",
            Self::Markdown => "Markdown",
            Self::Text => "text",
        }
    }
}

fn zip(extension: &str, bytes: &[u8]) -> Result<Kind, Failure> {
    // Names of members stand uncompressed before each member and in the directory at the end.
    let has = |name: &[u8]| {
        let end = &bytes[bytes.len().saturating_sub(SEARCHED)..];
        contains(&bytes[..bytes.len().min(SEARCHED)], name) || contains(end, name)
    };
    if has(b"word/") || matches!(extension, "docx" | "docm" | "dotx") {
        return Ok(Kind::Docx);
    }
    Err(unsupported(if has(b"xl/") {
        "Excel workbooks cannot be read yet"
    } else if has(b"ppt/") {
        "PowerPoint presentations cannot be read yet"
    } else if has(b"mimetypeapplication/vnd.oasis.opendocument") {
        "OpenDocument files cannot be read yet"
    } else {
        "Archives cannot be read; upload the files that are in it"
    }))
}

/// The container of old Office files, which Word also uses around an encrypted .docx.
fn compound_file(extension: &str, bytes: &[u8]) -> Result<Kind, Failure> {
    let encrypted: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    if extension == "docx" || contains(bytes, &encrypted) {
        return Ok(Kind::Docx);
    }
    Err(unsupported("This is an Office file of the format before 2007; save it in the present format"))
}

fn unsupported(what: &str) -> Failure {
    Failure::new(format!("{what}. {SUPPORTED}."))
}

fn name_of(extension: &str) -> String {
    if extension.is_empty() { "HTML and RTF".to_owned() } else { extension.to_uppercase() }
}

fn extension(file_name: &str) -> String {
    match file_name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => extension.to_lowercase(),
        _ => String::new(),
    }
}

fn starts_with_ignoring_case(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether `needle` stands anywhere in `haystack`.
pub(super) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_before_the_name_does() {
        assert_eq!(Kind::of("notes.txt", b"%PDF-1.7\n"), Ok(Kind::Pdf));
        assert_eq!(Kind::of("notes.pdf", b"PK\x03\x04....word/document.xml"), Ok(Kind::Docx));
        assert_eq!(Kind::of("README.md", b"# Hello"), Ok(Kind::Markdown));
        assert_eq!(Kind::of("README", b"Hello"), Ok(Kind::Text));
    }

    #[test]
    fn a_pdf_by_name_only_is_treated_as_a_damaged_pdf() {
        assert_eq!(Kind::of("report.pdf", b"not a pdf at all"), Ok(Kind::Pdf));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        for (name, bytes, said) in [
            ("table.xlsx", &b"PK\x03\x04....xl/workbook.xml"[..], "Excel"),
            ("slides.pptx", b"PK\x03\x04....ppt/presentation.xml", "PowerPoint"),
            ("things.zip", b"PK\x03\x04....a.txt", "Archives"),
            ("letter.doc", &[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1, 0, 0], "before 2007"),
            ("photo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not known"),
            ("page", b"<!DOCTYPE HTML><p>x", "HTML"),
        ] {
            let refusal = Kind::of(name, bytes).expect_err(name).reason;
            assert!(
                refusal.contains(said) && refusal.contains("PDF, Word (.docx), Markdown and plain text"),
                "{refusal}"
            );
        }
    }
}
