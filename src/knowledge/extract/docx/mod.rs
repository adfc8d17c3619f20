//! Word documents: an own reader over zip and XML events (ECMA-376, WordprocessingML).
//!
//! It takes what a person sees: headings become the path, lists and tables become Markdown, notes follow the
//! paragraph that refers to them, text boxes are read once; deleted, moved-away and hidden text is left out.

mod body;
mod styles;
mod table;
mod xml;

use std::collections::HashMap;

use super::{Block, Failure, Finished, Kind, Sink, archive::Archive};
use body::{Body, Paragraph};
use styles::Styles;

/// Reads a Word document.
pub(super) fn read(bytes: &[u8], sink: &mut dyn Sink) -> Result<Finished, Failure> {
    if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
        return Err(Failure::encrypted());
    }
    let mut archive = Archive::open(bytes, Kind::Docx)?;
    let main = main_part(&mut archive)?;
    let (folder, _) = main.rsplit_once('/').unwrap_or(("", ""));
    let beside = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };

    let styles = match archive.part(&beside("styles.xml"))? {
        Some(xml) => Styles::read(&xml),
        None => Styles::default(),
    };
    let mut notes = HashMap::new();
    for (name, mark) in [("footnotes.xml", Note::FOOT), ("endnotes.xml", Note::END)] {
        if let Some(xml) = archive.part(&beside(name))? {
            read_notes(&xml, mark, &styles, &mut notes)?;
        }
    }

    let document = archive.part(&main)?.ok_or_else(|| Failure::damaged(Kind::Docx))?;
    let mut writer = Writer { sink, path: Vec::new(), notes, noted: 0, blocks: 0 };
    let complete = Body::new(&styles).read(&document, &mut |paragraph| writer.paragraph(paragraph))?;
    writer.remaining_notes()?;
    match (writer.blocks, complete) {
        (0, true) => Err(Failure::empty()),
        (0, false) => Err(Failure::damaged(Kind::Docx)),
        // What was whole before the damage is worth having.
        _ => Ok(Finished::default()),
    }
}

/// Tells a footnote from an endnote with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Note(char);

impl Note {
    /// At the foot of the page.
    pub(super) const FOOT: Self = Self('f');
    /// At the end of the document.
    pub(super) const END: Self = Self('e');
}

/// The main part is the one that the package's relationships name; `word/document.xml` nearly always.
fn main_part(archive: &mut Archive<'_>) -> Result<String, Failure> {
    let mut target = None;
    if let Some(relationships) = archive.part("_rels/.rels")? {
        xml::each_element(&relationships, |element| {
            if element.name == "Relationship"
                && target.is_none()
                && element.attribute("Type").is_some_and(|kind| kind.ends_with("/officeDocument"))
            {
                target = element.attribute("Target");
            }
        });
    }
    Ok(target.map_or_else(|| "word/document.xml".to_owned(), |target| target.trim_start_matches('/').to_owned()))
}

fn read_notes(
    document: &str,
    mark: Note,
    styles: &Styles,
    notes: &mut HashMap<(Note, String), String>,
) -> Result<(), Failure> {
    Body::new(styles).read(document, &mut |paragraph| {
        if let Some(id) = paragraph.inside_note {
            let text: &mut String = notes.entry((mark, id)).or_default();
            if !text.is_empty() && !paragraph.text.is_empty() {
                text.push(' ');
            }
            text.push_str(&paragraph.text);
        }
        Ok(())
    })?;
    Ok(())
}

/// Turns paragraphs into blocks: keeps the path of headings, appends notes.
struct Writer<'a> {
    sink: &'a mut dyn Sink,
    path: Vec<(u8, String)>,
    notes: HashMap<(Note, String), String>,
    noted: usize,
    blocks: usize,
}

impl Writer<'_> {
    fn paragraph(&mut self, mut paragraph: Paragraph) -> Result<(), Failure> {
        let mut notes = Vec::new();
        for reference in std::mem::take(&mut paragraph.notes) {
            // Each note is told once, where it is first referred to.
            if let Some(text) = self.notes.remove(&reference).filter(|text| !text.trim().is_empty()) {
                self.noted += 1;
                notes.push(format!("Note {}: {}", self.noted, text.trim()));
            }
        }
        let text = paragraph.text.trim_matches(['\n', ' ']);
        if let Some(level) = paragraph.level
            && !text.is_empty()
        {
            self.path.retain(|(above, _)| *above < level);
            self.path.push((level, text.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        let text = text.to_owned();
        self.emit(std::iter::once(text).chain(notes))
    }

    /// Notes that tables refer to, and notes that nothing refers to.
    fn remaining_notes(&mut self) -> Result<(), Failure> {
        let mut notes: Vec<_> = std::mem::take(&mut self.notes).into_iter().collect();
        notes.sort_by_key(|((note, id), _)| (*note == Note::END, id.parse::<i64>().unwrap_or(i64::MAX)));
        self.emit(notes.into_iter().map(|(_, text)| text.trim().to_owned()).collect::<Vec<_>>().into_iter())
    }

    fn emit(&mut self, texts: impl Iterator<Item = String>) -> Result<(), Failure> {
        for text in texts.filter(|text| !text.is_empty()) {
            let headings = self.path.iter().map(|(_, title)| title.clone()).collect();
            self.blocks += 1;
            self.sink.block(Block { text, headings, ..Block::default() })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
