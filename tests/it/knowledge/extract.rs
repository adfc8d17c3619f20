//! Reading files in the child process: what comes out of good ones, and how bad ones end.

use std::{io::Write, path::Path, process::Stdio, time::Duration};

use aegis::knowledge::extract::{
    Block, Limits, Reader,
    process::{ExtractError, SUBCOMMAND},
};
use futures::stream;

use super::files;

const PROGRAM: &str = env!("CARGO_BIN_EXE_aegis");
pub const LIMITS: Limits = Limits { memory: 1 << 30, cpu_seconds: 30, text: 16 << 20 };

pub async fn read_within(
    limits: Limits,
    file_name: &str,
    bytes: Vec<u8>,
) -> Result<(Vec<Block>, Option<u32>), ExtractError> {
    let parts = stream::iter(bytes.chunks(1 << 20).map(|part| Ok(part.to_vec())).collect::<Vec<_>>());
    let mut reader = Reader::start(Path::new(PROGRAM), limits, file_name, false, parts).await?;
    let mut blocks = Vec::new();
    while let Some(block) = reader.next().await? {
        blocks.push(block);
    }
    Ok((blocks, reader.finished().pages))
}

async fn read(file_name: &str, bytes: Vec<u8>) -> Result<(Vec<Block>, Option<u32>), ExtractError> {
    read_within(LIMITS, file_name, bytes).await
}

async fn failure(file_name: &str, bytes: Vec<u8>) -> String {
    read(file_name, bytes).await.expect_err(file_name).to_string()
}

