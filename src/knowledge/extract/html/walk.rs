//! From tags and text to blocks. The state is flat: what is open is counted, never nested in memory, except
//! for lists and tables, whose depth is bounded.

use std::cell::RefCell;

use html5ever::tokenizer::{Tag, TagKind, Token, TokenSink, TokenSinkResult, states::RawKind};

use crate::knowledge::extract::{
    Block, Failure, Finished, Sink,
    table::{Lines, Table},
};

/// Lists within lists, and tables within tables, of which more are read as if they were not there.
const DEPTH: usize = 32;
/// Items of a list stay in one block up to this many bytes.
const LIST_BYTES: usize = 4096;
/// A cell longer than this (in bytes) makes its table a way to arrange a page.
const CELL_BYTES: usize = 2000;

/// Takes the page's tokens. The tokenizer holds it by shared reference.
pub(super) struct Page<'a>(RefCell<Walk<'a>>);

impl<'a> Page<'a> {
    /// Blocks go to `sink`.
    pub(super) fn new(sink: &'a mut dyn Sink) -> Self {
        Self(RefCell::new(Walk {
            sink,
            failure: None,
            blocks: 0,
            path: Vec::new(),
            text: String::new(),
            space: false,
            heading: None,
            pre: 0,
            lists: Vec::new(),
            item: None,
            list: String::new(),
            tables: Vec::new(),
            skipped: None,
            title: None,
        }))
    }

    /// Whether the sink has refused a block.
    pub(super) fn is_full(&self) -> bool {
        self.0.borrow().failure.is_some()
    }

    /// What became of the page.
    pub(super) fn finish(&self) -> Result<Finished, Failure> {
        let mut walk = self.0.borrow_mut();
        walk.end_title();
        walk.paragraph();
        while !walk.tables.is_empty() {
            walk.end_table();
        }
        walk.end_list();
        match (walk.failure.take(), walk.blocks) {
            (Some(failure), _) => Err(failure),
            (None, 0) => Err(Failure::empty()),
            (None, _) => Ok(Finished::default()),
        }
    }
}

impl TokenSink for Page<'_> {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut walk = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => {
                walk.start(&tag);
                return raw(&tag.name);
            }
            Token::TagToken(tag) => walk.end(&tag.name),
            Token::CharacterTokens(text) => walk.push(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// Elements whose content is no markup.
fn raw(name: &str) -> TokenSinkResult<()> {
    TokenSinkResult::RawData(match name {
        "title" | "textarea" => RawKind::Rcdata,
        "style" | "xmp" | "iframe" | "noembed" | "noframes" => RawKind::Rawtext,
        "script" => RawKind::ScriptData,
        "plaintext" => return TokenSinkResult::Plaintext,
        _ => return TokenSinkResult::Continue,
    })
}

struct Walk<'a> {
    sink: &'a mut dyn Sink,
    failure: Option<Failure>,
    blocks: usize,
    path: Vec<(u8, String)>,
    /// The paragraph so far.
    text: String,
    /// White space has come since the last word.
    space: bool,
    heading: Option<u8>,
    pre: usize,
    /// Open lists, each with the number of its last item when it counts them.
    lists: Vec<Option<u32>>,
    /// What stands before the paragraph, when it begins an item.
    item: Option<String>,
    /// Items that wait for the list's end.
    list: String,
    tables: Vec<OpenTable>,
    /// The element that is left out, and how many of its name are open in it.
    skipped: Option<(String, usize)>,
    /// The page's title, while it is being read.
    title: Option<String>,
}

#[derive(Default)]
struct OpenTable {
    table: Table,
    cell: Option<String>,
    /// It arranges the page: its cells are read like sections.
    layout: bool,
}

