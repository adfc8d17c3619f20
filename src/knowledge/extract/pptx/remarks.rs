//! What belongs to a slide but stands in other parts: the points of diagrams, the titles of charts, comments.

use std::{collections::HashMap, convert::Infallible};

use crate::knowledge::extract::xml::{self, Element, Then, Visitor};

/// More remarks, or points of one diagram, than a person reads.
const MOST: usize = 10_000;

/// Who may have written comments: old files number their authors, new ones give them identifiers.
pub(super) fn authors(part: &str) -> HashMap<String, String> {
    let mut authors = HashMap::new();
    xml::each_element(part, |element| {
        if matches!(element.name, "cmAuthor" | "author")
            && let (Some(id), Some(name)) = (element.attribute("id"), element.attribute("name"))
        {
            authors.insert(id, name);
        }
    });
    authors
}

/// Comments as lines: `Comment by Ann: …`, answers after what they answer.
pub(super) fn comments(part: &str, authors: &HashMap<String, String>) -> Vec<String> {
    let mut walk = Walk { holders: &["cm", "reply"], authors: Some(authors), ..Walk::default() };
    let Ok(_) = xml::visit(part, &mut walk);
    walk.finished()
}

/// The text inside every element with one of these names, those without text left out.
pub(super) fn texts(part: &str, holders: &'static [&'static str]) -> Vec<String> {
    let mut walk = Walk { holders, ..Walk::default() };
    let Ok(_) = xml::visit(part, &mut walk);
    walk.finished()
}

#[derive(Default)]
struct Walk<'a> {
    holders: &'static [&'static str],
    authors: Option<&'a HashMap<String, String>>,
    found: Vec<(String, String)>,
    /// Which of those are open, the innermost last: an answer stands inside of what it answers, and before it.
    open: Vec<usize>,
    in_text: bool,
}

impl Walk<'_> {
    fn finished(self) -> Vec<String> {
        let lines = self.found.into_iter().map(|(by, text)| {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if text.is_empty() { text } else { by + &text }
        });
        lines.filter(|line| !line.is_empty()).collect()
    }
}

impl Visitor for Walk<'_> {
    type Error = Infallible;

    fn start(&mut self, element: &Element<'_>) -> Result<Then, Infallible> {
        if self.holders.contains(&element.name) {
            if self.found.len() == MOST {
                return Ok(Then::Skip);
            }
            self.open.push(self.found.len());
            let author = |authors: &HashMap<String, String>| {
                let name = element.attribute("authorId").and_then(|id| authors.get(&id).cloned());
                name.map_or_else(|| "Comment: ".to_owned(), |name| format!("Comment by {name}: "))
            };
            self.found.push((self.authors.map(author).unwrap_or_default(), String::new()));
        }
        self.in_text |= !self.open.is_empty() && matches!(element.name, "t" | "text");
        Ok(Then::Enter)
    }

    fn end(&mut self, name: &str) -> Result<(), Infallible> {
        if self.holders.contains(&name) {
            self.open.pop();
        }
        match name {
            "t" | "text" => self.in_text = false,
            "p" => self.push(" "),
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.in_text {
            self.push(text);
        }
    }
}

impl Walk<'_> {
    fn push(&mut self, text: &str) {
        if let Some((_, said)) = self.open.last().and_then(|at| self.found.get_mut(*at)) {
            said.push_str(text);
        }
    }
}
