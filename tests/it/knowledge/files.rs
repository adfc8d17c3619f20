//! Documents, made here byte by byte.

use std::{
    fmt::Write as _,
    io::{Cursor, Write},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use zip::{ZipWriter, write::SimpleFileOptions};

/// A PDF with these objects, numbered from 1; the first is the catalogue.
pub fn pdf_of(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        file.extend(format!("{} 0 obj\n", index + 1).into_bytes());
        file.extend(object);
        file.extend(b"\nendobj\n");
    }
    let table = file.len();
    file.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).into_bytes());
    for offset in offsets {
        file.extend(format!("{offset:010} 00000 n \n").into_bytes());
    }
    file.extend(
        format!("trailer\n<</Size {}/Root 1 0 R>>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1).into_bytes(),
    );
    file
}

/// A stream object.
pub fn stream(content: &[u8]) -> Vec<u8> {
    [format!("<</Length {}>>stream\n", content.len()).as_bytes(), content, b"\nendstream"].concat()
}

/// A PDF whose pages show these streams; a stream may be shown by many pages.
pub fn pdf_showing(contents: &[Vec<u8>], pages: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let pages: Vec<usize> = pages.into_iter().collect();
    let first_content = 4 + pages.len();
    let kids = (0..pages.len()).map(|page| format!("{} 0 R ", 4 + page)).collect::<Vec<_>>().concat();
    let mut objects = vec![
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        format!("<</Type/Pages/Kids[{kids}]/Count {}>>", pages.len()).into_bytes(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>".to_vec(),
    ];
    for content in &pages {
        let content = first_content + content;
        objects.push(
            format!("<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {content} 0 R/Resources<</Font<</F 3 0 R>>>>>>")
                .into_bytes(),
        );
    }
    objects.extend(contents.iter().map(|content| stream(content)));
    pdf_of(&objects)
}

/// A PDF with one page for each text; lines of a text become lines of the page.
pub fn pdf(pages: &[&str]) -> Vec<u8> {
    let contents: Vec<Vec<u8>> = pages
        .iter()
        .map(|text| {
            let lines = text.lines().map(|line| format!("({line}) Tj T* ")).collect::<Vec<_>>().concat();
            format!("BT /F 12 Tf 14 TL 60 720 Td {lines}ET").into_bytes()
        })
        .collect();
    pdf_showing(&contents, 0..pages.len())
}

/// A zip archive of these members.
pub fn zip(members: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A Word document: `# ` begins a heading of level 1, `## ` of level 2, everything else is a paragraph.
pub fn docx(lines: &[&str]) -> Vec<u8> {
    let body = lines
        .iter()
        .map(|line| {
            let (style, text) = match (line.strip_prefix("## "), line.strip_prefix("# ")) {
                (Some(text), _) => ("Heading2", text),
                (None, Some(text)) => ("Heading1", text),
                (None, None) => ("Normal", *line),
            };
            format!("<w:p><w:pPr><w:pStyle w:val=\"{style}\"/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
        })
        .collect::<Vec<_>>()
        .concat();
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><w:document xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\"><w:body>{body}</w:body></w:document>"
    );
    zip(&[("[Content_Types].xml", "<Types/>"), ("word/document.xml", &document)])
}

/// A workbook with one sheet, `Costs`, of these rows of `<row>` elements; cells that name a shared string have the
/// text `shared`.
pub fn xlsx(rows: &str) -> Vec<u8> {
    const MAIN: &str = "xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"";
    let ties = |kind: &str, target: &str| {
        format!(
            "<Relationships><Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}\" Target=\"{target}\"/></Relationships>"
        )
    };
    zip(&[
        ("_rels/.rels", &ties("officeDocument", "xl/workbook.xml")),
        ("xl/_rels/workbook.xml.rels", &ties("worksheet", "worksheets/sheet1.xml")),
        (
            "xl/workbook.xml",
            &format!(
                "<workbook {MAIN} xmlns:r=\"r\"><sheets><sheet name=\"Costs\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>"
            ),
        ),
        ("xl/sharedStrings.xml", &format!("<sst {MAIN} uniqueCount=\"1\"><si><t>shared</t></si></sst>")),
        ("xl/worksheets/sheet1.xml", &format!("<worksheet {MAIN}><sheetData>{rows}</sheetData></worksheet>")),
    ])
}

/// Rows of words for [`xlsx`]; the first is row 1.
pub fn rows(rows: &[&[&str]]) -> String {
    let mut xml = String::new();
    for (number, row) in (1..).zip(rows) {
        let cells = (b'A'..).zip(*row).map(|(column, text)| {
            format!("<c r=\"{}{number}\" t=\"inlineStr\"><is><t>{text}</t></is></c>", char::from(column))
        });
        let _ = write!(xml, "<row r=\"{number}\">{}</row>", cells.collect::<String>());
    }
    xml
}

/// A presentation with one slide of this content.
pub fn pptx(slide: &str) -> Vec<u8> {
    zip(&[
        (
            "ppt/presentation.xml",
            "<p:presentation><p:sldIdLst><p:sldId id=\"256\" r:id=\"rId1\"/></p:sldIdLst></p:presentation>",
        ),
        (
            "ppt/_rels/presentation.xml.rels",
            "<Relationships><Relationship Id=\"rId1\" Type=\"x/slide\" Target=\"slides/slide1.xml\"/></Relationships>",
        ),
        ("ppt/slides/slide1.xml", &format!("<p:sld><p:cSld><p:spTree>{slide}</p:spTree></p:cSld></p:sld>")),
    ])
}

/// A shape of a slide that says this, as its title or not.
pub fn shape(title: bool, text: &str) -> String {
    let placeholder = if title { "<p:nvSpPr><p:nvPr><p:ph type=\"title\"/></p:nvPr></p:nvSpPr>" } else { "" };
    format!("<p:sp>{placeholder}<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>")
}

/// A PDF, encrypted with AES-256 by qpdf, that opens with the password `secret` only.
pub fn locked_pdf() -> Vec<u8> {
    decode(include_str!("locked.base64"))
}

/// A PDF, encrypted likewise, that anybody may open and nobody may change. It says: Secret salaries are here.
pub fn restricted_pdf() -> Vec<u8> {
    decode(include_str!("restricted.base64"))
}

/// Pages that take the reader seconds each: the same hundred thousand operators on every one.
pub fn slow_pdf(pages: usize) -> Vec<u8> {
    let content = [&b"BT /F 9 Tf 20 700 Td "[..], &b"(slow words) Tj 3 1 Td ".repeat(100_000), b"ET"].concat();
    pdf_showing(&[content], std::iter::repeat_n(0, pages))
}

/// An array within an array, two million times: recursive readers run out of stack.
pub fn deep_pdf() -> Vec<u8> {
    pdf_showing(&[[&b"BT /F 12 Tf "[..], &b"[".repeat(2_000_000), b" TJ ET"].concat()], [0])
}

/// Two PDFs that the fuzzer made: one makes the first reader panic, the other the second.
pub fn panicking_pdfs() -> [Vec<u8>; 2] {
    [decode(include_str!("crashes/first.base64")), decode(include_str!("crashes/second.base64"))]
}

fn decode(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap()
}
