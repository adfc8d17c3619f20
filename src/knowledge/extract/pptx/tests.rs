//! The presentation reader, on packages made here.

use std::fmt::Write as _;

use super::*;
use crate::knowledge::extract::{Rows, docx::package};

fn tie(id: &str, kind: &str, target: &str) -> String {
    format!("<Relationship Id=\"{id}\" Type=\"http://x/{kind}\" Target=\"{target}\"/>")
}

/// A presentation that shows these slides in this order; each is its XML and what it is tied to.
fn deck(slides: &[(&str, &str)], others: &[(&str, &str)]) -> Vec<u8> {
    let (mut list, mut ties, mut parts) = (String::new(), String::new(), Vec::new());
    // The parts are numbered against the order in which they are shown.
    for (index, (slide, slide_ties)) in slides.iter().enumerate() {
        let number = slides.len() - index;
        let _ = write!(list, "<p:sldId id=\"{}\" r:id=\"rId{number}\"/>", 256 + index);
        ties += &tie(&format!("rId{number}"), "slide", &format!("slides/slide{number}.xml"));
        parts.push((format!("ppt/slides/slide{number}.xml"), (*slide).to_owned()));
        let slide_ties = format!("<Relationships>{slide_ties}</Relationships>");
        parts.push((format!("ppt/slides/_rels/slide{number}.xml.rels"), slide_ties));
    }
    ties += &tie("au", "commentAuthors", "commentAuthors.xml");
    let presentation = format!("<p:presentation><p:sldIdLst>{list}</p:sldIdLst></p:presentation>");
    parts.push(("ppt/presentation.xml".to_owned(), presentation));
    parts.push(("ppt/_rels/presentation.xml.rels".to_owned(), format!("<Relationships>{ties}</Relationships>")));
    let all = parts.iter().map(|(name, xml)| (name.as_str(), xml.as_str())).chain(others.iter().copied());
    package(&all.collect::<Vec<_>>())
}

fn shape(placeholder: &str, paragraphs: &str) -> String {
    format!("<p:sp><p:nvSpPr><p:nvPr>{placeholder}</p:nvPr></p:nvSpPr><p:txBody>{paragraphs}</p:txBody></p:sp>")
}

fn says(text: &str) -> String {
    format!("<a:p><a:r><a:t>{text}</a:t></a:r></a:p>")
}

fn blocks(bytes: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    read(bytes, &mut blocks).expect("a presentation");
    blocks
}

#[test]
fn slides_come_in_the_order_shown_with_titles_lists_tables_notes_and_comments() {
    let points = r#"<a:p><a:pPr lvl="0"/><a:r><a:t>Grow &amp; </a:t></a:r><a:r><a:t>hire</a:t></a:r></a:p><a:p><a:pPr lvl="1"/><a:r><a:t>two people</a:t></a:r></a:p><a:p><a:pPr><a:buNone/></a:pPr><a:r><a:t>No bullet</a:t></a:r></a:p>"#;
    let cell = |text: &str| format!("<a:tc><a:txBody>{}</a:txBody></a:tc>", says(text));
    let row = |a: &str, b: &str| format!("<a:tr>{}{}</a:tr>", cell(a), cell(b));
    let table = format!(
        "<p:graphicFrame><a:graphic><a:tbl>{}{}</a:tbl></a:graphic></p:graphicFrame>",
        row("Year", "Sales"),
        row("2024", "7")
    );
    let footer = shape("<p:ph type=\"ftr\"/>", &says("Confidential"));
    let number = shape("<p:ph type=\"sldNum\"/>", &says("1"));
    let first = format!(
        "<p:sld><p:grpSp>{}</p:grpSp>{}{table}{footer}{number}</p:sld>",
        shape("<p:ph type=\"body\" idx=\"1\"/>", points),
        shape("<p:ph type=\"title\"/>", &(says("Road") + &says("map"))),
    );
    let second = format!("<p:sld show=\"0\">{}{footer}</p:sld>", shape("", &says("Not shown")));
    let ties = tie("n", "notesSlide", "../notesSlides/n.xml")
        + &tie("c", "comments", "../comments/c.xml")
        + &tie("d", "diagramData", "../diagrams/d.xml");
    let notes = format!(
        "<p:notes>{}{}</p:notes>",
        shape("<p:ph type=\"body\" idx=\"1\"/>", &says("Say it slowly")),
        shape("<p:ph type=\"sldNum\"/>", &says("1"))
    );
    let file = deck(
        &[(&first, &ties), (&second, "")],
        &[
            ("ppt/notesSlides/n.xml", &notes),
            ("ppt/commentAuthors.xml", "<p:cmAuthorLst><p:cmAuthor id=\"0\" name=\"Ann\"/></p:cmAuthorLst>"),
            (
                "ppt/comments/c.xml",
                "<p:cmLst><p:cm authorId=\"0\"><p188:reply authorId=\"9\"><a:p><a:t>Yes.</a:t></a:p></p188:reply><p:text>Really?</p:text></p:cm></p:cmLst>",
            ),
            (
                "ppt/diagrams/d.xml",
                "<dgm:dataModel><dgm:pt><a:p><a:t>Step one</a:t></a:p></dgm:pt><dgm:pt/></dgm:dataModel>",
            ),
        ],
    );
    let blocks = blocks(&file);
    let found: Vec<(Option<u32>, &str)> = blocks.iter().map(|block| (block.slide, block.text.as_str())).collect();
    assert_eq!(
        found,
        [
            (Some(1), "Road map"),
            (Some(1), "- Grow & hire\n  - two people"),
            (Some(1), "No bullet"),
            (Some(1), "| Year | Sales |\n| --- | --- |\n| 2024 | 7 |"),
            (Some(1), "Confidential"),
            (Some(1), "- Step one"),
            (Some(1), "Notes: Say it slowly"),
            (Some(1), "Comment by Ann: Really?"),
            (Some(1), "Comment: Yes."),
            (Some(2), "Not shown"),
        ]
    );
    assert_eq!(blocks[3].rows, Some(Rows::of_table()));
    assert!(blocks[..9].iter().all(|block| block.headings == ["Road map"] && !block.hidden));
    assert!(blocks[9].hidden && blocks[9].headings.is_empty());
}

#[test]
fn a_deck_without_slides_is_no_text_and_a_torn_one_gives_what_was_whole() {
    let reason = |bytes: &[u8]| read(bytes, &mut Vec::new()).expect_err("a failure").reason;
    assert!(reason(&deck(&[], &[])).contains("contains no text"));
    assert!(reason(&package(&[("ppt/slides/slide1.xml", "<p:sld/>")])).contains("seems damaged"));
    assert!(reason(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1]).contains("password"));
    let torn = format!("<p:sld>{}<p:sp><p:txBody><a:p><a:r><a:t>half", shape("", &says("whole")));
    assert_eq!(blocks(&deck(&[(&torn, "")], &[]))[0].text, "whole");
    let deep = format!("<p:sld>{}{}", "<p:grpSp>".repeat(200_000), shape("", &says("deep")));
    assert_eq!(blocks(&deck(&[(&deep, "")], &[]))[0].text, "deep");
}
