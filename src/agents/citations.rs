//! From the marks that a model wrote to citations that hold: what it invented is dropped, what it used is
//! numbered anew in the order of first appearance.

use std::{collections::HashMap, fmt::Write as _};

use serde::{Deserialize, Serialize};

use super::{
    lexical,
    marks::{self, Piece},
    tool::Source,
};
use crate::support::ids::{DocumentId, PassageId};

/// A numbered passage: while a run goes on, one that the model may cite; in a finished answer, one that it cites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Citation {
    /// The number of its mark, from 1.
    pub number: u32,
    /// The document's name.
    pub document: String,
    /// The document.
    pub document_id: DocumentId,
    /// The passage.
    pub passage_id: PassageId,
    /// Where in the document: `page 3`.
    pub locator: String,
    /// The passage's text.
    pub text: String,
}

/// The passages that have appeared in a run, numbered in order of appearance.
#[derive(Debug, Default)]
pub(super) struct Sources {
    numbered: Vec<Citation>,
    by_passage: HashMap<PassageId, usize>,
}

impl Sources {
    /// Takes passages in; one that has already appeared keeps its number, and its longest text. Returns them all with their
    /// numbers.
    pub(super) fn add(&mut self, sources: Vec<Source>) -> Vec<Citation> {
        let mut taken = Vec::with_capacity(sources.len());
        for source in sources {
            let next = self.numbered.len();
            let index = *self.by_passage.entry(source.passage).or_insert(next);
            if index == next {
                self.numbered.push(Citation {
                    number: u32::try_from(next + 1).unwrap_or(u32::MAX),
                    document: source.title,
                    document_id: source.document,
                    passage_id: source.passage,
                    locator: source.locator,
                    text: source.text,
                });
            } else if source.text.len() > self.numbered[index].text.len() {
                // With its neighbours this time: whoever opens it reads all that the model has read.
                self.numbered[index].text = source.text;
                self.numbered[index].locator = source.locator;
            }
            taken.push(self.numbered[index].clone());
        }
        taken
    }

    /// All of them, in order of their numbers.
    pub(super) fn all(&self) -> &[Citation] {
        &self.numbered
    }
}

/// `text` with places in the stead of marks: their numbers mean other passages to whoever reads it elsewhere.
pub fn with_places(text: &str, citations: &[Citation]) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in marks::pieces(text) {
        match piece {
            Piece::Text(text) | Piece::Code(text) => out.push_str(text),
            Piece::Mark { numbers, .. } => {
                let named = citations.iter().filter(|citation| numbers.contains(&citation.number));
                let places: Vec<_> =
                    named.map(|citation| format!("{}, {}", citation.document, citation.locator)).collect();
                if !places.is_empty() {
                    let _ = write!(out, "({})", places.join("; "));
                }
            }
        }
    }
    out
}

/// `text` with its marks numbered as in `all`, which takes in what it does not have yet: for several texts on one page.
pub fn renumbered(text: &str, citations: &[Citation], all: &mut Vec<Citation>) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in marks::pieces(text) {
        match piece {
            Piece::Text(text) | Piece::Code(text) => out.push_str(text),
            Piece::Mark { numbers, .. } => {
                for citation in numbers.iter().filter_map(|number| find(citations, *number)) {
                    let known = all.iter().position(|other| other.passage_id == citation.passage_id);
                    let index = known.unwrap_or_else(|| {
                        let number = u32::try_from(all.len() + 1).unwrap_or(u32::MAX);
                        all.push(Citation { number, ..citation.clone() });
                        all.len() - 1
                    });
                    let _ = write!(out, "[{}]", all[index].number);
                }
            }
        }
    }
    out
}

/// An answer whose marks agree with its citations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Markdown with marks `[1]`, `[2]` … by first appearance.
    pub(super) text: String,
    /// What the marks mean, in order.
    pub(super) citations: Vec<Citation>,
    /// Numbers that the model invented; their marks are gone.
    pub(super) invented: Vec<u32>,
}

