//! Extraction: a file's bytes become blocks of text that know their page, heading or line.
//!
//! Everything that parses runs in a child process with limits (see [`child`] and [`process`]), because a
//! hostile file may exhaust memory or overflow the stack, which no `catch_unwind` survives. The readers in
//! this folder are pure: bytes in, blocks out through a [`Sink`], a [`Failure`] with a sentence for a person.

mod archive;
pub mod child;
mod delimited;
mod docx;
mod grid;
mod html;
mod kind;
mod markdown;
mod package;
mod pdf;
mod pdf_remarks;
mod pdf_text;
mod pptx;
pub mod process;
mod table;
mod text;
mod xlsx;
mod xml;

use std::fmt;

use serde::{Deserialize, Serialize};

pub(super) use grid::letters as column_letters;
pub use kind::Kind;
pub use process::{Limits, Reader};
pub(super) use table::cells as table_cells;

/// A piece of text as the file has it: a paragraph, a list item, some rows of a table, a page, a slide.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Block {
    /// The text, never empty.
    pub text: String,
    /// The page, from 1, for formats that have pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// What is printed on the page as its number, where that is not its number in the file: `iv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_label: Option<String>,
    /// The slide, from 1, for presentations. Its title is the innermost heading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slide: Option<u32>,
    /// The sheet, for workbooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// The slide or sheet is hidden from whoever looks at the file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// The headings above it, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headings: Vec<String>,
    /// The line of the file on which the text begins, from 1, for formats that have lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What the lines of the text are, when they are rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
}

/// Lines of a block that are rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rows {
    /// How many lines come before the first row: 2 for the header of a Markdown table, 0 for lines without one.
    pub header: u32,
    /// For every line after those, the row of the sheet or file that it is, from 1; empty where rows have no
    /// numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<u32>,
    /// The first and last column that they fill, from 1, in sheets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<(u32, u32)>,
}

impl Rows {
    /// A Markdown table whose rows have no numbers.
    pub(crate) fn of_table() -> Self {
        Self { header: 2, ..Self::default() }
    }
}

/// Why a file could not be read, as a sentence for the person who uploaded it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A whole sentence, with what to do next where there is something: "The file contains no text."
    pub reason: String,
}

impl Failure {
    /// A failure with `reason`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// The file is not what it claims to be, or is cut off.
    pub(crate) fn damaged(kind: Kind) -> Self {
        Self::new(format!(
            "The file cannot be read as {}: it seems damaged. Save it again from the program that made it and upload it anew.",
            kind.description()
        ))
    }

    /// The file is encrypted.
    pub(crate) fn encrypted() -> Self {
        Self::new("The file is protected by a password. Remove the protection and upload it again.")
    }

    /// There is nothing to find in the file.
    pub(crate) fn empty() -> Self {
        Self::new("The file contains no text.")
    }

    /// There are pages, and only pictures on them.
    pub(crate) fn scanned() -> Self {
        Self::new(
            "The file contains no text: it looks scanned. Run it through text recognition (OCR) and upload the result.",
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}

/// Where blocks go as they are found, so that a long document is never held as a whole.
pub(crate) trait Sink {
    /// Takes one block.
    ///
    /// # Errors
    /// When nobody wants more: the limit is reached or the other end is gone.
    fn block(&mut self, block: Block) -> Result<(), Failure>;
}

#[cfg(test)]
impl Sink for Vec<Block> {
    fn block(&mut self, block: Block) -> Result<(), Failure> {
        self.push(block);
        Ok(())
    }
}

/// What is known of a file once it has been read to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Finished {
    /// How many pages it has, for formats that have pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<u32>,
}

/// Which of two readers is to be used for formats that have two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Attempt {
    /// The better one, helped out by the other where its text is thin.
    #[default]
    First,
    /// The other one alone, after the first ended the process.
    Second,
}

/// Reads a file within this process. Only the child calls it, and tests.
pub(crate) fn read(
    file_name: &str,
    bytes: Vec<u8>,
    attempt: Attempt,
    sink: &mut dyn Sink,
) -> Result<Finished, Failure> {
    if bytes.is_empty() {
        return Err(Failure::empty());
    }
    match Kind::of(file_name, &bytes)? {
        Kind::Pdf => pdf::read(bytes, attempt, sink),
        Kind::Docx => docx::read(&bytes, sink),
        Kind::Xlsx => xlsx::read(&bytes, sink),
        Kind::Pptx => pptx::read(&bytes, sink),
        Kind::Html => html::read(&bytes, sink),
        Kind::Csv => delimited::read(&bytes, sink),
        Kind::Markdown => markdown::read(&bytes, sink),
        Kind::Text => text::read(&bytes, sink),
    }
}
