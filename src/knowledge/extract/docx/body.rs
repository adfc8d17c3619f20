//! The body of a Word document (or of its notes): from XML events to paragraphs, with an explicit stack, so
//! that no depth of nesting can exhaust the real one.

use super::{
    Note,
    styles::{self, Styles},
    table::Table,
    xml::{self, Element, Then, Visitor},
};
use crate::knowledge::extract::Failure;

/// A paragraph, or a few rows of a table.
#[derive(Default)]
pub(super) struct Paragraph {
    /// What it says.
    pub text: String,
    /// Its level, from 1, when it is a heading.
    pub level: Option<u8>,
    /// The notes that it refers to.
    pub notes: Vec<(Note, String)>,
    /// The note that it belongs to, in the parts that hold notes.
    pub inside_note: Option<String>,
}

/// What is open at a moment.
enum Open {
    Paragraph(Building),
    Table(Table),
    /// A cell: the paragraphs so far.
    Cell(String),
    /// A text box; its paragraphs come out after the paragraph that holds it.
    Box(Vec<Paragraph>),
}

#[derive(Default)]
struct Building {
    paragraph: Paragraph,
    list_level: Option<usize>,
    boxes: Vec<Paragraph>,
}

/// Levels of nesting beyond which a document is hostile; Word itself stops at some tens.
const NESTING: usize = 256;

/// Reads one part.
pub(super) struct Body<'a> {
    styles: &'a Styles,
}

impl<'a> Body<'a> {
    /// A reader that knows the document's styles.
    pub(super) fn new(styles: &'a Styles) -> Self {
        Self { styles }
    }

    /// Gives every paragraph to `found`. Returns whether the part was whole.
    pub(super) fn read(
        &self,
        document: &str,
        found: &mut dyn FnMut(Paragraph) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let mut walk = Walk {
            styles: self.styles,
            found,
            open: Vec::new(),
            in_text: false,
            in_run: false,
            in_properties: 0,
            hidden: false,
            note: None,
        };
        let complete = xml::visit(document, &mut walk)?;
        while !walk.open.is_empty() {
            walk.close()?;
        }
        Ok(complete)
    }
}

struct Walk<'a, 'f> {
    styles: &'a Styles,
    found: &'f mut dyn FnMut(Paragraph) -> Result<(), Failure>,
    open: Vec<Open>,
    in_text: bool,
    in_run: bool,
    in_properties: usize,
    hidden: bool,
    note: Option<String>,
}

impl Visitor for Walk<'_, '_> {
    type Error = Failure;

    fn start(&mut self, element: &Element<'_>) -> Result<Then, Failure> {
        match element.name {
            // Text that is no longer, or not here, or the same once more for old programs.
            "del" | "moveFrom" if self.in_properties == 0 => return Ok(Then::Skip),
            "Fallback" | "instrText" | "delText" | "rt" | "sectPr" | "sdtPr" | "tblPr" | "tblGrid" | "trPr"
            | "tcPr" | "pPrChange" | "rPrChange" => {
                return Ok(Then::Skip);
            }
            "pPr" | "rPr" => self.in_properties += 1,
            _ if self.in_properties > 0 => self.property(element),
            "p" => self.open(Open::Paragraph(Building::default()))?,
            "tbl" => self.open(Open::Table(Table::default()))?,
            "tr" => {
                if let Some(Open::Table(table)) = self.open.last_mut() {
                    table.row();
                }
            }
            "tc" => self.open(Open::Cell(String::new()))?,
            "txbxContent" => self.open(Open::Box(Vec::new()))?,
            "footnote" | "endnote" => self.note = element.attribute("id"),
            "r" => {
                self.in_run = true;
                self.hidden = false;
            }
            "t" => self.in_text = true,
            "tab" | "ptab" if self.in_run => self.push("\t"),
            "br" | "cr" if self.in_run => self.push("\n"),
            "noBreakHyphen" => self.push("-"),
            "footnoteReference" => self.refer(Note::FOOT, element),
            "endnoteReference" => self.refer(Note::END, element),
            _ => {}
        }
        Ok(Then::Enter)
    }

