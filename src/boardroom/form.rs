//! The form in which a chair writes a meeting's outcome: five headings, read leniently. What does not keep to it is taken as
//! the answer alone, and said to be so.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most lines that are taken of each part.
const LINES: usize = 12;

/// What came out of a meeting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Synthesis {
    /// What follows, as Markdown with marks.
    pub answer: String,
    /// On what all agree.
    pub agreement: Vec<String>,
    /// Who does not agree with it.
    pub dissent: Vec<Dissent>,
    /// How sure the chair is.
    pub confidence: Option<Confidence>,
    /// Whether the chair kept to the form. If not, only the answer is there, and agreement and dissent were not worked out.
    pub formed: bool,
}

/// Somebody who does not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dissent {
    /// Who: a member's name.
    pub who: String,
    /// What they hold.
    pub what: String,
    /// Why; empty where the chair does not say.
    pub why: String,
}

/// How sure the chair is of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confidence {
    /// `high`, `medium` or `low`.
    pub level: String,
    /// Why, in a sentence.
    pub reason: String,
}

/// Something that is to be done, before it has an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposed {
    pub(super) owner: String,
    pub(super) what: String,
    pub(super) due: String,
}

/// Reads what a chair wrote.
pub(super) fn read(text: &str) -> (Synthesis, Vec<Proposed>) {
    let mut parts: [String; 5] = Default::default();
    let (mut at, mut before) = (None, String::new());
    for line in text.lines() {
        if let Some((part, rest)) = heading(line) {
            at = Some(part);
            parts[part].push_str(rest);
            parts[part].push('\n');
        } else {
            let part = at.map_or(&mut before, |at| &mut parts[at]);
            part.push_str(line);
            part.push('\n');
        }
    }
    let [answer, agreement, dissent, confidence, actions] = &parts;
    let confidence = confident(confidence);
    // An answer and one more part are a form; an answer alone may be any text with a heading in it.
    let formed = !answer.trim().is_empty()
        && (confidence.is_some() || !agreement.trim().is_empty() || !dissent.trim().is_empty());
    if !formed {
        return (Synthesis { answer: text.trim().to_owned(), ..Synthesis::default() }, Vec::new());
    }
    let synthesis = Synthesis {
        answer: answer.trim().to_owned(),
        agreement: lines(agreement),
        dissent: lines(dissent).iter().map(|line| dissenting(line)).collect(),
        confidence,
        formed,
    };
    (synthesis, lines(actions).iter().map(|line| proposed(line)).collect())
}

/// Which of the five headings a line is, and what stands on it after the heading.
fn heading(line: &str) -> Option<(usize, &str)> {
    let bare = line.trim().trim_start_matches(['#', '*', ' ']);
    // Without a sign of a heading, a sentence may begin with such a word.
    let marked = line.trim_start().starts_with(['#', '*']);
    let names = ["answer", "agreement", "dissent", "confidence", "next actions"];
    names.iter().enumerate().find_map(|(part, name)| {
        let head = bare.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(name))?;
        let rest = bare[head.len()..].trim_start_matches([':', '*', '#', ' ']);
        let ends = bare[head.len()..].chars().next().is_none_or(|c| matches!(c, ':' | '*' | '#' | ' '));
        (ends && (marked || (rest.is_empty() && bare.len() <= name.len() + 1))).then_some((part, rest))
    })
}

/// The items of a list, without their signs; none where it says that there are none.
fn lines(part: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in part.lines() {
        let indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        let bare = line.trim_start_matches(['-', '*', '•', '–', ' ']);
        let numbered = bare
            .split_once(['.', ')'])
            .filter(|(n, _)| !n.is_empty() && n.len() <= 2 && n.bytes().all(|b| b.is_ascii_digit()));
        let is_item = bare.len() < line.len() || numbered.is_some();
        let bare = numbered.map_or(bare, |(_, rest)| rest).trim().trim_start_matches("**");
        match items.last_mut() {
            _ if bare.is_empty() => {}
            Some(last) if indented && !is_item => {
                last.push(' ');
                last.push_str(bare);
            }
            _ => items.push(bare.to_owned()),
        }
    }
    let none = |item: &String| {
        let word = item.trim_end_matches(['.', ' ', '`']).trim_start_matches('`').to_lowercase();
        ["none", "none recorded", "no dissent", "nothing", "n/a", "-"].contains(&word.as_str())
    };
    items.retain(|item| !none(item));
    items.truncate(LINES);
    items
}

