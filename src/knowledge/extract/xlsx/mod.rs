//! Workbooks: calamine reads them cell by cell, so that a sheet is never held as a whole and a cell in the
//! last corner costs no more than one in the first; numbers become what a person sees.

mod comments;
mod date;
mod format;
#[cfg(test)]
mod tests;

use std::io::Cursor;

use calamine::{DataRef, Reader, SheetVisible, Xlsx, XlsxError};

use super::{
    Block, Failure, Finished, Kind, Rows, Sink,
    archive::Archive,
    grid::{Grid, Row, Unnamed},
};
use comments::Comment;
use date::Date;
use format::Format;

/// Reads a workbook, sheet after sheet.
pub(super) fn read(bytes: &[u8], sink: &mut dyn Sink) -> Result<Finished, Failure> {
    if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
        return Err(Failure::encrypted());
    }
    let mut archive = Archive::open(bytes, Kind::Xlsx)?;
    let comments = comments::of_sheets(&mut archive)?;
    drop(archive);
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(|error| understood(&error))?;
    let is_1904 = book.has_1904_epoch();
    let sheets: Vec<(String, bool)> = book
        .sheets_metadata()
        .iter()
        .map(|sheet| (sheet.name.clone(), sheet.visible != SheetVisible::Visible))
        .collect();
    let mut formats: Option<Vec<Format>> = None;
    let (mut blocks, mut whole) = (0, true);
    for (name, hidden) in sheets {
        let place = Block { sheet: Some(name.clone()), hidden, headings: vec![name.clone()], ..Block::default() };
        let mut grid = Grid::new(sink, place.clone(), Unnamed::Letter);
        match book.worksheet_cells_reader(&name) {
            Ok(mut cells) => {
                let formats = formats.get_or_insert_with(|| formats_of(cells.styles()));
                let mut row = Row::default();
                loop {
                    let (cell, style) = match cells.next_cell_with_style_id() {
                        Ok(Some(cell)) => cell,
                        Ok(None) => break,
                        // What was whole before the damage is worth having.
                        Err(_) => {
                            whole = false;
                            break;
                        }
                    };
                    let (number, column) = (cell.get_position().0.saturating_add(1), cell.get_position().1);
                    if number != row.number {
                        grid.push(std::mem::replace(&mut row, Row::new(number)))?;
                    }
                    if let Some((text, is_words)) = shown(cell.get_value(), formats.get(style), is_1904) {
                        row.push(column, &text, is_words);
                    }
                }
                grid.push(row)?;
            }
            // Sheets that are a chart or a macro, and sheets whose part is missing.
            Err(XlsxError::NotAWorksheet(_)) => {}
            Err(_) => whole = false,
        }
        grid.finish()?;
        blocks += grid.blocks;
        for comment in comments.get(&name).into_iter().flatten() {
            blocks += 1;
            sink.block(remark(comment, &place))?;
        }
    }
    match (blocks, whole) {
        (0, true) => Err(Failure::empty()),
        (0, false) => Err(Failure::damaged(Kind::Xlsx)),
        _ => Ok(Finished::default()),
    }
}

fn understood(error: &XlsxError) -> Failure {
    match error {
        XlsxError::Password => Failure::encrypted(),
        _ => Failure::damaged(Kind::Xlsx),
    }
}

fn formats_of(styles: &[calamine::Style]) -> Vec<Format> {
    let code = |style: &calamine::Style| style.number_format.as_ref().map(|format| format.format_code.clone());
    styles.iter().map(|style| Format::of(&code(style).unwrap_or_default())).collect()
}

/// A cell as a person sees it, and whether it is words. `None` when there is nothing to see.
fn shown(value: &DataRef<'_>, format: Option<&Format>, is_1904: bool) -> Option<(String, bool)> {
    let number = |value: f64| {
        let shown = format.map_or_else(|| format::general(value), |format| format.show(value, is_1904));
        Some((shown, false))
    };
    match value {
        DataRef::Empty => None,
        DataRef::String(text) => Some((text.clone(), true)),
        DataRef::SharedString(text) => Some(((*text).to_owned(), true)),
        DataRef::Int(value) => {
            #[expect(clippy::cast_precision_loss, reason = "sheets hold nothing but doubles")]
            let value = *value as f64;
            number(value)
        }
        DataRef::Float(value) => number(*value),
        DataRef::DateTime(moment) if format.is_some_and(Format::is_date) => number(moment.as_f64()),
        DataRef::DateTime(moment) => {
            let value = moment.as_f64();
            Some((Date::of(value, is_1904).map_or_else(|| format::general(value), |date| date.iso()), false))
        }
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => Some((text.clone(), false)),
        DataRef::Bool(value) => Some((if *value { "TRUE" } else { "FALSE" }.to_owned(), false)),
        DataRef::Error(error) => Some((error.to_string(), false)),
    }
}

/// A remark as a block of its own, at its cell.
fn remark(comment: &Comment, place: &Block) -> Block {
    let by = if comment.author.is_empty() { String::new() } else { format!(" by {}", comment.author) };
    let text = format!("Comment{by} on {}: {}", comment.cell, comment.text);
    let rows = position(&comment.cell).map(|(row, column)| Rows {
        header: 0,
        numbers: vec![row],
        columns: Some((column, column)),
    });
    Block { text, rows, ..place.clone() }
}

/// `B3` is row 3, column 2.
fn position(cell: &str) -> Option<(u32, u32)> {
    let at = cell.find(|c: char| c.is_ascii_digit())?;
    let (letters, row) = cell.split_at(at);
    let column = letters.bytes().try_fold(0_u32, |column, letter| {
        letter.is_ascii_uppercase().then(|| column.saturating_mul(26).saturating_add(u32::from(letter - b'A') + 1))
    })?;
    Some((row.parse().ok()?, column))
}
