//! Tables as Markdown, in groups of rows that repeat the header, so that a row found by search still says
//! what its columns mean.

/// A group of rows is closed after this many characters.
const GROUP: usize = 600;
/// A header longer than this is not repeated.
const HEADER: usize = 200;

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
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        if let Some(row) = self.rows.last_mut() {
            row.push(text);
        }
    }

    /// The table as blocks of Markdown. A table of one row or one column is layout, and becomes lines of text.
    pub(super) fn into_blocks(self) -> Vec<String> {
        let rows: Vec<Vec<String>> =
            self.rows.into_iter().filter(|row| row.iter().any(|cell| !cell.is_empty())).collect();
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        if rows.len() < 2 || width < 2 {
            let cells = rows.into_iter().flatten().filter(|cell| !cell.is_empty());
            return cells.map(|cell| cell.replace("\\|", "|")).collect();
        }
        let mut rows = rows.into_iter();
        let first = rows.next().unwrap_or_default();
        let header = format!("{}\n|{}", line(&first, width), " --- |".repeat(width));
        let repeated = header.len() <= HEADER;
        let mut blocks = Vec::new();
        let mut block = header.clone();
        let mut fresh = true;
        for row in rows {
            let row = line(&row, width);
            if !fresh && block.len() + row.len() > GROUP {
                blocks.push(std::mem::replace(&mut block, if repeated { header.clone() } else { String::new() }));
            }
            if !block.is_empty() {
                block.push('\n');
            }
            block.push_str(&row);
            fresh = false;
        }
        blocks.push(block);
        blocks
    }

    /// The cells' text alone, for a table within a cell.
    pub(super) fn into_text(self) -> String {
        let rows = self.rows.into_iter().map(|row| row.join(", "));
        rows.filter(|row| !row.trim_matches([',', ' ']).is_empty()).collect::<Vec<_>>().join("; ")
    }
}

fn line(cells: &[String], width: usize) -> String {
    let mut line = String::from("|");
    for index in 0..width {
        line.push(' ');
        line.push_str(cells.get(index).map_or("", String::as_str));
        line.push_str(" |");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tables_repeat_their_header() {
        let mut table = Table::default();
        for index in 0..60 {
            table.row();
            table.cell(if index == 0 { "Item" } else { "a thing | with a bar" });
            table.cell(&format!("{index}"));
        }
        let blocks = table.into_blocks();
        assert!(blocks.len() > 2, "{}", blocks.len());
        assert!(blocks.iter().all(|block| block.starts_with("| Item | 0 |\n| --- | --- |\n|")), "{blocks:?}");
        assert_eq!(blocks.iter().map(|block| block.lines().count() - 2).sum::<usize>(), 59);
        assert!(blocks[0].contains("thing \\| with"));
    }
}
