//! What the log's pages show, made of entries.

use std::{collections::HashMap, fmt::Write as _};

use chrono::{DateTime, Utc};

use super::Seal;
use crate::{
    audit::{Action, Actor, Entry},
    http::format,
    runs::{search::Search, timeline::TimeLine},
    support::ids::{RunId, UserId},
};

/// The most characters of what an entry is about.
const ABOUT: usize = 80;

/// What people are called.
pub(super) struct Names(pub(super) HashMap<UserId, String>);

/// An entry in the list.
pub(super) struct Listed {
    pub(super) seq: i64,
    pub(super) at: String,
    pub(super) when: String,
    pub(super) ago: String,
    pub(super) who: String,
    pub(super) action: String,
    pub(super) about: String,
    pub(super) outcome: String,
    pub(super) failed: bool,
    pub(super) took: String,
    pub(super) run: Option<RunId>,
}

/// A choice of a form.
pub(super) struct Option_ {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) chosen: bool,
}

/// The chain's seal.
pub(super) struct SealView {
    pub(super) entries: String,
    pub(super) head: String,
    pub(super) hash: String,
    pub(super) checked: String,
    pub(super) intact: bool,
    pub(super) broken: Option<String>,
}

impl Names {
    /// Who somebody is, for a person.
    pub(super) fn of(&self, actor: &Actor) -> String {
        match actor {
            Actor::User { id } => self.0.get(id).cloned().unwrap_or_else(|| "a former member".to_owned()),
            Actor::Agent { name } => capital(name),
            Actor::Operator => "Operator".to_owned(),
            Actor::System => "AEGIS".to_owned(),
        }
    }
}

/// An entry as a row.
pub(super) fn listed(entry: &Entry, names: &Names, now: DateTime<Utc>) -> Listed {
    let outcome = entry.outcome();
    Listed {
        seq: entry.seq,
        at: format::machine(entry.at),
        when: moment(entry.at),
        ago: format::ago(now, entry.at),
        who: names.of(&entry.actor),
        action: entry.action.clone(),
        about: shortened(&about(entry, names)),
        outcome: if entry.altered { "altered".to_owned() } else { outcome.to_owned() },
        failed: outcome != "done" || entry.altered,
        took: entry.duration_ms().map(format::duration).unwrap_or_default(),
        run: entry.run,
    }
}

/// `22 Nov 2026, 18:15:03`
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%-d %b %Y, %H:%M:%S").to_string()
}

/// How the chain stands, in a line.
pub(super) fn seal(seal: &Seal, now: DateTime<Utc>) -> SealView {
    let (checked, broken) = match &seal.checked {
        None => ("not checked yet".to_owned(), None),
        Some(checked) => (format!("checked {}", format::ago(now, checked.at)), checked.broken.clone()),
    };
    SealView {
        entries: format!("{} {}", format::grouped(seal.entries), if seal.entries == 1 { "entry" } else { "entries" }),
        head: seal.head.chars().take(12).collect(),
        hash: seal.head.clone(),
        checked,
        intact: seal.checked.is_some() && broken.is_none(),
        broken,
    }
}

/// Whose entries can be asked for.
pub(super) fn actors(people: &[(UserId, String)], chosen: &str) -> Vec<Option_> {
    let fixed = [("", "Anybody"), ("agent:atlas", "Atlas"), ("operator", "Operator"), ("system", "AEGIS")];
    let fixed = fixed.into_iter().map(|(value, label)| (value.to_owned(), label.to_owned()));
    let people = people.iter().map(|(id, name)| (format!("user:{id}"), name.clone()));
    fixed.chain(people).map(|(value, label)| Option_ { chosen: value == chosen, value, label }).collect()
}

/// Each noun, which stands for all of its actions, with these below it.
pub(super) fn actions(chosen: &str) -> Vec<Option_> {
    let mut options = vec![Option_ { value: String::new(), label: "Anything".to_owned(), chosen: chosen.is_empty() }];
    let mut nouns: Vec<&str> = Vec::new();
    for action in Action::ALL {
        let noun = action.name().split('.').next().unwrap_or_default();
        if !nouns.contains(&noun) {
            nouns.push(noun);
        }
    }
    for noun in nouns {
        let mut own = Action::ALL.iter().filter(|action| action.name().split('.').next() == Some(noun)).peekable();
        options.push(Option_ { value: noun.to_owned(), label: noun.to_owned(), chosen: noun == chosen });
        while let Some(action) = own.next() {
            let branch = if own.peek().is_some() { "├" } else { "└" };
            let (value, label) = (action.name().to_owned(), format!("{branch} {action}"));
            options.push(Option_ { chosen: value == chosen, value, label });
        }
    }
    options
}

/// The page of what is looked for, from `below` on.
pub(super) fn address(search: &Search, below: Option<i64>) -> String {
    let mut address = "/audit?".to_owned();
    let fields = [
        ("actor", &search.actor),
        ("action", &search.action),
        ("run", &search.run),
        ("from", &search.from),
        ("to", &search.to),
        ("text", &search.text),
    ];
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.trim().is_empty()) {
        let _ = write!(address, "{name}=");
        for byte in value.trim().bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                address.push(char::from(byte));
            } else {
                let _ = write!(address, "%{byte:02X}");
            }
        }
        address.push('&');
    }
    if let Some(below) = below {
        let _ = write!(address, "below={below}");
    }
    address.trim_end_matches(['&', '?']).to_owned()
}

/// Who answered, how long it took, what it cost.
pub(super) fn run_facts(line: &TimeLine, now: DateTime<Utc>) -> Vec<String> {
    let mut facts = vec![format::ago(now, line.at), format::duration(line.duration_ms)];
    if let Some(model) = &line.model {
        facts.push(if model == "quoting" { "no model: quotations".to_owned() } else { model.clone() });
    }
    if line.completion_tokens > 0 {
        facts.push(format!("{} + {} tokens", line.prompt_tokens, line.completion_tokens));
    }
    facts.extend(line.cost.as_ref().map(ToString::to_string));
    facts
}

/// What an entry is about, in a line.
fn about(entry: &Entry, names: &Names) -> String {
    let detail = |field: &str| entry.detail[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let subject = entry.subject.clone().unwrap_or_default();
    let person = subject.parse().ok().and_then(|id| names.0.get(&id).cloned());
    let told = match entry.action.as_str() {
        "run.started" => detail("question"),
        "run.finished" | "run.stopped" | "run.failed" => detail("answer").or_else(|| detail("problem")),
        "knowledge.searched" => detail("query"),
        "tool.called" => {
            Some(format!("{subject} · {}", detail("summary").or_else(|| detail("error")).unwrap_or_default()))
        }
        "session.started" => detail("address").map(|address| format!("from {address}")),
        _ => detail("title").or_else(|| detail("name")).or(person),
    };
    told.unwrap_or_else(|| match subject.len() {
        // The last digits of an id tell it apart; the first ones are the time.
        36 if subject.parse::<UserId>().is_ok() => format!("…{}", &subject[24..]),
        _ => subject,
    })
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(ABOUT) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// With a capital at the beginning, as a cell begins.
pub(super) fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_keeps_what_is_looked_for() {
        let search = Search { action: "run".into(), text: "a&b".into(), ..Search::default() };
        assert_eq!(address(&search, Some(7)), "/audit?action=run&text=a%26b&below=7");
        assert_eq!(address(&Search::default(), None), "/audit");
    }
}
