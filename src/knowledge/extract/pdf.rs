//! PDFs, page by page. `pdf_oxide` reads them; `unpdf` is asked for the pages on which it found next to
//! nothing, which on a corpus of bug cases raises the share of text found from .87 to .94 (of what either
//! finds), and for the whole file when the first reader could not open it or brought the process down.

use std::{
    collections::BTreeMap,
    iter,
    ops::{ControlFlow, RangeInclusive},
    panic::{self, AssertUnwindSafe},
};

use pdf_oxide::{
    PdfDocument, ReadingOrder,
    converters::ConversionOptions,
    extractors::page_labels::{PageLabelExtractor, PageLabelRange},
    layout::TextSpan,
    pipeline::{
        ReadingOrderContext, TextPipeline, TextPipelineConfig,
        converters::{OutputConverter as _, PlainTextConverter},
    },
};
use unpdf::{ErrorKind, ErrorMode, PageSelection, PageStreamOptions, ParseEvent, ParseOptions, PdfParser};

use super::{
    Attempt, Block, Failure, Finished, Kind, Sink, kind, pdf_remarks,
    pdf_text::{self, RunningLines},
};

/// A page with fewer letters and digits than this is shown to the second reader.
const THIN: usize = 24;
/// Points that reading goes up from one column to the next, at least: some lines.
const COLUMN: f32 = 60.0;
/// What is less than this part of a page (a fifth) is no column of it, but a margin or the left side of a table.
const FEW: usize = 5;
/// More pages than any document has; a counter in the file may claim anything.
const PAGES: usize = 50_000;
/// No page is printed with a higher number.
const NUMBERS: u32 = 100_000;

/// Reads a PDF. Blocks are pages.
pub(super) fn read(bytes: Vec<u8>, attempt: Attempt, sink: &mut dyn Sink) -> Result<Finished, Failure> {
    let has_pictures = has_pictures(&bytes);
    let whole = kind::contains(&bytes[bytes.len().saturating_sub(4096)..], b"%%EOF");
    let mut beside = Beside::default();
    let pages = match attempt {
        Attempt::First => match first_reader(&bytes, &mut beside)? {
            Some(pages) => with_second_opinion(pages, &bytes),
            None => second_reader(&bytes, PageSelection::All)?,
        },
        Attempt::Second => second_reader(&bytes, PageSelection::All)?,
    };
    drop(bytes);
    if pages.is_empty() {
        return Err(Failure::damaged(Kind::Pdf));
    }
    let count = u32::try_from(pages.len()).ok();
    let running = RunningLines::of(pages.values().map(String::as_str));
    let mut empty = true;
    for (number, text) in pages {
        let text = pdf_text::tidy(running.strip(&text));
        let page_label = label(&beside.labels, number);
        for text in iter::once(text).chain(beside.remarks.remove(&number).into_iter().flatten()) {
            if !text.is_empty() {
                empty = false;
                sink.block(Block { text, page: Some(number), page_label: page_label.clone(), ..Block::default() })?;
            }
        }
    }
    match (empty, has_pictures) {
        (false, _) => Ok(Finished { pages: count }),
        // A reader that repairs what it can may find pages in a file whose text has been cut off.
        (true, _) if !whole => Err(Failure::damaged(Kind::Pdf)),
        (true, true) => Err(Failure::scanned()),
        (true, false) => Err(Failure::empty()),
    }
}

/// Page number, from 1, to its text as a reader gave it.
type Pages = BTreeMap<u32, String>;

/// What the first reader finds beside the text.
#[derive(Default)]
struct Beside {
    labels: Vec<PageLabelRange>,
    /// By page number.
    remarks: BTreeMap<u32, Vec<String>>,
}

/// `None` when the file cannot be opened or has no pages for this reader.
fn first_reader(bytes: &[u8], beside: &mut Beside) -> Result<Option<Pages>, Failure> {
    let Some(Ok(document)) = survived(|| PdfDocument::from_bytes(bytes.to_vec())) else { return Ok(None) };
    if document.is_encrypted() && !document.authenticate(b"").unwrap_or(false) {
        return Err(Failure::encrypted());
    }
    let count = match survived(|| document.page_count()) {
        Some(Err(pdf_oxide::Error::EncryptedPdf)) => return Err(Failure::encrypted()),
        None | Some(Err(_) | Ok(0)) => return Ok(None),
        Some(Ok(count)) => count.min(PAGES),
    };
    beside.labels = PageLabelExtractor::extract(&document).unwrap_or_default();
    let tagged = survived(|| document.prefers_structure_reading_order()).unwrap_or(true);
    let mut pages = Pages::new();
    for index in 0..count {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let annotations = survived(|| document.get_annotations(index)).and_then(Result::ok).unwrap_or_default();
        let written_on = pdf_remarks::is_written_on(&annotations);
        let text = survived(|| text_of(&document, index, tagged, written_on)).and_then(Result::ok);
        pages.insert(number, text.unwrap_or_default());
        beside.remarks.insert(number, pdf_remarks::of_page(&annotations));
    }
    Ok(Some(pages))
}

