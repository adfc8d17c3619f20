//! Collections: documents that belong together, and who may read them.
//!
//! A [`Reader`] goes with every question to the knowledge base, down into the query: what a reader may not see, the
//! database does not give out.

pub(super) mod store;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Library;
use crate::{
    accounts::Role,
    audit::{Action, Actor},
    support::{Error, Result, ids::CollectionId},
};

/// Characters of a collection's name and of its description.
const NAME_CHARS: usize = 60;
const DESCRIPTION_CHARS: usize = 300;
/// Agents that a collection may be opened to by name.
const MOST_AGENTS: usize = 100;

/// On whose behalf the knowledge base is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// What the person is; `None`: nobody, who reads nothing.
    role: Option<Role>,
    /// Through which agent, which must have the right too.
    agent: Option<String>,
}

impl Reader {
    /// The operator at the command line, and the appliance itself.
    pub fn everything() -> Self {
        Self { role: Some(Role::Owner), agent: None }
    }

    /// A person with this role.
    pub fn person(role: Role) -> Self {
        Self { role: Some(role), agent: None }
    }

    /// Somebody who has no right any more.
    pub fn nobody() -> Self {
        Self { role: None, agent: None }
    }

    /// The same through an agent: what both may read.
    #[must_use]
    pub fn through(self, agent: &str) -> Self {
        Self { agent: Some(agent.to_owned()), ..self }
    }

    /// The names of the roles that this reader is or is above.
    pub(super) fn roles(&self) -> Vec<&'static str> {
        let reached = Role::ALL.into_iter().filter(|role| self.role.is_some_and(|own| own >= *role));
        reached.map(Role::name).collect()
    }

    /// The agent's name.
    pub(super) fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    fn reads(&self, rights: &Rights) -> bool {
        let agent = |agents: &Vec<String>| self.agent.as_ref().is_none_or(|agent| agents.contains(agent));
        self.role.is_some_and(|role| role >= rights.least_role) && rights.agents.as_ref().is_none_or(agent)
    }
}

/// Who reads a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rights {
    /// People of this role and those above it.
    pub least_role: Role,
    /// The agents, by their names; without a list all of them, also those who come later.
    pub agents: Option<Vec<String>>,
}

impl Default for Rights {
    fn default() -> Self {
        Self { least_role: Role::Viewer, agents: None }
    }
}

/// A collection of documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Collection {
    /// Its identifier.
    pub id: CollectionId,
    /// What it is called.
    pub name: String,
    /// What is in it.
    pub description: String,
    /// Who reads it.
    pub rights: Rights,
    /// Documents go here when nobody names another.
    pub is_default: bool,
    /// How many documents it has, without their older versions.
    pub documents: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A collection as somebody wants it to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct CollectionDraft {
    /// What it is to be called.
    pub name: String,
    /// What is in it.
    #[serde(default)]
    pub description: String,
    /// Who is to read it.
    #[serde(flatten)]
    pub rights: Rights,
}

impl CollectionDraft {
    fn checked(self, reader: &Reader) -> Result<Self> {
        let name = one_line(&self.name);
        let description = one_line(&self.description);
        if name.is_empty() || name.chars().count() > NAME_CHARS {
            return Err(Error::invalid(format!("A collection's name has 1 to {NAME_CHARS} characters")));
        }
        if description.chars().count() > DESCRIPTION_CHARS {
            return Err(Error::invalid(format!("A description has at most {DESCRIPTION_CHARS} characters")));
        }
        let mut rights = self.rights;
        if let Some(agents) = &mut rights.agents {
            agents.sort();
            agents.dedup();
            if agents.len() > MOST_AGENTS || agents.iter().any(|agent| !is_name(agent)) {
                return Err(Error::invalid("The agents are a list of their names"));
            }
        }
        if !reader.reads(&Rights { agents: None, ..rights.clone() }) {
            return Err(
                Error::forbidden("You would not see this collection yourself").remedy("choose a role that you have")
            );
        }
        Ok(Self { name, description, rights })
    }
}

