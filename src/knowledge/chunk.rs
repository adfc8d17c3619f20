//! Passages out of blocks: text of one page or one section, no longer than the embedding model reads, cut
//! where meaning allows it, each with the words that tell a person where it stands.

mod place;
mod rows;

use std::{ops::Range, sync::Arc};

use text_splitter::{ChunkConfig, ChunkSizer, MarkdownSplitter, TextSplitter};

use self::place::Place;
use super::extract::{Block, Rows};
use crate::models::embedding::EmbeddingModel;

/// A section is cut into passages once it has this many bytes, so that a long one is never held as a whole.
const SECTION_BYTES: usize = 48 * 1024;
/// Headings that wait for their text are put before it up to this many bytes.
const CARRIED_BYTES: usize = 400;
/// Characters of title and headings that are embedded with each passage.
const CONTEXT_CHARS: usize = 180;
/// Characters of one heading within the context.
const HEADING_CHARS: usize = 80;
/// Even under the longest context a passage has this many tokens.
const LEAST_TOKENS: usize = 32;

/// A passage that is about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    /// Its place in the document, from 0.
    pub ordinal: i32,
    /// `page 3`, `slide 4 · Roadmap`, `Budget!A2:F41`, `Leave › Parental leave`, `lines 10–24`, `part 2`.
    pub locator: String,
    /// The page of the file, for formats that have pages.
    pub page: Option<u32>,
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

/// Blocks of one place: a page, a slide, a sheet, or what is under one heading.
#[derive(Default)]
struct Section {
    place: Place,
    text: String,
    /// Where in the text which line of the file begins.
    lines: Vec<(usize, u32)>,
    /// Where in the text rows stand.
    rows: Vec<(Range<usize>, Rows)>,
}

impl Section {
    fn takes(&self, block: &Block) -> bool {
        self.text.is_empty() || self.place.is_of(block)
    }

    fn push(&mut self, block: Block) {
        if self.text.is_empty() {
            self.place = Place::of(&block);
        } else {
            self.text.push_str("\n\n");
        }
        let start = self.text.len();
        if let Some(line) = block.line {
            self.lines.push((start, line));
        }
        self.text.push_str(&block.text);
        if let Some(rows) = block.rows {
            self.rows.push((start..self.text.len(), rows));
        }
    }

    /// Puts `before` in front of this.
    fn follow(&mut self, mut before: Self) {
        let shift = before.text.len() + 2;
        before.text.push_str("\n\n");
        before.text.push_str(&self.text);
        before.lines.extend(self.lines.iter().map(|(start, line)| (start + shift, *line)));
        let moved = |(range, rows): (Range<usize>, Rows)| (range.start + shift..range.end + shift, rows);
        before.rows.extend(std::mem::take(&mut self.rows).into_iter().map(moved));
        (self.text, self.lines, self.rows) = (before.text, before.lines, before.rows);
    }

    /// Nothing but its own heading.
    fn is_heading(&self) -> bool {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        !self.place.is_exact()
            && self
                .place
                .headings
                .last()
                .is_some_and(|heading| words(self.text.trim_matches(['#', ' ', '\n', '=', '-'])) == words(heading))
    }

    /// The line of the file that the byte at `offset` stands on.
    fn line_at(&self, offset: usize) -> Option<u32> {
        let (start, line) = *self.lines.iter().rev().find(|(start, _)| *start <= offset)?;
        let newlines = self.text.get(start..offset)?.bytes().filter(|byte| *byte == b'\n').count();
        Some(line.saturating_add(u32::try_from(newlines).ok()?))
    }

    /// Where the text in `range` stands, in words.
    fn locator(&self, range: &Range<usize>, ordinal: i32) -> String {
        let inside = self.rows.iter().filter(|(rows, _)| rows.start < range.end && range.start < rows.end);
        let lines = self.line_at(range.start).zip(self.line_at(range.end));
        self.place.locator(&inside.map(|(_, rows)| rows).collect::<Vec<_>>(), lines, ordinal)
    }

    /// The runs of text and of rows, in order.
    fn runs(&self) -> Vec<(Range<usize>, Option<&Rows>)> {
        let (mut runs, mut at) = (Vec::new(), 0);
        for (range, rows) in &self.rows {
            runs.push((at..range.start, None));
            runs.push((range.clone(), Some(rows)));
            at = range.end;
        }
        runs.push((at..self.text.len(), None));
        runs.retain(|(range, _)| !range.is_empty());
        runs
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
        if let Some(carried) = self.carried.take() {
            // Headings without text of their own stand before the text that they lead to.
            section.follow(carried);
        }
        if heading_alone && section.text.len() <= CARRIED_BYTES {
            self.carried = Some(section);
            return Vec::new();
        }
        self.cut(&section)
    }

