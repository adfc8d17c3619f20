//! The part of a passage that a search result shows, with the words of the query marked.

use crate::knowledge::language;

/// The most characters shown.
const LENGTH: usize = 320;
/// The characters kept before the first marked word.
const LEAD: usize = 80;

/// A run of text that is marked or is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// The text.
    pub(super) text: String,
    /// Whether it is a word of the query.
    pub(super) hit: bool,
}

/// Cuts `text` round the first words of `query` in it. Without any (the passage was found by its meaning), its beginning.
///
/// A word counts when it begins as a word of the query does: `leaves` for `leave`, as the full-text search's stems do.
pub(super) fn snippet(text: &str, query: &str) -> Vec<Piece> {
    let stems: Vec<String> = words(query).map(|(_, word)| stem(word)).filter(|stem| stem.chars().count() > 2).collect();
    let hits: Vec<(usize, usize)> = words(text)
        .filter(|(_, word)| stems.iter().any(|stem| folded(word).starts_with(stem.as_str())))
        .map(|(at, word)| (at, at + word.len()))
        .collect();
    let from = hits.first().map_or(0, |(first, _)| begin(text, *first));
    let to = end(text, from);
    let mut pieces = Vec::new();
    let mut written = from;
    let mut push = |text: String, hit| {
        if !text.is_empty() {
            pieces.push(Piece { text, hit });
        }
    };
    let lead = if from > 0 { "… " } else { "" };
    let mut plain = lead.to_owned();
    for (start, stop) in hits.into_iter().filter(|(start, stop)| *start >= from && *stop <= to) {
        plain.push_str(&text[written..start]);
        push(std::mem::take(&mut plain), false);
        push(text[start..stop].to_owned(), true);
        written = stop;
    }
    plain.push_str(text[written..to].trim_end());
    if to < text.len() {
        plain.push_str(" …");
    }
    push(plain, false);
    pieces
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = text.as_ptr() as usize;
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - start, word))
}

/// Lower case, without accents: words are found without them too.
fn folded(word: &str) -> String {
    language::plain(&word.to_lowercase())
}

/// The same without the commonest endings; never shorter than three characters.
fn stem(word: &str) -> String {
    let word = folded(word);
    let cut = ["ing", "es", "ed", "s", "e"].into_iter().find_map(|ending| word.strip_suffix(ending));
    cut.filter(|cut| cut.chars().count() > 2).map_or_else(|| word.clone(), str::to_owned)
}

fn begin(text: &str, first: usize) -> usize {
    let lead = text[..first].char_indices().rev().nth(LEAD - 1).map_or(0, |(at, _)| at);
    if lead == 0 { 0 } else { text[lead..first].find(' ').map_or(first, |space| lead + space + 1) }
}

fn end(text: &str, from: usize) -> usize {
    let Some((cut, _)) = text[from..].char_indices().nth(LENGTH) else { return text.len() };
    text[from..from + cut].rfind(' ').map_or(from + cut, |space| from + space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, query: &str) -> String {
        snippet(text, query).iter().map(|p| if p.hit { format!("[{}]", p.text) } else { p.text.clone() }).collect()
    }

    #[test]
    fn words_are_marked_by_their_beginning_whatever_their_case() {
        assert_eq!(told("Leave: all leaves and Urlaub.", "leaves of it"), "[Leave]: all [leaves] and Urlaub.");
        assert_eq!(told("Nothing here.", "zebra"), "Nothing here.");
        assert_eq!(told("Übung macht Übungen", "übung"), "[Übung] macht [Übungen]");
        assert_eq!(told("Le congé parental", "conges"), "Le [congé] parental");
    }

    #[test]
    fn a_long_passage_is_cut_at_words_round_the_first_hit() {
        let text = format!("{} needle {}", "before ".repeat(50), "after ".repeat(100));
        let told = told(&text, "needle");
        assert!(told.starts_with("… before") && told.contains("[needle] after") && told.ends_with("after …"), "{told}");
        assert!(told.chars().count() < LENGTH + 20);
    }

    #[test]
    fn an_empty_query_marks_nothing() {
        assert_eq!(told("a b c", "  "), "a b c");
        assert_eq!(told("", "x"), "");
    }
}
