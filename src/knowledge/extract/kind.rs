//! What a file is: by its content first, then by its name. Looks at bytes only, parses nothing.

use super::{Failure, text};

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Portable Document Format.
    Pdf,
    /// Office Open XML text document (Word).
    Docx,
    /// Office Open XML workbook (Excel).
    Xlsx,
    /// Office Open XML presentation (PowerPoint).
    Pptx,
    /// A web page.
    Html,
    /// Rows of values with commas, semicolons, tabs or bars between them.
    Csv,
    /// Markdown.
    Markdown,
    /// Plain text in any common encoding.
    Text,
}

/// What is said of files that cannot be read.
const SUPPORTED: &str =
    "AEGIS reads PDF, Word (.docx), Excel (.xlsx), PowerPoint (.pptx), HTML, CSV, Markdown and plain text files";

/// How much of a file's beginning and end is searched for marks.
const SEARCHED: usize = 1 << 20;

/// Text formats whose marks would be read as words.
const MARKED_UP: [&str; 9] = ["rtf", "xml", "svg", "eml", "mht", "mhtml", "ps", "msg", "fodt"];

impl Kind {
    /// Everything that can be read.
    pub const ALL: [Self; 8] =
        [Self::Pdf, Self::Docx, Self::Xlsx, Self::Pptx, Self::Html, Self::Csv, Self::Markdown, Self::Text];

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
        if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
            return zip(&extension, bytes);
        }
        if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1]) {
            return compound_file(&extension, bytes);
        }
        // A file that claims a format with a mark and lacks the mark is damaged, whatever else it holds.
        if let Some(kind) = of_extension(&extension).filter(|kind| kind.has_mark()) {
            return Ok(kind);
        }
        if !text::is_text(head) {
            return Err(unsupported(foreign(head).unwrap_or("The file's type is not known")));
        }
        let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        if MARKED_UP.contains(&extension.as_str()) || start.starts_with(b"{\\rtf") {
            return Err(unsupported(&format!("{} files cannot be read yet", name_of(&extension))));
        }
        let is_page = starts_with_ignoring_case(start, b"<!doctype html")
            || starts_with_ignoring_case(start, b"<html")
            || (start.starts_with(b"<?xml") && contains(&start[..start.len().min(1024)], b"<html"));
        if is_page {
            return Ok(Self::Html);
        }
        Ok(of_extension(&extension).unwrap_or(Self::Text))
    }

    /// The registered media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Pptx => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            Self::Html => "text/html",
            Self::Csv => "text/csv",
            Self::Markdown => "text/markdown",
            Self::Text => "text/plain",
        }
    }

    /// The format of a media type that [`Kind::media_type`] gave.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.media_type() == media_type)
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
            Self::Xlsx => "xlsx",
            Self::Pptx => "pptx",
            Self::Html => "html",
            Self::Csv => "csv",
            Self::Markdown => "md",
            Self::Text => "txt",
        }
    }

    /// What people call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pdf => "PDF",
            Self::Docx => "Word",
            Self::Xlsx => "Excel",
            Self::Pptx => "PowerPoint",
            Self::Html => "Web page",
            Self::Csv => "CSV",
            Self::Markdown => "Markdown",
            Self::Text => "Text",
        }
    }

    /// With its article, for sentences: "a PDF".
    pub fn description(self) -> &'static str {
        match self {
            Self::Pdf => "a PDF",
            Self::Docx => "a Word document",
            Self::Xlsx => "an Excel workbook",
            Self::Pptx => "a PowerPoint presentation",
            Self::Html => "a web page",
            Self::Csv => "a table of values",
            Self::Markdown => "Markdown",
            Self::Text => "text",
        }
    }

    /// Whether its files begin with bytes of their own.
    fn has_mark(self) -> bool {
        matches!(self, Self::Pdf | Self::Docx | Self::Xlsx | Self::Pptx)
    }
}