/// Keeps the marks of `answer` that name one of `sources`, and numbers them anew.
pub(super) fn resolve(answer: &str, sources: &[Citation]) -> Resolved {
    let mut resolved =
        Resolved { text: String::with_capacity(answer.len()), citations: Vec::new(), invented: Vec::new() };
    // The marks since the last word, so that `[1][1]` becomes one.
    let mut together: Vec<u32> = Vec::new();
    for piece in marks::pieces(answer) {
        match piece {
            Piece::Text(text) | Piece::Code(text) => {
                if !text.trim().is_empty() {
                    together.clear();
                }
                resolved.text.push_str(text);
            }
            // A number beyond two digits that is no source is rather a quantity or a year than a mark.
            Piece::Mark { numbers, written }
                if numbers.iter().any(|n| *n > 99) && !numbers.iter().any(|n| find(sources, *n).is_some()) =>
            {
                together.clear();
                resolved.text.push_str(written);
            }
            Piece::Mark { numbers, .. } => {
                let mut written = false;
                for number in numbers {
                    let Some(source) = find(sources, number) else {
                        resolved.invented.push(number);
                        continue;
                    };
                    let new = resolved.cite(source);
                    if !together.contains(&new) {
                        together.push(new);
                        let _ = write!(resolved.text, "[{new}]");
                        written = true;
                    }
                }
                if !written {
                    resolved.text.truncate(resolved.text.trim_end_matches(' ').len());
                }
            }
        }
    }
    resolved.text.truncate(resolved.text.trim_end().len());
    resolved
}

/// Marks sentences of an answer without marks by the passages that share the most words with them, two at most.
///
/// A model too small to cite is given passages and answers from them, but does not say from which. This finds it by
/// the words: a passage is cited behind the sentence whose content words it contains best, if it contains at least two of
/// them and at least half, and every number in the sentence. A sentence too short for that ("35 euros.") needs a
/// passage that has all its words and two of the question's. It shows where the words stand, not that the model took them
/// from there; and when no passage shares enough, the answer stays without a citation.
pub(super) fn attach(answer: &str, question: &str, sources: &[Citation]) -> Resolved {
    /// Words of which an answer is made, whatever it says.
    const FRAME: [&str; 4] = ["answer", "question", "text", "document"];
    let sentences = lexical::sentences(answer);
    let asked = lexical::content_words(question);
    let mut candidates: Vec<(usize, usize, &Citation)> = Vec::new();
    for source in sources {
        let passage = lexical::content_words(&source.text);
        let best = sentences.iter().enumerate().filter_map(|(index, range)| {
            let mut words = lexical::content_words(&answer[range.clone()]);
            words.retain(|word| !FRAME.contains(&word.as_str()));
            let shared = words.intersection(&passage).count();
            let numbers_hold = lexical::numbers(&answer[range.clone()]).is_subset(&passage);
            let long_enough = shared >= 2 && shared * 2 >= words.len();
            let short_but_whole = shared > 0 && shared == words.len() && asked.intersection(&passage).count() >= 2;
            (numbers_hold && (long_enough || short_but_whole)).then_some((shared, index))
        });
        if let Some((shared, index)) = best.max_by_key(|(shared, index)| (*shared, std::cmp::Reverse(*index))) {
            candidates.push((shared, index, source));
        }
    }
    // Best first; a stable sort keeps the retriever's order among equals.
    candidates.sort_by_key(|(shared, _, _)| std::cmp::Reverse(*shared));
    // A second passage must bear on another sentence, or hold as many of the words as the first.
    if let [(most, first, _), (shared, second, _), ..] = candidates[..]
        && first == second
        && shared < most
    {
        candidates.truncate(1);
    }
    candidates.truncate(2);

    candidates.sort_by_key(|(_, index, source)| (*index, source.number));
    let mut marked = String::with_capacity(answer.len() + 10);
    let mut written = 0;
    for (_, index, source) in candidates {
        // `Four weeks [1].` reads better than `Four weeks. [1]`.
        let stop = answer[..sentences[index].end].trim_end_matches(['.', '!', '?', '…']).len();
        marked.push_str(&answer[written..stop]);
        if written < stop {
            marked.push(' ');
        }
        let _ = write!(marked, "[{}]", source.number);
        written = stop;
    }
    marked.push_str(&answer[written..]);
    resolve(&marked, sources)
}

impl Resolved {
    fn cite(&mut self, source: &Citation) -> u32 {
        if let Some(known) = self.citations.iter().find(|citation| citation.passage_id == source.passage_id) {
            return known.number;
        }
        let number = u32::try_from(self.citations.len() + 1).unwrap_or(u32::MAX);
        self.citations.push(Citation { number, ..source.clone() });
        number
    }
}

