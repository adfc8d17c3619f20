//! What the page of memory shows.

use chrono::{DateTime, Utc};

use super::super::{About, Fact, FactKind, FactSource, Viewer};
use crate::{
    agents::soul::AgentInfo,
    audit::Actor,
    http::format,
    support::ids::{ConversationId, MemoryId, RunId},
};

/// Something remembered, as the page shows it.
pub(super) struct Note {
    pub(super) id: MemoryId,
    pub(super) text: String,
    /// `preference`; empty for a plain fact.
    pub(super) kind: &'static str,
    /// Whether it is about whoever looks.
    pub(super) mine: bool,
    /// Whose it is, in words.
    pub(super) whose: String,
    /// Where it comes from, in words.
    pub(super) from: String,
    /// When it was last changed, for machines and for people.
    pub(super) at: String,
    pub(super) when: String,
    /// When an agent was last reminded of it.
    pub(super) used: String,
    /// Their conversation that it was learned in.
    pub(super) conversation: Option<ConversationId>,
    /// The run, for those who may read the log.
    pub(super) run: Option<RunId>,
    /// Why it waits for a person, if it does.
    pub(super) waits: Option<String>,
    pub(super) may_change: bool,
    pub(super) may_forget: bool,
}

impl Note {
    pub(super) fn of(fact: Fact, viewer: Viewer, audits: bool, agents: &[AgentInfo], now: DateTime<Utc>) -> Self {
        let subject = fact.subject();
        let name =
            |id: &str| agents.iter().find(|info| info.id == id).map_or_else(|| id.to_owned(), |info| info.name.clone());
        let own = fact.learned_from == Some(viewer.user);
        let may_change = viewer.may_change(&subject);
        let by = match &fact.made_by {
            Actor::Agent { name: id } => name(id),
            _ => "an agent".to_owned(),
        };
        Self {
            id: fact.id,
            kind: match fact.kind {
                FactKind::Fact => "",
                FactKind::Preference => "preference",
                FactKind::Decision => "decision",
                FactKind::Task => "task",
            },
            mine: fact.about == About::Person,
            whose: match (fact.about, &fact.agent) {
                (About::Person, _) => "about you".to_owned(),
                (About::Agent, Some(agent)) => name(agent),
                _ => "everybody".to_owned(),
            },
            from: match fact.source {
                FactSource::Agent => format!("noted by {by}"),
                FactSource::Person if fact.run.is_some() => "corrected by a person".to_owned(),
                FactSource::Person => "written by a person".to_owned(),
                FactSource::Import => "imported".to_owned(),
                FactSource::Compaction => format!("noted by {by} when a long conversation was condensed"),
            },
            at: format::machine(fact.updated_at),
            when: format::ago(now, fact.updated_at),
            used: fact.used_at.map(|used| format::ago(now, used)).unwrap_or_default(),
            conversation: fact.conversation.filter(|_| own),
            run: fact.run.filter(|_| audits),
            waits: fact.waits().then(|| {
                if fact.tainted {
                    format!("not used yet: written after reading {}", shortened(&fact.has_read))
                } else {
                    "used only where it was learned until it is confirmed".to_owned()
                }
            }),
            may_forget: may_change || (own && fact.confirmed_at.is_none()),
            may_change,
            text: fact.text,
        }
    }
}

fn shortened(names: &[String]) -> String {
    match names {
        [] => "others’ text".to_owned(),
        [one] => one.clone(),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
    }
}
