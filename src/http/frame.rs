//! What every page's frame needs: the templates under `web/templates` take it as `frame`.

use std::fmt;

use super::{assets, context::RequestContext};

/// The parts of a page that are the same everywhere.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The page's title, without the product's name.
    pub title: String,
    /// Which entry of the rail is the current one.
    pub nav: Section,
    /// The entries of the rail: the sections that the person may see.
    pub sections: Vec<Section>,
    /// Who is signed in.
    pub person: Option<Person>,
    /// The tenant whose data the page shows.
    pub tenant: Option<ActiveTenant>,
    /// The other tenants that the person could move to.
    pub elsewhere: Vec<ActiveTenant>,
    /// The token for `<meta name="csrf-token">` and for the hidden field `csrf`, which must be the first field of a
    /// multipart form. Empty when there is neither a session nor a form on the page.
    pub csrf: String,
    /// The nonce for `<script nonce>`.
    pub nonce: String,
    /// Light, dark, or as the machine is set.
    pub theme: Theme,
    /// How much waits for the person's leave, where the page has looked.
    pub waiting: i64,
}

impl Frame {
    /// The frame of a page that anyone may see: sign-in, set-up, errors.
    pub fn public(context: &RequestContext, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            nav: Section::Elsewhere,
            sections: Vec::new(),
            person: None,
            tenant: None,
            elsewhere: Vec::new(),
            csrf: context.csrf_token().unwrap_or_default(),
            nonce: context.nonce().to_owned(),
            theme: context.theme(),
            waiting: 0,
        }
    }

    /// Whether `section` is the current one.
    pub fn is(&self, section: &Section) -> bool {
        self.nav == *section
    }

    /// What stands beside a section of the rail: how much waits there; 0 for nothing.
    pub fn count(&self, section: &Section) -> i64 {
        if *section == Section::Approvals { self.waiting } else { 0 }
    }

    /// Whether the person may see how an answer came about.
    pub fn shows_runs(&self) -> bool {
        self.sections.contains(&Section::Audit)
    }

    /// The address of a file under `web/`: `{{ frame.asset("css/base.css") }}`.
    pub fn asset(&self, path: &str) -> String {
        assets::asset_url(path)
    }
}

/// A person as the frame shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// Their e-mail address.
    pub email: String,
    /// `owner`, `admin`, `member` or `viewer`.
    pub role: &'static str,
}

impl Person {
    /// The first letters of the first and the last name, for a mark: `AL` for Ada Lovelace.
    pub fn initials(&self) -> String {
        let mut words = self.name.split_whitespace();
        let first = words.next().and_then(|word| word.chars().next());
        let last = words.next_back().and_then(|word| word.chars().next());
        let letters: String = [first, last].into_iter().flatten().flat_map(char::to_uppercase).collect();
        if letters.is_empty() { self.email.chars().take(1).flat_map(char::to_uppercase).collect() } else { letters }
    }
}

/// A tenant as the frame shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveTenant {
    /// Its name.
    pub name: String,
    /// Its short name, as in commands.
    pub slug: String,
}

/// The console's sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Conversations with agents.
    Chat,
    /// Meetings of agents.
    Boardroom,
    /// Documents.
    Knowledge,
    /// Who the agents are.
    Agents,
    /// What agents remember.
    Memory,
    /// What agents have asked leave for.
    Approvals,
    /// What models were used for, and what that cost.
    Usage,
    /// The audit log.
    Audit,
    /// Who belongs to the organisation.
    Members,
    /// The organisation's settings and secrets.
    Settings,
    /// All organisations, for the appliance's operators.
    Tenants,
    /// The models that all of them use, for the appliance's operators.
    Models,
    /// A page outside the rail: sign-in, errors, one's own account.
    Elsewhere,
}

impl Section {
    /// The sections of the rail, in its order.
    pub const RAIL: [Self; 12] = [
        Self::Chat,
        Self::Boardroom,
        Self::Knowledge,
        Self::Approvals,
        Self::Agents,
        Self::Memory,
        Self::Usage,
        Self::Audit,
        Self::Members,
        Self::Settings,
        Self::Tenants,
        Self::Models,
    ];

    /// The page that it begins with.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat",
            Self::Boardroom => "/boardroom",
            Self::Knowledge => "/knowledge",
            Self::Agents => "/agents",
            Self::Memory => "/memory",
            Self::Approvals => "/approvals",
            Self::Usage => "/usage",
            Self::Audit => "/audit",
            Self::Members => "/members",
            Self::Settings => "/settings",
            Self::Tenants => "/operator/tenants",
            Self::Models => "/operator/models",
            Self::Elsewhere => "/",
        }
    }

    /// Its word in the rail.
    pub fn label(self) -> &'static str {
        match self {
            Self::Chat => "Chat",
            Self::Boardroom => "Boardroom",
            Self::Knowledge => "Knowledge",
            Self::Agents => "Agents",
            Self::Memory => "Memory",
            Self::Approvals => "Approvals",
            Self::Usage => "Usage",
            Self::Audit => "Audit",
            Self::Members => "Members",
            Self::Settings => "Settings",
            Self::Tenants => "Tenants",
            Self::Models => "Models",
            Self::Elsewhere => "Start",
        }
    }

    /// Its icon in the sprite.
    pub fn icon(self) -> &'static str {
        match self {
            Self::Chat => "message-square",
            Self::Boardroom => "presentation",
            Self::Knowledge => "library-big",
            Self::Agents => "bot",
            Self::Memory => "bookmark",
            Self::Approvals => "shield-check",
            Self::Usage => "chart-column",
            Self::Audit => "scroll-text",
            Self::Members => "users",
            Self::Settings => "settings",
            Self::Tenants => "building-2",
            Self::Models => "cpu",
            Self::Elsewhere => "mark",
        }
    }
}

/// The colours that somebody chose, kept in the cookie `theme`, so that the first byte is already right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the machine is set.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// From the name; anything unknown is `Auto`.
    pub fn from_name(name: Option<&str>) -> Self {
        match name {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
            _ => Self::Auto,
        }
    }

    /// `auto`, `light` or `dark`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

impl fmt::Display for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_come_from_first_and_last_name_or_from_the_address() {
        let person = |name: &str| Person { name: name.into(), email: "zoe@example.org".into(), role: "member" };
        assert_eq!(person("Ada King Lovelace").initials(), "AL");
        assert_eq!(person("ñandú").initials(), "Ñ");
        assert_eq!(person(" ").initials(), "Z");
    }

    #[test]
    fn an_unknown_theme_is_as_the_machine_is_set() {
        assert_eq!(Theme::from_name(Some("dark")), Theme::Dark);
        assert_eq!(Theme::from_name(Some("\"><script>")), Theme::Auto);
        assert_eq!(Theme::from_name(None), Theme::Auto);
    }
}