/// What a name claims.
fn of_extension(extension: &str) -> Option<Kind> {
    Some(match extension {
        "pdf" => Kind::Pdf,
        "docx" | "docm" | "dotx" | "dotm" => Kind::Docx,
        "xlsx" | "xlsm" | "xltx" | "xltm" => Kind::Xlsx,
        "pptx" | "pptm" | "potx" | "potm" | "ppsx" | "ppsm" => Kind::Pptx,
        "html" | "htm" | "xhtml" | "xht" | "shtml" => Kind::Html,
        "csv" | "tsv" | "tab" => Kind::Csv,
        "md" | "markdown" | "mdown" | "mkd" | "mdx" => Kind::Markdown,
        _ => return None,
    })
}

fn zip(extension: &str, bytes: &[u8]) -> Result<Kind, Failure> {
    // Names of members stand uncompressed before each member and in the directory at the end.
    let has = |name: &[u8]| {
        let end = &bytes[bytes.len().saturating_sub(SEARCHED)..];
        contains(&bytes[..bytes.len().min(SEARCHED)], name) || contains(end, name)
    };
    if has(b"xl/workbook.bin") {
        return Err(unsupported("Binary Excel workbooks (.xlsb) cannot be read; save it as .xlsx"));
    }
    let claimed = of_extension(extension);
    // A document may carry another one within it, so what the name claims is looked for first.
    let folders = [(Kind::Docx, &b"word/"[..]), (Kind::Pptx, b"ppt/"), (Kind::Xlsx, b"xl/")];
    let found = folders.iter().filter(|(kind, folder)| Some(*kind) == claimed && has(folder)).chain(&folders);
    if let Some((kind, _)) = found.into_iter().find(|(_, folder)| has(folder)) {
        return Ok(*kind);
    }
    if let Some(kind) = claimed.filter(|kind| kind.has_mark() && *kind != Kind::Pdf) {
        return Ok(kind);
    }
    Err(unsupported(if has(b"mimetypeapplication/vnd.oasis.opendocument") {
        "OpenDocument files cannot be read yet; save it as .docx, .xlsx or .pptx"
    } else if has(b"mimetypeapplication/epub") {
        "E-books cannot be read yet"
    } else if has(b"Index/Document.iwa") || has(b"Index/Tables/") {
        "Pages, Numbers and Keynote files cannot be read; export it as .docx, .xlsx, .pptx or PDF"
    } else {
        "Archives cannot be read; upload the files that are in it"
    }))
}

/// The container of old Office files, which Office also uses around an encrypted new one.
fn compound_file(extension: &str, bytes: &[u8]) -> Result<Kind, Failure> {
    let encrypted: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let claimed = of_extension(extension).filter(|kind| kind.has_mark() && *kind != Kind::Pdf);
    if claimed.is_some() || contains(bytes, &encrypted) {
        return Ok(claimed.unwrap_or(Kind::Docx));
    }
    Err(unsupported(match extension {
        "xls" | "xlt" => "This is an Excel workbook of the format before 2007 (.xls); save it as .xlsx",
        "ppt" | "pps" | "pot" => "This is a PowerPoint presentation of the format before 2007 (.ppt); save it as .pptx",
        "doc" | "dot" => "This is a Word document of the format before 2007 (.doc); save it as .docx",
        "msg" => "Outlook messages cannot be read yet; save it as text or PDF",
        _ => "This is an Office file of the format before 2007; save it in the present format",
    }))
}

/// What other common files are, by their first bytes.
fn foreign(head: &[u8]) -> Option<&'static str> {
    let is = |mark: &[u8]| head.starts_with(mark);
    let after = |at: usize, mark: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(mark));
    if is(b"\x89PNG")
        || is(b"\xff\xd8\xff")
        || is(b"GIF8")
        || is(b"BM")
        || is(b"II*\0")
        || is(b"MM\0*")
        || (is(b"RIFF") && after(8, b"WEBP"))
        || after(4, b"ftypheic")
        || after(4, b"ftypavif")
    {
        return Some(
            "Pictures cannot be read: run it through text recognition (OCR) and upload the result as PDF or text",
        );
    }
    if is(b"\x1f\x8b") || is(b"7z\xbc\xaf") || is(b"Rar!") || is(b"BZh") || is(b"\xfd7zXZ") || after(257, b"ustar") {
        return Some("Archives cannot be read; upload the files that are in it");
    }
    if after(4, b"ftyp") || is(b"ID3") || is(b"OggS") || is(b"RIFF") || is(b"fLaC") || is(b"\x1aE\xdf\xa3") {
        return Some("Sound and video cannot be read; upload a transcript");
    }
    None
}

