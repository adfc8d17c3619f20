//! A meeting's record: every mark numbered through the whole of it, and written as one Markdown document.

use std::fmt::Write as _;

use super::{Contributed, Contribution, Meeting, Round, State};
use crate::agents::{self, Citation};

/// A meeting whose marks have the same meaning in all of it.
pub(super) struct Record<'m> {
    pub(super) meeting: &'m Meeting,
    /// The contributions in order, with their text under the record's numbers.
    pub(super) said: Vec<(&'m Contribution, String)>,
    /// The outcome's answer, agreement, and dissent (who, what, why), under the record's numbers.
    pub(super) answer: String,
    pub(super) agreement: Vec<String>,
    pub(super) dissent: Vec<(String, String, String)>,
    /// All passages that are cited, numbered in order of first appearance.
    pub(super) sources: Vec<Citation>,
}

impl<'m> Record<'m> {
    /// The outcome is numbered first, because it is read first.
    pub(super) fn of(meeting: &'m Meeting) -> Self {
        let mut sources = Vec::new();
        let written = meeting
            .contributions
            .iter()
            .rfind(|said| said.round == Round::Synthesis && said.state == Contributed::Complete);
        let cited = written.map_or(&[][..], |written| &written.citations);
        let mut own = |text: &str| agents::renumbered(text, cited, &mut sources);
        let outcome = meeting.synthesis.as_ref();
        let answer = outcome.map(|outcome| own(&outcome.answer)).unwrap_or_default();
        let agreement =
            outcome.map(|outcome| outcome.agreement.iter().map(|point| own(point)).collect()).unwrap_or_default();
        let dissent = outcome.map(|outcome| &outcome.dissent[..]).unwrap_or_default();
        let dissent =
            dissent.iter().map(|dissent| (dissent.who.clone(), own(&dissent.what), own(&dissent.why))).collect();
        let said =
            meeting.contributions.iter().filter(|said| said.round != Round::Synthesis || meeting.synthesis.is_none());
        let said = said.map(|said| (said, agents::renumbered(&said.text, &said.citations, &mut sources))).collect();
        Self { meeting, said, answer, agreement, dissent, sources }
    }

    pub(super) fn name<'a>(&'a self, agent: &'a str) -> &'a str {
        self.meeting.members.iter().find(|member| member.id == agent).map_or(agent, |member| &member.name)
    }
}

/// The record as Markdown.
pub fn markdown(meeting: &Meeting) -> String {
    let record = Record::of(meeting);
    let mut out = format!("# {}\n\n", line(&meeting.question));
    let names: Vec<_> = meeting.members.iter().map(|member| format!("{} ({})", member.name, member.title)).collect();
    let _ =
        writeln!(out, "Meeting of {} · {}", meeting.created_at.format("%-d %B %Y, %H:%M UTC"), state(meeting.state));
    let _ = writeln!(out, "Members: {}. Chair: {}.\n", names.join(", "), record.name(&meeting.chair));
    if let Some(problem) = &meeting.problem {
        let _ = writeln!(out, "> Note: {}.\n", line(problem));
    }
    if let Some(outcome) = &meeting.synthesis {
        let _ = writeln!(out, "## Answer\n\n{}\n", record.answer);
        if outcome.formed {
            let _ = writeln!(out, "## Agreement\n");
            list(&mut out, record.agreement.iter().cloned());
            let _ = writeln!(out, "## Dissent\n");
            list(&mut out, record.dissent.iter().map(|(who, what, why)| dissent(who, what, why)));
            if let Some(confidence) = &outcome.confidence {
                let _ = writeln!(out, "## Confidence\n\n{}: {}\n", capital(&confidence.level), confidence.reason);
            }
            let _ = writeln!(out, "## Next actions\n");
            list(
                &mut out,
                meeting.actions.iter().map(|action| {
                    let owner = if action.owner.is_empty() { String::new() } else { format!("**{}**: ", action.owner) };
                    let due = if action.due.is_empty() { String::new() } else { format!(" — {}", action.due) };
                    format!("{owner}{}{due}", action.what)
                }),
            );
        }
    }
    for (round, heading) in [
        (Round::Positions, "Positions"),
        (Round::Answers, "Answers to each other"),
        (Round::Synthesis, "Outcome, unfinished"),
    ] {
        let mut said = record.said.iter().filter(|(said, _)| said.round == round).peekable();
        if said.peek().is_some() {
            let _ = writeln!(out, "## {heading}\n");
        }
        for (said, text) in said {
            let _ = writeln!(out, "### {}\n", record.name(&said.agent));
            if let Some(remark) = remark(said) {
                let _ = writeln!(out, "> {remark}\n");
            }
            if said.state != Contributed::Passed && !text.trim().is_empty() {
                // Headings of theirs may not pass for headings of the record.
                let _ = writeln!(out, "{}\n", text.trim().replace("\n#", "\n\\#").trim_start_matches('#'));
            }
        }
    }
    if !record.sources.is_empty() {
        let _ = writeln!(out, "## Sources\n");
        for source in &record.sources {
            let _ = writeln!(out, "{}. {}, {}", source.number, line(&source.document), line(&source.locator));
        }
    }
    format!("{}\n", out.trim_end())
}

/// What is to be said of a contribution that is not simply whole.
pub(super) fn remark(said: &Contribution) -> Option<String> {
    match said.state {
        Contributed::Complete if said.quoting => {
            Some("No model was usable: these are passages word for word.".to_owned())
        }
        Contributed::Complete => None,
        Contributed::Passed => Some("Had nothing to add to the position.".to_owned()),
        Contributed::Failed | Contributed::Stopped => {
            Some(format!("Not whole: {}.", said.problem.as_deref().unwrap_or("it was stopped")))
        }
    }
}

/// One line about somebody who does not agree.
pub(super) fn dissent(who: &str, what: &str, why: &str) -> String {
    let who = if who.is_empty() { String::new() } else { format!("**{who}**: ") };
    let why = if why.is_empty() { String::new() } else { format!(" — {why}") };
    format!("{who}{what}{why}")
}

/// How a meeting stands, in a word.
pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Running => "going on",
        State::Finished => "finished",
        State::Stopped => "stopped",
        State::Failed => "without an outcome",
    }
}

pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn list(out: &mut String, items: impl Iterator<Item = String>) {
    let before = out.len();
    for item in items {
        let _ = writeln!(out, "- {}", line(&item));
    }
    if out.len() == before {
        out.push_str("None.\n");
    }
    out.push('\n');
}

fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
