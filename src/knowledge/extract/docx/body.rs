//! The body of a Word document (or of its notes): from XML events to paragraphs, with an explicit stack, so
//! that no depth of nesting can exhaust the real one.

use super::{
    Note,
    numbering::Counted,
    styles::{self, InList, Styles},
};
use crate::knowledge::extract::{
    Failure, Rows,
    table::{Lines, Table},
    xml::{self, Element, Then, Visitor},
};

/// A paragraph, or a few rows of a table.
#[derive(Default)]
pub(super) struct Paragraph {
    /// What it says.
    pub text: String,
    /// What its lines are, when it is a part of a table.
    pub rows: Option<Rows>,
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
    /// A cell: the paragraphs so far, and over how many columns it reaches.
    Cell(String, usize),
    /// A text box; its paragraphs come out after the paragraph that holds it.
    Box(Vec<Paragraph>),
}

#[derive(Default)]
struct Building {
    paragraph: Paragraph,
    style: Option<String>,
    list: Option<String>,
    list_level: Option<usize>,
    boxes: Vec<Paragraph>,
}

/// Columns that a cell may claim to reach over; Word has no more.
const COLUMNS: usize = 63;
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
            field: Field::default(),
            note: None,
            counted: Counted::default(),
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
    field: Field,
    note: Option<String>,
    counted: Counted,
}

/// Text that Word works out: a date, a number of a page.
#[derive(Default)]
struct Field {
    /// What it is to show, while that is being read.
    instruction: Option<String>,
    /// What follows is what it showed last, and it counts pages.
    counts: bool,
}

impl Visitor for Walk<'_, '_> {
    type Error = Failure;

    fn start(&mut self, element: &Element<'_>) -> Result<Then, Failure> {
        match element.name {
            // Text that is no longer, or not here, or the same once more for old programs.
            "del" | "moveFrom" if self.in_properties == 0 => return Ok(Then::Skip),
            "Fallback" | "delText" | "delInstrText" | "rt" | "sectPr" | "sdtPr" | "tblPr" | "tblGrid" | "trPr"
            | "pPrChange" | "rPrChange" | "tcPrChange" => {
                return Ok(Then::Skip);
            }
            "fldSimple" if element.attribute("instr").is_some_and(|what| counts_pages(&what)) => {
                return Ok(Then::Skip);
            }
            "instrText" => {
                self.field.instruction.get_or_insert_default();
            }
            "fldChar" => self.field(element),
            "gridSpan" => {
                if let Some(Open::Cell(_, reach)) = self.open.last_mut() {
                    let columns = element.attribute("val").and_then(|columns| columns.parse().ok());
                    *reach = columns.unwrap_or(1).clamp(1, COLUMNS);
                }
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
            "tc" => self.open(Open::Cell(String::new(), 1))?,
            "txbxContent" => self.open(Open::Box(Vec::new()))?,
            "footnote" | "endnote" | "comment" => self.note = element.attribute("id"),
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
            "commentReference" => self.refer(Note::COMMENT, element),
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
            "footnote" | "endnote" | "comment" => self.note = None,
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.in_text {
            self.push(text);
        } else if let Some(instruction) = self.field.instruction.as_mut().filter(|known| known.len() < 64) {
            instruction.push_str(text);
        }
    }
}

/// Whether a field shows the number of the page or of all pages, which is another one on every page.
fn counts_pages(instruction: &str) -> bool {
    let what = instruction.split_whitespace().next().unwrap_or_default();
    matches!(what.to_ascii_uppercase().as_str(), "PAGE" | "NUMPAGES" | "SECTIONPAGES")
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

    /// A field: what it is to show stands between `begin` and `separate`, what it showed last up to `end`.
    fn field(&mut self, element: &Element<'_>) {
        let instruction = self.field.instruction.take();
        match element.attribute("fldCharType").as_deref() {
            Some("separate") => self.field.counts = instruction.is_some_and(|what| counts_pages(&what)),
            Some("end") => self.field.counts = false,
            _ => {}
        }
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
                building.style = element.attribute("val");
                let level = building.style.as_deref().and_then(|style| self.styles.heading_level(style));
                building.paragraph.level = building.paragraph.level.or(level);
            }
            "outlineLvl" => {
                building.paragraph.level =
                    styles::outline_level(element).filter(|level| *level < 9).map(|level| level + 1);
            }
            "numId" => building.list = element.attribute("val"),
            "ilvl" => building.list_level = element.attribute("val").and_then(|level| level.parse().ok()),
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        if self.hidden || self.field.counts {
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
            Some(Open::Cell(text, reach)) => {
                if let Some(Open::Table(table)) = self.open.last_mut() {
                    table.cell(&text);
                    (1..reach).for_each(|_| table.cell(""));
                    Ok(())
                } else {
                    self.hand_over(Paragraph { text, ..Paragraph::default() })
                }
            }
            Some(Open::Table(table)) => {
                if let Some(Open::Cell(text, _)) = self.open.last_mut() {
                    append(text, &table.into_text());
                    return Ok(());
                }
                for Lines { text, rows } in table.into_lines() {
                    self.hand_over(Paragraph { text, rows, ..Paragraph::default() })?;
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
        let Building { mut paragraph, style, list, list_level, boxes } = building;
        if let Some(InList { list, level }) = self.styles.in_list(style.as_deref(), list.as_deref(), list_level) {
            // One without words is counted too, as Word does.
            let label = self.counted.next(self.styles.numbering(), &list, level);
            let is_heading = paragraph.level.is_some();
            let text = paragraph.text.trim();
            paragraph.text = match label {
                _ if text.is_empty() => String::new(),
                Some(label) if is_heading => format!("{label} {text}"),
                None if is_heading => text.to_owned(),
                label => format!("{}{} {text}", "  ".repeat(level), label.as_deref().unwrap_or("-")),
            };
        }
        paragraph.inside_note.clone_from(&self.note);
        self.hand_over(paragraph)?;
        boxes.into_iter().try_for_each(|paragraph| self.hand_over(paragraph))
    }

    /// To the cell or text box around it, or out.
    fn hand_over(&mut self, paragraph: Paragraph) -> Result<(), Failure> {
        match self.open.last_mut() {
            Some(Open::Cell(text, _)) => {
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