    fn end(&mut self, name: &str) -> Result<(), Failure> {
        match name {
            "pPr" | "rPr" => self.in_properties = self.in_properties.saturating_sub(1),
            _ if self.in_properties > 0 => {}
            "p" | "tbl" | "tc" | "txbxContent" => self.close()?,
            "r" => {
                self.in_run = false;
                self.hidden = false;
            }
            "t" => self.in_text = false,
            "footnote" | "endnote" => self.note = None,
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.in_text {
            self.push(text);
        }
    }
}

impl Walk<'_, '_> {
    fn open(&mut self, what: Open) -> Result<(), Failure> {
        if self.open.len() >= NESTING {
            return Err(Failure::new(
                "The file nests tables or text boxes far deeper than a document does, so it was not read.",
            ));
        }
        self.open.push(what);
        Ok(())
    }

    /// Properties of the paragraph (`pPr`) or run (`rPr`) that is open.
    fn property(&mut self, element: &Element<'_>) {
        if element.name == "vanish" && self.in_run {
            self.hidden = element.is_on();
            return;
        }
        let Some(Open::Paragraph(building)) = self.open.last_mut() else { return };
        match element.name {
            "pStyle" => {
                let level = element.attribute("val").and_then(|style| self.styles.heading_level(&style));
                building.paragraph.level = building.paragraph.level.or(level);
            }
            "outlineLvl" => {
                building.paragraph.level =
                    styles::outline_level(element).filter(|level| *level < 9).map(|level| level + 1);
            }
            // A number of 0 takes the paragraph out of the list that its style puts it in.
            "numId" if element.attribute("val").as_deref() == Some("0") => building.list_level = None,
            "numId" => building.list_level = building.list_level.or(Some(0)),
            "ilvl" => building.list_level = element.attribute("val").and_then(|level| level.parse().ok()),
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        if self.hidden {
            return;
        }
        if let Some(Open::Paragraph(building)) = self.open.last_mut() {
            building
                .paragraph
                .text
                .extend(text.chars().filter(|c| *c != '\u{ad}' && (!c.is_control() || matches!(c, '\t' | '\n'))));
        }
    }

    fn refer(&mut self, note: Note, element: &Element<'_>) {
        if let (Some(Open::Paragraph(building)), Some(id)) = (self.open.last_mut(), element.attribute("id")) {
            building.paragraph.notes.push((note, id));
        }
    }

    /// Closes what is open innermost and hands it to what is around it.
    fn close(&mut self) -> Result<(), Failure> {
        match self.open.pop() {
            None => Ok(()),
            Some(Open::Paragraph(building)) => self.close_paragraph(building),
            Some(Open::Cell(text)) => {
                if let Some(Open::Table(table)) = self.open.last_mut() {
                    table.cell(&text);
                    Ok(())
                } else {
                    self.hand_over(Paragraph { text, ..Paragraph::default() })
                }
            }
            Some(Open::Table(table)) => {
                if let Some(Open::Cell(text)) = self.open.last_mut() {
                    append(text, &table.into_text());
                    return Ok(());
                }
                for text in table.into_blocks() {
                    self.hand_over(Paragraph { text, ..Paragraph::default() })?;
                }
                Ok(())
            }
            Some(Open::Box(paragraphs)) => {
                if let Some(Open::Paragraph(building)) = self.open.last_mut() {
                    building.boxes.extend(paragraphs);
                    return Ok(());
                }
                paragraphs.into_iter().try_for_each(|paragraph| self.hand_over(paragraph))
            }
        }
    }

    fn close_paragraph(&mut self, building: Building) -> Result<(), Failure> {
        let Building { mut paragraph, list_level, boxes } = building;
        if let (Some(level), None, false) = (list_level, paragraph.level, paragraph.text.trim().is_empty()) {
            paragraph.text = format!("{}- {}", "  ".repeat(level.min(8)), paragraph.text.trim());
        }
        paragraph.inside_note.clone_from(&self.note);
        self.hand_over(paragraph)?;
        boxes.into_iter().try_for_each(|paragraph| self.hand_over(paragraph))
    }

    /// To the cell or text box around it, or out.
    fn hand_over(&mut self, paragraph: Paragraph) -> Result<(), Failure> {
        match self.open.last_mut() {
            Some(Open::Cell(text)) => {
                append(text, paragraph.text.trim());
                Ok(())
            }
            Some(Open::Box(paragraphs)) => {
                paragraphs.push(Paragraph { level: None, ..paragraph });
                Ok(())
            }
            _ => (self.found)(paragraph),
        }
    }
}

fn append(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}
