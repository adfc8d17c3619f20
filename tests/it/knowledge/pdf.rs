//! What a PDF's pages look like, and what is read from them: columns, rotated pages and lines, ligatures, divided words,
//! accents that are printed apart, printed page numbers.

use std::fmt::Write as _;

use super::{
    extract::{LIMITS, read_within},
    files::{pdf_of, stream},
};

/// A page: what it shows, and further entries of its dictionary.
struct Page {
    shows: String,
    more: String,
}

fn page(shows: String) -> Page {
    Page { shows, more: String::new() }
}

/// A PDF of these pages. In its font the codes 1 to 3 are `fi`, an acute accent, and Hebrew `shin`.
fn pdf(pages: &[Page], catalogue: &str) -> Vec<u8> {
    pdf_and(pages, catalogue, Vec::new())
}

/// The same with more objects behind those of the pages.
fn pdf_and(pages: &[Page], catalogue: &str, more: Vec<Vec<u8>>) -> Vec<u8> {
    let kids = (0..pages.len()).map(|page| format!("{} 0 R ", 5 + 2 * page)).collect::<Vec<_>>().concat();
    let mapped = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap 1 begincodespacerange <00> <FF> endcodespacerange \
                  3 beginbfchar <01> <FB01> <02> <00B4> <03> <05E9> endbfchar 1 beginbfrange <20> <7E> <0020> endbfrange \
                  endcmap end end";
    let mut objects = vec![
        format!("<</Type/Catalog/Pages 2 0 R{catalogue}>>").into_bytes(),
        format!("<</Type/Pages/Kids[{kids}]/Count {}>>", pages.len()).into_bytes(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 4 0 R>>".to_vec(),
        stream(mapped.as_bytes()),
    ];
    for (number, Page { shows, more }) in pages.iter().enumerate() {
        let content = 6 + 2 * number;
        let entries = "/Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F 3 0 R>>>>";
        objects.push(format!("<<{entries}/Contents {content} 0 R{more}>>").into_bytes());
        objects.push(stream(shows.as_bytes()));
    }
    objects.extend(more);
    pdf_of(&objects)
}

/// Text at a place of the page.
fn at(x: u32, y: u32, text: &str) -> String {
    format!("BT /F 11 Tf {x} {y} Td ({text}) Tj ET\n")
}

async fn texts(bytes: Vec<u8>) -> Vec<String> {
    let (blocks, _) = read_within(LIMITS, "a.pdf", bytes).await.unwrap();
    blocks.into_iter().map(|block| block.text).collect()
}

#[tokio::test]
async fn columns_are_read_one_after_the_other_however_the_file_has_them() {
    let mut shows = at(60, 740, "The annual report of the cooperative");
    for line in 0..24 {
        let y = 700 - 14 * line;
        // As a program writes that goes from line to line of the whole page.
        let _ = write!(shows, "{}", at(60, y, &format!("Left line {line} tells of the harvest in spring")));
        let _ = write!(shows, "{}", at(330, y, &format!("Right line {line} tells of the sales in autumn")));
    }
    let text = texts(pdf(&[page(shows)], "")).await.remove(0);
    let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
    assert!(place("annual report") < place("Left line 0 "), "{text}");
    assert!(place("Left line 23 ") < place("Right line 0 "), "{text}");
    assert!(place("Right line 0 ") < place("Right line 23 "), "{text}");
}

#[tokio::test]
async fn rotated_pages_and_lines_are_read() {
    let lines: String =
        (0..8).map(|line| at(80, 500 - 16 * line, &format!("Turned line {line} of the table"))).collect();
    let sideways = "BT /F 11 Tf 0 1 -1 0 40 300 Tm (Printed along the margin) Tj ET\n";
    let upright = at(80, 700, "The figure shows the water level.");
    let texts = texts(pdf(
        &[
            Page { shows: lines.clone(), more: "/Rotate 90".to_owned() },
            Page { shows: lines, more: "/Rotate 180".to_owned() },
            page(format!("{sideways}{upright}")),
        ],
        "",
    ))
    .await;
    for text in &texts[..2] {
        let of = |line: u32| text.find(&format!("Turned line {line} of the table"));
        assert!((0..8).all(|line| of(line).is_some()), "{text}");
    }
    assert!(texts[0].find("line 0") < texts[0].find("line 7"), "{}", texts[0]);
    assert!(texts[2].contains("Printed along the margin"), "{}", texts[2]);
    assert!(texts[2].contains("The figure shows the water level."), "{}", texts[2]);
}

#[tokio::test]
async fn ligatures_divided_words_and_accents_become_words_again() {
    let shows = [
        at(60, 700, "The of\\001ce keeps the infor-"),
        at(60, 686, "mation of the committee for ten years."),
        // TeX sets the accent over the letter by itself.
        "BT /F 11 Tf 60 640 Td (The caf) Tj ET BT /F 11 Tf 95.5 640 Td (\\002) Tj ET BT /F 11 Tf 95 640 Td (e is open.) Tj ET\n".to_owned(),
    ];
    let text = texts(pdf(&[page(shows.concat())], "")).await.remove(0);
    assert!(text.contains("The office keeps the information of the committee for ten years."), "{text}");
    assert!(text.contains("is open."), "{text}");
}

#[tokio::test]
async fn what_is_written_from_the_right_is_read() {
    let text = texts(pdf(&[page(at(60, 700, "\\003\\003\\003"))], "")).await.remove(0);
    assert_eq!(text, "\u{5e9}\u{5e9}\u{5e9}");
}

#[tokio::test]
async fn what_was_filled_in_or_remarked_is_read_with_the_page() {
    let written_on = |shows: String, annotations: &[&str]| {
        let refer: Vec<_> = (0..annotations.len()).map(|number| format!("{} 0 R", 7 + number)).collect();
        let page = Page { shows, more: format!("/Annots[{}]", refer.join(" ")) };
        let more = annotations.iter().map(|one| format!("<</Type/Annot{one}>>").into_bytes()).collect();
        pdf_and(&[page], "", more)
    };
    let filled = written_on(
        at(60, 700, "Name of the applicant:"),
        &[
            "/Subtype/Widget/FT/Tx/T(name)/V(Ada Lovelace)/Rect[190 690 400 712]",
            "/Subtype/FreeText/Contents(Seen by the auditor)/Rect[60 600 400 620]",
            "/Subtype/Text/T(Grace)/Contents(Ask her for the receipt)/Rect[400 600 420 620]",
        ],
    );
    let told = texts(filled).await.concat();
    for part in
        ["Name of the applicant:", "Ada Lovelace", "Seen by the auditor", "Comment by Grace: Ask her for the receipt"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Nothing else is on the page.
    let form = written_on(String::new(), &["/Subtype/Widget/FT/Tx/T(sum)/V(1200 euros)/Rect[60 690 400 712]"]);
    let told = texts(form).await.concat();
    assert!(told.contains("1200 euros"), "{told}");
}

#[tokio::test]
async fn passages_are_cited_by_the_number_that_is_printed() {
    let pages: Vec<Page> = (1..=4).map(|number| page(at(60, 700, &format!("This is leaf {number}.")))).collect();
    let labels = "/PageLabels<</Nums[0<</S/r>>2<</S/D/St 1>>]>>";
    let (blocks, _) = read_within(LIMITS, "a.pdf", pdf(&pages, labels)).await.unwrap();
    let labels: Vec<_> = blocks.iter().map(|block| (block.page, block.page_label.as_deref())).collect();
    assert_eq!(labels, [(Some(1), Some("i")), (Some(2), Some("ii")), (Some(3), Some("1")), (Some(4), Some("2")),]);
}

/// No two are the same but for their numbers.
fn rule(number: u32) -> String {
    let name: String = (0..4).filter_map(|place| char::from_digit(number / 7_u32.pow(place) % 7 + 10, 36)).collect();
    format!("Rule {name} says what to do at alarm {number}.")
}

#[tokio::test]
async fn a_thousand_plain_pages_keep_their_order_and_lose_what_runs_along() {
    let pages: Vec<Page> = (1..=1000)
        .map(|number| {
            let head = at(60, 760, &format!("Handbook of the fire brigade, page {number}"));
            let body = at(60, 700, &rule(number));
            page(head + &body)
        })
        .collect();
    let texts = texts(pdf(&pages, "")).await;
    assert_eq!(texts.len(), 1000);
    for (number, text) in (1..).zip(&texts) {
        assert_eq!(text, &rule(number));
    }
}
