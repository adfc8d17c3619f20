//! Finds citation marks in an answer's Markdown: `[1]`, `[1, 2]`, `[1-3]`, `【1】`, `[^1]`, `[source 1]`, as models write
//! them. Code is passed over, so that `items[1]` in a listing stays what it is.

/// The longest mark, in bytes between its brackets.
const LONGEST: usize = 40;
/// The most numbers that a range like `[1-3]` may stand for.
const WIDEST_RANGE: u32 = 10;

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Anything but marks and code.
    Text(&'a str),
    /// Code, with its back-ticks.
    Code(&'a str),
    /// A citation mark.
    Mark {
        /// The numbers in it.
        numbers: Vec<u32>,
        /// As it was written.
        written: &'a str,
    },
}

/// Cuts `markdown` into pieces, which together are the whole of it.
pub(super) fn pieces(markdown: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut text_from = 0;
    let mut at = 0;
    let mut line_start = true;
    while at < markdown.len() {
        let rest = &markdown[at..];
        let (length, piece) = if let Some(length) = line_start.then(|| fenced_code(rest)).flatten() {
            (length, Some(Piece::Code(&rest[..length])))
        } else if rest.starts_with('`') {
            let (length, closed) = inline_code(rest);
            (length, closed.then(|| Piece::Code(&rest[..length])))
        } else if let Some(escaped) = rest.strip_prefix('\\') {
            (1 + escaped.chars().next().map_or(0, char::len_utf8), None)
        } else if let Some((length, numbers)) = mark(rest) {
            (length, Some(Piece::Mark { numbers, written: &rest[..length] }))
        } else {
            (rest.chars().next().map_or(1, char::len_utf8), None)
        };
        line_start = markdown[..at + length].ends_with('\n');
        if let Some(piece) = piece {
            if text_from < at {
                found.push(Piece::Text(&markdown[text_from..at]));
            }
            found.push(piece);
            text_from = at + length;
        }
        at += length;
    }
    if text_from < at {
        found.push(Piece::Text(&markdown[text_from..]));
    }
    found
}

/// `markdown` without its marks, for when their numbers mean nothing any more.
pub(super) fn without_marks(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    for piece in pieces(markdown) {
        match piece {
            Piece::Text(text) | Piece::Code(text) => out.push_str(text),
            Piece::Mark { .. } => out.truncate(out.trim_end_matches(' ').len()),
        }
    }
    out
}

/// The length of a fenced block of code at the start of a line, up to its closing fence or the end.
fn fenced_code(rest: &str) -> Option<usize> {
    let indented = rest.trim_start_matches(' ');
    let sign = indented.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let fence = indented.chars().take_while(|c| *c == sign).count();
    let first_line_end = rest.find('\n').map_or(rest.len(), |end| end + 1);
    let info = &indented[fence..];
    if rest.len() - indented.len() > 3 || fence < 3 || info[..info.find('\n').unwrap_or(info.len())].contains('`') {
        return None;
    }
    let mut end = first_line_end;
    for line in rest[first_line_end..].split_inclusive('\n') {
        end += line.len();
        let line = line.trim();
        if line.len() >= fence && line.chars().all(|c| c == sign) {
            break;
        }
    }
    Some(end)
}

/// The length of code between back-ticks; of the back-ticks alone when they are not closed in this paragraph.
fn inline_code(rest: &str) -> (usize, bool) {
    let ticks = rest.bytes().take_while(|byte| *byte == b'`').count();
    let paragraph_end = rest.find("\n\n").unwrap_or(rest.len());
    let mut at = ticks;
    while let Some(next) = rest[at..paragraph_end.max(at)].find('`') {
        let start = at + next;
        let run = rest[start..].bytes().take_while(|byte| *byte == b'`').count();
        at = start + run;
        if run == ticks {
            return (at, true);
        }
    }
    (ticks, false)
}

/// A mark at the start of `rest`: its length and the numbers in it.
fn mark(rest: &str) -> Option<(usize, Vec<u32>)> {
    let (open, close) = match rest.chars().next()? {
        '[' => ('[', ']'),
        '【' => ('【', '】'),
        _ => return None,
    };
    let inside = &rest[open.len_utf8()..];
    let end = inside.find(close).filter(|end| *end <= LONGEST)?;
    let numbers = numbers(&inside[..end])?;
    let length = open.len_utf8() + end + close.len_utf8();
    Some((length + link_target(&rest[length..]), numbers))
}

/// Some models make a link of a mark, to an address of their invention; it goes with the mark.
fn link_target(after: &str) -> usize {
    let Some(target) = after.strip_prefix('(') else { return 0 };
    match target.find([')', ' ', '\n']) {
        Some(end) if end <= 300 && target[end..].starts_with(')') && target[..end].contains(['/', '#', '.']) => end + 2,
        _ => 0,
    }
}

fn numbers(inside: &str) -> Option<Vec<u32>> {
    let inside = inside.trim().trim_start_matches('^').to_lowercase();
    let inside = ["sources", "source", "passages", "passage"]
        .iter()
        .find_map(|word| inside.strip_prefix(word))
        .unwrap_or(&inside);
    // ChatGPT's own form is 【1†source】.
    let inside = inside.split('†').next().unwrap_or_default();
    let mut found = Vec::new();
    for part in inside.split([',', ';', '、', ' ', '&']).map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once(['-', '–']) {
            None => found.push(number(part)?),
            Some((from, to)) => {
                let (from, to) = (number(from)?, number(to)?);
                if from > to || to - from >= WIDEST_RANGE {
                    return None;
                }
                found.extend(from..=to);
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim().trim_start_matches('^');
    (1..=3)
        .contains(&text.len())
        .then(|| text.parse().ok())
        .flatten()
        .filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(markdown: &str) -> Vec<Vec<u32>> {
        let pieces = pieces(markdown);
        let whole: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) | Piece::Code(text) | Piece::Mark { written: text, .. } => *text,
            })
            .collect();
        assert_eq!(whole, markdown, "nothing is lost");
        pieces
            .into_iter()
            .filter_map(|piece| if let Piece::Mark { numbers, .. } = piece { Some(numbers) } else { None })
            .collect()
    }

    #[test]
    fn marks_are_found_in_every_form_that_models_write() {
        assert_eq!(
            marks("a [1][2] b【3】 c [4, 5] d [6-8] e [^9] f [Source 10] g 【11†source】"),
            [vec![1], vec![2], vec![3], vec![4, 5], vec![6, 7, 8], vec![9], vec![10], vec![11]]
        );
        assert_eq!(marks("linked [1](https://example.org/a) and [2](#x)."), [vec![1], vec![2]]);
        assert_eq!(marks("[1] (see below)"), [vec![1]]);
    }

    #[test]
    fn brackets_that_are_no_marks_are_left_alone() {
        for text in [
            "[]",
            "[a]",
            "[1a]",
            "[2024]",
            "[1.5]",
            "[ ]",
            "\\[1\\]",
            "[label](https://example.org)",
            "[9-1]",
            "[1-99]",
            "[",
            "【",
        ] {
            assert_eq!(marks(text), Vec::<Vec<u32>>::new(), "{text}");
        }
    }

    #[test]
    fn code_is_passed_over() {
        assert_eq!(marks("`a[1]` [2] ``b ` [3]`` [4]"), [vec![2], vec![4]]);
        assert_eq!(marks("one\n```rust\na[1]\n```\n[2]\n~~~\n[3]\n"), [vec![2]]);
        assert_eq!(marks("an open ` tick [1]\n\nand ` [2]"), [vec![1], vec![2]]);
    }

    #[test]
    fn marks_can_be_taken_out() {
        assert_eq!(without_marks("Four weeks [2]. See `a[1]`【3】!"), "Four weeks. See `a[1]`!");
    }
}
