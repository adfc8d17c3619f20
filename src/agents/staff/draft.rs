//! An agent as somebody wants it, and what is allowed in it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    agents::soul::{Profile, SOUL_CHARACTERS},
    support::{Error, Kind, Result},
};

/// What cannot be an agent's id, because pages are called so.
const RESERVED: [&str; 3] = ["new", "import", "versions"];

/// An agent as somebody wants it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Draft {
    /// Its name: `Atlas`.
    #[schema(min_length = 1, max_length = 40)]
    pub name: String,
    /// Its post: `Chief of staff`.
    #[serde(default)]
    #[schema(max_length = 80)]
    pub title: String,
    /// What it is for, in one sentence.
    #[serde(default)]
    #[schema(max_length = 240)]
    pub summary: String,
    /// Who it is in a sentence, for small models.
    #[serde(default)]
    #[schema(max_length = 400)]
    pub brief: String,
    /// The hue of its avatar, in degrees.
    #[serde(default)]
    #[schema(maximum = 359)]
    pub hue: u16,
    /// The route of models; empty for the default one.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub route: String,
    /// The tools that it is offered: names, `knowledge.*` for a family, `*` for all.
    #[serde(default = "all")]
    #[schema(max_items = 100)]
    pub tools: Vec<String>,
    /// Its profile, in Markdown.
    #[schema(min_length = 1, max_length = 20000)]
    pub soul: String,
    /// What the change is for.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub note: String,
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

impl Draft {
    /// The agent as it is.
    pub fn of(profile: &Profile) -> Self {
        Self {
            name: profile.info.name.clone(),
            title: profile.info.title.clone(),
            summary: profile.info.summary.clone(),
            brief: profile.brief.clone(),
            hue: profile.info.hue,
            route: profile.route.clone().unwrap_or_default(),
            tools: profile.tools.0.clone(),
            soul: profile.soul.text().to_owned(),
            note: String::new(),
        }
    }

    /// An id made of the name.
    pub fn id(&self) -> String {
        let plain = self.name.trim().to_lowercase();
        let words = plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let id = words.collect::<Vec<_>>().join("-");
        let id: String = id.trim_start_matches(|c: char| !c.is_ascii_lowercase()).chars().take(40).collect();
        id.trim_end_matches('-').to_owned()
    }

    /// The draft without what nobody sees, if it may be kept.
    pub(super) fn checked(&self) -> Result<Self> {
        if self.hue > 359 {
            return Err(Error::invalid("the hue is a number from 0 to 359"));
        }
        let name = line("name", &self.name, 40)?;
        if name.is_empty() {
            return Err(Error::invalid("the agent has no name"));
        }
        let soul = self.soul.replace('\0', "").replace("\r\n", "\n").trim().to_owned();
        let characters = soul.chars().count();
        if characters == 0 {
            return Err(Error::invalid("the profile is empty").remedy("write who the agent is, and how it works"));
        }
        if characters > SOUL_CHARACTERS {
            let message = format!("the profile has {characters} characters; at most {SOUL_CHARACTERS} are read");
            return Err(Error::new(Kind::TooLarge, message).remedy("put the long part into a document"));
        }
        let tool = |c: char| c.is_ascii_alphanumeric() || "._-*".contains(c);
        let fits = |text: &String| !text.is_empty() && text.len() <= 128 && text.chars().all(tool);
        if self.tools.len() > 100 || !self.tools.iter().all(fits) {
            return Err(Error::invalid("the tools are a list of names, such as knowledge.search"));
        }
        let route = self.route.trim();
        if route.len() > 64 || !route.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            return Err(Error::invalid("a route's name has letters, digits, `_` and `-`"));
        }
        let mut tools = self.tools.clone();
        tools.sort();
        tools.dedup();
        // The order in which they are listed means nothing, but for those that come so with the appliance.
        let tools = if tools.len() == self.tools.len() { self.tools.clone() } else { tools };
        let title = line("post", &self.title, 80)?;
        let brief = line("sentence for small models", &self.brief, 400)?;
        let named = || format!("You are {name}{}{}.", if title.is_empty() { "" } else { ", " }, title);
        Ok(Self {
            summary: line("summary", &self.summary, 240)?,
            brief: if brief.is_empty() { named() } else { brief },
            note: line("note", &self.note, 200)?,
            route: route.to_owned(),
            hue: self.hue,
            name,
            title,
            tools,
            soul,
        })
    }

    /// The names of what is not as in `profile`.
    pub(super) fn differs_from(&self, profile: &Profile) -> Vec<&'static str> {
        let old = Self::of(profile);
        let fields = [
            ("name", self.name != old.name),
            ("title", self.title != old.title),
            ("summary", self.summary != old.summary),
            ("brief", self.brief != old.brief),
            ("hue", self.hue != old.hue),
            ("route", self.route != old.route),
            ("tools", self.tools != old.tools),
            ("soul", self.soul != old.soul),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

pub(super) fn check_id(id: &str) -> Result<()> {
    let fits = id.len() <= 40
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fits && !RESERVED.contains(&id) {
        return Ok(());
    }
    Err(Error::invalid(format!("`{id}` cannot be the short name of an agent"))
        .remedy("it begins with a letter a to z, has letters, digits and hyphens, and at most 40 of them"))
}

fn line(what: &str, text: &str, most: usize) -> Result<String> {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim().to_owned();
    if text.chars().count() > most {
        return Err(Error::new(Kind::TooLarge, format!("the {what} is longer than {most} characters")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_of_the_name_and_pages_keep_theirs() {
        let id = |name: &str| Draft { name: name.to_owned(), ..Draft::default() }.id();
        assert_eq!(id("Ms. Marple 2"), "ms-marple-2");
        assert_eq!(id("42 Douglas"), "douglas");
        assert_eq!(id("日本"), "");
        assert!(check_id("new").is_err() && check_id("").is_err() && check_id("a_b").is_err());
        assert!(check_id("ms-marple-2").is_ok());
    }

    #[test]
    fn what_is_too_long_is_refused_and_what_nobody_sees_is_dropped() {
        let draft = Draft { name: " Zoe\n".to_owned(), soul: "x\0\r\ny ".to_owned(), ..Draft::default() };
        let kept = draft.checked().unwrap();
        assert_eq!((kept.name.as_str(), kept.soul.as_str()), ("Zoe", "x\ny"));
        assert_eq!(kept.brief, "You are Zoe.");
        assert!(Draft { soul: "x".repeat(20_001), ..draft.clone() }.checked().is_err());
        assert!(Draft { tools: vec!["a b".to_owned()], ..draft.clone() }.checked().is_err());
        assert!(Draft { hue: 360, ..draft.clone() }.checked().is_err());
        assert!(Draft { soul: " ".to_owned(), ..draft }.checked().is_err());
    }
}
