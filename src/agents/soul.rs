//! Who an agent is: its SOUL profile, a page of Markdown, and the little that a page shows of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most characters of a SOUL that a model is given.
pub const SOUL_CHARACTERS: usize = 20_000;

const CUT_MARKER: &str = "\n\n[This profile was cut here: it has more than 20,000 characters.]\n";

/// A SOUL profile as a model is given it: free Markdown, any headings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soul(String);

impl Soul {
    /// Takes a profile; what exceeds [`SOUL_CHARACTERS`] is cut, and a visible marker says so.
    pub fn new(markdown: &str) -> Self {
        let text = markdown.trim();
        if text.chars().nth(SOUL_CHARACTERS).is_none() {
            return Self(text.to_owned());
        }
        let room = SOUL_CHARACTERS - CUT_MARKER.chars().count();
        let kept: String = text.chars().take(room).collect();
        Self(kept + CUT_MARKER)
    }

    /// The profile's text, never longer than [`SOUL_CHARACTERS`].
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// An agent: its SOUL and how it is introduced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// How it is introduced.
    pub info: AgentInfo,
    /// Who it is, for models that can follow a page.
    pub soul: Soul,
    /// Who it is in a sentence, for models that cannot.
    pub brief: String,
    /// The route of models that it asks; the default one where none is named.
    pub route: Option<String>,
    /// Which of the appliance's tools it is offered. A tenant's own tools say themselves whose they are.
    #[serde(default)]
    pub tools: Offered,
    /// Which version of it this is; 0 for one that nobody has changed.
    #[serde(default)]
    pub version: u32,
}

impl Profile {
    /// Whether it may look into the organisation's documents.
    pub(super) fn searches(&self) -> bool {
        self.tools.contains("knowledge.search")
    }
}

/// What a page shows of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentInfo {
    /// How it is addressed: `atlas`.
    pub id: String,
    /// Its name: `Atlas`.
    pub name: String,
    /// Its post: `Chief of staff`.
    pub title: String,
    /// What it is for, in one sentence.
    pub summary: String,
    /// The hue of its avatar, in degrees of OKLCH.
    pub hue: u16,
}

impl AgentInfo {
    /// The drawn mark of its avatar in the sprite: its own, or the one that all others share.
    pub fn mark(&self) -> &'static str {
        mark(&self.id)
    }

    /// The class that gives its hue, in steps of 30 degrees.
    pub fn hue_class(&self) -> String {
        hue_class(self.hue)
    }
}

/// The drawn mark of the agent of this id in the sprite.
pub fn mark(id: &str) -> &'static str {
    BUILT_IN.iter().find(|built_in| built_in.id == id).map_or("agent-other", |built_in| built_in.mark)
}

/// The class that gives a hue, in steps of 30 degrees.
pub fn hue_class(hue: u16) -> String {
    format!("hue-{}", (hue + 15) % 360 / 30)
}

/// The tools that an agent is offered, by name; `knowledge.*` stands for all of one family and `*` for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered(pub Vec<String>);

impl Default for Offered {
    fn default() -> Self {
        Self(vec!["*".to_owned()])
    }
}

impl Offered {
    /// Whether the tool is among them.
    pub fn contains(&self, tool: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(family) => tool.starts_with(family),
            None => pattern == tool,
        })
    }
}

/// An agent that comes with the appliance.
pub(super) struct BuiltIn {
    pub(super) id: &'static str,
    name: &'static str,
    title: &'static str,
    summary: &'static str,
    brief: &'static str,
    hue: u16,
    mark: &'static str,
    tools: &'static [&'static str],
    soul: &'static str,
}

impl BuiltIn {
    pub(super) fn profile(&self) -> Profile {
        Profile {
            info: AgentInfo {
                id: self.id.to_owned(),
                name: self.name.to_owned(),
                title: self.title.to_owned(),
                summary: self.summary.to_owned(),
                hue: self.hue,
            },
            soul: Soul::new(self.soul),
            brief: self.brief.to_owned(),
            route: None,
            tools: Offered(self.tools.iter().map(|tool| (*tool).to_owned()).collect()),
            version: 0,
        }
    }
}

