//! The Word reader, on packages made here.

use std::io::{Cursor, Write};

use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

const STYLES: &str = r#"<w:styles xmlns:w="x"><w:style w:styleId="H1"><w:name w:val="heading 1"/></w:style><w:style w:styleId="H2"><w:name w:val="heading 2"/></w:style></w:styles>"#;
const NOTES: &str = r#"<w:footnotes xmlns:w="x"><w:footnote w:id="0"><w:p/></w:footnote><w:footnote w:id="2"><w:p><w:r><w:t>See the law.</w:t></w:r></w:p></w:footnote></w:footnotes>"#;

/// A zip archive of these parts.
pub(in crate::knowledge::extract) fn package(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).expect("a member");
        zip.write_all(text.as_bytes()).expect("its bytes");
    }
    zip.finish().expect("an archive").into_inner()
}

fn document(body: &str) -> Vec<u8> {
    let xml = format!("<w:document xmlns:w=\"x\"><w:body>{body}</w:body></w:document>");
    package(&[("word/document.xml", &xml), ("word/styles.xml", STYLES), ("word/footnotes.xml", NOTES)])
}

fn blocks(bytes: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    read(bytes, &mut blocks).expect("a document");
    blocks
}

fn paragraph(style: &str, text: &str) -> String {
    format!(
        "<w:p><w:pPr><w:pStyle w:val=\"{style}\"/><w:tabs><w:tab w:pos=\"1\"/></w:tabs></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
    )
}

#[test]
fn headings_make_the_path_and_only_what_a_person_sees_is_read() {
    let body = paragraph("H1", "Leave")
        + &paragraph("H2", "Parental &amp; care")
        + r#"<w:p><w:r><w:t xml:space="preserve">Sixteen </w:t></w:r><w:del><w:r><w:delText>ten</w:delText><w:t>ten</w:t></w:r></w:del><w:ins><w:r><w:t>weeks</w:t><w:tab/><w:t>each</w:t><w:br/><w:t>year.</w:t></w:r></w:ins><w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t>secret</w:t></w:r></w:p>"#
        + r#"<w:p><w:pPr><w:numPr><w:ilvl w:val="1"/><w:numId w:val="3"/></w:numPr></w:pPr><w:r><w:t>an item</w:t></w:r></w:p>"#
        + &paragraph("H1", "Pay");
    let blocks = blocks(&document(&body));
    let texts: Vec<&str> = blocks.iter().map(|block| block.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "Leave",
            "Parental & care",
            "Sixteen weeks\teach\nyear.",
            "Note 1: See the law.",
            "  - an item".trim_start(),
            "Pay"
        ]
    );
    assert_eq!(blocks[2].headings, ["Leave", "Parental & care"]);
    assert_eq!(blocks[5].headings, ["Pay"]);
}

#[test]
fn tables_become_markdown_and_tables_within_tables_stay_in_their_cell() {
    let cell = |text: &str| format!("<w:tc><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>");
    let inner = format!("<w:tbl><w:tr>{}{}</w:tr></w:tbl>", cell("x"), cell("y"));
    let body = format!(
        "<w:tbl><w:tr>{}{}</w:tr><w:tr>{}<w:tc>{inner}<w:p/></w:tc></w:tr></w:tbl>",
        cell("Grade"),
        cell("Pay"),
        cell("A")
    );
    assert_eq!(blocks(&document(&body))[0].text, "| Grade | Pay |\n| --- | --- |\n| A | x, y |");
}

#[test]
fn headers_and_footers_are_told_once_comments_where_they_are_made_and_wide_cells_keep_their_columns() {
    let says = |text: &str| format!("<w:p><w:r><w:t xml:space=\"preserve\">{text}</w:t></w:r></w:p>");
    let field = |what: &str, shown: &str| {
        format!(
            "<w:p><w:r><w:t>Confidential</w:t></w:r><w:r><w:fldChar w:fldCharType=\"begin\"/></w:r><w:r><w:instrText> {what} </w:instrText></w:r><w:r><w:fldChar w:fldCharType=\"separate\"/></w:r><w:r><w:t>{shown}</w:t></w:r><w:r><w:fldChar w:fldCharType=\"end\"/></w:r></w:p>"
        )
    };
    let row = |cells: &[(&str, u8)]| {
        let cells = cells.iter().map(|(text, reach)| {
            format!("<w:tc><w:tcPr><w:gridSpan w:val=\"{reach}\"/></w:tcPr>{}</w:tc>", says(text))
        });
        format!("<w:tr>{}</w:tr>", cells.collect::<String>())
    };
    let body = format!(
        "<w:p><w:r><w:t>Approved</w:t></w:r><w:r><w:commentReference w:id=\"0\"/></w:r></w:p><w:tbl>{}{}{}</w:tbl>",
        row(&[("Quarter", 1), ("Sales", 1), ("Cost", 1)]),
        row(&[("both", 2), ("3", 1)]),
        row(&[("Q1", 1), ("1", 1), ("2", 1)]),
    );
    let main = format!("<w:document><w:body>{body}</w:body></w:document>");
    let ties = "<Relationships><Relationship Id=\"a\" Type=\"x/header\" Target=\"header1.xml\"/><Relationship Id=\"b\" Type=\"x/header\" Target=\"header2.xml\"/><Relationship Id=\"c\" Type=\"x/footer\" Target=\"footer1.xml\"/></Relationships>";
    let comments =
        format!("<w:comments><w:comment w:id=\"0\" w:author=\"Ann\">{}</w:comment></w:comments>", says("By whom?"));
    let file = package(&[
        ("word/document.xml", &main),
        ("word/_rels/document.xml.rels", ties),
        ("word/header1.xml", &format!("<w:hdr>{}</w:hdr>", field("PAGE", "17"))),
        ("word/header2.xml", &format!("<w:hdr>{}</w:hdr>", field("PAGE \\* MERGEFORMAT", "18"))),
        ("word/footer1.xml", &format!("<w:ftr>{}</w:ftr>", says("Example Ltd, Springfield"))),
        ("word/comments.xml", &comments),
    ]);
    let texts: Vec<String> = blocks(&file).into_iter().map(|block| block.text).collect();
    assert_eq!(
        texts,
        [
            "Confidential",
            "Approved",
            "Comment by Ann: By whom?",
            "| Quarter | Sales | Cost |\n| --- | --- | --- |\n| both |  | 3 |\n| Q1 | 1 | 2 |",
            "Example Ltd, Springfield"
        ]
    );
}

