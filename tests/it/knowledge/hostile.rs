//! Files made to do harm, and what whoever uploads them is told. Nothing but the child ever suffers.

use std::{
    fmt::Write as _,
    io::{Cursor, Write},
};

use aegis::knowledge::extract::Limits;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{
    extract::{LIMITS, read_within},
    files,
};

/// What becomes of a file.
enum Fate {
    /// It is read, and this is in its text.
    Says(&'static str),
    /// It is refused with a sentence that contains this.
    Told(&'static str),
}
use Fate::{Says, Told};

const BOMB: &str = "unpacks to far more data than a document has";
const DAMAGED: &str = "it seems damaged. Save it again";
const SLOW: &str = "took too long. Split it";
const MEMORY: &str = "needs too much memory to read";
const PASSWORD: &str = "is protected by a password. Remove the protection";
const NESTED: &str = "nests tables or text boxes far deeper than a document does";

fn word(body: &str) -> Vec<u8> {
    files::zip(&[("word/document.xml", &format!("<w:document><w:body>{body}</w:body></w:document>"))])
}

/// A Word document whose directory says that its text is ten bytes long, which it is not by far.
fn lying() -> Vec<u8> {
    let mut bytes = files::zip(&[("word/document.xml", &" ".repeat(200 << 20))]);
    let size = u32::to_le_bytes(200 << 20);
    let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| bytes[*at..*at + 4] == size).collect();
    for at in places {
        bytes[at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
    }
    bytes
}

fn crowded() -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..20_001 {
        zip.start_file(format!("ppt/slides/slide{number}.xml"), SimpleFileOptions::default()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The container in which Office puts an encrypted document, as far as anybody looks at it.
fn sealed() -> Vec<u8> {
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    [&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1][..], &[0; 1024], &name, &[0; 512]].concat()
}

/// A page whose text inflates to 400 MiB of spaces.
fn inflating_pdf() -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..400 {
        packed.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let packed = packed.finish().unwrap();
    files::pdf_of(&[
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>".to_vec(),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R>>".to_vec(),
        [format!("<</Length {}/Filter/FlateDecode>>stream\n", packed.len()).as_bytes(), &packed, b"\nendstream"]
            .concat(),
    ])
}

fn cyclic_pdf() -> Vec<u8> {
    files::pdf_of(&[
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[2 0 R 3 0 R]/Count 2/Parent 3 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[2 0 R]/Count 999999999/Parent 2 0 R>>".to_vec(),
    ])
}

fn with_a_million_operators() -> Vec<u8> {
    files::pdf_showing(&[[&b"BT /F 9 Tf "[..], &b"(x) Tj ".repeat(1_000_000), b"ET"].concat()], [0])
}

fn laughing(open: &str, close: &str) -> String {
    let mut entities = "<!ENTITY a \"ha\">".to_owned();
    for (name, before) in ('b'..='z').zip('a'..) {
        let _ = write!(entities, "<!ENTITY {name} \"{}\">", format!("&{before};").repeat(10));
    }
    format!("<?xml version=\"1.0\"?><!DOCTYPE x [{entities}]>{open}first &z; last{close}")
}

fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// A workbook that claims to have more strings than any machine can hold.
fn counted() -> Vec<u8> {
    let strings = "<sst xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" uniqueCount=\"99999999999\"><si><t>x</t></si></sst>";
    let ties = |kind: &str, target: &str| {
        format!(
            "<Relationships><Relationship Id=\"rId1\" Type=\"x/relationships/{kind}\" Target=\"{target}\"/></Relationships>"
        )
    };
    files::zip(&[
        ("_rels/.rels", &ties("officeDocument", "xl/workbook.xml")),
        ("xl/_rels/workbook.xml.rels", &ties("worksheet", "worksheets/sheet1.xml")),
        ("xl/workbook.xml", "<workbook><sheets/></workbook>"),
        ("xl/sharedStrings.xml", strings),
    ])
}

/// A presentation whose slide is a file of the system.
fn climbing() -> Vec<u8> {
    files::zip(&[
        ("ppt/presentation.xml", "<p:presentation><p:sldId r:id=\"a\"/></p:presentation>"),
        (
            "ppt/_rels/presentation.xml.rels",
            "<Relationships><Relationship Id=\"a\" Type=\"x/slide\" Target=\"../../../../etc/passwd\"/></Relationships>",
        ),
    ])
}

fn attributes() -> Vec<u8> {
    let mut page = "<p ".to_owned();
    for number in 0..300_000 {
        let _ = write!(page, "a{number} ");
    }
    (page + ">x").into_bytes()
}

/// A file: its name, what is wrong with it, its bytes, what becomes of it.
type Case = (&'static str, &'static str, Vec<u8>, Fate);

/// Packages and markup built to exhaust whoever reads them.
fn exhausting() -> Vec<Case> {
    let cell = |at: &str, text: &str| format!("<c r=\"{at}\" t=\"inlineStr\"><is><t>{text}</t></is></c>");
    let slide = files::shape(true, "Plan") + &files::shape(false, "Grow");
    let laughs = laughing("<w:document><w:body><w:p><w:r><w:t>", "</w:t></w:r></w:p></w:body></w:document>");
    let titled = format!(
        "<w:p><w:pPr><w:outlineLvl w:val=\"0\"/></w:pPr><w:r><w:t>{}</w:t></w:r></w:p>{}",
        "long ".repeat(200_000),
        "<w:p><w:r><w:t>word</w:t></w:r></w:p>".repeat(2000)
    );
    vec![
        ("bomb.docx", "a part of 300 MiB in 300 kB", word(&" ".repeat(300 << 20)), Told(BOMB)),
        ("bomb.xlsx", "a sheet of 600 MiB in 600 kB", files::xlsx(&" ".repeat(600 << 20)), Told(BOMB)),
        ("lying.docx", "a part of 200 MiB that claims ten bytes", lying(), Told(DAMAGED)),
        ("crowded.pptx", "20,001 members", crowded(), Told("has 20001 members inside; at most 20000 are accepted")),
        (
            "inside.zip",
            "an archive within an archive",
            files::zip(&[("inner.zip", "PK")]),
            Told("Archives cannot be read; upload the files that are in it"),
        ),
        ("deep.docx", "100,000 tables within each other", word(&"<w:tbl><w:tr><w:tc>".repeat(100_000)), Told(NESTED)),
        (
            "deep.pptx",
            "200,000 groups within each other",
            files::pptx(&("<p:grpSp>".repeat(200_000) + &slide)),
            Says("Grow"),
        ),
        (
            "deep.xlsx",
            "100,000 elements within a cell",
            files::xlsx(&format!("<row r=\"1\"><c r=\"A1\" t=\"inlineStr\">{}x", "<is>".repeat(100_000))),
            Told(DAMAGED),
        ),
        (
            "deep.html",
            "100,000 elements within each other",
            format!("{}deep", "<div>".repeat(100_000)).into_bytes(),
            Says("deep"),
        ),
        (
            "deep.md",
            "100,000 quotations within each other",
            format!("{} deep", ">".repeat(100_000)).into_bytes(),
            Says("deep"),
        ),
        ("brackets.md", "100,000 brackets that never close", "[".repeat(100_000).into_bytes(), Says("[[[")),
        (
            "laughs.docx",
            "entities that expand to 10^25 words",
            files::zip(&[("word/document.xml", &laughs)]),
            Says("first  last"),
        ),
        ("titled.docx", "a heading of a megabyte over 2,000 paragraphs", word(&titled), Says("word")),
        (
            "corner.xlsx",
            "one cell, in the last row and column",
            files::xlsx(&format!("<row r=\"1048576\">{}</row>", cell("XFD1048576", "far"))),
            Says("far"),
        ),
        ("counted.xlsx", "claims 99,999,999,999 strings", counted(), Told(MEMORY)),
        ("climbing.pptx", "a slide at ../../../../etc/passwd", climbing(), Told(DAMAGED)),
    ]
}

/// Encrypted and torn files, and what exhausts readers of PDF and of text.
fn damaged() -> Vec<Case> {
    let sheet = files::rows(&[&["Item", "Cost"], &["Paper", "twelve"]]);
    let slide = files::shape(true, "Plan") + &files::shape(false, "Grow");
    let [first, second] = files::panicking_pdfs();
    vec![
        ("first.pdf", "makes the first reader of PDF panic", first, Says("あいう")),
        ("second.pdf", "makes the second reader of PDF panic", second, Says("い")),
        ("sealed.xlsx", "encrypted by Excel", sealed(), Told(PASSWORD)),
        ("sealed.docx", "encrypted by Word", sealed(), Told(PASSWORD)),
        ("locked.pdf", "encrypted, opens with a password", files::locked_pdf(), Told(PASSWORD)),
        ("half.docx", "the first half of a document", half(files::docx(&["# Leave", "Sixteen weeks."])), Told(DAMAGED)),
        ("half.xlsx", "the first half of a workbook", half(files::xlsx(&sheet)), Told(DAMAGED)),
        ("half.pptx", "the first half of a presentation", half(files::pptx(&slide)), Told(DAMAGED)),
        (
            "half.pdf",
            "the first third of a PDF",
            files::pdf(&["Text that goes missing."])[..200].to_vec(),
            Told(DAMAGED),
        ),
        ("cyclic.pdf", "pages that are their own parents, 999,999,999 of them", cyclic_pdf(), Told("contains no text")),
        (
            "deep.pdf",
            "two million arrays within each other",
            files::deep_pdf(),
            Told("made the reader crash, so nothing of it was kept"),
        ),
        ("operators.pdf", "a page of a million operators", with_a_million_operators(), Says("x")),
        ("inflating.pdf", "a page of 400 MiB in 400 kB", inflating_pdf(), Told("contains no text")),
        ("attributes.html", "a tag of 300,000 attributes", attributes(), Told(SLOW)),
        (
            "line.csv",
            "one line of 60 MB",
            "word,".repeat(12_000_000).into_bytes(),
            Told("has more than 16,384 values, which no spreadsheet holds"),
        ),
        (
            "quote.csv",
            "a quotation that never ends",
            format!("a,b\n\"{}", "c,d\n".repeat(50_000)).into_bytes(),
            Says("c,d c,d"),
        ),
        (
            "nul.csv",
            "NUL bytes between the values",
            b"a\0,b\0\n".repeat(99),
            Told("The file's type is not known. AEGIS reads PDF"),
        ),
        (
            "nul.html",
            "NUL bytes in a page",
            b"<p>a\0b<p>".repeat(9),
            Told("The file's type is not known. AEGIS reads PDF"),
        ),
        (
            "nothing.docx",
            "an archive of nothing",
            b"PK\x05\x06".iter().copied().chain([0; 18]).collect(),
            Told(DAMAGED),
        ),
        ("renamed.pdf", "a program called a PDF", b"\x7fELF\x02\x01\x01\0".repeat(99), Told(DAMAGED)),
    ]
}

#[tokio::test]
async fn hostile_files_end_with_their_child_and_a_sentence_that_helps() {
    let limits = Limits { cpu_seconds: 6, ..LIMITS };
    let mut wrong = Vec::new();
    println!("| file | what is wrong with it | what its owner sees |\n|---|---|---|");
    for (name, about, bytes, fate) in exhausting().into_iter().chain(damaged()) {
        let outcome = read_within(limits, name, bytes).await;
        let (fits, seen) = match (&outcome, &fate) {
            (Ok((blocks, _)), fate) => {
                let headings = blocks.iter().flat_map(|block| &block.headings).map(String::len).max();
                assert!(headings.unwrap_or(0) <= 1024, "{name} repeats a long heading");
                let found = blocks.iter().any(|block| matches!(fate, Says(text) if block.text.contains(text)));
                (found, format!("(read: {} blocks)", blocks.len()))
            }
            (Err(error), Told(sentence)) => (error.to_string().contains(sentence), error.to_string()),
            (Err(error), Says(_)) => (false, error.to_string()),
        };
        println!("| {name} | {about} | {seen} |");
        if !fits {
            wrong.push(format!("{name}: {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
