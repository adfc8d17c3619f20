//! Passages out of blocks: text of one page or one section, no longer than the embedding model reads, cut
//! where meaning allows it, each with the words that tell a person where it stands.

use std::sync::Arc;

use text_splitter::{ChunkConfig, ChunkSizer, MarkdownSplitter, TextSplitter};

use super::extract::Block;
use crate::models::embedding::EmbeddingModel;

/// A section is cut into passages once it has this many bytes, so that a long one is never held as a whole.
const SECTION_BYTES: usize = 48 * 1024;
/// Headings that wait for their text are put before it up to this many bytes.
const CARRIED_BYTES: usize = 400;
/// Characters of title and headings that are embedded with each passage.
const CONTEXT_CHARS: usize = 180;
/// Characters of one heading within a locator.
const HEADING_CHARS: usize = 80;
/// Even under the longest context a passage has this many tokens.
const LEAST_TOKENS: usize = 32;

/// A passage that is about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    /// Its place in the document, from 0.
    pub ordinal: i32,
    /// `page 3`, `Leave › Parental leave`, `lines 10–24`, `part 2`.
    pub locator: String,
    /// Title and headings, put before the text for embedding and full text, not for display.
    pub context: String,
    /// What it says.
    pub text: String,
}

/// Counts tokens as the embedding model does.
struct Tokens(Arc<dyn EmbeddingModel>);

impl ChunkSizer for Tokens {
    fn size(&self, chunk: &str) -> usize {
        self.0.count_tokens(chunk)
    }
}

/// Cuts one document, block after block. Does real work: keep it off the async threads.
pub(super) struct Chunker {
    model: Arc<dyn EmbeddingModel>,
    passage_tokens: usize,
    markdown: bool,
    title: String,
    section: Section,
    carried: Option<Section>,
    ordinal: i32,
}

/// Blocks of one page, or under one heading.
#[derive(Default)]
struct Section {
    page: Option<u32>,
    headings: Vec<String>,
    text: String,
    /// Where in the text which line of the file begins.
    lines: Vec<(usize, u32)>,
}

impl Section {
    fn takes(&self, block: &Block) -> bool {
        self.text.is_empty() || (self.page == block.page && self.headings == block.headings)
    }

    fn push(&mut self, block: Block) {
        if self.text.is_empty() {
            self.page = block.page;
            self.headings = block.headings;
        } else {
            self.text.push_str("\n\n");
        }
        if let Some(line) = block.line {
            self.lines.push((self.text.len(), line));
        }
        self.text.push_str(&block.text);
    }

    /// Nothing but its own heading.
    fn is_heading(&self) -> bool {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        self.headings
            .last()
            .is_some_and(|heading| words(self.text.trim_matches(['#', ' ', '\n', '=', '-'])) == words(heading))
    }

    /// The line of the file that the byte at `offset` stands on.
    fn line_at(&self, offset: usize) -> Option<u32> {
        let (start, line) = *self.lines.iter().rev().find(|(start, _)| *start <= offset)?;
        let newlines = self.text.get(start..offset)?.bytes().filter(|byte| *byte == b'\n').count();
        Some(line.saturating_add(u32::try_from(newlines).ok()?))
    }

    fn locator(&self, offset: usize, chunk: &str, ordinal: i32) -> String {
        if let Some(page) = self.page {
            return format!("page {page}");
        }
        if !self.headings.is_empty() {
            let headings: Vec<String> = self.headings.iter().map(|heading| shortened(heading, HEADING_CHARS)).collect();
            return headings.join(" › ");
        }
        match (self.line_at(offset), self.line_at(offset + chunk.len())) {
            (Some(first), Some(last)) if last > first => format!("lines {first}–{last}"),
            (Some(line), _) => format!("line {line}"),
            _ => format!("part {}", ordinal + 1),
        }
    }
}

impl Chunker {
    /// A chunker for the document `title` (its file name).
    pub(super) fn new(model: Arc<dyn EmbeddingModel>, passage_tokens: u32, title: &str, markdown: bool) -> Self {
        Self {
            model,
            passage_tokens: passage_tokens as usize,
            markdown,
            title: readable_title(title),
            section: Section::default(),
            carried: None,
            ordinal: 0,
        }
    }

    /// Takes the next block; gives the passages that are complete with it.
    pub(super) fn push(&mut self, block: Block) -> Vec<Draft> {
        let mut drafts = Vec::new();
        if !self.section.takes(&block) {
            drafts = self.close_section();
        }
        self.section.push(block);
        if self.section.text.len() >= SECTION_BYTES {
            drafts.extend(self.close_section());
        }
        drafts
    }

    /// Gives what is left at the document's end.
    pub(super) fn finish(&mut self) -> Vec<Draft> {
        let mut drafts = self.close_section();
        if let Some(carried) = self.carried.take() {
            drafts.extend(self.cut(&carried));
        }
        drafts
    }

    fn close_section(&mut self) -> Vec<Draft> {
        let mut section = std::mem::take(&mut self.section);
        if section.text.trim().is_empty() {
            return Vec::new();
        }
        let heading_alone = section.is_heading();
        if let Some(mut carried) = self.carried.take() {
            // Headings without text of their own stand before the text that they lead to.
            let shift = carried.text.len() + 2;
            carried.text.push_str("\n\n");
            carried.text.push_str(&section.text);
            carried.lines.extend(section.lines.iter().map(|(start, line)| (start + shift, *line)));
            section.text = carried.text;
            section.lines = carried.lines;
        }
        if heading_alone && section.text.len() <= CARRIED_BYTES {
            self.carried = Some(section);
            return Vec::new();
        }
        self.cut(&section)
    }