/// A page's text. `extract_text` finds columns and much else, but reads a page three times and, before the first, all pages
/// once more: for headers that recur, which go here anyway, for links, and for where each letter stands. On plain pages putting
/// the parts together column by column without those gives the same words in the same order in half the time; whatever is less
/// plain is left to it. Its sibling `to_plain_text` reads columns across, line by line.
fn text_of(document: &PdfDocument, page: usize, tagged: bool, written_on: bool) -> pdf_oxide::Result<String> {
    if tagged || written_on || document.get_page_rotation(page)? != 0 {
        return document.extract_text(page);
    }
    let spans = document.extract_spans_with_reading_order(page, ReadingOrder::ColumnAware)?;
    if !spans.iter().all(is_plain) {
        return document.extract_text(page);
    }
    let settings = TextPipelineConfig::from_conversion_options(&ConversionOptions::default());
    let pipeline = TextPipeline::with_config(settings.clone());
    let mut text = String::new();
    for column in columns(spans) {
        let context = ReadingOrderContext::new().with_page(u32::try_from(page).unwrap_or(u32::MAX));
        let ordered = pipeline.process(column, context)?;
        text.push_str(&PlainTextConverter::new().convert(&ordered, &settings)?);
        text.push_str("\n\n");
    }
    Ok(text)
}

/// The columns of a page whose spans are in the order of reading: it goes up from the foot of one to the head of the next.
fn columns(spans: Vec<TextSpan>) -> Vec<Vec<TextSpan>> {
    let all: usize = spans.iter().map(|span| span.text.len()).sum();
    let (mut columns, mut column, mut before) = (Vec::new(), Vec::<TextSpan>::new(), 0);
    for span in spans {
        let goes_up = column.last().is_some_and(|last| span.bbox.y - last.bbox.y > COLUMN);
        if goes_up && before * FEW >= all && (all - before) * FEW >= all {
            columns.push(std::mem::take(&mut column));
        }
        before += span.text.len();
        column.push(span);
    }
    columns.push(column);
    columns
}

/// Upright text, written from left to right, and no accent that stands apart from its letter.
fn is_plain(span: &TextSpan) -> bool {
    let text = span.text.trim();
    let mut chars = text.chars();
    let is_accent = chars.next().is_some_and(is_accent) && chars.next().is_none();
    span.rotation_degrees == 0.0 && span.wmode == 0 && !is_accent && !text.chars().any(|c| RIGHT_TO_LEFT.contains(&c))
}

/// Hebrew, Arabic, Syriac and the others written from the right.
const RIGHT_TO_LEFT: RangeInclusive<char> = '\u{590}'..='\u{8ff}';

/// What TeX, for one, prints by itself over the letter that follows.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{a8}' | '\u{af}' | '\u{b4}' | '\u{b8}' | '\u{2c6}' | '\u{2c7}' | '\u{2d8}'..='\u{2dd}' | '`' | '^' | '~' | '\u{300}'..='\u{36f}')
}

/// Pages that say next to nothing are read again, and the longer text is kept.
fn with_second_opinion(mut pages: Pages, bytes: &[u8]) -> Pages {
    let thin: Vec<u32> = pages.iter().filter(|(_, text)| letters(text) < THIN).map(|(number, _)| *number).collect();
    if thin.is_empty() {
        return pages;
    }
    // The second reader's failure is no reason to lose what the first one found.
    if let Some(Ok(others)) = survived(|| second_reader(bytes, PageSelection::Pages(thin))) {
        for (number, text) in others {
            if let Some(page) = pages.get_mut(&number)
                && letters(&text) > letters(page)
            {
                *page = text;
            }
        }
    }
    pages
}

fn second_reader(bytes: &[u8], selection: PageSelection) -> Result<Pages, Failure> {
    let options = ParseOptions::new().lenient().sequential().with_resources(false);
    let understand = |error: unpdf::Error| match error.kind() {
        ErrorKind::Encrypted | ErrorKind::InvalidPassword => Failure::encrypted(),
        _ => Failure::damaged(Kind::Pdf),
    };
    let parser = PdfParser::from_bytes_with_options(bytes, options).map_err(understand)?;
    let options = PageStreamOptions {
        error_mode: ErrorMode::Lenient,
        extract_text: true,
        extract_resources: false,
        min_image_dimension: 64,
        pages: selection,
        password: None,
        parallel: false,
        suppress_low_confidence_ocr: true,
        window_size: 2,
        emit_progress_every: 1024,
    };
    let mut pages = Pages::new();
    parser
        .for_each_page(options, |event| {
            match event {
                ParseEvent::PageParsed(page) => drop(pages.insert(page.number, page.plain_text())),
                ParseEvent::PageFailed { page, .. } => drop(pages.insert(page, String::new())),
                _ => {}
            }
            if pages.len() < PAGES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .map_err(understand)?;
    Ok(pages)
}

/// What the work gave, unless it panicked: then one reader's page is the other one's, and the file is not lost.
/// Nothing is said of it: nobody listens to the child's complaints before its end, and they would fill the pipe.
fn survived<T>(work: impl FnOnce() -> T) -> Option<T> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let outcome = panic::catch_unwind(AssertUnwindSafe(work)).ok();
    panic::set_hook(hook);
    outcome
}

/// What is printed on the page as its number, where that is another one than its number in the file.
fn label(labels: &[PageLabelRange], number: u32) -> Option<String> {
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    let range = labels.iter().rev().find(|range| range.start_page <= index)?;
    if range.start_value > NUMBERS {
        return None;
    }
    let mut label = String::new();
    super::text::push_clean(&mut label, range.format_label(index).trim());
    (!label.is_empty() && label != number.to_string()).then_some(label)
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphanumeric()).count()
}

/// Whether any page shows a picture: tells a scan from an empty document.
fn has_pictures(bytes: &[u8]) -> bool {
    let mark = b"/Image";
    let mut rest = bytes;
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        rest = &rest[at + mark.len()..];
        // `/ImageB` and the like are names of procedure sets, not of pictures.
        if !rest.first().is_some_and(u8::is_ascii_alphanumeric) {
            return true;
        }
    }
    kind::contains(bytes, b"/CCITTFaxDecode") || kind::contains(bytes, b"/DCTDecode")
}
