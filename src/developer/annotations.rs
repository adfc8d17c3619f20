//! The marks of an answer as OpenAI's clients know citations: from which character to which, and the address of the
//! passage in the console.

use serde::Serialize;
use utoipa::ToSchema;

use crate::agents::Citation;

/// A mark `[1]` in an answer, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Annotation {
    /// The mark's first character.
    pub(super) start_index: usize,
    /// The character after the mark.
    pub(super) end_index: usize,
    /// The document and the place in it.
    pub(super) title: String,
    /// The passage in the console.
    pub(super) url: String,
}

/// What the marks in `text` mean, in order. `link` makes a whole address of a path in the console.
pub(super) fn of(text: &str, citations: &[Citation], link: impl Fn(&str) -> String) -> Vec<Annotation> {
    let mut annotations = Vec::new();
    let (mut rest, mut passed) = (text, 0);
    while let Some(open) = rest.find('[') {
        passed += rest[..open].chars().count();
        rest = &rest[open..];
        let inside = rest[1..].split_once(']').map(|(inside, _)| inside);
        let number = inside.filter(|inside| inside.len() <= 4).and_then(|inside| inside.parse::<u32>().ok());
        let cited = number.and_then(|number| citations.iter().find(|citation| citation.number == number));
        let length = match (inside, cited) {
            (Some(inside), Some(citation)) => {
                let length = inside.len() + 2;
                annotations.push(annotation(citation, passed, length, &link));
                length
            }
            _ => 1,
        };
        passed += length;
        rest = &rest[length..];
    }
    annotations
}

fn annotation(citation: &Citation, start: usize, length: usize, link: impl Fn(&str) -> String) -> Annotation {
    let Citation { document, document_id, passage_id, locator, .. } = citation;
    Annotation {
        start_index: start,
        end_index: start + length,
        title: if locator.is_empty() { document.clone() } else { format!("{document} › {locator}") },
        url: link(&passage_id.address(*document_id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::ids::{DocumentId, PassageId};

    fn citation(number: u32) -> Citation {
        Citation {
            number,
            document: "Handbook".to_owned(),
            document_id: DocumentId::generate(),
            passage_id: PassageId::generate(),
            locator: "page 3".to_owned(),
            text: String::new(),
        }
    }

    #[test]
    fn marks_are_found_by_characters_and_lead_to_their_passages() {
        let citations = [citation(1), citation(12)];
        let text = "Größe [1], [x] [7] und mehr [12][1].";
        let found = of(text, &citations, |path| format!("https://aegis.example{path}"));
        let marks: Vec<String> = found
            .iter()
            .map(|found| text.chars().skip(found.start_index).take(found.end_index - found.start_index).collect())
            .collect();
        assert_eq!(marks, ["[1]", "[12]", "[1]"]);
        let passage = citations[1].passage_id;
        assert!(found[1].url.starts_with("https://aegis.example/knowledge/"));
        assert!(found[1].url.ends_with(&format!("#passage-{passage}")));
        assert_eq!(found[1].title, "Handbook › page 3");
        assert!(of("[", &citations, str::to_owned).is_empty() && of("[1", &citations, str::to_owned).is_empty());
    }
}
