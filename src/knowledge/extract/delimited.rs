//! Tables as text: values with commas, semicolons, tabs or bars between them. Which it is, and whether the
//! first row names the columns, is found out; rows may be longer or shorter than the header.

use csv::{ByteRecord, ReaderBuilder};

use super::{
    Block, Failure, Finished, Sink,
    grid::{Grid, Row, Unnamed},
    text,
};

/// What may stand between values, the likeliest first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Rows that are looked at to find the delimiter.
const SAMPLE_ROWS: usize = 50;
/// Bytes that are looked at to find the delimiter.
const SAMPLE_BYTES: usize = 64 * 1024;

/// Reads a delimited file; rows are numbered as spreadsheets number them, the header being row 1.
pub(super) fn read(bytes: &[u8], sink: &mut dyn Sink) -> Result<Finished, Failure> {
    let decoded = text::decode(bytes);
    let mut content = decoded.trim_start_matches('\u{feff}');
    let mut delimiter = None;
    // Excel's own way of saying it: a first line `sep=;`.
    if let Some((first, rest)) = content.split_once('\n')
        && let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', named] = first.trim_end().as_bytes()
    {
        delimiter = Some(*named);
        content = rest;
    }
    let delimiter = delimiter.unwrap_or_else(|| delimiter_of(content));
    let mut grid = Grid::new(sink, Block::default(), Unnamed::Number);
    let mut records = reader(content, delimiter);
    let mut record = ByteRecord::new();
    // The content is UTF-8, and rows of any length are welcome: nothing can go wrong.
    for number in 1.. {
        if !matches!(records.read_byte_record(&mut record), Ok(true)) {
            break;
        }
        let mut row = Row::new(number);
        for (column, value) in (0..).zip(&record) {
            if row.is_too_long() {
                break;
            }
            let value = String::from_utf8_lossy(value);
            let clean: String = value.chars().filter(|c| !c.is_control() || c.is_whitespace()).collect();
            row.push(column, &clean, is_words(&clean));
        }
        grid.push(row)?;
    }
    grid.finish()?;
    if grid.blocks == 0 { Err(Failure::empty()) } else { Ok(Finished::default()) }
}

fn reader(content: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(content.as_bytes())
}

/// The delimiter by which the first rows fall into the same number of values most often, and into more than one.
fn delimiter_of(content: &str) -> u8 {
    let sample = &content[..content.floor_char_boundary(SAMPLE_BYTES.min(content.len()))];
    let score = |delimiter: u8| {
        let widths: Vec<usize> =
            reader(sample, delimiter).byte_records().take(SAMPLE_ROWS).flatten().map(|record| record.len()).collect();
        let usual = widths.iter().copied().max_by_key(|width| widths.iter().filter(|other| *other == width).count());
        let usual = usual.filter(|width| *width > 1)?;
        Some((widths.iter().filter(|width| **width == usual).count(), usual))
    };
    let scored = DELIMITERS.iter().rev().filter_map(|delimiter| Some((score(*delimiter)?, *delimiter)));
    scored.max().map_or(b',', |(_, delimiter)| delimiter)
}

/// Words, as against figures, amounts, dates and the like: most of it is letters.
fn is_words(value: &str) -> bool {
    let letters = value.chars().filter(|c| c.is_alphabetic()).count();
    let figures = value.chars().filter(|c| c.is_numeric()).count();
    letters > figures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(bytes: &[u8]) -> Vec<Block> {
        let mut blocks = Vec::new();
        read(bytes, &mut blocks).expect("rows");
        blocks
    }

    #[test]
    fn the_delimiter_and_the_header_are_found_and_ragged_rows_survive() {
        for (content, table) in [
            (
                "Name,Pay\n\"Ann, the \"\"boss\"\"\",10\nBen\nCid,7,extra\n",
                "| Name | Pay | Column 3 |\n| --- | --- | --- |\n| Ann, the \"boss\" | 10 |  |\n| Ben |  |  |\n| Cid | 7 | extra |",
            ),
            ("Name;Pay\r\nAnn;1,5\r\n", "| Name | Pay |\n| --- | --- |\n| Ann | 1,5 |"),
            ("Name\tPay\nAnn, B.\t1\n", "| Name | Pay |\n| --- | --- |\n| Ann, B. | 1 |"),
            ("sep=|\nName|Pay\nAnn|1\n", "| Name | Pay |\n| --- | --- |\n| Ann | 1 |"),
            ("1,2\n3,4", "| Column 1 | Column 2 |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"),
        ] {
            assert_eq!(blocks(content.as_bytes())[0].text, table, "{content}");
        }
    }

    #[test]
    fn rows_are_numbered_as_in_a_spreadsheet() {
        let rows = blocks(b"Name,Pay\nAnn,1\n\"two\nlines\",2\nCid,3\n").remove(0).rows.unwrap();
        assert_eq!((rows.header, rows.numbers), (2, vec![2, 3, 4]));
    }

    #[test]
    fn one_column_stays_lines_and_nothing_is_no_text() {
        assert_eq!(blocks(b"one\ntwo\n")[0].text, "one\ntwo");
        assert_eq!(read(b"\n,,\n", &mut Vec::new()), Err(Failure::empty()));
        assert_eq!(blocks(b"Gr\xf6\xdfe,Preis\nk\xfchl,1\n")[0].text, "| Größe | Preis |\n| --- | --- |\n| kühl | 1 |");
    }
}
