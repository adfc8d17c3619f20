//! PDF text made readable: lines become paragraphs, words divided at a line's end are mended, the white space
//! that stood for layout goes, and so do the lines that run along the top and bottom of every page.

use std::collections::HashMap;

/// A line shorter than this share (in percent) of the page's usual line ends its paragraph.
const FULL_LINE: usize = 70;
/// No line of print is longer; what is longer has been joined to a paragraph already.
const LONGEST_LINE: usize = 90;
/// In fewer pages nothing can be said to run along.
const FEWEST_PAGES: usize = 4;

/// The first and last lines that recur from page to page: headers, footers, page numbers.
pub(super) struct RunningLines(HashMap<String, usize>, usize);

impl RunningLines {
    /// Counts the outermost lines of all pages, numbers taken as equal.
    pub(super) fn of<'a>(pages: impl Iterator<Item = &'a str>) -> Self {
        let mut counts = HashMap::new();
        let mut total = 0;
        for page in pages {
            total += 1;
            let [first, last] = outermost(page);
            for line in [first, last].into_iter().flatten() {
                *counts.entry(without_numbers(line)).or_default() += 1;
            }
        }
        Self(counts, total)
    }

    /// The page without them.
    pub(super) fn strip<'a>(&self, page: &'a str) -> &'a str {
        let whole = page.trim();
        let mut page = whole;
        if self.1 < FEWEST_PAGES {
            return page;
        }
        let [first, last] = outermost(page);
        // Headers alternate between left and right pages and change with the chapter, so a fifth is enough.
        let runs = |line: &str| {
            self.0.get(&without_numbers(line)).is_some_and(|count| *count >= FEWEST_PAGES - 1 && count * 5 >= self.1)
        };
        if let Some(line) = last.filter(|line| runs(line)) {
            page = page.strip_suffix(line).unwrap_or(page).trim_end();
        }
        if let Some(line) = first.filter(|line| runs(line)) {
            page = page.strip_prefix(line).unwrap_or(page).trim_start();
        }
        // Where nothing else is on the pages, such as on tickets with numbers, it is what they say.
        if page.is_empty() { whole } else { page }
    }
}

fn outermost(page: &str) -> [Option<&str>; 2] {
    let mut lines = page.trim().lines().map(str::trim).filter(|line| !line.is_empty());
    [lines.next(), lines.next_back()].map(|line| line.filter(|line| line.chars().count() <= LONGEST_LINE))
}

fn without_numbers(line: &str) -> String {
    let mut key = String::with_capacity(line.len());
    for c in line.chars() {
        if !c.is_numeric() {
            key.extend(c.to_lowercase());
        } else if !key.ends_with('#') {
            key.push('#');
        }
    }
    key
}

/// Tidies the text of one page.
pub(super) fn tidy(page: &str) -> String {
    let lines: Vec<String> = page.lines().map(tidy_line).collect();
    let usual = usual_length(&lines);
    let mut text = String::with_capacity(page.len());
    let mut above: Option<&str> = None;
    let mut gap = false;
    for line in lines.iter().map(String::as_str) {
        if line.is_empty() {
            gap = true;
            continue;
        }
        match above {
            None => text.push_str(line),
            Some(above) => join(&mut text, above, line, usual, gap),
        }
        above = Some(line);
        gap = false;
    }
    text
}

/// Appends `line` under `above`, which `text` ends with; there may have been a gap between them.
fn join(text: &mut String, above: &str, line: &str, usual: usize, gap: bool) {
    let begins_small = line.starts_with(char::is_lowercase);
    if begins_small && ends_divided(above) {
        // "informa-" and "tion" were one word. A compound such as "well-known" loses its hyphen with it,
        // which search and embedding bear better than half words.
        text.truncate(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
        text.push_str(line);
        return;
    }
    let full = above.chars().count() * 100 >= usual * FULL_LINE;
    let ended = above.ends_with(['.', ':', ';', '!', '?']);
    let goes_on = full
        && !is_row(above)
        && !is_row(line)
        && !begins_item(line)
        && if gap { begins_small && !ended } else { begins_small || !ended };
    text.push_str(match (goes_on, gap) {
        (true, _) => " ",
        (false, true) if !(begins_item(above) && begins_item(line)) => "\n\n",
        _ => "\n",
    });
    text.push_str(line);
}

fn ends_divided(line: &str) -> bool {
    let mut ends = line.chars().rev();
    matches!(ends.next(), Some('-' | '\u{2010}' | '\u{ad}')) && ends.next().is_some_and(char::is_alphabetic)
}

/// One space between words; wide gaps, which stand between the columns of a table, become a bar; words that
/// the reader joined over a line's end with their hyphen are mended.
fn tidy_line(line: &str) -> String {
    let mut tidy = String::with_capacity(line.len());
    let mut gap = 0;
    let mut chars = line.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\t' => gap += 4,
            c if c.is_whitespace() || c == '\u{a0}' => gap += 1,
            // At the very end it is a division, elsewhere a proposal.
            '\u{ad}' if chars.peek().is_none() => tidy.push(c),
            '\u{ad}' | '\u{200b}' | '\u{feff}' => {}
            c if c.is_control() => {}
            c => {
                match gap {
                    0 => {}
                    1 if c.is_lowercase() && ends_divided(&tidy) && !begins_conjunction(c, &chars) => drop(tidy.pop()),
                    1..=3 => tidy.push(' '),
                    _ => tidy.push_str(" | "),
                }
                gap = 0;
                tidy.push_str(ligature(c).unwrap_or(c.encode_utf8(&mut [0; 4])));
            }
        }
    }
    tidy
}

