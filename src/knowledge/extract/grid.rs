//! Rows of cells, as workbooks and delimited files have them, become Markdown tables: which row is the header
//! is found out, every group of rows repeats it, and every line knows the number of its row.

use super::{
    Block, Failure, Rows, Sink,
    table::{cell, header, push_row},
};

/// A group of rows is closed after this many bytes.
const GROUP_BYTES: usize = 8 * 1024;
/// A group of rows is closed after this many rows.
const GROUP_ROWS: usize = 256;
/// Cells of one row; Excel has no more columns.
const CELLS: usize = 16_384;
/// Characters of a cell that a header has at most; longer text is no name of a column.
const NAME_CHARS: usize = 120;

/// A row as the file has it; empty cells are left out.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Its number, from 1.
    pub number: u32,
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    column: u32,
    text: String,
    is_words: bool,
}

impl Row {
    /// The row with this number.
    pub(super) fn new(number: u32) -> Self {
        Self { number, cells: Vec::new() }
    }

    /// Adds the cell of a column, counted from 0. `is_words` tells words from figures and dates.
    pub(super) fn push(&mut self, column: u32, text: &str, is_words: bool) {
        let text = cell(text);
        if !text.is_empty() && self.cells.len() <= CELLS {
            self.cells.push(Cell { column, text, is_words });
        }
    }

    /// Whether it has more cells than any spreadsheet holds; further ones are not taken.
    pub(super) fn is_too_long(&self) -> bool {
        self.cells.len() > CELLS
    }

    fn is_header(&self) -> bool {
        self.cells.len() > 1 && self.cells.iter().all(|cell| cell.is_words && cell.text.chars().count() <= NAME_CHARS)
    }
}

/// How a column without a name is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// `C`, as in a sheet.
    Letter,
    /// `Column 3`.
    Number,
}

/// Takes rows in order and hands blocks to the sink.
pub(super) struct Grid<'a> {
    sink: &'a mut dyn Sink,
    /// What all blocks have in common.
    place: Block,
    unnamed: Unnamed,
    state: State,
    /// Names of the columns, sorted by column, each with its text.
    names: Vec<(u32, String)>,
    /// Whether the table under the header has held anything but words.
    figures: bool,
    last: u32,
    group: Vec<Row>,
    bytes: usize,
    /// How many blocks have been handed over.
    pub blocks: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Single cells above or between tables: titles and remarks.
    Lines,
    /// Rows of a table whose header, named or not, is settled.
    Table,
}

impl<'a> Grid<'a> {
    /// Blocks will be like `place`, with text and rows filled in.
    pub(super) fn new(sink: &'a mut dyn Sink, place: Block, unnamed: Unnamed) -> Self {
        let (names, group) = (Vec::new(), Vec::new());
        Self { sink, place, unnamed, state: State::Lines, names, figures: false, last: 0, group, bytes: 0, blocks: 0 }
    }

    /// Takes the next row.
    pub(super) fn push(&mut self, row: Row) -> Result<(), Failure> {
        if row.cells.is_empty() {
            return Ok(());
        }
        if row.is_too_long() {
            return Err(Failure::new(
                "A row of the file has more than 16,384 values, which no spreadsheet holds, so it was not read. Check that its lines end where they should, and upload it again.",
            ));
        }
        let gap = row.number > self.last.saturating_add(1);
        self.last = row.number;
        match self.state {
            // After a gap a lone cell is the next table's title, and a row of words under figures its header.
            State::Table if gap && row.cells.len() == 1 => self.settle(State::Lines)?,
            State::Table if gap && self.figures && row.is_header() => return self.begin_table(row),
            State::Lines if row.cells.len() > 1 => return self.begin_table(row),
            _ => {}
        }
        self.figures |= row.cells.iter().any(|cell| !cell.is_words);
        self.take(row)
    }

