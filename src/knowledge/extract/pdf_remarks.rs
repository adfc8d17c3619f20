//! What people left on the pages of a PDF: notes, and what they wrote to what they marked.

use pdf_oxide::{Annotation, object::Object};

/// Kinds that carry somebody's words beside the page.
const REMARKS: [&str; 13] = [
    "Text",
    "Highlight",
    "Underline",
    "StrikeOut",
    "Squiggly",
    "Caret",
    "Stamp",
    "Square",
    "Circle",
    "Line",
    "Ink",
    "Polygon",
    "PolyLine",
];

/// Whether somebody filled in a form on the page or wrote on it, which the page's own contents do not have.
pub(super) fn is_written_on(annotations: &[Annotation]) -> bool {
    annotations.iter().any(|one| matches!(one.subtype.as_deref(), Some("Widget" | "FreeText" | "Stamp")))
}

/// The remarks on a page, in the order of the file: `Comment by Ada: Ask her for the receipt`.
pub(super) fn of_page(annotations: &[Annotation]) -> Vec<String> {
    annotations.iter().filter_map(remark).collect()
}

fn remark(annotation: &Annotation) -> Option<String> {
    let entries = annotation.raw_dict.as_ref()?;
    // What sets the state of another remark, as "Accepted", is none.
    if !REMARKS.contains(&annotation.subtype.as_deref()?) || entries.contains_key("StateModel") {
        return None;
    }
    let told = |name: &str| match entries.get(name) {
        Some(Object::String(bytes)) => decoded(bytes),
        _ => String::new(),
    };
    let (by, words) = (told("T"), told("Contents"));
    let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
    (!words.is_empty()).then(|| format!("Comment{by}: {words}"))
}

/// A text string of a PDF: UTF-16 or UTF-8 with their marks, or one byte a letter (ISO 32000-2, 7.9.2.2).
fn decoded(bytes: &[u8]) -> String {
    // A mark goes before what it is told to take.
    let (text, ..) = encoding_rs::WINDOWS_1252.decode(bytes);
    let text = text.replace('\r', "\n");
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_string_is_read_in_any_of_its_encodings() {
        assert_eq!(decoded(b"Caf\xe9\rtwo"), "Café\ntwo");
        assert_eq!(decoded(b"\xfe\xff\x04\x14\x04\x30"), "Да");
        assert_eq!(decoded(b"\xff\xfe\x14\x04"), "Д");
        assert_eq!(decoded("\u{feff}naïve".as_bytes()), "naïve");
        assert_eq!(decoded(b"\xfe\xff\0"), "\u{fffd}");
        assert_eq!(decoded(b" \0 "), "");
    }
}