/// The seven, in the order in which they are shown.
pub(super) const BUILT_IN: [BuiltIn; 7] = [
    BuiltIn {
        id: "atlas",
        name: "Atlas",
        title: "Chief of staff",
        summary: "Answers from your organisation's documents and shows where each statement stands.",
        brief: "You are Atlas.",
        hue: 255,
        mark: "agent-atlas",
        tools: &["*"],
        soul: include_str!("souls/atlas.md"),
    },
    BuiltIn {
        id: "luna",
        name: "Luna",
        title: "Creative producer",
        summary: "Turns a loose brief into scripts, storyboards and campaign drafts that can be made.",
        brief: "You are Luna, a creative producer.",
        hue: 300,
        mark: "agent-luna",
        tools: &["knowledge.*", "memory.*", "time.*", "delegate.*"],
        soul: include_str!("souls/luna.md"),
    },
    BuiltIn {
        id: "hunter",
        name: "Hunter",
        title: "Sales",
        summary: "Finds out which customers fit, prepares the conversation and drafts honest offers.",
        brief: "You are Hunter, who works in sales.",
        hue: 30,
        mark: "agent-hunter",
        tools: &["knowledge.*", "memory.*", "time.*", "calculator.*", "http.*", "delegate.*"],
        soul: include_str!("souls/hunter.md"),
    },
    BuiltIn {
        id: "nova",
        name: "Nova",
        title: "Research",
        summary: "Comes back with what is known, how well it is known, and what speaks against it.",
        brief: "You are Nova, a researcher.",
        hue: 210,
        mark: "agent-nova",
        tools: &["*"],
        soul: include_str!("souls/nova.md"),
    },
    BuiltIn {
        id: "iris",
        name: "Iris",
        title: "Marketing and communications",
        summary: "Looks after what the organisation says: newsletters, press, posts, the difficult announcement.",
        brief: "You are Iris, who looks after communications.",
        hue: 345,
        mark: "agent-iris",
        tools: &["knowledge.*", "memory.*", "time.*", "http.*", "delegate.*"],
        soul: include_str!("souls/iris.md"),
    },
    BuiltIn {
        id: "penny",
        name: "Penny",
        title: "Finance and operations",
        summary: "Keeps track of money, contracts and deadlines, and shows the sum behind every figure.",
        brief: "You are Penny, who looks after finance and operations.",
        hue: 150,
        mark: "agent-penny",
        tools: &["knowledge.*", "memory.*", "time.*", "calculator.*", "delegate.*"],
        soul: include_str!("souls/penny.md"),
    },
    BuiltIn {
        id: "orion",
        name: "Orion",
        title: "Engineering",
        summary: "Explains systems, finds causes and plans changes that can be undone.",
        brief: "You are Orion, an engineer.",
        hue: 75,
        mark: "agent-orion",
        tools: &["*"],
        soul: include_str!("souls/orion.md"),
    },
];

/// An agent as it comes with the appliance.
pub(super) fn built_in(id: &str) -> Option<Profile> {
    BUILT_IN.iter().find(|built_in| built_in.id == id).map(BuiltIn::profile)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn a_long_profile_is_cut_with_a_visible_marker() {
        let whole = "ä".repeat(SOUL_CHARACTERS);
        assert_eq!(Soul::new(&whole).text(), whole);

        let cut = Soul::new(&"ä".repeat(SOUL_CHARACTERS + 1));
        assert_eq!(cut.text().chars().count(), SOUL_CHARACTERS);
        assert!(cut.text().ends_with(CUT_MARKER));
    }

    #[test]
    fn the_seven_are_whole_and_each_names_all_the_others() {
        assert_eq!(BUILT_IN.iter().map(|one| one.id).collect::<HashSet<_>>().len(), 7);
        for one in &BUILT_IN {
            let profile = one.profile();
            let soul = profile.soul.text();
            assert!(soul.starts_with("# SOUL.md") && !soul.contains("was cut here"), "{}", one.id);
            assert!((2_800..6_000).contains(&soul.len()), "{} has {} bytes: a page", one.id, soul.len());
            for part in ["## Core Truths", "## Boundaries", "## Voice"] {
                assert!(soul.contains(part), "{} lacks {part}", one.id);
            }
            for other in BUILT_IN.iter().filter(|other| other.id != one.id && other.id != "atlas") {
                assert!(soul.contains(other.name), "{} does not say how it works with {}", one.id, other.name);
            }
        }
    }

    #[test]
    fn the_seven_share_hardly_a_sentence() {
        let mut owners: HashMap<String, HashSet<&str>> = HashMap::new();
        let mut phrases: HashMap<String, HashSet<&str>> = HashMap::new();
        for one in &BUILT_IN {
            let text: String = one.soul.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
            for sentence in text.split(['.', ':', '?', '!']) {
                let words: Vec<_> = sentence.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
                let words: Vec<_> = words.iter().map(|word| word.to_lowercase()).collect();
                if words.len() > 3 {
                    owners.entry(words.join(" ")).or_default().insert(one.id);
                }
                for phrase in words.windows(6) {
                    phrases.entry(phrase.join(" ")).or_default().insert(one.id);
                }
            }
        }
        let shared: Vec<_> = owners.iter().filter(|(_, of)| of.len() > 1).map(|(sentence, _)| sentence).collect();
        assert!(shared.is_empty(), "{shared:?}");
        let shared: Vec<_> = phrases.iter().filter(|(_, of)| of.len() > 1).map(|(phrase, _)| phrase).collect();
        assert!(shared.len() <= 3, "{shared:?}");
    }

    #[test]
    fn tools_are_offered_by_name_by_family_or_all() {
        let offered = Offered(vec!["knowledge.*".to_owned(), "time.now".to_owned()]);
        assert!(offered.contains("knowledge.read") && offered.contains("time.now"));
        assert!(!offered.contains("time.zone") && !offered.contains("knowledgeable"));
        assert!(Offered::default().contains("anything"));
    }
}
