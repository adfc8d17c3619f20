//! One slide (or the page of its notes): from XML events to paragraphs and tables, in the order in which the
//! slide has them, which is also the order in which a screen reader tells them.

use crate::knowledge::extract::{
    Failure, Rows,
    table::{Lines, Table},
    xml::{self, Element, Then, Visitor},
};

/// What the shape around a paragraph is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Role {
    /// The slide's title.
    Title,
    /// The placeholder for the slide's points, or for its notes.
    Body,
    /// Footer or date, the same on every slide.
    Footer,
    /// The slide's number or picture.
    Nothing,
    /// Anything else.
    #[default]
    Other,
}

/// A paragraph or some rows of a table.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// What it says; list items begin with a hyphen, indented by their level.
    pub text: String,
    /// What its lines are, when they are rows.
    pub rows: Option<Rows>,
    /// What the shape around it is for.
    pub role: Role,
}

impl Part {
    /// A paragraph of a shape that is for nothing in particular.
    pub(super) fn of(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// A slide as its own part has it.
#[derive(Debug, Default)]
pub(super) struct Slide {
    /// Paragraphs and tables, the title among them.
    pub parts: Vec<Part>,
    /// Notes and comments, from other parts.
    pub notes: Vec<String>,
    /// It is left out when the slides are shown.
    pub hidden: bool,
    /// Its XML was whole.
    pub whole: bool,
}

impl Slide {
    /// Reads a slide's part.
    pub(super) fn read(document: &str) -> Result<Self, Failure> {
        let mut walk = Walk::default();
        walk.slide.whole = xml::visit(document, &mut walk)?;
        walk.end_paragraph();
        walk.end_table();
        Ok(walk.slide)
    }

    /// The title's paragraphs as one line.
    pub(super) fn title(&self) -> String {
        let lines = self.parts.iter().filter(|part| part.role == Role::Title).map(|part| part.text.as_str());
        lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    }
}

#[derive(Default)]
struct Walk {
    slide: Slide,
    is_notes: bool,
    role: Role,
    in_text: bool,
    paragraph: Option<Paragraph>,
    table: Option<Table>,
    cell: String,
    /// A cell that belongs to the one above or to the left.
    merged: bool,
}

#[derive(Default)]
struct Paragraph {
    text: String,
    level: usize,
    bullet: Option<bool>,
}

impl Visitor for Walk {
    type Error = Failure;

    fn start(&mut self, element: &Element<'_>) -> Result<Then, Failure> {
        match element.name {
            "sld" => self.slide.hidden = matches!(element.attribute("show").as_deref(), Some("0" | "false")),
            "notes" => self.is_notes = true,
            "sp" | "graphicFrame" | "pic" | "cxnSp" => self.role = Role::Other,
            "ph" => self.role = role(element.attribute("type").as_deref()),
            // The same once more for old programs.
            "Fallback" => return Ok(Then::Skip),
            "tbl" => self.table = Some(Table::default()),
            "tr" => {
                if let Some(table) = &mut self.table {
                    table.row();
                }
            }
            "tc" => {
                self.cell.clear();
                self.merged =
                    ["hMerge", "vMerge"].iter().any(|name| element.attribute(name).is_some_and(|on| on != "0"));
            }
            "p" => self.paragraph = Some(Paragraph::default()),
            "pPr" => {
                if let Some(paragraph) = &mut self.paragraph {
                    paragraph.level = element.attribute("lvl").and_then(|level| level.parse().ok()).unwrap_or(0);
                }
            }
            "buNone" => self.bullet(false),
            "buChar" | "buAutoNum" | "buBlip" => self.bullet(true),
            "t" => self.in_text = true,
            "br" => self.push("\n"),
            "tab" => self.push("\t"),
            _ => {}
        }
        Ok(Then::Enter)
    }

    fn end(&mut self, name: &str) -> Result<(), Failure> {
        match name {
            "t" => self.in_text = false,
            "p" => self.end_paragraph(),
            "tc" => {
                let text = std::mem::take(&mut self.cell);
                if let Some(table) = &mut self.table {
                    table.cell(if self.merged { "" } else { &text });
                }
            }
            "tbl" => self.end_table(),
            "sp" => self.role = Role::Other,
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

impl Walk {
    fn bullet(&mut self, has: bool) {
        if let Some(paragraph) = &mut self.paragraph {
            paragraph.bullet = Some(has);
        }
    }

    fn push(&mut self, text: &str) {
        if let Some(paragraph) = &mut self.paragraph {
            // A vertical tab is a line break within a title.
            paragraph.text.extend(
                text.chars()
                    .map(|c| if c == '\u{b}' { '\n' } else { c })
                    .filter(|c| *c != '\u{ad}' && (!c.is_control() || matches!(c, '\t' | '\n'))),
            );
        }
    }

    fn end_paragraph(&mut self) {
        let Some(Paragraph { text, level, bullet }) = self.paragraph.take() else { return };
        let text = text.trim();
        if text.is_empty() || self.role == Role::Nothing {
            return;
        }
        if self.table.is_some() {
            if !self.cell.is_empty() {
                self.cell.push(' ');
            }
            self.cell.push_str(text);
            return;
        }
        // The points of a slide have their bullets from the master; notes have none.
        let listed = bullet.unwrap_or(level > 0 || (self.role == Role::Body && !self.is_notes));
        let text = if listed && self.role != Role::Title {
            format!("{}- {text}", "  ".repeat(level.min(8)))
        } else {
            text.to_owned()
        };
        self.slide.parts.push(Part { text, rows: None, role: self.role });
    }

    fn end_table(&mut self) {
        let Some(table) = self.table.take() else { return };
        let parts = table.into_lines().into_iter().map(|Lines { text, rows }| Part { text, rows, role: Role::Other });
        self.slide.parts.extend(parts);
    }
}

fn role(kind: Option<&str>) -> Role {
    match kind {
        Some("title" | "ctrTitle") => Role::Title,
        None | Some("body" | "obj") => Role::Body,
        Some("ftr" | "dt" | "hdr") => Role::Footer,
        Some("sldNum" | "sldImg") => Role::Nothing,
        Some(_) => Role::Other,
    }
}
