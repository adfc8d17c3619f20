//! The answer when no language model is usable: the best passages, quoted, and a plain statement that this is so.

use std::fmt::Write as _;

use super::{citations::Citation, lexical};
use crate::support::text::without_headings;

/// The most passages that are quoted.
const MOST: usize = 3;
/// A passage longer than this many bytes is trimmed to the sentences that bear on the question.
const LONGEST_QUOTE: usize = 420;
/// The same under an answer, which is short itself.
const LONGEST_BESIDE: usize = 220;

/// An answer that consists of quotations: Markdown with marks, and what they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quotation {
    pub(super) text: String,
    pub(super) citations: Vec<Citation>,
}

/// Quotes the passages of `sources` (best first) that bear on `question`.
///
/// When some passages contain words of the question, only those are quoted; when none does, the nearest are, and it says so.
pub(super) fn quote(question: &str, sources: &[Citation]) -> Quotation {
    let asked = lexical::content_words(question);
    let bears = |source: &&Citation| !lexical::content_words(&source.text).is_disjoint(&asked);
    let mut chosen: Vec<&Citation> = sources.iter().filter(bears).take(MOST).collect();
    let introduction = if !chosen.is_empty() {
        include_str!("prompts/quoting.md")
    } else if !sources.is_empty() {
        chosen = sources.iter().take(MOST).collect();
        include_str!("prompts/quoting_far.md")
    } else {
        include_str!("prompts/quoting_nothing.md")
    };
    let mut text = introduction.trim_end().to_owned();
    let mut citations = Vec::with_capacity(chosen.len());
    for (number, source) in (1..).zip(chosen) {
        let quoted = literal(&excerpt(&readable(&source.text), question, LONGEST_QUOTE, LONGEST_QUOTE));
        let _ = write!(text, "\n\n> “{quoted}” [{number}]");
        citations.push(Citation { number, ..source.clone() });
    }
    Quotation { text, citations }
}

/// The words of the best passage in `sources` that bears on the question, to stand under a small model's answer so that
/// its reader can judge it: Markdown, and the passage among `citations`. Nothing when none bears on it.
pub(super) fn beside(question: &str, sources: &[Citation], citations: &mut Vec<Citation>) -> Option<String> {
    let asked = lexical::content_words(question);
    let best = sources.iter().find(|source| !lexical::content_words(&source.text).is_disjoint(&asked))?;
    let cited = citations.iter().find(|citation| citation.passage_id == best.passage_id).map(|cited| cited.number);
    let number = cited.unwrap_or_else(|| {
        let number = citations.last().map_or(0, |last| last.number) + 1;
        citations.push(Citation { number, ..best.clone() });
        number
    });
    let quoted = literal(&excerpt(&readable(&best.text), question, LONGEST_BESIDE, LONGEST_QUOTE));
    Some(format!("\n\n> “{quoted}” [{number}]"))
}

