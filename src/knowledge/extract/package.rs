//! What the packages of Word, Excel and PowerPoint have in common (ECMA-376, part 2): a main part, and
//! relationships that say which part belongs to which.

use super::{Failure, archive::Archive, xml};

/// A part's tie to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relationship {
    /// The name by which the part refers to it.
    pub id: String,
    /// The last word of its type: `slide`, `notesSlide`, `comments`.
    pub kind: String,
    /// The other part's name in the archive.
    pub target: String,
}

/// The part that the package is about; `usual` when the package does not say.
pub(super) fn main_part(archive: &mut Archive<'_>, usual: &str) -> Result<String, Failure> {
    let main = relationships_in(archive, "_rels/.rels", "")?.into_iter().find(|tie| tie.kind == "officeDocument");
    Ok(main.map_or_else(|| usual.to_owned(), |tie| tie.target))
}

/// What `part` is tied to inside the package.
pub(super) fn relationships(archive: &mut Archive<'_>, part: &str) -> Result<Vec<Relationship>, Failure> {
    let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
    relationships_in(archive, &joined(folder, &format!("_rels/{name}.rels")), folder)
}

fn relationships_in(archive: &mut Archive<'_>, list: &str, folder: &str) -> Result<Vec<Relationship>, Failure> {
    let Some(list) = archive.part(list)? else { return Ok(Vec::new()) };
    let mut ties = Vec::new();
    xml::each_element(&list, |element| {
        if element.name == "Relationship"
            && element.attribute("TargetMode").as_deref() != Some("External")
            && let (Some(id), Some(kind), Some(target)) =
                (element.attribute("Id"), element.attribute("Type"), element.attribute("Target"))
        {
            let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
            ties.push(Relationship { id, kind, target: joined(folder, &target) });
        }
    });
    Ok(ties)
}

/// `../slides/slide1.xml` as seen from `ppt/notesSlides`.
fn joined(folder: &str, target: &str) -> String {
    if let Some(absolute) = target.strip_prefix('/') {
        return absolute.to_owned();
    }
    let mut steps: Vec<&str> = folder.split('/').filter(|step| !step.is_empty()).collect();
    for step in target.split('/') {
        match step {
            ".." => drop(steps.pop()),
            "" | "." => {}
            step => steps.push(step),
        }
    }
    steps.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_seen_from_the_folder_of_their_part() {
        assert_eq!(joined("ppt/notesSlides", "../slides/slide1.xml"), "ppt/slides/slide1.xml");
        assert_eq!(joined("xl", "worksheets/sheet1.xml"), "xl/worksheets/sheet1.xml");
        assert_eq!(joined("xl/worksheets", "/xl/comments1.xml"), "xl/comments1.xml");
        assert_eq!(joined("", "word/./document.xml"), "word/document.xml");
    }
}
