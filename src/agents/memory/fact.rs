//! A fact: what it says, whose it is, where it comes from, and who may read and change it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MOST_CHARACTERS;
use crate::{
    agents::{fence, tool::ToolContext},
    audit::{Action, Actor},
    support::{
        Error, Result,
        ids::{ConversationId, MemoryId, RunId, UserId},
    },
};

/// The fewest characters of a fact: less says nothing by itself.
const FEWEST_CHARACTERS: usize = 8;

/// What a fact is about, and so who is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// An agent's own work.
    Agent,
    /// One person.
    Person,
    /// The organisation: all agents are told.
    Organisation,
}

/// Whose a fact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An agent's own.
    Agent(String),
    /// About this person.
    Person(UserId),
    /// The organisation's.
    Organisation,
}

impl Subject {
    /// What it is about.
    pub fn about(&self) -> About {
        match self {
            Self::Agent(_) => About::Agent,
            Self::Person(_) => About::Person,
            Self::Organisation => About::Organisation,
        }
    }
}

/// What kind of thing a fact says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// How something is.
    #[default]
    Fact,
    /// How somebody wants something.
    Preference,
    /// What was decided.
    Decision,
    /// What is to be done.
    Task,
}

/// Who wrote a fact down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactSource {
    /// An agent, in a run.
    Agent,
    /// A person, on the page.
    Person,
    /// It came with a workspace.
    Import,
    /// It was taken from a conversation that was condensed.
    Compaction,
}

/// Something that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fact {
    /// Its identifier.
    pub id: MemoryId,
    /// What it is about.
    pub about: About,
    /// Whose it is, if it is an agent's own.
    pub agent: Option<String>,
    /// The person, if it is about one.
    #[serde(skip)]
    pub user: Option<UserId>,
    /// What it says.
    pub text: String,
    /// What kind of thing that is.
    pub kind: FactKind,
    /// Who wrote it down.
    pub source: FactSource,
    /// The run in which it was written down.
    pub run: Option<RunId>,
    /// The conversation that it was learned in.
    pub conversation: Option<ConversationId>,
    /// Whose conversation that was.
    #[serde(skip)]
    pub learned_from: Option<UserId>,
    /// Whether that run had read what others wrote.
    pub tainted: bool,
    /// What it had read.
    pub has_read: Vec<String>,
    /// Since when a person stands by it.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// Who made it what it is.
    pub made_by: Actor,
    /// When it was first written down.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// When an agent was last reminded of it.
    pub used_at: Option<DateTime<Utc>>,
}

impl Fact {
    /// Whether it is told to nobody, or to fewer than it could be, until a person confirms it.
    pub fn waits(&self) -> bool {
        self.confirmed_at.is_none() && (self.tainted || self.about != About::Person)
    }

    pub(super) fn subject(&self) -> Subject {
        match (self.about, &self.agent, self.user) {
            (About::Agent, Some(agent), _) => Subject::Agent(agent.clone()),
            (About::Person, _, Some(user)) => Subject::Person(user),
            _ => Subject::Organisation,
        }
    }
}

/// Where a fact was learned; nowhere for what a person writes on the page.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// In which run.
    pub run: Option<RunId>,
    /// By which call in it: a call that is made again after a crash adds nothing.
    pub call: Option<String>,
    /// In which conversation.
    pub conversation: Option<ConversationId>,
    /// Whose conversation that is.
    pub learned_from: Option<UserId>,
    /// What the run had read that others wrote.
    pub has_read: Vec<String>,
}

/// A fact that is to be remembered.
#[derive(Debug, Clone)]
pub struct NewFact {
    /// Whose it is.
    pub subject: Subject,
    /// What it says.
    pub text: String,
    /// What kind of thing that is.
    pub kind: FactKind,
    /// Who writes it down.
    pub source: FactSource,
    /// Where it was learned.
    pub origin: Origin,
    /// In whose name.
    pub by: Actor,
}

/// What became of a fact that was to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Added,
    /// It took the place of one that said nearly the same.
    Changed,
    /// It was known already.
    Known,
}

/// An agent that is reminded, and the person whose conversation it is in.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The agent.
    pub agent: String,
    /// The person; nobody in a run apart from a conversation.
    pub user: Option<UserId>,
}

impl Reader {
    pub(super) fn of(context: &ToolContext) -> Self {
        Self { agent: context.agent.clone(), user: context.user.filter(|_| context.conversation.is_some()) }
    }
}

/// A person who looks through what is remembered.
#[derive(Debug, Clone, Copy)]
pub struct Viewer {
    /// Who.
    pub user: UserId,
    /// Whether they decide what agents and the organisation remember.
    pub manages: bool,
}

impl Viewer {
    /// Whether they may change what is remembered of this.
    pub fn may_change(self, subject: &Subject) -> bool {
        match subject {
            Subject::Person(user) => *user == self.user,
            Subject::Agent(_) | Subject::Organisation => self.manages,
        }
    }

    pub(super) fn check(self, subject: &Subject) -> Result<()> {
        if self.may_change(subject) {
            return Ok(());
        }
        Err(Error::forbidden("Only those who manage agents decide what all are told").remedy("Ask one of them"))
    }
}

impl Fact {
    /// The run that an entry of the log belongs to: the one in which an agent writes it, and no later one.
    pub(super) fn run_of(&self, action: Action) -> Option<RunId> {
        let by_agent = matches!(self.made_by, Actor::Agent { .. });
        self.run.filter(|_| by_agent && matches!(action, Action::MemoryAdded | Action::MemoryChanged))
    }
}

/// Whether `old` may be replaced by `new`, which says nearly the same.
pub(super) fn gives_way(old: &Fact, new: &Fact) -> bool {
    match new.source {
        FactSource::Person | FactSource::Import => true,
        FactSource::Agent | FactSource::Compaction => {
            old.confirmed_at.is_none() && old.tainted == new.tainted && old.learned_from == new.learned_from
        }
    }
}

/// On one line, with nothing in it that a model could take for structure.
pub(super) fn checked(text: &str) -> Result<String> {
    let text = fence::bare(&text.replace('\0', ""));
    let characters = text.chars().count();
    if characters < FEWEST_CHARACTERS {
        return Err(Error::invalid("that is too short to be understood later").remedy("write a whole sentence"));
    }
    if characters > MOST_CHARACTERS {
        return Err(Error::invalid(format!("that is longer than {MOST_CHARACTERS} characters"))
            .remedy("say one thing at a time; long texts belong into a document"));
    }
    Ok(text)
}