    fn cut(&mut self, section: &Section) -> Vec<Draft> {
        let context = self.context(&section.headings);
        let room = self.model.max_tokens().saturating_sub(self.model.count_tokens(&context) + 4);
        let config =
            ChunkConfig::new(self.passage_tokens.min(room).max(LEAST_TOKENS)).with_sizer(Tokens(self.model.clone()));
        let chunks: Vec<(usize, &str)> = if self.markdown {
            MarkdownSplitter::new(config).chunk_indices(&section.text).collect()
        } else {
            TextSplitter::new(config).chunk_indices(&section.text).collect()
        };
        let mut drafts = Vec::with_capacity(chunks.len());
        for (offset, chunk) in chunks {
            if !chunk.contains(char::is_alphanumeric) {
                continue;
            }
            let locator = section.locator(offset, chunk, self.ordinal);
            drafts.push(Draft { ordinal: self.ordinal, locator, context: context.clone(), text: chunk.to_owned() });
            self.ordinal += 1;
        }
        drafts
    }

    fn context(&self, headings: &[String]) -> String {
        let mut context = self.title.clone();
        // The innermost headings say most; they are kept when there are too many.
        let mut kept: Vec<&String> = Vec::new();
        let mut chars = context.chars().count();
        for heading in headings.iter().rev() {
            chars += heading.chars().count() + 3;
            if chars > CONTEXT_CHARS && !kept.is_empty() {
                break;
            }
            kept.push(heading);
        }
        for heading in kept.into_iter().rev() {
            context.push_str(" › ");
            context.push_str(&shortened(heading, HEADING_CHARS));
        }
        context
    }
}

/// `Travel_policy-2024.pdf` says `Travel policy 2024`.
fn readable_title(file_name: &str) -> String {
    let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| if stem.is_empty() { file_name } else { stem });
    let words: Vec<&str> = stem.split(['_', '-', ' ']).filter(|word| !word.is_empty()).collect();
    shortened(&words.join(" "), HEADING_CHARS)
}

fn shortened(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::models::chat::ModelError;

    /// Counts words.
    struct Words;

    #[async_trait]
    impl EmbeddingModel for Words {
        fn name(&self) -> String {
            "test/words".to_owned()
        }
        fn dimensions(&self) -> usize {
            1
        }
        fn max_tokens(&self) -> usize {
            100
        }
        fn count_tokens(&self, text: &str) -> usize {
            text.split_whitespace().count()
        }
        async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
            Ok(texts.iter().map(|_| vec![1.0]).collect())
        }
    }

    fn cut(title: &str, blocks: Vec<Block>) -> Vec<Draft> {
        let mut chunker = Chunker::new(Arc::new(Words), 40, title, false);
        let mut drafts: Vec<Draft> = blocks.into_iter().flat_map(|block| chunker.push(block)).collect();
        drafts.extend(chunker.finish());
        drafts
    }

    fn under(headings: &[&str], text: &str) -> Block {
        Block {
            text: text.to_owned(),
            headings: headings.iter().map(|h| (*h).to_owned()).collect(),
            ..Block::default()
        }
    }

    #[test]
    fn a_passage_never_spans_pages_and_never_exceeds_the_limit() {
        let page = |number: u32, words: usize| Block {
            text: "Each sentence has five words. ".repeat(words / 5),
            page: Some(number),
            ..Block::default()
        };
        let drafts = cut("a.pdf", vec![page(1, 30), page(2, 100), page(4, 5)]);
        let locators: Vec<&str> = drafts.iter().map(|draft| draft.locator.as_str()).collect();
        assert_eq!(locators, ["page 1", "page 2", "page 2", "page 2", "page 4"]);
        assert!(drafts.iter().all(|draft| draft.text.split_whitespace().count() <= 40));
        assert!(drafts.iter().all(|draft| draft.text.ends_with("words.")), "sentences stay whole");
        assert_eq!(drafts.iter().map(|draft| draft.ordinal).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn headings_without_text_stand_before_the_text_that_they_lead_to() {
        let drafts = cut(
            "Staff_handbook.docx",
            vec![
                under(&["Leave"], "Leave"),
                under(&["Leave", "Parental leave"], "Parental leave"),
                under(&["Leave", "Parental leave"], "Parents may take 16 weeks."),
                under(&["Leave", "Illness"], "Tell your manager."),
            ],
        );
        assert_eq!(drafts[0].text, "Leave\n\nParental leave\n\nParents may take 16 weeks.");
        assert_eq!(drafts[0].locator, "Leave › Parental leave");
        assert_eq!(drafts[0].context, "Staff handbook › Leave › Parental leave");
        assert_eq!((drafts[1].locator.as_str(), drafts.len()), ("Leave › Illness", 2));
    }

    #[test]
    fn plain_text_is_located_by_lines_and_headless_word_text_by_parts() {
        let line = |number: u32, text: String| Block { text, line: Some(number), ..Block::default() };
        let drafts =
            cut("a.txt", vec![line(3, "word word\n".repeat(30).trim().to_owned()), line(40, "end".to_owned())]);
        assert_eq!(drafts[0].locator, "lines 3–22");
        assert_eq!(drafts.last().map(|draft| draft.locator.as_str()), Some("lines 23–40"));
        assert_eq!(cut("a.docx", vec![under(&[], "Just text.")])[0].locator, "part 1");
    }
}