fn unsupported(what: &str) -> Failure {
    Failure::new(format!("{what}. {SUPPORTED}."))
}

fn name_of(extension: &str) -> String {
    if MARKED_UP.contains(&extension) { extension.to_uppercase() } else { "RTF".to_owned() }
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
        let utf16: Vec<u8> = [0xFF, 0xFE].into_iter().chain("a,b".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        for (name, bytes, kind) in [
            ("notes.txt", &b"%PDF-1.7\n"[..], Kind::Pdf),
            ("notes.pdf", b"PK\x03\x04....word/document.xml", Kind::Docx),
            ("table", b"PK\x03\x04....xl/workbook.xml", Kind::Xlsx),
            ("talk.zip", b"PK\x03\x04....ppt/presentation.xml....ppt/embeddings/xl/workbook.xml", Kind::Pptx),
            ("table.xlsx", b"PK\x03\x04....xl/workbook.xml....word/document.xml", Kind::Xlsx),
            ("README.md", b"# Hello", Kind::Markdown),
            ("README", b"Hello", Kind::Text),
            ("page.txt", b"\xef\xbb\xbf\n<!DOCTYPE HTML><p>x", Kind::Html),
            ("page", b"<?xml version=\"1.0\"?><html xmlns=\"x\">", Kind::Html),
            ("page.htm", b"<p>x", Kind::Html),
            ("data.tsv", b"a\tb", Kind::Csv),
            ("data.csv", &utf16, Kind::Csv),
        ] {
            assert_eq!(Kind::of(name, bytes), Ok(kind), "{name}");
            assert_eq!(Kind::of_media_type(kind.media_type()), Some(kind));
        }
    }

    #[test]
    fn a_format_by_name_only_is_treated_as_damaged() {
        assert_eq!(Kind::of("report.pdf", b"not a pdf at all"), Ok(Kind::Pdf));
        assert_eq!(Kind::of("table.xlsx", b"a,b"), Ok(Kind::Xlsx));
        assert_eq!(Kind::of("table.xlsx", b"PK\x03\x04 and nothing else"), Ok(Kind::Xlsx));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let old = &[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1, 0, 0];
        for (name, bytes, said) in [
            ("table.xlsb", &b"PK\x03\x04....xl/workbook.bin"[..], "save it as .xlsx"),
            ("text.odt", b"PK\x03\x04..mimetypeapplication/vnd.oasis.opendocument.text", "OpenDocument"),
            ("book.epub", b"PK\x03\x04..mimetypeapplication/epub+zip", "E-books"),
            ("letter.pages", b"PK\x03\x04..Index/Document.iwa", "Pages, Numbers and Keynote"),
            ("things.zip", b"PK\x03\x04....a.txt", "Archives"),
            ("things.tar.gz", b"\x1f\x8b\x08\0", "Archives"),
            ("letter.doc", old, "before 2007 (.doc); save it as .docx"),
            ("table.xls", old, "before 2007 (.xls); save it as .xlsx"),
            ("talk.ppt", old, "before 2007 (.ppt); save it as .pptx"),
            ("mail.msg", old, "Outlook"),
            ("photo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "Pictures cannot be read"),
            ("film.mp4", b"\0\0\0\x20ftypisom\0", "Sound and video"),
            ("letter.rtf", b"{\\rtf1 x", "RTF files cannot be read yet"),
            ("letter", b"{\\rtf1 x", "RTF files cannot be read yet"),
            ("mail.eml", b"From: x", "EML files cannot be read yet"),
            ("program", b"\x7fELF\x02\x01\x01\0\0", "not known"),
        ] {
            let refusal = Kind::of(name, bytes).expect_err(name).reason;
            assert!(refusal.contains(said) && refusal.ends_with(&format!("{SUPPORTED}.")), "{refusal}");
        }
    }
}