#[tokio::test]
async fn a_pdf_gives_its_text_page_by_page() {
    let bytes = files::pdf(&["The first page tells of infor-\nmation for all.", "The second page.", "The third."]);
    let (blocks, pages) = read("a.pdf", bytes).await.unwrap();
    assert_eq!(pages, Some(3));
    assert_eq!(blocks.iter().map(|block| block.page).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    assert_eq!(blocks[0].text, "The first page tells of information for all.");
    assert_eq!(blocks[1].text, "The second page.");
}

#[tokio::test]
async fn word_markdown_and_text_give_headings_and_lines() {
    let (blocks, _) = read("a.docx", files::docx(&["# Leave", "## Parental leave", "Sixteen weeks."])).await.unwrap();
    assert_eq!(blocks[2].headings, ["Leave", "Parental leave"]);
    let (blocks, _) = read("a.md", b"# T\n\n## Leave\n\nSixteen *weeks*.\n".to_vec()).await.unwrap();
    assert_eq!((blocks[2].text.as_str(), &blocks[2].headings[..]), ("Sixteen *weeks*.", &["Leave".to_owned()][..]));
    let (blocks, _) = read("a.txt", "\nGrüße\n".encode_utf16().flat_map(u16::to_le_bytes).collect()).await.unwrap();
    assert_eq!((blocks[0].text.as_str(), blocks[0].line), ("Grüße", Some(2)));
}

#[tokio::test]
async fn workbooks_presentations_pages_and_rows_give_their_places() {
    let rows = files::rows(&[&["Item", "Cost"], &["Paper", "twelve"], &["Ink", "seven"]]);
    let (blocks, _) = read("a.xlsx", files::xlsx(&rows)).await.unwrap();
    assert_eq!(blocks[0].text, "| Item | Cost |\n| --- | --- |\n| Paper | twelve |\n| Ink | seven |");
    assert_eq!(
        (blocks[0].sheet.as_deref(), &blocks[0].rows.as_ref().unwrap().numbers[..]),
        (Some("Costs"), &[2, 3][..])
    );
    let slide = files::shape(true, "Plan") + &files::shape(false, "Grow");
    let (blocks, _) = read("a.pptx", files::pptx(&slide)).await.unwrap();
    assert_eq!(
        (blocks[1].text.as_str(), blocks[1].slide, &blocks[1].headings[..]),
        ("Grow", Some(1), &["Plan".to_owned()][..])
    );
    let (blocks, _) = read("a.html", b"<h1>Leave</h1><p>Sixteen <b>weeks</b>.".to_vec()).await.unwrap();
    assert_eq!((blocks[1].text.as_str(), &blocks[1].headings[..]), ("Sixteen weeks.", &["Leave".to_owned()][..]));
    let (blocks, _) = read("a.csv", b"Name;Pay\nAnn;10\n".to_vec()).await.unwrap();
    assert_eq!(blocks[0].text, "| Name | Pay |\n| --- | --- |\n| Ann | 10 |");
}

#[tokio::test]
async fn a_pdf_that_anybody_may_open_is_read_although_it_is_encrypted() {
    let (blocks, _) = read("a.pdf", files::restricted_pdf()).await.unwrap();
    assert_eq!(blocks[0].text, "Secret salaries are here");
}

#[tokio::test]
async fn files_that_cannot_be_read_fail_with_a_reason_that_a_person_understands() {
    let whole = files::pdf(&["Some text that will be missing."]);
    let scan = files::pdf_of(&[
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>".to_vec(),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</XObject<</I 5 0 R>>>>>>".to_vec(),
        files::stream(b"q 600 0 0 800 0 0 cm /I Do Q"),
        [&b"<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>stream\n"[..], b"\x7f\nendstream"].concat(),
    ]);
    for (name, bytes, said) in [
        ("locked.pdf", files::locked_pdf(), "is protected by a password"),
        ("cut.pdf", whole[..whole.len() / 3].to_vec(), "cannot be read as a PDF: it seems damaged"),
        ("noise.pdf", (0..=255).cycle().take(20_000).collect(), "cannot be read as a PDF: it seems damaged"),
        ("blank.pdf", files::pdf(&[""]), "contains no text"),
        ("scan.pdf", scan, "looks scanned"),
        ("nothing.txt", Vec::new(), "contains no text"),
        ("noise.docx", b"PK\x03\x04 and nothing else".to_vec(), "cannot be read as a Word document: it seems damaged"),
        ("empty.docx", files::docx(&[""]), "contains no text"),
        ("bomb.docx", files::zip(&[("word/document.xml", &" ".repeat(300 << 20))]), "unpacks to far more data"),
        ("photo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "run it through text recognition"),
    ] {
        let reason = failure(name, bytes).await;
        assert!(reason.contains(said), "{name}: {reason}");
    }
}

#[tokio::test]
async fn a_file_that_overflows_the_readers_stack_ends_with_the_child_alone() {
    let error = read("deep.pdf", files::deep_pdf()).await.expect_err("it nests two million arrays");
    assert!(
        matches!(&error, ExtractError::Crashed(failure) if failure.reason.contains("made the reader crash")),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_needs_more_memory_than_allowed_is_stopped() {
    let little = Limits { memory: 320 << 20, ..LIMITS };
    let large = "words and words\n".repeat(18 << 20);
    let error = read_within(little, "large.txt", large.into_bytes()).await.expect_err("288 MiB do not fit in twice");
    assert!(error.to_string().contains("too much memory"), "{error}");
}

#[tokio::test]
async fn a_file_that_takes_too_long_is_stopped() {
    let hurried = Limits { cpu_seconds: 1, ..LIMITS };
    let error = read_within(hurried, "slow.pdf", files::slow_pdf(400)).await.expect_err("it takes minutes");
    assert!(error.to_string().contains("took too long"), "{error}");
}

#[tokio::test]
async fn no_more_text_comes_out_than_allowed() {
    let narrow = Limits { text: 1000, ..LIMITS };
    let error = read_within(narrow, "a.txt", "long enough\n".repeat(1000).into_bytes()).await.expect_err("12 kB");
    assert!(error.to_string().contains("more text than one document may have"), "{error}");
}

#[tokio::test]
async fn the_child_limits_itself_before_it_reads_the_file() {
    let mut child = std::process::Command::new(PROGRAM)
        .arg(SUBCOMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let header = r#"{"file_name":"a.txt","attempt":"first","memory":500000000,"cpu_seconds":7,"text":1000}"#;
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{header}").unwrap();
    let path = format!("/proc/{}/limits", child.id());
    let limited = |limits: &str| {
        [
            ("Max address space", "500000000"),
            ("Max cpu time", "7"),
            ("Max file size", "0"),
            ("Max open files", "3"),
            ("Max core file size", "0"),
        ]
        .iter()
        .all(|(name, value)| {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line[name.len().min(line.len())..].split_whitespace().next() == Some(*value)
        })
    };
    let mut limits = String::new();
    for _ in 0..1500 {
        limits = std::fs::read_to_string(&path).unwrap();
        if limited(&limits) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(limited(&limits), "{limits}");
    drop(input);
    child.wait().unwrap();
}