#[test]
fn a_text_box_is_read_once_and_after_the_paragraph_that_holds_it() {
    let content = "<w:txbxContent><w:p><w:r><w:t>in the box</w:t></w:r></w:p></w:txbxContent>";
    let body = format!(
        "<w:p><w:r><mc:AlternateContent><mc:Choice>{content}</mc:Choice><mc:Fallback>{content}</mc:Fallback></mc:AlternateContent></w:r><w:r><w:t>around it</w:t></w:r></w:p>"
    );
    let texts: Vec<String> = blocks(&document(&body)).into_iter().map(|block| block.text).collect();
    assert_eq!(texts, ["around it", "in the box", "See the law."]);
}

#[test]
fn what_cannot_be_read_says_why() {
    let reason = |bytes: &[u8]| read(bytes, &mut Vec::new()).expect_err("a failure").reason;
    let empty = package(&[("word/document.xml", "<w:document><w:body><w:p/></w:body></w:document>")]);
    assert!(reason(&empty).contains("contains no text"));
    let mut cut = document(&paragraph("H1", "Leave"));
    cut.truncate(cut.len() / 2);
    assert!(reason(&cut).contains("seems damaged"));
    assert!(reason(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1]).contains("password"));
    let deep = "<w:tbl><w:tr><w:tc>".repeat(100_000);
    assert!(reason(&document(&deep)).contains("deeper"));
    let bomb = package(&[("word/document.xml", &" ".repeat(200 << 20))]);
    assert!(bomb.len() < 1 << 20 && reason(&bomb).contains("unpacks"), "{}", reason(&bomb));
}

#[test]
fn a_document_cut_off_inside_its_xml_gives_what_was_whole() {
    let xml = format!("<w:document><w:body>{}<w:p><w:r><w:t>half a sen", paragraph("H1", "Leave"));
    let texts: Vec<String> =
        blocks(&package(&[("word/document.xml", &xml)])).into_iter().map(|block| block.text).collect();
    assert_eq!(texts[0], "Leave");
}

#[test]
fn numbered_lists_and_headings_have_the_numbers_that_word_prints() {
    const LISTS: &str = r#"<w:numbering xmlns:w="x"><w:abstractNum w:abstractNumId="1">
        <w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>
        <w:lvl w:ilvl="1"><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%2)"/></w:lvl></w:abstractNum>
        <w:abstractNum w:abstractNumId="2"><w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/><w:pStyle w:val="H1"/><w:lvlText w:val="§ %1"/></w:lvl></w:abstractNum>
        <w:num w:numId="5"><w:abstractNumId w:val="1"/></w:num><w:num w:numId="6"><w:abstractNumId w:val="2"/></w:num></w:numbering>"#;
    const STYLES: &str = r#"<w:styles xmlns:w="x"><w:style w:styleId="H1"><w:name w:val="heading 1"/><w:pPr><w:numPr><w:numId w:val="6"/></w:numPr></w:pPr></w:style></w:styles>"#;
    let item = |level: u8, text: &str| {
        format!(
            "<w:p><w:pPr><w:numPr><w:ilvl w:val=\"{level}\"/><w:numId w:val=\"5\"/></w:numPr></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
        )
    };
    let out = r#"<w:p><w:pPr><w:pStyle w:val="H1"/><w:numPr><w:numId w:val="0"/></w:numPr></w:pPr><w:r><w:t>Annex</w:t></w:r></w:p>"#;
    let body = [
        paragraph("H1", "Scope"),
        item(0, "Ask."),
        item(1, "Whom?"),
        item(1, "When?"),
        item(0, ""),
        item(0, "Wait."),
        paragraph("H1", "Terms"),
        out.to_owned(),
    ];
    let xml = format!("<w:document xmlns:w=\"x\"><w:body>{}</w:body></w:document>", body.concat());
    let file = package(&[("word/document.xml", &xml), ("word/styles.xml", STYLES), ("word/numbering.xml", LISTS)]);
    let texts: Vec<String> = blocks(&file).into_iter().map(|block| block.text).collect();
    assert_eq!(texts, ["§ 1 Scope", "1. Ask.", "a) Whom?", "b) When?", "3. Wait.", "§ 2 Terms", "Annex"]);
}