/// A passage as one reads it aloud: without its headings, and a table's rows without their rules.
fn readable(passage: &str) -> String {
    let line = |line: &str| match line.trim().strip_prefix('|').and_then(|row| row.strip_suffix('|')) {
        None => Some(line.to_owned()),
        Some(row) if row.chars().all(|c| matches!(c, '-' | ':' | '|' | ' ')) => None,
        Some(row) => Some(row.split('|').map(str::trim).collect::<Vec<_>>().join(": ") + "."),
    };
    without_headings(passage).lines().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// The sentence of `passage` that shares the most words with `question`, with those round it as long as they fit into
/// `usual` bytes together; on one line, with `…` where something was left out. A sentence beyond `longest` bytes is cut.
pub(super) fn excerpt(passage: &str, question: &str, usual: usize, longest: usize) -> String {
    let asked = lexical::content_words(question);
    let sentences = lexical::sentences(passage);
    let on_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let score = |index: usize| lexical::content_words(&passage[sentences[index].clone()]).intersection(&asked).count();
    let Some(best) = (0..sentences.len()).max_by_key(|index| (score(*index), std::cmp::Reverse(*index))) else {
        return String::new();
    };
    let (mut first, mut last) = (best, best);
    let length = |first: usize, last: usize| sentences[last].end - sentences[first].start;
    loop {
        // What follows explains more often than what stands before; whichever shares more words goes first.
        let after = (last + 1 < sentences.len() && length(first, last + 1) <= usual).then(|| score(last + 1) + 1);
        let before = (first > 0 && length(first - 1, last) <= usual).then(|| score(first - 1));
        match (after, before) {
            (None, None) => break,
            (Some(after), Some(before)) if before > after => first -= 1,
            (None, Some(_)) => first -= 1,
            (Some(_), _) => last += 1,
        }
    }
    let mut text = on_one_line(&passage[sentences[first].start..sentences[last].end]);
    if text.len() > longest {
        let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let end = text[..end].rfind(' ').unwrap_or(end);
        text.truncate(end);
        text.push_str(" …");
    } else if last + 1 < sentences.len() {
        text.push_str(" …");
    }
    if first > 0 { format!("… {text}") } else { text }
}

/// Text so that Markdown shows it as it is, whatever it contains.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '&' | '~' | '|') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::citations::tests::passages, super::markdown, *};

    #[test]
    fn passages_that_bear_on_the_question_are_quoted_and_others_are_not() {
        let sources = passages(&["Visitors sign in.", "Parental leave is sixteen weeks.", "Leave needs notice."]);
        let Quotation { text, citations } = quote("How long is parental leave?", &sources);
        assert_eq!(
            text,
            "No language model was usable, so nothing here is written in my own words. These are quotations from the \
             knowledge base:\n\n> “Parental leave is sixteen weeks.” [1]\n\n> “Leave needs notice.” [2]"
        );
        let pages: Vec<_> = citations.iter().map(|c| (c.number, c.locator.as_str())).collect();
        assert_eq!(pages, [(1, "page 2"), (2, "page 3")]);
    }

    #[test]
    fn three_at_most_are_quoted_and_it_is_said_when_none_has_the_words() {
        let sources = passages(&["One.", "Two.", "Three.", "Four."]);
        let Quotation { text, citations } = quote("Parental leave?", &sources);
        assert!(text.contains("None of the passages below contains the words of your question"), "{text}");
        assert_eq!(citations.len(), 3);
    }

    #[test]
    fn when_nothing_matches_it_says_so() {
        let Quotation { text, citations } = quote("Parental leave?", &[]);
        assert!(text.contains("nothing in the knowledge base matches"), "{text}");
        assert!(citations.is_empty());
    }

    #[test]
    fn a_long_passage_is_trimmed_to_the_sentences_that_matter() {
        let filler = "Nothing of interest stands in this sentence at all. ".repeat(12);
        let passage = format!("{filler}Parental leave\nis sixteen weeks. {filler}");
        let excerpt = excerpt(&passage, "parental leave", 200, 200);
        assert!(excerpt.starts_with("… ") && excerpt.ends_with(" …"), "{excerpt}");
        assert!(excerpt.contains("Parental leave is sixteen weeks."), "{excerpt}");
        assert!(excerpt.len() <= 200 + 10, "{excerpt}");
    }

    #[test]
    fn a_sentence_without_end_is_cut_at_a_word() {
        let excerpt = excerpt(&"wörd ".repeat(100), "leave", 20, 52);
        assert!(excerpt.ends_with("wörd …") && excerpt.len() <= 60, "{excerpt}");
    }

    #[test]
    fn what_a_document_says_is_shown_and_not_obeyed_by_markdown() {
        let sources = passages(&["See [1] ![x](http://evil/) <b>*leave*</b> [2](javascript:x) &lt; `a`"]);
        let Quotation { text, citations } = quote("leave", &sources);
        let html = markdown::render(&text, &citations);
        assert!(
            html.contains("“See [1] ![x](http://evil/) &lt;b&gt;*leave*&lt;/b&gt; [2](javascript:x) &amp;lt; `a`”"),
            "{html}"
        );
        assert_eq!(html.matches("<a ").count(), 1, "{html}");
    }

    #[test]
    fn a_table_is_quoted_row_by_row() {
        let table = "| What | Warranty |\n|---|---|\n| Frames | 10 years |\n\nWear parts are not covered.";
        assert_eq!(readable(table), "What: Warranty.\nFrames: 10 years.\n\nWear parts are not covered.");
    }
}
