//! Remarks on cells: notes as Excel calls them now (`comments1.xml`) and the threads that replaced them.

use std::collections::HashMap;

use crate::knowledge::extract::{
    Failure,
    archive::Archive,
    package,
    xml::{self, Element, Then, Visitor},
};

/// A remark: the cell that it is on, who wrote it (perhaps unknown), what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comment {
    /// `B3`.
    pub cell: String,
    /// Who wrote it, where that is known.
    pub author: String,
    /// What it says.
    pub text: String,
}

/// More remarks than a person reads.
const MOST: usize = 10_000;

/// The remarks of every sheet, by the sheet's name.
pub(super) fn of_sheets(archive: &mut Archive<'_>) -> Result<HashMap<String, Vec<Comment>>, Failure> {
    let main = package::main_part(archive, "xl/workbook.xml")?;
    let ties = package::relationships(archive, &main)?;
    let Some(workbook) = archive.part(&main)? else { return Ok(HashMap::new()) };
    let mut sheets = Vec::new();
    xml::each_element(&workbook, |element| {
        if element.name == "sheet"
            && let (Some(name), Some(id)) = (element.attribute("name"), element.attribute("id"))
            && let Some(tie) = ties.iter().find(|tie| tie.id == id)
        {
            sheets.push((name, tie.target.clone()));
        }
    });
    let people = match ties.iter().find(|tie| tie.kind == "person") {
        Some(tie) => people(&archive.part(&tie.target)?.unwrap_or_default()),
        None => HashMap::new(),
    };
    let mut found = HashMap::new();
    for (name, part) in sheets {
        let ties = package::relationships(archive, &part)?;
        let threads: Vec<_> = ties.iter().filter(|tie| tie.kind == "threadedComment").collect();
        let mut comments = Vec::new();
        // For old programs a thread is there a second time, as a note that begins with an apology.
        for tie in ties.iter().filter(|tie| tie.kind == "comments") {
            comments.extend(read(&archive.part(&tie.target)?.unwrap_or_default(), &HashMap::new()));
        }
        comments.retain(|comment| threads.is_empty() || !comment.text.starts_with("[Threaded comment]"));
        for tie in threads {
            comments.extend(read(&archive.part(&tie.target)?.unwrap_or_default(), &people));
        }
        if !comments.is_empty() {
            found.insert(name, comments);
        }
    }
    Ok(found)
}

fn people(part: &str) -> HashMap<String, String> {
    let mut people = HashMap::new();
    xml::each_element(part, |element| {
        if element.name == "person"
            && let (Some(id), Some(name)) = (element.attribute("id"), element.attribute("displayName"))
        {
            people.insert(id, name);
        }
    });
    people
}

fn read(part: &str, people: &HashMap<String, String>) -> Vec<Comment> {
    let mut walk = Walk { people, authors: Vec::new(), in_author: false, in_text: false, comments: Vec::new() };
    let Ok(_) = xml::visit(part, &mut walk);
    for comment in &mut walk.comments {
        comment.text = comment.text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Excel writes the author's name into the note as its first words, too.
        if let Some(rest) = comment.text.strip_prefix(&format!("{}:", comment.author)) {
            comment.text = rest.trim_start().to_owned();
        }
    }
    walk.comments.retain(|comment| !comment.text.is_empty());
    walk.comments
}

struct Walk<'a> {
    people: &'a HashMap<String, String>,
    authors: Vec<String>,
    in_author: bool,
    in_text: bool,
    comments: Vec<Comment>,
}

impl Visitor for Walk<'_> {
    type Error = std::convert::Infallible;

    fn start(&mut self, element: &Element<'_>) -> Result<Then, Self::Error> {
        match element.name {
            "author" => {
                self.authors.push(String::new());
                self.in_author = true;
            }
            "comment" | "threadedComment" if self.comments.len() < MOST => {
                let known = element.attribute("authorId").and_then(|at| self.authors.get(at.parse::<usize>().ok()?));
                let person = element.attribute("personId").and_then(|id| self.people.get(&id));
                self.comments.push(Comment {
                    cell: element.attribute("ref").unwrap_or_default(),
                    author: known.or(person).cloned().unwrap_or_default(),
                    text: String::new(),
                });
            }
            "t" | "text" => self.in_text = true,
            "rPh" => return Ok(Then::Skip),
            _ => {}
        }
        Ok(Then::Enter)
    }

    fn end(&mut self, name: &str) -> Result<(), Self::Error> {
        match name {
            "author" => self.in_author = false,
            "t" | "text" => self.in_text = false,
            "r" | "p" => {
                if let Some(comment) = self.comments.last_mut() {
                    comment.text.push(' ');
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.in_author {
            if let Some(author) = self.authors.last_mut() {
                author.push_str(text);
            }
        } else if self.in_text
            && let Some(comment) = self.comments.last_mut()
        {
            comment.text.push_str(text);
        }
    }
}
