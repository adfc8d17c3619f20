//! XML events as the readers of Office files want them: local names, texts with their references resolved, no entities
//! of a document's own (so nothing can expand), and an end instead of an error where a file is cut off.

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

/// An element's start.
pub(super) struct Element<'a> {
    /// Its name without the prefix.
    pub name: &'a str,
    start: &'a BytesStart<'a>,
}

impl Element<'_> {
    /// The value of the attribute with this local name.
    pub(super) fn attribute(&self, local_name: &str) -> Option<String> {
        self.start.attributes().with_checks(false).flatten().find_map(|attribute| {
            let matches = attribute.key.local_name().as_ref() == local_name;
            matches.then(|| unescape(&attribute.value))
        })
    }

    /// The values of all attributes with this local name, whatever their prefixes.
    pub(super) fn attributes(&self, local_name: &str) -> Vec<String> {
        let mut all = self.start.attributes();
        all.with_checks(false)
            .flatten()
            .filter(|attribute| attribute.key.local_name().as_ref() == local_name)
            .map(|attribute| unescape(&attribute.value))
            .collect()
    }

    /// Whether a property such as `<w:vanish/>` is on: absent value or anything but `0`, `false`, `off`.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self.attribute("val").as_deref(), Some("0" | "false" | "off" | "none"))
    }
}

/// What a [`Visitor`] wants done with an element it was shown.
#[derive(PartialEq, Eq)]
pub(super) enum Then {
    /// Show what is in it, and its end.
    Enter,
    /// Leave it out with all that is in it; its end is not shown.
    Skip,
}

/// Sees a document's elements and texts in order.
pub(super) trait Visitor {
    /// Why it may stop.
    type Error;

    /// An element begins.
    fn start(&mut self, element: &Element<'_>) -> Result<Then, Self::Error>;
    /// An element ends; an empty element ends right after its start.
    fn end(&mut self, name: &str) -> Result<(), Self::Error>;
    /// Text between elements.
    fn text(&mut self, text: &str);
}

/// Walks through `document`. Returns whether it was well-formed to its end.
pub(super) fn visit<V: Visitor>(document: &str, visitor: &mut V) -> Result<bool, V::Error> {
    let mut reader = Reader::from_str(document);
    let config = reader.config_mut();
    config.allow_dangling_amp = true;
    config.check_end_names = false;
    let mut depth = 0_usize;
    let mut skipped_from = None;
    loop {
        let Ok(event) = reader.read_event() else { return Ok(false) };
        match event {
            Event::Start(start) => {
                depth += 1;
                if skipped_from.is_none() {
                    let name = start.local_name();
                    if visitor.start(&Element { name: name.as_ref(), start: &start })? == Then::Skip {
                        skipped_from = Some(depth);
                    }
                }
            }
            Event::Empty(start) if skipped_from.is_none() => {
                let name = start.local_name();
                if visitor.start(&Element { name: name.as_ref(), start: &start })? == Then::Enter {
                    visitor.end(name.as_ref())?;
                }
            }
            Event::End(end) => {
                if skipped_from == Some(depth) {
                    skipped_from = None;
                } else if skipped_from.is_none() {
                    visitor.end(end.local_name().as_ref())?;
                }
                depth = depth.saturating_sub(1);
            }
            Event::Text(text) if skipped_from.is_none() => visitor.text(&text.xml10_content()),
            Event::CData(text) if skipped_from.is_none() => visitor.text(&text.xml10_content()),
            Event::GeneralRef(reference) if skipped_from.is_none() => {
                if let Ok(Some(character)) = reference.resolve_char_ref() {
                    visitor.text(character.encode_utf8(&mut [0; 4]));
                } else {
                    visitor.text(predefined(&reference.into_inner()));
                }
            }
            Event::Eof => return Ok(depth == 0),
            _ => {}
        }
    }
}

/// Shows every element's start, wherever it is.
pub(super) fn each_element(document: &str, seen: impl FnMut(&Element<'_>)) {
    struct Each<F>(F);
    impl<F: FnMut(&Element<'_>)> Visitor for Each<F> {
        type Error = std::convert::Infallible;
        fn start(&mut self, element: &Element<'_>) -> Result<Then, Self::Error> {
            (self.0)(element);
            Ok(Then::Enter)
        }
        fn end(&mut self, _: &str) -> Result<(), Self::Error> {
            Ok(())
        }
        fn text(&mut self, _: &str) {}
    }
    let Ok(_) = visit(document, &mut Each(seen));
}

fn predefined(name: &str) -> &'static str {
    match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => "",
    }
}

fn unescape(value: &str) -> String {
    quick_xml::escape::unescape(value).map_or_else(|_| value.to_owned(), std::borrow::Cow::into_owned)
}