/// A name before the first colon, if it is short enough to be one.
fn named(line: &str) -> (String, &str) {
    match line.split_once(':') {
        Some((name, rest)) if name.chars().count() <= 60 && !rest.trim().is_empty() => {
            (name.trim_matches(['*', ' ', '_']).to_owned(), rest.trim_start_matches(['*', ' ']))
        }
        _ => (String::new(), line),
    }
}

/// What stands before and after the last dash.
fn dashed(line: &str) -> (String, String) {
    let split = [" — ", " – ", " -- ", " - "].iter().find_map(|dash| line.rsplit_once(dash));
    split.map_or_else(|| (line.trim().to_owned(), String::new()), |(a, b)| (a.trim().to_owned(), b.trim().to_owned()))
}

fn dissenting(line: &str) -> Dissent {
    let (who, rest) = named(line);
    let split = [" — ", " – ", " -- "].iter().find_map(|dash| rest.split_once(dash));
    let (what, why) = split.unwrap_or((rest, ""));
    Dissent { who, what: what.trim().to_owned(), why: why.trim().to_owned() }
}

fn proposed(line: &str) -> Proposed {
    let (owner, rest) = named(line);
    let (what, due) = dashed(rest);
    Proposed { owner, what, due }
}

fn confident(part: &str) -> Option<Confidence> {
    let text = part.split_whitespace().collect::<Vec<_>>().join(" ");
    let bare = text.trim_start_matches(['-', '*', ' ']);
    let level = ["high", "medium", "low"]
        .into_iter()
        .find(|level| bare.get(..level.len()).is_some_and(|start| start.eq_ignore_ascii_case(level)))?;
    let reason = bare[level.len()..].trim_start_matches([':', '*', ',', '.', '-', '—', '–', ' ']);
    Some(Confidence { level: level.to_owned(), reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_keeps_to_the_form_is_read_whole() {
        let (synthesis, actions) = read(
            "## Answer\nSixteen weeks [1], from May.\n\nIn two parts.\n\n## Agreement\n- The law asks for it\n- It is paid\n\n## Dissent\n\
             - Sage: wants twelve — the budget: it is tight\n\n## Confidence\nMedium: the figures are of last year.\n\n## Next actions\n\
             - Atlas: write the policy — by 1 June\n- **The owner**: sign it\n",
        );
        assert!(synthesis.formed);
        assert_eq!(synthesis.answer, "Sixteen weeks [1], from May.\n\nIn two parts.");
        assert_eq!(synthesis.agreement, ["The law asks for it", "It is paid"]);
        let dissent =
            Dissent { who: "Sage".into(), what: "wants twelve".into(), why: "the budget: it is tight".into() };
        assert_eq!(synthesis.dissent, [dissent]);
        let confidence = Confidence { level: "medium".into(), reason: "the figures are of last year.".into() };
        assert_eq!(synthesis.confidence, Some(confidence));
        let action =
            |owner: &str, what: &str, due: &str| Proposed { owner: owner.into(), what: what.into(), due: due.into() };
        assert_eq!(actions, [action("Atlas", "write the policy", "by 1 June"), action("The owner", "sign it", "")]);
    }

    #[test]
    fn other_signs_of_headings_and_lists_are_read_as_well() {
        let (synthesis, actions) = read(
            "**Answer:** Yes.\n\n**Agreement**\n1. One\n2) Two\n   and a half\n\n### Dissent:\nNone.\n\n**Confidence:** **High** — two documents say so\n\n# NEXT ACTIONS\n* none\n",
        );
        assert_eq!((synthesis.answer.as_str(), synthesis.formed), ("Yes.", true));
        assert_eq!(synthesis.agreement, ["One", "Two and a half"]);
        assert!(synthesis.dissent.is_empty() && actions.is_empty());
        assert_eq!(synthesis.confidence.unwrap().reason, "two documents say so");
    }

    #[test]
    fn what_keeps_to_no_form_is_an_answer_and_nothing_else_is_made_up() {
        for text in [
            "Sixteen weeks.",
            "Answer the phone.\nDissent is welcome.",
            "## Answer\n\n## Agreement\n- x",
            "",
            "## Agreement\n- x",
        ] {
            let (synthesis, actions) = read(text);
            assert_eq!((synthesis.answer.as_str(), synthesis.formed), (text.trim(), false), "{text}");
            assert!(synthesis.agreement.is_empty() && synthesis.confidence.is_none() && actions.is_empty());
        }
    }
}