fn find(sources: &[Citation], number: u32) -> Option<&Citation> {
    sources.iter().find(|source| source.number == number)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Passages with these texts, numbered from 1.
    pub(in crate::agents) fn passages(texts: &[&str]) -> Vec<Citation> {
        let document = DocumentId::generate();
        let source = |(index, text): (usize, &&str)| Source {
            passage: PassageId::generate(),
            document,
            title: "Handbook".to_owned(),
            locator: format!("page {}", index + 1),
            text: (*text).to_owned(),
            score: 1.0,
        };
        Sources::default().add(texts.iter().enumerate().map(source).collect())
    }

    #[test]
    fn marks_become_places_because_their_numbers_mean_something_else_elsewhere() {
        let cited = passages(&["one", "two"]);
        let text = with_places("Sixteen weeks [1], twice [1, 2]; `items[1]` stays, [7] goes.", &cited);
        let place = |n: usize| format!("{}, {}", cited[n].document, cited[n].locator);
        let expected =
            format!("Sixteen weeks ({}), twice ({}; {}); `items[1]` stays,  goes.", place(0), place(0), place(1));
        assert_eq!(text, expected);
    }

    #[test]
    fn texts_on_one_page_share_their_numbers() {
        let cited = passages(&["one", "two"]);
        let mut all = Vec::new();
        assert_eq!(renumbered("B [2], then A [1].", &cited, &mut all), "B [1], then A [2].");
        assert_eq!(renumbered("A [1], [9]", &cited, &mut all), "A [2], ");
        assert_eq!(all.iter().map(|c| (c.number, c.text.as_str())).collect::<Vec<_>>(), [(1, "two"), (2, "one")]);
    }

    #[test]
    fn a_passage_that_appears_again_keeps_its_number() {
        let mut sources = Sources::default();
        let source = |passage| Source {
            passage,
            document: DocumentId::generate(),
            title: String::new(),
            locator: String::new(),
            text: String::new(),
            score: 0.0,
        };
        let (first, second, third) = (PassageId::generate(), PassageId::generate(), PassageId::generate());
        sources.add(vec![source(first), source(second)]);
        let numbers: Vec<_> = sources.add(vec![source(second), source(third)]).iter().map(|c| c.number).collect();
        assert_eq!(numbers, [2, 3]);
        assert_eq!(sources.all().len(), 3);
    }

    #[test]
    fn marks_are_numbered_by_first_appearance_and_invented_ones_are_dropped() {
        let sources = passages(&["a", "b", "c", "d"]);
        let resolved = resolve("Yes [3]. Also [9]. And【1】[1, 3] in [100] cases, see `x[2]` [2] [2].", &sources);
        assert_eq!(resolved.text, "Yes [1]. Also. And[2][1] in [100] cases, see `x[2]` [3].");
        assert_eq!(resolved.invented, [9]);
        let numbers: Vec<_> = resolved.citations.iter().map(|c| (c.number, c.text.as_str())).collect();
        assert_eq!(numbers, [(1, "c"), (2, "a"), (3, "b")]);
    }

    #[test]
    fn an_answer_without_marks_is_marked_where_a_passage_has_its_words() {
        let sources =
            passages(&["Visitors sign in at the desk.", "The notice period is four weeks to the end of a month."]);
        let resolved = attach("The notice period is four weeks. Ask your manager.", "", &sources);
        assert_eq!(resolved.text, "The notice period is four weeks [1]. Ask your manager.");
        assert_eq!(resolved.citations.len(), 1);
        assert_eq!(resolved.citations[0].locator, "page 2");
    }

    #[test]
    fn an_answer_that_shares_no_words_with_any_passage_gets_no_citation() {
        let sources = passages(&["Visitors sign in at the desk.", "The notice period is four weeks."]);
        let wrong = attach("The notice period is six weeks.", "What is the notice period?", &sources);
        assert_eq!(wrong.citations.len(), 0, "a number that no passage has");
        let resolved = attach("Bananas are yellow and period.", "", &sources);
        assert_eq!((resolved.text.as_str(), resolved.citations.len()), ("Bananas are yellow and period.", 0));
    }

    #[test]
    fn a_short_answer_is_held_against_the_question_too() {
        let sources = passages(&["Visitors sign in.", "Meals on business trips are refunded up to 35 euros a day."]);
        let question = "How much is refunded for meals?";
        assert_eq!(attach("The answer is: 35.", question, &sources).text, "The answer is: 35 [1].");
        assert_eq!(attach("The answer is: 53.", question, &sources).citations.len(), 0);
        assert_eq!(attach("The answer is: 35.", "How old is Anna?", &sources).citations.len(), 0);
        let sixteen = passages(&["Parental leave is sixteen weeks."]);
        assert_eq!(attach("It is \"16 weeks.\"", "How long is parental leave?", &sixteen).citations.len(), 1);
    }

    #[test]
    fn two_passages_are_attached_at_most() {
        let sources = passages(&["red green blue", "red green blue", "red green blue"]);
        let resolved = attach("Red green blue. Red green blue!", "", &sources);
        assert_eq!(resolved.citations.len(), 2);
        assert_eq!(resolved.text, "Red green blue [1][2]. Red green blue!");
    }
}