    /// Hands over what is left.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if self.state == State::Table && self.group.is_empty() && !self.names.is_empty() && self.blocks == 0 {
            // A header with nothing under it is still something that the file says.
            let line = self.names.drain(..).map(|(_, name)| name).collect::<Vec<_>>().join(" | ");
            let rows = Rows { header: 0, numbers: vec![self.last], columns: None };
            return self.hand_over(line, rows);
        }
        self.flush()
    }

    fn settle(&mut self, state: State) -> Result<(), Failure> {
        self.flush()?;
        self.state = state;
        self.names.clear();
        self.figures = false;
        Ok(())
    }

    fn begin_table(&mut self, row: Row) -> Result<(), Failure> {
        self.settle(State::Table)?;
        if row.is_header() {
            self.names = row.cells.into_iter().map(|cell| (cell.column, cell.text)).collect();
            self.names.sort_by_key(|(column, _)| *column);
            Ok(())
        } else {
            self.figures = true;
            self.take(row)
        }
    }

    fn take(&mut self, row: Row) -> Result<(), Failure> {
        self.bytes += row.cells.iter().map(|cell| cell.text.len() + 3).sum::<usize>();
        self.group.push(row);
        if self.bytes >= GROUP_BYTES || self.group.len() >= GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.bytes = 0;
        let group = std::mem::take(&mut self.group);
        if group.is_empty() {
            return Ok(());
        }
        // Only columns in which something stands: a header of 16,000 columns over one full one costs nothing.
        let mut columns: Vec<u32> = group.iter().flat_map(|row| row.cells.iter().map(|cell| cell.column)).collect();
        columns.sort_unstable();
        columns.dedup();
        let mut text = String::new();
        let mut rows = Rows { header: 0, numbers: Vec::with_capacity(group.len()), columns: None };
        rows.columns = columns.first().zip(columns.last()).map(|(first, last)| (first + 1, last + 1));
        if self.state == State::Table {
            let names: Vec<String> = columns.iter().map(|column| self.name(*column)).collect();
            text = header(&names, names.len());
            rows.header = 2;
        }
        for mut row in group {
            if !text.is_empty() {
                text.push('\n');
            }
            row.cells.sort_by_key(|cell| cell.column);
            if self.state == State::Table {
                let mut cells = row.cells.iter().peekable();
                let filled = columns.iter().map(|column| {
                    let mut found = "";
                    // Of a cell that stands twice, which only a made-up file has, the last counts.
                    while let Some(cell) = cells.next_if(|cell| cell.column == *column) {
                        found = &cell.text;
                    }
                    found
                });
                push_row(&mut text, filled, columns.len());
            } else {
                text.push_str(
                    &row.cells.iter().map(|cell| cell.text.replace("\\|", "|")).collect::<Vec<_>>().join(" "),
                );
            }
            rows.numbers.push(row.number);
        }
        self.hand_over(text, rows)
    }

    fn hand_over(&mut self, text: String, rows: Rows) -> Result<(), Failure> {
        self.blocks += 1;
        self.sink.block(Block { text, rows: Some(rows), ..self.place.clone() })
    }

    fn name(&self, column: u32) -> String {
        match self.names.binary_search_by_key(&column, |(column, _)| *column) {
            Ok(at) => self.names[at].1.clone(),
            Err(_) => match self.unnamed {
                Unnamed::Letter => letters(column + 1),
                Unnamed::Number => format!("Column {}", column + 1),
            },
        }
    }
}

/// 1 is A, 27 is AA.
pub(in crate::knowledge) fn letters(mut column: u32) -> String {
    let mut letters = Vec::new();
    while column > 0 {
        column -= 1;
        letters.push(char::from(b'A' + u8::try_from(column % 26).unwrap_or_default()));
        column /= 26;
    }
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(rows: &[(u32, &[&str])]) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut grid = Grid::new(&mut blocks, Block::default(), Unnamed::Letter);
        for (number, cells) in rows {
            let mut row = Row::new(*number);
            for (column, text) in (0..).zip(*cells) {
                row.push(column, text, text.parse::<f64>().is_err());
            }
            grid.push(row).unwrap();
        }
        grid.finish().unwrap();
        blocks
    }

    #[test]
    fn a_title_a_table_and_the_next_table_are_told_apart() {
        let blocks = blocks(&[
            (1, &["Budget 2024"]),
            (2, &["Item", "Cost"]),
            (3, &["Paper | ink", "12"]),
            (4, &["", "7"]),
            (6, &["Name", "Role"]),
            (7, &["Ann", "Chair"]),
            (9, &["Remarks"]),
        ]);
        let texts: Vec<&str> = blocks.iter().map(|block| block.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "Budget 2024",
                "| Item | Cost |\n| --- | --- |\n| Paper \\| ink | 12 |\n|  | 7 |",
                "| Name | Role |\n| --- | --- |\n| Ann | Chair |",
                "Remarks"
            ]
        );
        assert_eq!(blocks[1].rows, Some(Rows { header: 2, numbers: vec![3, 4], columns: Some((1, 2)) }));
    }

    #[test]
    fn figures_without_a_header_are_under_the_letters_of_their_columns() {
        assert_eq!(
            blocks(&[(1, &["1", "2"]), (2, &["3", "4"])])[0].text,
            "| A | B |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"
        );
    }

    #[test]
    fn columns_count_as_excel_counts() {
        assert_eq!([1, 26, 27, 702, 703, 16_384].map(letters), ["A", "Z", "AA", "ZZ", "AAA", "XFD"]);
    }
}
