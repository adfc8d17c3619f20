//! The page reader.

use super::*;
use crate::knowledge::extract::Block;

fn blocks(page: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    read(page, &mut blocks).expect("a page");
    blocks
}

fn texts(page: &str) -> Vec<String> {
    blocks(page.as_bytes()).into_iter().map(|block| block.text).collect()
}

#[test]
fn what_a_person_sees_comes_out_under_its_headings() {
    let page = "<!doctype html><html><head><title>Staff &amp; pay</title><style>p{color:red}</style></head><body>\
        <h1>Leave</h1><p>Sixteen\n  weeks <b>each</b> year.<br>Not more.</p><script>steal('</p>')</script>\
        <div hidden><p>secret</p></div><p style='display: NONE'>secret<p>shown</p>\
        <h2>Steps</h2><ol><li>Ask<li>Wait<ul><li>a week</ul></ol><pre>a  b\nc</pre>\
        <noscript>secret</noscript><svg><text>secret</text></svg><!-- secret --></body></html>";
    let blocks = blocks(page.as_bytes());
    let found: Vec<(&str, Vec<&str>)> =
        blocks.iter().map(|block| (block.text.as_str(), block.headings.iter().map(String::as_str).collect())).collect();
    assert_eq!(
        found,
        [
            ("Staff & pay", vec![]),
            ("Leave", vec!["Leave"]),
            ("Sixteen weeks each year.\nNot more.", vec!["Leave"]),
            ("shown", vec!["Leave"]),
            ("Steps", vec!["Leave", "Steps"]),
            ("1. Ask\n2. Wait\n  - a week", vec!["Leave", "Steps"]),
            ("a  b\nc", vec!["Leave", "Steps"]),
        ]
    );
}

#[test]
fn tables_become_rows_and_tables_that_arrange_a_page_become_text() {
    assert_eq!(
        texts("<table><caption>Pay</caption><tr><th>Grade<th>Pay</tr><tr><td>A</td><td>1<p>0</td></tr></table>"),
        ["Pay", "| Grade | Pay |\n| --- | --- |\n| A | 1 0 |"]
    );
    assert_eq!(
        texts(
            "<table><tr><td>menu</td><td><h1>Leave</h1><table><tr><th>A<th>B<tr><td>1<td>2</table>after</td></tr></table>"
        ),
        ["menu", "Leave", "| A | B |\n| --- | --- |\n| 1 | 2 |", "after"]
    );
}

#[test]
fn the_encoding_is_the_marks_the_pages_or_a_guess() {
    let says = |bytes: &[u8]| blocks(bytes).remove(0).text;
    assert_eq!(says(b"<meta charset=iso-8859-1><p>caf\xe9"), "café");
    assert_eq!(says(b"<?xml version='1.0' encoding='windows-1251'?><html><p>\xcf\xf0\xe8\xe2\xe5\xf2"), "Привет");
    assert_eq!(says(b"\xef\xbb\xbf<meta charset=latin1><p>caf\xc3\xa9"), "café");
    assert_eq!(says(b"<meta charset=latin1><p>caf\xc3\xa9 has it wrong"), "café has it wrong");
}

#[test]
fn nothing_to_see_is_no_text_and_depth_costs_nothing() {
    assert_eq!(read(b"<html><script>x</script><div hidden>y", &mut Vec::new()), Err(Failure::empty()));
    for element in ["div", "ul><li", "table><tr><td", "b", "blockquote", "svg", "select"] {
        let deep = format!("{}<p>deep</p>", format!("<{element}>").repeat(100_000));
        let found = read(deep.as_bytes(), &mut Vec::new());
        assert_eq!(found.is_ok(), element != "svg", "{element}: {found:?}");
    }
}