impl Library<'_> {
    /// The collections that the reader may see, the default first, then by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn collections(&self) -> Result<Vec<Collection>> {
        store::list(self.db.pool(), &self.reader, None).await
    }

    /// One of them.
    ///
    /// # Errors
    /// `NotFound` when there is none that the reader may see.
    pub async fn collection(&self, id: CollectionId) -> Result<Collection> {
        let found = store::list(self.db.pool(), &self.reader, Some(id)).await?.pop();
        found.ok_or_else(|| Error::not_found("the collection"))
    }

    /// Makes a collection.
    ///
    /// # Errors
    /// `Invalid` for a name that is none, `Conflict` when it is taken, `Forbidden` when the reader could not see it.
    pub async fn create_collection(&self, draft: CollectionDraft, by: Actor) -> Result<Collection> {
        let draft = draft.checked(&self.reader)?;
        let id = CollectionId::generate();
        store::insert(self.db.pool(), id, &draft, self.knowledge.clock().now()).await?;
        let detail = json!({ "name": draft.name, "rights": draft.rights });
        self.knowledge.record(self.db, by, Action::CollectionCreated, id, detail).await?;
        self.collection(id).await
    }

    /// Changes a collection's name, description and rights; they hold from the next question on.
    ///
    /// # Errors
    /// As for [`Library::create_collection`]; `NotFound` when there is none that the reader may see.
    pub async fn change_collection(&self, id: CollectionId, draft: CollectionDraft, by: Actor) -> Result<Collection> {
        let before = self.collection(id).await?;
        let draft = draft.checked(&self.reader)?;
        store::update(self.db.pool(), id, &draft).await?;
        let detail = json!({
            "name": draft.name, "rights": draft.rights, "before": { "name": before.name, "rights": before.rights },
        });
        self.knowledge.record(self.db, by, Action::CollectionChanged, id, detail).await?;
        self.collection(id).await
    }

    /// Removes an empty collection.
    ///
    /// # Errors
    /// `Conflict` while there are documents in it, or when it is the default; `NotFound` when there is none that the
    /// reader may see.
    pub async fn remove_collection(&self, id: CollectionId, by: Actor) -> Result<()> {
        let collection = self.collection(id).await?;
        if collection.is_default {
            return Err(Error::conflict("The default collection stays").remedy("rename it, or change who reads it"));
        }
        if !store::delete_empty(self.db.pool(), id).await? {
            return Err(Error::conflict(format!("There are documents in {}", collection.name))
                .remedy("delete them first, older versions too"));
        }
        let detail = json!({ "name": collection.name });
        self.knowledge.record(self.db, by, Action::CollectionRemoved, id, detail).await
    }

    /// The collection that something goes into: the one named, or the default.
    pub(super) async fn destination(&self, named: Option<CollectionId>) -> Result<CollectionId> {
        let found = store::destination(self.db.pool(), &self.reader, named).await?;
        found.ok_or_else(|| match named {
            Some(_) => Error::not_found("the collection"),
            None => Error::forbidden("You may not read the default collection")
                .remedy("name the collection that the file is for"),
        })
    }
}

fn is_name(agent: &str) -> bool {
    !agent.is_empty() && agent.len() <= 64 && !agent.chars().any(char::is_control)
}

fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_reads_what_role_and_agent_both_may() {
        let rights = Rights { least_role: Role::Admin, agents: Some(vec!["penny".to_owned()]) };
        assert!(Reader::everything().reads(&rights));
        assert!(Reader::person(Role::Admin).through("penny").reads(&rights));
        assert!(!Reader::person(Role::Admin).through("luna").reads(&rights));
        assert!(!Reader::person(Role::Member).through("penny").reads(&rights));
        assert!(!Reader::nobody().reads(&Rights::default()));
        assert_eq!(Reader::person(Role::Member).roles(), ["member", "viewer"]);
        assert!(Reader::nobody().roles().is_empty());
    }
}
