//! Two versions of a profile, line by line, with the words that differ.

use similar::{ChangeTag, DiffTag, TextDiff};

/// Lines that did not change are shown so many before and after a change.
const AROUND: usize = 2;

/// A line of the comparison.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `same`, `gone`, `new`, or `gap` where lines that did not change are left out.
    pub(super) kind: &'static str,
    /// Its pieces, and whether it is they that differ.
    pub(super) pieces: Vec<(bool, String)>,
}

impl Line {
    /// What stands before it.
    pub(super) fn sign(&self) -> &'static str {
        match self.kind {
            "gone" => "−",
            "new" => "+",
            "gap" => "⋯",
            _ => " ",
        }
    }
}

/// From `old` to `new`. Nothing when they are the same.
pub(super) fn lines(old: &str, new: &str) -> Vec<Line> {
    let (old, new): (Vec<_>, Vec<_>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let diff = TextDiff::from_slices(&old, &new);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(AROUND) {
        if !lines.is_empty() {
            lines.push(Line { kind: "gap", pieces: Vec::new() });
        }
        for operation in group {
            let (gone, new) = (old[operation.old_range()].concat(), new[operation.new_range()].concat());
            if operation.tag() == DiffTag::Equal {
                lines.extend(in_lines("same", [(false, gone.as_str())]));
                continue;
            }
            // Within what was replaced, the words that differ.
            let words = TextDiff::from_words(&gone, &new);
            let pieces = |tag: ChangeTag| {
                let changes =
                    words.iter_all_changes().filter(move |change| [ChangeTag::Equal, tag].contains(&change.tag()));
                changes.map(|change| {
                    (operation.tag() == DiffTag::Replace && change.tag() != ChangeTag::Equal, change.value())
                })
            };
            lines.extend(in_lines("gone", pieces(ChangeTag::Delete)));
            lines.extend(in_lines("new", pieces(ChangeTag::Insert)));
        }
    }
    lines
}

/// The pieces, in lines.
fn in_lines<'a>(kind: &'static str, pieces: impl IntoIterator<Item = (bool, &'a str)>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line: Vec<(bool, String)> = Vec::new();
    for (differs, text) in pieces {
        for part in text.split_inclusive('\n') {
            line.push((differs, part.trim_end_matches('\n').to_owned()));
            if part.ends_with('\n') {
                lines.push(Line { kind, pieces: std::mem::take(&mut line) });
            }
        }
    }
    if !line.is_empty() {
        lines.push(Line { kind, pieces: line });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_stand_beside_each_other_with_the_words_that_differ() {
        let old = "# A\n\nYou are calm.\nThe end.\n";
        let new = "# A\n\nYou are brisk.\nThe end.\n";
        let lines = lines(old, new);
        let kinds: Vec<_> = lines.iter().map(|line| line.kind).collect();
        assert_eq!(kinds, ["same", "same", "gone", "new", "same"]);
        let words = |line: &Line| line.pieces.iter().filter(|(differs, _)| *differs).map(|(_, t)| t.clone()).collect();
        let (gone, new): (String, String) = (words(&lines[2]), words(&lines[3]));
        assert_eq!((gone.trim_end_matches('.'), new.trim_end_matches('.')), ("calm", "brisk"));
        assert!(super::lines(old, old).is_empty());
    }

    #[test]
    fn what_lies_between_two_changes_is_left_out() {
        let old = (0..30).map(|number| format!("line {number}")).collect::<Vec<_>>().join("\n");
        let lines = lines(&old, &old.replace("line 3\n", "x\n").replace("line 25\n", "y\n"));
        assert_eq!(lines.iter().filter(|line| line.kind == "gap").count(), 1);
        assert!(lines.len() < 20, "{}", lines.len());
    }
}