impl Walk<'_> {
    fn start(&mut self, tag: &Tag) {
        let name: &str = &tag.name;
        if let Some((skipped, depth)) = &mut self.skipped {
            let closed = match skipped.as_str() {
                "p" => is_block(name),
                // These end where the next of their kind begins.
                "li" | "dt" | "dd" | "tr" | "td" | "th" | "option" => name == skipped,
                _ => false,
            };
            if !closed {
                *depth += usize::from(name == skipped);
                return;
            }
            self.skipped = None;
        }
        let left_out = matches!(
            name,
            "script" | "style" | "noscript" | "template" | "iframe" | "object" | "noembed" | "noframes" | "datalist"
        ) || matches!(name, "svg" | "math") && !tag.self_closing;
        if left_out || (is_hidden(tag) && !is_void(name)) {
            self.skipped = Some((name.to_owned(), 1));
            return;
        }
        if is_block(name) {
            self.paragraph();
        }
        match name {
            "title" => self.title = Some(String::new()),
            "br" => {
                self.text.truncate(self.text.trim_end_matches(' ').len());
                self.text.push('\n');
                self.space = false;
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.heading = Some(name.as_bytes()[1] - b'0'),
            "pre" | "xmp" | "textarea" => self.pre += 1,
            "ul" | "menu" | "dir" => self.begin_list(None),
            "ol" => self.begin_list(Some(0)),
            "li" => self.begin_item(),
            "table" => self.begin_table(),
            "tr" => {
                if let Some(open) = self.tables.last_mut() {
                    open.end_cell();
                    open.table.row();
                }
            }
            "td" | "th" => {
                if let Some(open) = self.tables.last_mut() {
                    open.end_cell();
                    open.cell = (!open.layout).then(String::new);
                }
            }
            "option" => self.space = true,
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        if let Some((skipped, depth)) = &mut self.skipped {
            if name == skipped {
                *depth -= 1;
                if *depth == 0 {
                    self.skipped = None;
                }
            }
            return;
        }
        if is_block(name) {
            self.paragraph();
        }
        match name {
            "title" => self.end_title(),
            "pre" | "xmp" | "textarea" => self.pre = self.pre.saturating_sub(1),
            "ul" | "menu" | "dir" | "ol" => {
                self.lists.pop();
                if self.lists.is_empty() {
                    self.end_list();
                }
            }
            "td" | "th" => {
                if let Some(open) = self.tables.last_mut() {
                    open.end_cell();
                }
            }
            "table" => self.end_table(),
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        if self.skipped.is_some() {
            return;
        }
        if let Some(title) = &mut self.title {
            title.push_str(text);
            return;
        }
        for c in text.chars() {
            match c {
                '\u{ad}' | '\u{200b}' | '\u{feff}' => {}
                '\n' | '\t' if self.pre > 0 => self.text.push(c),
                c if c.is_whitespace() => {
                    if self.pre > 0 && c == ' ' {
                        self.text.push(c);
                    } else {
                        self.space = true;
                    }
                }
                c if c.is_control() => {}
                c => {
                    if std::mem::take(&mut self.space) && !self.text.is_empty() && !self.text.ends_with('\n') {
                        self.text.push(' ');
                    }
                    self.text.push(c);
                }
            }
        }
    }

    /// Ends the paragraph that is open.
    fn paragraph(&mut self) {
        self.space = false;
        let heading = self.heading.take();
        let text = std::mem::take(&mut self.text);
        let text = if self.pre > 0 { text.trim_end().trim_start_matches('\n') } else { text.trim() };
        if text.trim().is_empty() {
            return;
        }
        if let Some(open) = self.tables.last_mut()
            && let Some(cell) = &mut open.cell
        {
            if heading.is_none() && cell.len() + text.len() <= CELL_BYTES {
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(text);
                return;
            }
            self.arranges();
        }
        let item = self.item.take();
        if let Some(level) = heading {
            let title = text.split_whitespace().collect::<Vec<_>>().join(" ");
            self.path.retain(|(above, _)| *above < level);
            self.path.push((level, title.clone()));
            self.emit(Lines { text: title, rows: None });
        } else if item.is_some() || !self.lists.is_empty() {
            if !self.list.is_empty() {
                self.list.push('\n');
            }
            let indented = || "  ".repeat(self.lists.len().clamp(1, 9));
            self.list.push_str(&item.unwrap_or_else(indented));
            self.list.push_str(text);
            if self.list.len() >= LIST_BYTES {
                self.end_list();
            }
        } else {
            self.emit(Lines { text: text.to_owned(), rows: None });
        }
    }

    fn end_title(&mut self) {
        let title = self.title.take().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        if !title.is_empty() {
            self.emit(Lines { text: title, rows: None });
        }
    }

    fn begin_list(&mut self, counted: Option<u32>) {
        if self.lists.len() < DEPTH {
            self.lists.push(counted);
        }
    }

    fn begin_item(&mut self) {
        let indent = "  ".repeat(self.lists.len().saturating_sub(1).min(8));
        self.item = Some(match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{indent}{number}. ")
            }
            _ => format!("{indent}- "),
        });
    }

    fn end_list(&mut self) {
        let text = std::mem::take(&mut self.list);
        self.hand_over(Lines { text, rows: None });
    }

    fn begin_table(&mut self) {
        // A table in a cell: the outer one arranges the page.
        if self.tables.last().is_some_and(|open| !open.layout) {
            self.arranges();
        }
        if self.tables.len() < DEPTH {
            self.tables.push(OpenTable::default());
        }
    }

    fn end_table(&mut self) {
        let Some(mut open) = self.tables.pop() else { return };
        open.end_cell();
        for lines in open.table.into_lines() {
            self.emit(lines);
        }
    }

    /// Turns the innermost table into one that arranges the page, and tells what is in it so far.
    fn arranges(&mut self) {
        let Some(open) = self.tables.last_mut() else { return };
        open.layout = true;
        let table = std::mem::take(&mut open.table);
        let cell = open.cell.take().unwrap_or_default();
        for lines in table.into_lines() {
            self.emit(lines);
        }
        self.emit(Lines { text: cell, rows: None });
    }

    fn emit(&mut self, lines: Lines) {
        if !self.list.is_empty() {
            self.end_list();
        }
        self.hand_over(lines);
    }

    fn hand_over(&mut self, lines: Lines) {
        if lines.text.trim().is_empty() || self.failure.is_some() {
            return;
        }
        self.blocks += 1;
        let headings = self.path.iter().map(|(_, title)| title.clone()).collect();
        let block = Block { text: lines.text, rows: lines.rows, headings, ..Block::default() };
        self.failure = self.sink.block(block).err();
    }
}

impl OpenTable {
    fn end_cell(&mut self) {
        if let Some(cell) = self.cell.take() {
            self.table.cell(&cell);
        }
    }
}

fn is_hidden(tag: &Tag) -> bool {
    tag.attrs.iter().any(|attribute| match &*attribute.name.local {
        "hidden" => true,
        "style" => {
            let style: String = attribute.value.chars().filter(|c| !c.is_whitespace()).collect();
            let style = style.to_ascii_lowercase();
            style.contains("display:none") || style.contains("visibility:hidden")
        }
        _ => false,
    })
}

fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "source"
            | "track"
            | "wbr"
    )
}

/// Whether the element stands on lines of its own.
fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "caption"
            | "center"
            | "dd"
            | "details"
            | "dialog"
            | "dir"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hgroup"
            | "hr"
            | "html"
            | "legend"
            | "li"
            | "main"
            | "menu"
            | "nav"
            | "ol"
            | "p"
            | "pre"
            | "search"
            | "section"
            | "summary"
            | "table"
            | "tbody"
            | "td"
            | "textarea"
            | "tfoot"
            | "th"
            | "thead"
            | "tr"
            | "ul"
            | "xmp"
            | "select"
            | "head"
            | "plaintext"
    )
}
