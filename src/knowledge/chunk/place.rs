//! Where a passage stands, in words that a person finds it by.

use crate::knowledge::extract::{Block, Rows, column_letters};

/// Characters of one heading within a locator.
const HEADING_CHARS: usize = 80;

/// What the blocks of a section have in common.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1, as the file counts.
    pub page: Option<u32>,
    page_label: Option<String>,
    slide: Option<u32>,
    sheet: Option<String>,
    hidden: bool,
    /// The headings above it, outermost first.
    pub headings: Vec<String>,
}

impl Place {
    /// The place of a block.
    pub(super) fn of(block: &Block) -> Self {
        Self {
            page: block.page,
            page_label: block.page_label.clone(),
            slide: block.slide,
            sheet: block.sheet.clone(),
            hidden: block.hidden,
            headings: block.headings.clone(),
        }
    }

    /// Whether the block stands here too.
    pub(super) fn is_of(&self, block: &Block) -> bool {
        self.page == block.page
            && self.slide == block.slide
            && self.sheet == block.sheet
            && self.headings == block.headings
    }

    /// A page, slide or sheet: what stands on it belongs to no other.
    pub(super) fn is_exact(&self) -> bool {
        self.page.is_some() || self.slide.is_some() || self.sheet.is_some()
    }

    /// `page iv`, `slide 4 · Roadmap`, `Budget!A2:F41`, `rows 2–41`, `Leave › Parental leave`, `lines 10–24`,
    /// `part 2`.
    pub(super) fn locator(&self, rows: &[&Rows], lines: Option<(u32, u32)>, ordinal: i32) -> String {
        if let Some(page) = self.page {
            return self.page_label.as_ref().map_or_else(|| format!("page {page}"), |label| format!("page {label}"));
        }
        let hidden = if self.hidden { " (hidden)" } else { "" };
        if let Some(slide) = self.slide {
            let title = self.headings.last().map(|title| format!(" · {}", shortened(title, HEADING_CHARS)));
            return format!("slide {slide}{hidden}{}", title.unwrap_or_default());
        }
        let numbers = || rows.iter().flat_map(|rows| rows.numbers.iter().copied());
        let span = numbers().min().zip(numbers().max());
        if let Some(sheet) = &self.sheet {
            let columns = || rows.iter().filter_map(|rows| rows.columns);
            let (from, to) = (columns().map(|(first, _)| first).min(), columns().map(|(_, last)| last).max());
            return match (span, from.zip(to)) {
                (Some((top, bottom)), Some((left, right))) => {
                    let cell = |column, row| format!("{}{row}", column_letters(column));
                    let (first, last) = (cell(left, top), cell(right, bottom));
                    let cells = if first == last { first } else { format!("{first}:{last}") };
                    format!("{}!{cells}{hidden}", quoted(sheet))
                }
                _ => format!("{sheet}{hidden}"),
            };
        }
        if !self.headings.is_empty() {
            let headings: Vec<String> = self.headings.iter().map(|heading| shortened(heading, HEADING_CHARS)).collect();
            return headings.join(" › ");
        }
        let counted = |what: &str, (first, last): (u32, u32)| {
            if last > first { format!("{what}s {first}–{last}") } else { format!("{what} {first}") }
        };
        match (span, lines) {
            (Some(span), _) => counted("row", span),
            (None, Some(lines)) => counted("line", lines),
            (None, None) => format!("part {}", ordinal + 1),
        }
    }
}

/// A sheet's name as formulas write it, so that the address can be typed into Excel.
fn quoted(sheet: &str) -> String {
    if sheet.chars().all(|c| c.is_alphanumeric() || c == '_') && !sheet.starts_with(|c: char| c.is_numeric()) {
        sheet.to_owned()
    } else {
        format!("'{}'", sheet.replace('\'', "''"))
    }
}

/// At most so many characters of a text.
pub(super) fn shortened(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_as_a_person_finds_them() {
        let rows = |numbers: &[u32], columns| Rows { header: 0, numbers: numbers.to_vec(), columns };
        let told = |block: Block, rows: &[&Rows], lines| Place::of(&block).locator(rows, lines, 4);
        let budget = Block { sheet: Some("Budget".to_owned()), hidden: true, ..Block::default() };
        let label = Block { page: Some(4), page_label: Some("iv".to_owned()), ..Block::default() };
        assert_eq!(told(budget.clone(), &[&rows(&[3], Some((2, 2)))], None), "Budget!B3 (hidden)");
        assert_eq!(told(budget, &[], None), "Budget (hidden)");
        assert_eq!(told(label, &[], None), "page iv");
        assert_eq!(told(Block::default(), &[&rows(&[2, 3], None), &rows(&[9], None)], Some((1, 2))), "rows 2–9");
        assert_eq!(told(Block::default(), &[], Some((7, 7))), "line 7");
        assert_eq!(told(Block::default(), &[], None), "part 5");
        assert_eq!(quoted("Ann's 2024"), "'Ann''s 2024'");
    }
}
