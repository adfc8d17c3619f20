//! Sentences and the words that carry meaning, by simple rules: enough to pick the sentence of a passage that
//! bears on a question, and to see whether an answer took its words from a passage.

use std::{collections::BTreeSet, ops::Range};

use super::citations::Citation;

/// English words that are in every text and say nothing about its subject.
const COMMON: &[&str] = &[
    "about", "after", "all", "also", "and", "any", "are", "because", "been", "before", "but", "can", "could", "did",
    "does", "for", "from", "had", "has", "have", "her", "his", "how", "into", "its", "may", "more", "most", "much",
    "many", "must", "not", "off", "one", "our", "out", "over", "shall", "she", "should", "some", "such", "tell",
    "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "under", "was", "were",
    "what", "when", "where", "which", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
];

/// Numbers in words, from two: `one` is more often a pronoun.
const NUMBERS: [&str; 19] = [
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

/// What may stand between a full stop and the white space after it.
const CLOSING: [char; 6] = ['"', '”', '’', ')', '*', '_'];

/// The words of `text` that carry meaning: in lower case, without plural endings, numbers in figures,
/// without words that are everywhere.
pub(super) fn content_words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().count() >= 3 || word.chars().any(|c| c.is_ascii_digit()))
        .map(str::to_lowercase)
        .filter(|word| !COMMON.contains(&word.as_str()))
        .map(|word| match NUMBERS.iter().position(|number| *number == word) {
            Some(position) => (position + 2).to_string(),
            None => singular(&word).to_owned(),
        })
        .collect()
}

/// The passages that share words with `question`, in their order: those with more than half as many of them as the
/// one that has the most. All, when none shares any.
pub(super) fn bearing_on<'a>(question: &str, passages: &'a [Citation]) -> Vec<&'a Citation> {
    let asked = content_words(question);
    let shared = |passage: &Citation| content_words(&passage.text).intersection(&asked).count();
    let counted: Vec<_> = passages.iter().map(|passage| (shared(passage), passage)).collect();
    let most = counted.iter().map(|(shared, _)| *shared).max().unwrap_or(0);
    counted.into_iter().filter(|(shared, _)| shared * 2 > most || most == 0).map(|(_, passage)| passage).collect()
}

/// The numbers in `text`, in figures, wherever they are written in words up to twenty.
pub(super) fn numbers(text: &str) -> BTreeSet<String> {
    content_words(text).into_iter().filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).collect()
}

/// Where the sentences of `text` are, without the white space around them. Line breaks in the middle of a sentence do not
/// end it; empty lines do.
pub(super) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for (index, character) in text.char_indices() {
        let end = index + character.len_utf8();
        let ends = match character {
            '.' | '!' | '?' | '…' | '。' | '！' | '？' => sentence_ends_before(&text[end..], character),
            '\n' => text[end..].starts_with(['\n', '-', '*', '#', '|', '•']) || text[end..].starts_with("\r\n"),
            _ => false,
        };
        if ends {
            let closing = text[end..].len() - text[end..].trim_start_matches(CLOSING).len();
            let end = end + if character == '\n' { 0 } else { closing };
            push_trimmed(text, start..end, &mut found);
            start = end;
        }
    }
    push_trimmed(text, start..text.len(), &mut found);
    found
}

/// A full stop ends a sentence when white space and something else than a lower-case letter or a digit follow
/// ("No. 5", "e.g. this" go on).
fn sentence_ends_before(rest: &str, stop: char) -> bool {
    if matches!(stop, '。' | '！' | '？') {
        return true;
    }
    let mut following = rest.trim_start_matches(CLOSING).chars();
    match following.next() {
        None => true,
        Some(space) if space.is_whitespace() => {
            let next = following.find(|c| !c.is_whitespace());
            next.is_none_or(|c| !c.is_lowercase() && (stop != '.' || !c.is_ascii_digit()))
        }
        Some(_) => false,
    }
}

fn push_trimmed(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let piece = &text[range.clone()];
    let trimmed = piece.trim();
    if !trimmed.is_empty() {
        let start = range.start + (piece.len() - piece.trim_start().len());
        found.push(start..start + trimmed.len());
    }
}

fn singular(word: &str) -> &str {
    match word.strip_suffix('s') {
        Some(stem) if stem.len() >= 3 && !stem.ends_with(['s', 'u', 'i']) => stem,
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::citations::tests::passages, *};

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn sentences_end_at_stops_and_empty_lines_but_not_at_numbers_and_abbreviations() {
        assert_eq!(
            split("One is. Two, e.g. this,\nis too!  No. 5 it is"),
            ["One is.", "Two, e.g. this,\nis too!", "No. 5 it is"]
        );
        assert_eq!(
            split("A heading\n\nIt costs 3.50 euros. “Yes.” He left."),
            ["A heading", "It costs 3.50 euros.", "“Yes.”", "He left."]
        );
        assert_eq!(split("- one\n- two\n"), ["- one", "- two"]);
        assert_eq!(split(" \n "), Vec::<&str>::new());
    }

    #[test]
    fn only_passages_that_share_the_most_words_bear_on_a_question() {
        let passages = passages(&["Deliveries go to gate B.", "The office is open.", "Gate deliveries at night."]);
        let chosen = |question| bearing_on(question, &passages).into_iter().map(|p| p.number).collect::<Vec<_>>();
        assert_eq!(chosen("When is gate B open for deliveries?"), [1, 3]);
        assert_eq!(chosen("Capital of Mongolia?"), [1, 2, 3]);
    }

    #[test]
    fn figures_and_words_are_the_same_numbers() {
        let found: Vec<_> = numbers("Sixteen weeks, 35 euros, at 9:05, one of them, 2nd").into_iter().collect();
        assert_eq!(found, ["05", "16", "2nd", "35", "9"]);
    }

    #[test]
    fn content_words_leave_out_what_is_everywhere() {
        let words: Vec<_> =
            content_words("How many weeks are the parents' leaves in 2024? And 5 of them").into_iter().collect();
        assert_eq!(words, ["2024", "5", "leave", "parent", "week"]);
    }
}