/// In "pre- and post-war" the hyphen stays: whether the word that begins with `first` is such an "and".
fn begins_conjunction(first: char, rest: &(impl Iterator<Item = char> + Clone)) -> bool {
    let word: String = std::iter::once(first).chain(rest.clone().take_while(|c| c.is_alphabetic()).take(6)).collect();
    matches!(word.as_str(), "and" | "or" | "to" | "und" | "oder" | "bis" | "et" | "ou" | "y" | "o" | "e")
}

fn ligature(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{fb00}' => "ff",
        '\u{fb01}' => "fi",
        '\u{fb02}' => "fl",
        '\u{fb03}' => "ffi",
        '\u{fb04}' => "ffl",
        _ => return None,
    })
}

fn is_row(line: &str) -> bool {
    line.contains(" | ")
}

/// "• ", "– ", "1. ", "(a) ": the beginning of a list item.
fn begins_item(line: &str) -> bool {
    let Some((first, _)) = line.split_once(' ') else { return false };
    if first.chars().all(|c| matches!(c, '•' | '◦' | '▪' | '■' | '●' | '–' | '—' | '-' | '*' | '\u{f0b7}' | '‣'))
    {
        return true;
    }
    let inner = first.trim_start_matches('(');
    let numbered = inner.trim_end_matches(['.', ')']);
    numbered.len() < inner.len() && numbered.chars().count() <= 3 && numbered.chars().all(char::is_alphanumeric)
}

/// The length that nine lines of ten do not exceed.
fn usual_length(lines: &[String]) -> usize {
    let mut lengths: Vec<usize> = lines.iter().map(|line| line.chars().count()).filter(|length| *length > 0).collect();
    lengths.sort_unstable();
    lengths.get(lengths.len() * 9 / 10).copied().unwrap_or(0).min(LONGEST_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divided_words_are_mended_and_lines_become_paragraphs() {
        let page = "The handbook gives infor-\nmation about the leave (see Sec- tion 2) that every\nemployee may take pre- and post-birth, which\n\nincludes fathers. It is binding.\n\n  • one item of the list here\n  • another\nShort.\n";
        assert_eq!(
            tidy(page),
            "The handbook gives information about the leave (see Section 2) that every employee may take pre- and post-birth, which includes fathers. It is binding.\n\n• one item of the list here\n• another\nShort."
        );
    }

    #[test]
    fn columns_stay_apart_and_ligatures_are_spelt_out() {
        assert_eq!(tidy("Grade      Pay\nA          1\u{a0}000 o\u{fb03}ce"), "Grade | Pay\nA | 1 000 office");
    }

    #[test]
    fn lines_that_run_along_every_page_go_and_others_stay() {
        let pages: Vec<String> = (1..=8)
            .map(|page| format!("The manual, release 2\n\nTopic {page}{page} is told here.\n\n{page} of 8"))
            .collect();
        let running = RunningLines::of(pages.iter().map(String::as_str));
        assert_eq!(running.strip(&pages[2]), "Topic 33 is told here.");
        assert_eq!(running.strip("An only line"), "An only line");
        let tickets: Vec<String> = (1..=8).map(|number| format!("Ticket {number} of the raffle")).collect();
        let running = RunningLines::of(tickets.iter().map(String::as_str));
        assert_eq!(running.strip(&tickets[3]), "Ticket 4 of the raffle");
    }
}
