//! Tables cut between their rows: every piece has the header, so that a row found by search still says what
//! its columns mean. Where the header is too long to be repeated, each row names its columns itself.

use crate::knowledge::extract::{Rows, table_cells};

/// Some rows of a table, with the header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Markdown; longer than a passage where a single row is.
    pub text: String,
    /// Which rows they are.
    pub rows: Rows,
}

/// Cuts the table `text` into pieces of at most `tokens`, as `count` counts them.
pub(super) fn pack(text: &str, rows: &Rows, tokens: usize, count: &dyn Fn(&str) -> usize) -> Vec<Piece> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.by_ref().take(rows.header as usize).collect();
    let header = header.join("\n");
    let width = count(&header);
    let too_wide = width * 2 > tokens;
    let names = header.lines().next().map(table_cells).unwrap_or_default();
    let room = tokens.saturating_sub(if too_wide { 0 } else { width });
    let (mut pieces, mut used) = (Vec::<Piece>::new(), 0);
    let mut open = false;
    for (index, line) in lines.enumerate() {
        let size = count(line);
        // A row that is too long for a passage under the header is told in words, alone.
        let told = rows.header > 0 && (too_wide || size > room);
        let (line, size) = if told {
            let told = in_words(&names, line);
            let size = count(&told);
            (told, size)
        } else {
            (line.to_owned(), size)
        };
        let fits = open && used + size <= room && (too_wide || !told);
        if !fits {
            let text = if told || header.is_empty() { String::new() } else { header.clone() };
            let rows = Rows { header: if told { 0 } else { rows.header }, numbers: Vec::new(), columns: rows.columns };
            pieces.push(Piece { text, rows });
            used = 0;
        }
        if let Some(piece) = pieces.last_mut() {
            if !piece.text.is_empty() {
                piece.text.push('\n');
            }
            piece.text.push_str(&line);
            piece.rows.numbers.extend(rows.numbers.get(index));
        }
        used += size;
        open = too_wide || !told;
    }
    pieces
}

/// `Name: Ann; Pay: 10`, empty cells left out.
fn in_words(names: &[String], line: &str) -> String {
    let cells = table_cells(line);
    let told = cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty()).map(|(index, cell)| {
        match names.get(index).filter(|name| !name.is_empty()) {
            Some(name) => format!("{name}: {cell}"),
            None => cell.clone(),
        }
    });
    told.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(text: &str, tokens: usize) -> Vec<(String, Vec<u32>)> {
        let rows = Rows { header: 2, numbers: (2..100).collect(), columns: None };
        let count = |text: &str| text.split_whitespace().filter(|word| *word != "|").count();
        pack(text, &rows, tokens, &count).into_iter().map(|piece| (piece.text, piece.rows.numbers)).collect()
    }

    #[test]
    fn pieces_begin_with_the_header_and_know_their_rows() {
        let table = "| A | B |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |";
        assert_eq!(
            packed(table, 8),
            [
                ("| A | B |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |".to_owned(), vec![2, 3]),
                ("| A | B |\n| --- | --- |\n| 5 | 6 |".to_owned(), vec![4])
            ]
        );
    }

    #[test]
    fn a_header_or_a_row_too_long_to_stand_together_is_told_in_words() {
        let wide = "| A | B | C | D |\n| --- | --- | --- | --- |\n| 1 |  | 3 | 4 |\n| 5 | 6 |  |  |";
        assert_eq!(packed(wide, 10), [("A: 1; C: 3; D: 4\nA: 5; B: 6".to_owned(), vec![2, 3])]);
        let long = "| A | B |\n| --- | --- |\n| 1 | a b c d e f g h |\n| 2 | x |";
        assert_eq!(
            packed(long, 8),
            [
                ("A: 1; B: a b c d e f g h".to_owned(), vec![2]),
                ("| A | B |\n| --- | --- |\n| 2 | x |".to_owned(), vec![3])
            ]
        );
    }
}
