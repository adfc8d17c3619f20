//! What the pages of the staff show.

use chrono::{DateTime, Utc};

use super::super::{
    Draft, Member, Version,
    workspace::{Fate, Workspace},
};
use crate::{
    agents::soul::{Offered, SOUL_CHARACTERS},
    audit::Actor,
    http::format,
};

/// What a new agent's profile begins with.
pub(super) const BEGINNING: &str = "# SOUL.md - Who You Are\n\nYou are …\n\n## Core Truths\n\n- \n\n## Boundaries\n\n- \n\n\
                                    ## The Others\n\n- \n\n## When You Ask\n\n- \n\n## Voice\n\n- \n";

/// The hues that can be chosen.
const HUES: [(u16, &str); 12] = [
    (0, "Rose"),
    (30, "Coral"),
    (60, "Amber"),
    (90, "Olive"),
    (120, "Moss"),
    (150, "Green"),
    (180, "Teal"),
    (210, "Lagoon"),
    (240, "Sky"),
    (270, "Blue"),
    (300, "Violet"),
    (330, "Plum"),
];

/// An agent on its card.
pub(super) struct Card {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) mark: &'static str,
    pub(super) hue: String,
    pub(super) route: String,
    /// The tools in a few words.
    pub(super) tools: String,
    /// Where it comes from: `As it comes`, `Version 3`, `Your own, version 1`.
    pub(super) origin: String,
    pub(super) enabled: bool,
    pub(super) version: u32,
}

impl Card {
    pub(super) fn of(member: &Member) -> Self {
        let profile = &member.profile;
        Self {
            id: profile.info.id.clone(),
            name: profile.info.name.clone(),
            title: profile.info.title.clone(),
            summary: profile.info.summary.clone(),
            mark: profile.info.mark(),
            hue: profile.info.hue_class(),
            route: profile.route.clone().unwrap_or_else(|| "default route".to_owned()),
            tools: tools_in_words(&profile.tools),
            origin: match (member.built_in, member.changed) {
                (true, false) => "as it comes".to_owned(),
                (true, true) => format!("edited, version {}", profile.version),
                (false, _) => format!("your own, version {}", profile.version),
            },
            enabled: member.enabled,
            version: profile.version,
        }
    }
}

fn tools_in_words(offered: &Offered) -> String {
    if offered.contains("any.tool") {
        return "all tools".to_owned();
    }
    let names: Vec<_> = offered.0.iter().map(|name| name.trim_end_matches(".*").replace(['.', '_'], " ")).collect();
    if names.is_empty() { "no tools".to_owned() } else { names.join(", ") }
}

/// The form as it was sent, or as it begins.
#[derive(Debug, Clone, Default)]
pub(super) struct Edited {
    /// What it was sent for: `save`, `preview` or `try`.
    pub(super) wish: String,
    pub(super) version: u32,
    pub(super) name: String,
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) brief: String,
    pub(super) hue: u16,
    pub(super) route: String,
    pub(super) tools: Vec<String>,
    pub(super) soul: String,
    pub(super) note: String,
    pub(super) question: String,
    /// Whether it came as a workspace.
    pub(super) imported: bool,
    /// What became of the workspace's files.
    pub(super) files: Vec<Fate>,
    /// What the agent remembers from there.
    pub(super) memory: String,
    /// What is known from there of whoever saves it.
    pub(super) about_you: String,
}

impl Edited {
    pub(super) fn of(draft: &Draft, version: u32) -> Self {
        let Draft { name, title, summary, brief, hue, route, tools, soul, note } = draft.clone();
        let tools = if tools.is_empty() && name.is_empty() { vec!["*".to_owned()] } else { tools };
        Self { version, name, title, summary, brief, hue, route, tools, soul, note, ..Self::default() }
    }

    pub(super) fn imported(workspace: Workspace) -> Self {
        let Workspace { draft, files, memory, about_you } = workspace;
        Self { imported: true, files, memory, about_you, ..Self::of(&draft, 0) }
    }

