//! Who an agent is: its SOUL profile, a page of Markdown, and the little that a page shows of it.

use serde::{Deserialize, Serialize};

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
}

/// What a page shows of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Atlas, who comes with the appliance.
pub fn atlas() -> Profile {
    Profile {
        info: AgentInfo {
            id: "atlas".to_owned(),
            name: "Atlas".to_owned(),
            title: "Chief of staff".to_owned(),
            summary: "Answers from your organisation's documents and shows where each statement stands.".to_owned(),
            hue: 255,
        },
        soul: Soul::new(include_str!("souls/atlas.md")),
        brief: "You are Atlas.".to_owned(),
        route: None,
    }
}

#[cfg(test)]
mod tests {
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
    fn atlas_is_whole() {
        let atlas = atlas();
        assert!(atlas.soul.text().starts_with("# SOUL.md"));
        assert!(!atlas.soul.text().contains("was cut here"));
    }
}
