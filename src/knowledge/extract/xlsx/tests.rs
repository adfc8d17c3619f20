//! The workbook reader, on packages made here.

use std::fmt::Write as _;

use super::*;
use crate::knowledge::extract::docx::package;

const STYLES: &str = r##"<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts count="1"><numFmt numFmtId="164" formatCode="#,##0.00\ [$€-407]"/></numFmts><fonts><font/></fonts><fills><fill/></fills><borders><border/></borders><cellXfs count="4"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/><xf numFmtId="14" fontId="0" fillId="0" borderId="0"/><xf numFmtId="9" fontId="0" fillId="0" borderId="0"/><xf numFmtId="164" fontId="0" fillId="0" borderId="0"/></cellXfs></styleSheet>"##;

/// A workbook of these sheets: name, attributes, the rows' XML.
fn workbook(sheets: &[(&str, &str, &str)], others: &[(&str, &str)]) -> Vec<u8> {
    let ns = "xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"";
    let (mut list, mut ties, mut parts) = (String::new(), String::new(), Vec::new());
    for (number, (name, attributes, rows)) in (1..).zip(sheets) {
        let _ = write!(list, "<sheet name=\"{name}\" sheetId=\"{number}\" {attributes} r:id=\"rId{number}\"/>");
        let _ = write!(
            ties,
            "<Relationship Id=\"rId{number}\" Type=\"http://x/worksheet\" Target=\"worksheets/sheet{number}.xml\"/>"
        );
        let sheet = format!("<worksheet {ns}><sheetData>{rows}</sheetData></worksheet>");
        parts.push((format!("xl/worksheets/sheet{number}.xml"), sheet));
    }
    parts.push((
        "xl/workbook.xml".to_owned(),
        format!("<workbook {ns} xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"><sheets>{list}</sheets></workbook>"),
    ));
    parts.push(("xl/_rels/workbook.xml.rels".to_owned(), format!("<Relationships>{ties}</Relationships>")));
    parts.push(("xl/styles.xml".to_owned(), STYLES.to_owned()));
    let main = "<Relationships><Relationship Id=\"rId1\" Type=\"http://x/relationships/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>";
    parts.push(("_rels/.rels".to_owned(), main.to_owned()));
    let all = parts.iter().map(|(name, xml)| (name.as_str(), xml.as_str())).chain(others.iter().copied());
    package(&all.collect::<Vec<_>>())
}

fn blocks(bytes: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    read(bytes, &mut blocks).expect("a workbook");
    blocks
}

/// A row of words; `""` leaves the cell out.
fn words(row: u32, cells: &[&str]) -> String {
    let cells = (b'A'..).zip(cells).filter(|(_, text)| !text.is_empty()).map(|(column, text)| {
        format!("<c r=\"{}{row}\" t=\"inlineStr\"><is><t>{text}</t></is></c>", char::from(column))
    });
    format!("<row r=\"{row}\">{}</row>", cells.collect::<String>())
}

#[test]
fn cells_come_out_as_a_person_sees_them_under_their_header() {
    let rows = words(1, &["Budget"])
        + &words(3, &["Item", "Due", "Share", "Cost", "Paid"])
        + r#"<row r="4"><c r="A4" t="s"><v>0</v></c><c r="B4" s="1"><v>45366</v></c><c r="C4" s="2"><v>0.075</v></c><c r="D4" s="3"><f>SUM(D1:D2)</f><v>1234.5</v></c><c r="E4" t="b"><v>1</v></c></row>"#
        + r#"<row r="5"><c r="A5" t="str"><f>A4</f><v>Ink | paper</v></c><c r="D5" t="e"><v>#DIV/0!</v></c></row>"#;
    let strings = r#"<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" uniqueCount="1"><si><r><t xml:space="preserve">Travel </t></r><r><t>&amp; food</t></r></si></sst>"#;
    let blocks = blocks(&workbook(
        &[("Costs", "", &rows), ("Old", "state=\"hidden\"", &words(1, &["gone"]))],
        &[("xl/sharedStrings.xml", strings)],
    ));
    assert_eq!(blocks[0].text, "Budget");
    assert_eq!(
        blocks[1].text,
        "| Item | Due | Share | Cost | Paid |\n| --- | --- | --- | --- | --- |\n| Travel & food | 2024-03-15 | 8% | 1,234.50 € | TRUE |\n| Ink \\| paper |  |  | #DIV/0! |  |"
    );
    assert_eq!(blocks[1].rows, Some(Rows { header: 2, numbers: vec![4, 5], columns: Some((1, 5)) }));
    assert_eq!((blocks[1].sheet.as_deref(), blocks[1].hidden), (Some("Costs"), false));
    assert_eq!((blocks[2].text.as_str(), blocks[2].sheet.as_deref(), blocks[2].hidden), ("gone", Some("Old"), true));
}

#[test]
fn a_cell_in_the_last_corner_costs_nothing_and_long_sheets_come_in_groups() {
    let far = r#"<row r="1048576"><c r="XFD1048576"><v>7</v></c></row>"#;
    let many: String = (2..2000).map(|row| words(row, &["Ann Example", "Chair of something"])).collect();
    let blocks = blocks(&workbook(&[("Long", "", &(words(1, &["Name", "Role"]) + &many + far))], &[]));
    let numbers: Vec<u32> = blocks.iter().flat_map(|block| block.rows.clone().unwrap().numbers).collect();
    assert_eq!(numbers, (2..2000).chain([1_048_576]).collect::<Vec<_>>());
    assert!(blocks.len() > 7 && blocks.iter().all(|block| block.text.len() < 10_000));
    assert!(blocks[..blocks.len() - 1].iter().all(|block| block.text.starts_with("| Name | Role |\n| --- | --- |\n")));
    assert_eq!(blocks.last().unwrap().rows.as_ref().unwrap().columns, Some((16_384, 16_384)));
}

#[test]
fn remarks_stand_with_their_cell_and_threads_are_told_once() {
    let ties = r#"<Relationships><Relationship Id="a" Type="http://x/comments" Target="../comments1.xml"/><Relationship Id="b" Type="http://x/threadedComment" Target="../threadedComments/threadedComment1.xml"/></Relationships>"#;
    let notes = r#"<comments><authors><author>Ann</author><author>tc=1</author></authors><commentList><comment ref="B2" authorId="0"><text><r><t>Ann:</t></r><r><t xml:space="preserve"> check this</t></r></text></comment><comment ref="A1" authorId="1"><text><t>[Threaded comment] Your version of Excel</t></text></comment></commentList></comments>"#;
    let threads = r#"<ThreadedComments><threadedComment ref="A1" personId="p"><text>Is it final?</text></threadedComment></ThreadedComments>"#;
    let blocks = blocks(&workbook(
        &[("Costs", "", &words(1, &["x"]))],
        &[
            ("xl/worksheets/_rels/sheet1.xml.rels", ties),
            ("xl/comments1.xml", notes),
            ("xl/threadedComments/threadedComment1.xml", threads),
        ],
    ));
    let texts: Vec<&str> = blocks.iter().map(|block| block.text.as_str()).collect();
    assert_eq!(texts, ["x", "Comment by Ann on B2: check this", "Comment on A1: Is it final?"]);
    assert_eq!(blocks[1].rows, Some(Rows { header: 0, numbers: vec![2], columns: Some((2, 2)) }));
}

#[test]
fn what_cannot_be_read_says_why_and_what_was_whole_is_kept() {
    let reason = |bytes: &[u8]| read(bytes, &mut Vec::new()).expect_err("a failure").reason;
    assert!(reason(&workbook(&[("Empty", "", "")], &[])).contains("contains no text"));
    assert!(reason(&package(&[("xl/workbook.xml", "<workbook><sheets><sheet")])).contains("seems damaged"));
    assert!(reason(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1]).contains("password"));
    let torn = words(1, &["Name", "Role"]) + &words(2, &["Ann", "Chair"]) + "<row r=\"3\"><c r=\"A3\"><v>1</";
    assert_eq!(
        blocks(&workbook(&[("Torn", "", &torn)], &[]))[0].text,
        "| Name | Role |\n| --- | --- |\n| Ann | Chair |"
    );
}
