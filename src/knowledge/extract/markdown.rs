//! Markdown: the blocks keep their raw text, and know the headings above them.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::{Block, Failure, Finished, Rows, Sink, text};

/// Reads Markdown. A single first-level heading is the document's title and is left out of the paths below it.
pub(super) fn read(bytes: &[u8], sink: &mut dyn Sink) -> Result<Finished, Failure> {
    let source = text::decode(bytes);
    if source.trim().is_empty() {
        return Err(Failure::empty());
    }
    let parts = parts(&source);
    let titles = parts.iter().filter(|part| part.level == Some(1)).count();
    let mut path: Vec<(u8, String)> = Vec::new();
    let (mut counted_to, mut line) = (0, 1);
    for part in &parts {
        line += newlines(&source[counted_to..part.range.start]);
        counted_to = part.range.start;
        if let Some(level) = part.level {
            path.retain(|(above, _)| *above < level);
            if !part.title.is_empty() {
                path.push((level, part.title.clone()));
            }
        }
        let raw = &source[part.range.clone()];
        let rows = part.is_table.then(Rows::of_table);
        let mut block = Block { line: Some(line), rows, ..Block::default() };
        text::push_clean(&mut block.text, raw.trim_end());
        if block.text.trim().is_empty() || is_comment(raw) {
            continue;
        }
        let skipped = usize::from(titles == 1 && path.len() > 1 && path[0].0 == 1);
        block.headings = path.iter().skip(skipped).map(|(_, title)| title.clone()).collect();
        sink.block(block)?;
    }
    Ok(Finished::default())
}

/// A block at the top level of the document.
struct Part {
    range: Range<usize>,
    level: Option<u8>,
    title: String,
    is_table: bool,
}

fn parts(source: &str) -> Vec<Part> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut parts: Vec<Part> = Vec::new();
    let (mut depth, mut in_heading) = (0_usize, false);
    for (event, range) in Parser::new_ext(source, options).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if depth == 0 {
                    let level = if let Tag::Heading { level, .. } = &tag { Some(number(*level)) } else { None };
                    in_heading = level.is_some();
                    let is_table = matches!(tag, Tag::Table(_));
                    parts.push(Part { range, level, title: String::new(), is_table });
                }
                depth += 1;
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                if matches!(end, TagEnd::Heading(_)) && depth == 0 {
                    in_heading = false;
                }
            }
            Event::Text(text) | Event::Code(text) if in_heading => {
                if let Some(part) = parts.last_mut() {
                    text::push_clean(&mut part.title, &text);
                }
            }
            Event::SoftBreak | Event::HardBreak if in_heading => {
                if let Some(part) = parts.last_mut() {
                    part.title.push(' ');
                }
            }
            _ => {}
        }
    }
    for part in &mut parts {
        part.title = part.title.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    parts
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

fn newlines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
}

fn is_comment(raw: &str) -> bool {
    let raw = raw.trim();
    raw.starts_with("<!--") && raw.ends_with("-->") && raw.matches("-->").count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDBOOK: &str = "# Staff *handbook*\n\nWelcome.\n\n## Leave\n\n<!-- to do -->\n\n### Parental leave\n\nParents may take **16 weeks**.\n\n- one\n- two\n\n## Pay\n\n| Grade | Pay |\n|---|---|\n| A | 10 |\n";

    fn blocks(source: &str) -> Vec<Block> {
        let mut blocks = Vec::new();
        read(source.as_bytes(), &mut blocks).expect("Markdown");
        blocks
    }

    #[test]
    fn blocks_keep_their_raw_text_and_know_their_headings() {
        let blocks = blocks(HANDBOOK);
        let parental = blocks.iter().find(|block| block.text.contains("16 weeks")).expect("the paragraph");
        assert_eq!(parental.text, "Parents may take **16 weeks**.");
        assert_eq!(parental.headings, ["Leave", "Parental leave"]);
        assert_eq!(parental.line, Some(11));
        let table = blocks.last().expect("the table");
        assert_eq!(table.headings, ["Pay"]);
        assert!(table.text.contains("| A | 10 |"));
        assert_eq!(blocks[1].headings, ["Staff handbook"]);
        assert!(!blocks.iter().any(|block| block.text.contains("to do")));
    }

    #[test]
    fn several_first_level_headings_stay_in_the_path() {
        let blocks = blocks("# One\n\n## Sub\n\na\n\n# Two\n\nb\n");
        assert_eq!(blocks[2].headings, ["One", "Sub"]);
        assert_eq!(blocks[4].headings, ["Two"]);
    }
}
