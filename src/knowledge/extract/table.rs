//! Tables as Markdown, in groups of rows that repeat the header, so that a row found by search still says
//! what its columns mean.

use super::Rows;

/// A group of rows is closed after this many bytes.
const GROUP: usize = 8 * 1024;
/// A header longer than this is not repeated.
const HEADER: usize = 1024;

/// Lines of a table: rows with their header, or the text of a table that only served for layout.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lines {
    /// Markdown.
    pub text: String,
    /// What the lines are, unless they are plain text.
    pub rows: Option<Rows>,
}

/// A table as it is being read.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    in_row: bool,
}

impl Table {
    /// A row begins.
    pub(super) fn row(&mut self) {
        self.rows.push(Vec::new());
        self.in_row = true;
    }

    /// A cell ends with `text`.
    pub(super) fn cell(&mut self, text: &str) {
        if !self.in_row {
            self.row();
        }
        if let Some(row) = self.rows.last_mut() {
            row.push(cell(text));
        }
    }

    /// The table as Markdown. A table of one row or one column is layout, and becomes lines of text.
    pub(super) fn into_lines(self) -> Vec<Lines> {
        let rows: Vec<Vec<String>> =
            self.rows.into_iter().filter(|row| row.iter().any(|cell| !cell.is_empty())).collect();
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        if rows.len() < 2 || width < 2 {
            let cells = rows.into_iter().flatten().filter(|cell| !cell.is_empty());
            return cells.map(|cell| Lines { text: cell.replace("\\|", "|"), rows: None }).collect();
        }
        let mut rows = rows.into_iter();
        let first = rows.next().unwrap_or_default();
        let header = header(&first, width);
        let repeated = header.len() <= HEADER;
        let mut groups = Vec::new();
        let (mut text, mut fresh, mut under_header) = (header.clone(), true, true);
        for row in rows {
            if !fresh && text.len() > GROUP {
                let next = if repeated { header.clone() } else { String::new() };
                groups.push(lines(std::mem::replace(&mut text, next), under_header));
                under_header = repeated;
            }
            if !text.is_empty() {
                text.push('\n');
            }
            push_row(&mut text, row.iter().map(String::as_str), width);
            fresh = false;
        }
        groups.push(lines(text, under_header));
        groups
    }

    /// The cells' text alone, for a table within a cell.
    pub(super) fn into_text(self) -> String {
        let rows = self.rows.into_iter().map(|row| row.join(", "));
        rows.filter(|row| !row.trim_matches([',', ' ']).is_empty()).collect::<Vec<_>>().join("; ")
    }
}

fn lines(text: String, under_header: bool) -> Lines {
    Lines { text, rows: Some(Rows { header: if under_header { 2 } else { 0 }, ..Rows::default() }) }
}

/// A cell's text on one line, its bars made harmless.
pub(super) fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !cell.is_empty() {
            cell.push(' ');
        }
        cell.push_str(word);
    }
    if cell.contains('|') { cell.replace('|', "\\|") } else { cell }
}

/// The header and the line that tells Markdown that it is one.
pub(super) fn header(cells: &[String], width: usize) -> String {
    let mut header = String::new();
    push_row(&mut header, cells.iter().map(String::as_str), width);
    header.push_str("\n|");
    header.push_str(&" --- |".repeat(width));
    header
}

/// Appends a row of exactly `width` cells.
pub(super) fn push_row<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>, width: usize) {
    text.push('|');
    let mut cells = cells;
    for _ in 0..width {
        text.push(' ');
        text.push_str(cells.next().unwrap_or_default());
        text.push_str(" |");
    }
}

/// The cells of a Markdown row.
pub(in crate::knowledge) fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|');
    let (mut cells, mut cell, mut escaped) = (Vec::new(), String::new(), false);
    for c in row.chars() {
        match c {
            '|' if escaped => {
                cell.pop();
                cell.push('|');
            }
            '|' => cells.push(std::mem::take(&mut cell).trim().to_owned()),
            c => cell.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    if !cell.trim().is_empty() {
        cells.push(cell.trim().to_owned());
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tables_repeat_their_header() {
        let mut table = Table::default();
        for index in 0..900 {
            table.row();
            table.cell(if index == 0 { "Item" } else { "a thing | with\na bar" });
            table.cell(&format!("{index}"));
        }
        let groups = table.into_lines();
        assert!(groups.len() > 2, "{}", groups.len());
        assert!(groups.iter().all(|group| group.text.starts_with("| Item | 0 |\n| --- | --- |\n|")), "{groups:?}");
        assert!(groups.iter().all(|group| group.rows == Some(Rows::of_table())));
        assert_eq!(groups.iter().map(|group| group.text.lines().count() - 2).sum::<usize>(), 899);
        assert!(groups[0].text.contains("| a thing \\| with a bar | 1 |"));
    }

    #[test]
    fn a_row_can_be_taken_apart_again() {
        assert_eq!(cells("| a thing \\| with a bar |  | 1 |"), ["a thing | with a bar", "", "1"]);
    }
}
