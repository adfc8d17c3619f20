//! Word documents: an own reader over zip and XML events (ECMA-376, WordprocessingML).
//!
//! It takes what a person sees: headings become the path, lists (with their numbers) and tables become Markdown, notes and comments
//! follow the paragraph that refers to them, headers, footers and text boxes are read once; deleted, moved-away
//! and hidden text is left out, and so are the numbers of pages.

mod body;
mod numbering;
mod styles;

use std::collections::HashMap;

use super::{Block, Failure, Finished, Kind, Rows, Sink, archive::Archive, package, xml};
use body::{Body, Paragraph};
use numbering::Numbering;
use styles::Styles;

/// Reads a Word document.
pub(super) fn read(bytes: &[u8], sink: &mut dyn Sink) -> Result<Finished, Failure> {
    if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
        return Err(Failure::encrypted());
    }
    let mut archive = Archive::open(bytes, Kind::Docx)?;
    let main = package::main_part(&mut archive, "word/document.xml")?;
    let (folder, _) = main.rsplit_once('/').unwrap_or(("", ""));
    let beside = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };

    let styles = archive.part(&beside("styles.xml"))?.map(|xml| Styles::read(&xml)).unwrap_or_default();
    let numbering = archive.part(&beside("numbering.xml"))?.map(|xml| Numbering::read(&xml)).unwrap_or_default();
    let styles = styles.with_numbering(numbering);
    let mut notes = HashMap::new();
    let kinds = [("footnotes.xml", Note::FOOT), ("endnotes.xml", Note::END), ("comments.xml", Note::COMMENT)];
    for (name, mark) in kinds {
        if let Some(xml) = archive.part(&beside(name))? {
            read_notes(&xml, mark, &styles, &mut notes)?;
        }
    }
    let [headers, footers] = ["header", "footer"].map(|kind| running_texts(&mut archive, &main, kind, &styles));
    let (headers, footers) = (headers?, footers?);

    let document = archive.part(&main)?.ok_or_else(|| Failure::damaged(Kind::Docx))?;
    let mut writer = Writer { sink, path: Vec::new(), notes, noted: 0, blocks: 0 };
    headers.into_iter().try_for_each(|text| writer.emit(text, None))?;
    let complete = Body::new(&styles).read(&document, &mut |paragraph| writer.paragraph(paragraph))?;
    writer.remaining_notes()?;
    writer.path.clear();
    footers.into_iter().try_for_each(|text| writer.emit(text, None))?;
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
    /// A remark of a reader, beside the text.
    pub(super) const COMMENT: Self = Self('c');
}

fn read_notes(
    document: &str,
    mark: Note,
    styles: &Styles,
    notes: &mut HashMap<(Note, String), String>,
) -> Result<(), Failure> {
    let mut authors = HashMap::new();
    xml::each_element(document, |element| {
        if element.name == "comment"
            && let (Some(id), Some(author)) = (element.attribute("id"), element.attribute("author"))
        {
            authors.insert(id, author);
        }
    });
    Body::new(styles).read(document, &mut |paragraph| {
        if let Some(id) = paragraph.inside_note {
            let by = authors.get(&id).map(|author| format!("Comment by {author}:"));
            let text: &mut String = notes.entry((mark, id)).or_insert_with(|| by.unwrap_or_default());
            if !text.is_empty() && !paragraph.text.is_empty() {
                text.push(' ');
            }
            text.push_str(&paragraph.text);
        }
        Ok(())
    })?;
    Ok(())
}

/// What runs along the top or bottom of the pages, every text once however many sections repeat it.
fn running_texts(archive: &mut Archive<'_>, main: &str, kind: &str, styles: &Styles) -> Result<Vec<String>, Failure> {
    let mut texts: Vec<String> = Vec::new();
    for tie in package::relationships(archive, main)?.iter().filter(|tie| tie.kind == kind) {
        let mut lines = Vec::new();
        Body::new(styles).read(&archive.part(&tie.target)?.unwrap_or_default(), &mut |paragraph| {
            lines.push(paragraph.text.trim().to_owned());
            Ok(())
        })?;
        lines.retain(|line| line.contains(char::is_alphanumeric));
        let text = lines.join("\n");
        // "Page of" is what is left of a line that only counts pages.
        let says = text.split(|c: char| !c.is_alphanumeric()).any(|word| word.chars().count() > 4);
        if says && !texts.contains(&text) {
            texts.push(text);
        }
    }
    Ok(texts)
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
                if reference.0 == Note::COMMENT {
                    notes.push(text.trim().to_owned());
                    continue;
                }
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
        self.emit(text, paragraph.rows)?;
        notes.into_iter().try_for_each(|note| self.emit(note, None))
    }

    /// Notes that tables refer to, and notes that nothing refers to.
    fn remaining_notes(&mut self) -> Result<(), Failure> {
        let mut notes: Vec<_> = std::mem::take(&mut self.notes).into_iter().collect();
        notes.sort_by_key(|((note, id), _)| (*note == Note::END, id.parse::<i64>().unwrap_or(i64::MAX)));
        notes.into_iter().try_for_each(|(_, text)| self.emit(text.trim().to_owned(), None))
    }

    fn emit(&mut self, text: String, rows: Option<Rows>) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let headings = self.path.iter().map(|(_, title)| title.clone()).collect();
        self.blocks += 1;
        self.sink.block(Block { text, headings, rows, ..Block::default() })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::package;
