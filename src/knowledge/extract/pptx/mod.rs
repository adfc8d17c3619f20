//! Presentations: an own reader over zip and XML events (ECMA-376, PresentationML). Slides come in the order
//! in which they are shown, each with its title, lists, tables, diagrams, notes and comments.

mod remarks;
mod slide;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use super::{
    Block, Failure, Finished, Kind, Sink,
    archive::Archive,
    package::{self, Relationship},
    xml,
};
use slide::{Part, Role, Slide};

/// Reads a presentation. Blocks know their slide, from 1.
pub(super) fn read(bytes: &[u8], sink: &mut dyn Sink) -> Result<Finished, Failure> {
    if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
        return Err(Failure::encrypted());
    }
    let mut archive = Archive::open(bytes, Kind::Pptx)?;
    let main = package::main_part(&mut archive, "ppt/presentation.xml")?;
    let ties = package::relationships(&mut archive, &main)?;
    let presentation = archive.part(&main)?.ok_or_else(|| Failure::damaged(Kind::Pptx))?;
    let mut shown = Vec::new();
    xml::each_element(&presentation, |element| {
        if element.name == "sldId" {
            // Its own number is an `id` too; the relationship's name is the other one.
            shown.extend(element.attributes("id").into_iter().find_map(|id| ties.iter().find(|tie| tie.id == id)));
        }
    });
    drop(presentation);
    let authors = match ties.iter().find(|tie| matches!(tie.kind.as_str(), "commentAuthors" | "authors")) {
        Some(tie) => remarks::authors(&archive.part(&tie.target)?.unwrap_or_default()),
        None => HashMap::new(),
    };
    let mut writer = Writer { sink, footers: HashSet::new(), blocks: 0 };
    let mut whole = true;
    for (number, tie) in (1..).zip(&shown) {
        let Some(document) = archive.part(&tie.target)? else {
            whole = false;
            continue;
        };
        let mut slide = Slide::read(&document)?;
        drop(document);
        whole &= slide.whole;
        let ties = package::relationships(&mut archive, &tie.target)?;
        attachments(&mut archive, &ties, &authors, &mut slide)?;
        writer.slide(number, slide)?;
    }
    match (writer.blocks, whole) {
        (0, true) => Err(Failure::empty()),
        (0, false) => Err(Failure::damaged(Kind::Pptx)),
        _ => Ok(Finished::default()),
    }
}

/// What stands in parts of its own: diagrams, charts' titles, notes, comments.
fn attachments(
    archive: &mut Archive<'_>,
    ties: &[Relationship],
    authors: &HashMap<String, String>,
    slide: &mut Slide,
) -> Result<(), Failure> {
    for tie in ties {
        match tie.kind.as_str() {
            "diagramData" => {
                let points = remarks::texts(&archive.part(&tie.target)?.unwrap_or_default(), &["pt"]);
                slide.parts.extend(points.into_iter().map(|point| Part::of(format!("- {point}"))));
            }
            "chart" => {
                let titles = remarks::texts(&archive.part(&tie.target)?.unwrap_or_default(), &["title"]);
                slide.parts.extend(titles.into_iter().map(|title| Part::of(format!("Chart: {title}"))));
            }
            "notesSlide" => {
                let notes = Slide::read(&archive.part(&tie.target)?.unwrap_or_default())?;
                let words: Vec<String> =
                    notes.parts.into_iter().filter(|part| part.role == Role::Body).map(|part| part.text).collect();
                if !words.is_empty() {
                    slide.notes.push(format!("Notes: {}", words.join("\n")));
                }
            }
            "comments" => {
                slide.notes.extend(remarks::comments(&archive.part(&tie.target)?.unwrap_or_default(), authors));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Turns slides into blocks.
struct Writer<'a> {
    sink: &'a mut dyn Sink,
    /// Footers that have been told: they are the same on every slide.
    footers: HashSet<String>,
    blocks: usize,
}

impl Writer<'_> {
    fn slide(&mut self, number: u32, slide: Slide) -> Result<(), Failure> {
        let title = slide.title();
        let headings = if title.is_empty() { Vec::new() } else { vec![title.clone()] };
        let place = Block { slide: Some(number), hidden: slide.hidden, headings, ..Block::default() };
        let mut list = String::new();
        for part in std::iter::once(Part::of(title)).chain(slide.parts) {
            match part.role {
                Role::Title => continue,
                Role::Footer if !self.footers.insert(part.text.clone()) => continue,
                _ => {}
            }
            // The items of a list stay together.
            if part.rows.is_none() && part.text.trim_start().starts_with("- ") {
                if !list.is_empty() {
                    list.push('\n');
                }
                list.push_str(&part.text);
                continue;
            }
            self.emit(Part::of(std::mem::take(&mut list)), &place)?;
            self.emit(part, &place)?;
        }
        self.emit(Part::of(list), &place)?;
        slide.notes.into_iter().try_for_each(|note| self.emit(Part::of(note), &place))
    }

    fn emit(&mut self, part: Part, place: &Block) -> Result<(), Failure> {
        if part.text.trim().is_empty() {
            return Ok(());
        }
        self.blocks += 1;
        self.sink.block(Block { text: part.text, rows: part.rows, ..place.clone() })
    }
}
