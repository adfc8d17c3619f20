//! Which paragraph styles are headings, and of which level: by outline level, by name, or by the style that
//! they are based on. And which list, if any, puts numbers before them.

use std::collections::HashMap;

use super::numbering::Numbering;
use crate::knowledge::extract::xml;

/// Word writes levels 0 to 8; 9 means body text.
const BODY: u8 = 9;
/// Longer chains of `basedOn` than this are loops.
const ANCESTORS: usize = 16;

#[derive(Default)]
struct Style {
    level: Option<u8>,
    based_on: Option<String>,
    list: Option<String>,
    list_level: Option<usize>,
}

/// The document's styles.
#[derive(Default)]
pub(super) struct Styles {
    by_id: HashMap<String, Style>,
    numbering: Numbering,
}

/// A paragraph's place in a list.
pub(super) struct InList {
    /// Which list.
    pub list: String,
    /// From 0 to 8.
    pub level: usize,
}

impl Styles {
    /// Reads `styles.xml`.
    pub(super) fn read(document: &str) -> Self {
        let mut by_id: HashMap<String, Style> = HashMap::new();
        let mut current = String::new();
        xml::each_element(document, |element| match element.name {
            "style" => {
                current = element.attribute("styleId").unwrap_or_default();
                by_id.entry(current.clone()).or_default();
            }
            "name" => {
                if let (Some(style), Some(name)) = (by_id.get_mut(&current), element.attribute("val")) {
                    style.level = style.level.or_else(|| level_of_name(&name));
                }
            }
            "basedOn" => {
                if let Some(style) = by_id.get_mut(&current) {
                    style.based_on = element.attribute("val");
                }
            }
            "outlineLvl" => {
                if let (Some(style), Some(level)) = (by_id.get_mut(&current), outline_level(element)) {
                    style.level = Some(level);
                }
            }
            "numId" => {
                if let Some(style) = by_id.get_mut(&current) {
                    style.list = element.attribute("val");
                }
            }
            "ilvl" => {
                if let Some(style) = by_id.get_mut(&current) {
                    style.list_level = element.attribute("val").and_then(|level| level.parse().ok());
                }
            }
            _ => {}
        });
        Self { by_id, numbering: Numbering::default() }
    }

    /// With the document's lists.
    pub(super) fn with_numbering(self, numbering: Numbering) -> Self {
        Self { numbering, ..self }
    }

    /// The document's lists.
    pub(super) fn numbering(&self) -> &Numbering {
        &self.numbering
    }

    /// Where a paragraph stands in a list: as it says itself, or as its style or one that this is based on says. The list
    /// `0` takes it out of any.
    pub(super) fn in_list(&self, style: Option<&str>, list: Option<&str>, level: Option<usize>) -> Option<InList> {
        let ancestors = std::iter::successors(style, |id| self.by_id.get(*id)?.based_on.as_deref());
        let from_style = ancestors.take(ANCESTORS).find_map(|id| {
            let known = self.by_id.get(id)?;
            Some((known.list.as_deref()?, id, known.list_level))
        });
        let (list, level) = match (list, from_style) {
            (Some(list), _) => (list, level),
            (None, Some((list, id, by_style))) => {
                (list, level.or(by_style).or_else(|| self.numbering.level_of_style(list, id)))
            }
            // An old program's way to say that it is an item.
            (None, None) => (level.map(|_| "")?, level),
        };
        (list != "0").then(|| InList { list: list.to_owned(), level: level.unwrap_or(0).min(8) })
    }

    /// The level of a heading style, from 1, or `None` for body text.
    pub(super) fn heading_level(&self, style_id: &str) -> Option<u8> {
        let mut id = style_id;
        for _ in 0..ANCESTORS {
            let Some(style) = self.by_id.get(id) else { return level_of_name(id).map(|level| level + 1) };
            if let Some(level) = style.level {
                return (level < BODY).then_some(level + 1);
            }
            id = style.based_on.as_deref()?;
        }
        None
    }
}

/// The value of an `outlineLvl` element, from 0.
pub(super) fn outline_level(element: &xml::Element<'_>) -> Option<u8> {
    element.attribute("val")?.parse().ok().filter(|level| *level <= BODY)
}

/// `heading 2`, `Heading2` and `Überschrift 2` are level 1 (they count from 1, outline levels from 0).
fn level_of_name(name: &str) -> Option<u8> {
    let name = name.to_lowercase();
    let rest = ["heading", "überschrift", "titre", "título", "titolo", "kop", "rubrik"]
        .iter()
        .find_map(|word| name.strip_prefix(word))?;
    let level: u8 = rest.trim().parse().ok()?;
    (1..=9).contains(&level).then_some(level - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_known_by_outline_name_or_ancestor() {
        let styles = Styles::read(
            r#"<w:styles xmlns:w="x"><w:style w:styleId="A"><w:name w:val="heading 2"/></w:style>
            <w:style w:styleId="B"><w:name w:val="Chapter"/><w:basedOn w:val="A"/></w:style>
            <w:style w:styleId="C"><w:name w:val="Own"/><w:pPr><w:outlineLvl w:val="0"/></w:pPr></w:style>
            <w:style w:styleId="D"><w:name w:val="Normal"/></w:style>
            <w:style w:styleId="E"><w:basedOn w:val="E"/></w:style></w:styles>"#,
        );
        let levels = ["A", "B", "C", "D", "E", "Heading3", "unknown"].map(|id| styles.heading_level(id));
        assert_eq!(levels, [Some(2), Some(2), Some(1), None, None, Some(3), None]);
    }
}