    fn cut(&mut self, section: &Section) -> Vec<Draft> {
        let context = self.context(&section.place.headings);
        let room = self.model.max_tokens().saturating_sub(self.model.count_tokens(&context) + 4);
        let tokens = self.passage_tokens.min(room).max(LEAST_TOKENS);
        let mut drafts = Vec::new();
        let mut add = |text: &str, locator: String, ordinal: &mut i32| {
            if text.contains(char::is_alphanumeric) {
                drafts.push(Draft {
                    ordinal: *ordinal,
                    locator,
                    page: section.place.page,
                    context: context.clone(),
                    text: text.to_owned(),
                });
                *ordinal += 1;
            }
        };
        if section.rows.is_empty() || self.model.count_tokens(&section.text) <= tokens {
            for range in self.split(&section.text, tokens) {
                add(&section.text[range.clone()], section.locator(&range, self.ordinal), &mut self.ordinal);
            }
            return drafts;
        }
        for (run, rows) in section.runs() {
            let text = &section.text[run.clone()];
            let Some(rows) = rows else {
                for piece in self.split(text, tokens) {
                    let range = run.start + piece.start..run.start + piece.end;
                    add(&text[piece], section.locator(&range, self.ordinal), &mut self.ordinal);
                }
                continue;
            };
            for piece in rows::pack(text, rows, tokens, &|text| self.model.count_tokens(text)) {
                let lines = section.line_at(run.start);
                let locator = section.place.locator(&[&piece.rows], lines.zip(section.line_at(run.end)), self.ordinal);
                for part in self.split(&piece.text, tokens) {
                    add(&piece.text[part], locator.clone(), &mut self.ordinal);
                }
            }
        }
        drafts
    }

    /// Where a text is to be cut. Neighbours share nothing: sharing 10 to 30 % of their text made searches of the Cranfield
    /// collection no better, whatever the passages' length, and there were up to a fifth more of them (`tests/bench/README.md`).
    fn split(&self, text: &str, tokens: usize) -> Vec<Range<usize>> {
        let config = ChunkConfig::new(tokens).with_sizer(Tokens(self.model.clone()));
        let range = |(start, piece): (usize, &str)| start..start + piece.len();
        if self.markdown {
            MarkdownSplitter::new(config).chunk_indices(text).map(range).collect()
        } else {
            TextSplitter::new(config).chunk_indices(text).map(range).collect()
        }
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
            context.push_str(&place::shortened(heading, HEADING_CHARS));
        }
        context
    }
}

/// `Travel_policy-2024.pdf` says `Travel policy 2024`.
fn readable_title(file_name: &str) -> String {
    let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| if stem.is_empty() { file_name } else { stem });
    let words: Vec<&str> = stem.split(['_', '-', ' ']).filter(|word| !word.is_empty()).collect();
    place::shortened(&words.join(" "), HEADING_CHARS)
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

    #[test]
    fn a_small_table_stays_with_its_text_and_a_large_one_is_cut_between_rows_under_its_header() {
        let rows = |count: u32| Block {
            text: format!("| Item | Cost |\n| --- | --- |{}", "\n| a thing | 12 |".repeat(count as usize)),
            sheet: Some("Travel costs".to_owned()),
            headings: vec!["Travel costs".to_owned()],
            rows: Some(Rows { header: 2, numbers: (2..2 + count).collect(), columns: Some((1, 2)) }),
            ..Block::default()
        };
        let title = Block { text: "Costs of 2024".to_owned(), rows: None, ..rows(0) };
        let small = cut("a.xlsx", vec![title.clone(), rows(2)]);
        assert_eq!(small.len(), 1);
        assert_eq!(small[0].locator, "'Travel costs'!A2:B3");
        let large = cut("a.xlsx", vec![title, rows(20)]);
        let locators: Vec<&str> = large.iter().map(|draft| draft.locator.as_str()).collect();
        assert_eq!(
            locators,
            [
                "Travel costs",
                "'Travel costs'!A2:B6",
                "'Travel costs'!A7:B11",
                "'Travel costs'!A12:B16",
                "'Travel costs'!A17:B21"
            ]
        );
        assert!(
            large[1..].iter().all(|draft| draft.text.starts_with("| Item | Cost |\n| --- | --- |\n| a thing | 12 |"))
        );
        assert!(large.iter().all(|draft| draft.text.split_whitespace().count() <= 40));
        assert_eq!(large[1].context, "a › Travel costs");
    }

    #[test]
    fn slides_know_their_titles_and_a_slide_with_a_title_only_stays_itself() {
        let slide = |number: u32, title: &str, text: &str, hidden: bool| Block {
            slide: Some(number),
            hidden,
            ..under(&[title], text)
        };
        let drafts = cut(
            "a.pptx",
            vec![
                slide(1, "Welcome", "Welcome", false),
                slide(2, "Plan", "Plan", true),
                slide(2, "Plan", "- grow", true),
            ],
        );
        let found: Vec<(&str, &str)> =
            drafts.iter().map(|draft| (draft.locator.as_str(), draft.text.as_str())).collect();
        assert_eq!(found, [("slide 1 · Welcome", "Welcome"), ("slide 2 (hidden) · Plan", "Plan\n\n- grow")]);
    }
}