    pub(super) fn read(fields: Vec<(String, String)>) -> Self {
        let mut form = Self { wish: "save".to_owned(), ..Self::default() };
        for (field, value) in fields {
            match field.as_str() {
                "do" => form.wish = value,
                "version" => form.version = value.parse().unwrap_or_default(),
                "name" => form.name = value,
                "title" => form.title = value,
                "summary" => form.summary = value,
                "brief" => form.brief = value,
                "hue" => form.hue = value.parse().unwrap_or_default(),
                "route" => form.route = value,
                "tool" => form.tools.push(value),
                "soul" => form.soul = value.replace("\r\n", "\n"),
                "note" => form.note = value,
                "question" => form.question = value,
                "imported" => form.imported = true,
                "memory" => form.memory = value.replace("\r\n", "\n"),
                "about_you" => form.about_you = value.replace("\r\n", "\n"),
                "fate" => form.files.extend(
                    value
                        .split_once(": ")
                        .map(|(file, becomes)| Fate { file: file.to_owned(), becomes: becomes.to_owned() }),
                ),
                _ => {}
            }
        }
        form
    }

    pub(super) fn draft(&self) -> Draft {
        let Self { name, title, summary, brief, hue, route, tools, soul, note, .. } = self.clone();
        Draft { name, title, summary, brief, hue, route, tools, soul, note }
    }

    /// How long the profile is, of how much.
    pub(super) fn characters(&self) -> String {
        let of = |number: usize| format::grouped(i64::try_from(number).unwrap_or(i64::MAX));
        format!("{} of {} characters", of(self.soul.chars().count()), of(SOUL_CHARACTERS))
    }
}

/// Something that can be chosen.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) about: String,
    pub(super) chosen: bool,
}

pub(super) fn hues(chosen: u16) -> Vec<Choice> {
    let step = (chosen + 15) % 360 / 30 * 30;
    let choice = |(hue, label): &(u16, &str)| Choice {
        // A hue between two steps stays what it is unless another one is chosen.
        value: if *hue == step { chosen } else { *hue }.to_string(),
        label: (*label).to_owned(),
        about: String::new(),
        chosen: *hue == step,
    };
    HUES.iter().map(choice).collect()
}

/// All tools and families of tools; what was chosen and is not there (any more) stays on the list.
pub(super) fn tools(known: &[(String, String)], chosen: &[String]) -> Vec<Choice> {
    let choice = |value: &str, label: String, about: &str| Choice {
        value: value.to_owned(),
        label,
        about: about.to_owned(),
        chosen: chosen.iter().any(|one| one == value),
    };
    let mut choices = vec![choice("*", "All tools".to_owned(), "those that come later too")];
    let mut families: Vec<_> =
        known.iter().filter_map(|(name, _)| name.split_once('.')).map(|(family, _)| family).collect();
    families.dedup();
    for family in families {
        let pattern = format!("{family}.*");
        let in_it = |name: &&str| name.split_once('.').is_some_and(|(known, _)| known == family);
        let names: Vec<_> = known.iter().map(|(name, _)| name.as_str()).filter(in_it).collect();
        let names = names.join(", ");
        choices.push(choice(&pattern, family.to_owned(), &names));
    }
    for name in chosen {
        if !choices.iter().any(|choice| choice.value == *name) {
            choices.push(choice(name, name.trim_end_matches(".*").to_owned(), ""));
        }
    }
    choices
}

/// A version in the history.
pub(super) struct VersionView {
    pub(super) version: u32,
    pub(super) note: String,
    pub(super) when: String,
    pub(super) by: &'static str,
}

impl VersionView {
    pub(super) fn of(version: Version, now: DateTime<Utc>) -> Self {
        Self {
            version: version.version,
            note: if version.note.is_empty() { "No note".to_owned() } else { version.note },
            when: version.at.map(|at| format::ago(now, at)).unwrap_or_default(),
            by: match version.by {
                Some(Actor::User { .. }) => "by a member",
                Some(Actor::Agent { .. }) => "by an agent",
                Some(Actor::Operator) => "by the operator",
                Some(Actor::System) | None => "",
            },
        }
    }
}

/// What came of a test question.
pub(super) struct Tried {
    pub(super) html: String,
    pub(super) by: String,
    pub(super) problem: Option<String>,
}
