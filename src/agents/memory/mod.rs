//! What agents remember: facts about a person, of an agent's own work, and for the whole organisation, each with where it
//! comes from; and what became of conversations that grew too long.
//!
//! | who reads | what they get |
//! |---|---|
//! | an agent in somebody's conversation | its own, what is remembered of that person, the organisation's |
//! | an agent apart from a conversation | its own and the organisation's |
//! | a person on the page | what is remembered of them, and what agents tell everybody |
//! | who manages agents | that of all agents and the organisation, also what nobody has confirmed yet; never another person's |
//!
//! A memory is a way into every prompt that comes after. So what is written in a run that has read what others wrote is put
//! into no prompt before a person has confirmed it, and what an agent wants to tell everybody is told in the conversations of
//! the person it was learned from alone, until somebody who manages agents has confirmed it.
//!
//! ```text
//! notes ─ veil      what a run is reminded of, and how that stays out of the audit log's text
//! tools             memory.remember, memory.recall, memory.forget
//! compaction        long conversations
//! import            MEMORY.md and USER.md of other workspaces
//! store             the table `memories`
//! ```

pub(super) mod compaction;
mod fact;
pub mod http;
mod import;
pub(super) mod notes;
mod store;
pub mod tools;
pub(super) mod veil;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use serde_json::json;

use super::record::lock;
use crate::{
    audit::{self, Action, Actor, NewEntry},
    db::TenantDb,
    egress,
    models::embedding::EmbeddingModel,
    support::{
        Error, Kind, Result,
        clock::SharedClock,
        ids::{ConversationId, MemoryId, UserId},
    },
};
pub use compaction::Compaction;
pub use fact::{About, Fact, FactKind, FactSource, NewFact, Origin, Outcome, Reader, Subject, Viewer};
use fact::{checked, gives_way};
use store::{Likeness, Whose};

/// The most characters of a fact.
const MOST_CHARACTERS: usize = 500;
/// The most facts of one agent, one person, or the organisation.
const MOST_FACTS: i64 = 200;
/// The most characters of a question that are searched for.
const QUESTION_CHARACTERS: usize = 2_000;
/// The most facts that one page or answer lists.
const MOST_LISTED: i64 = 1_000;
/// The most facts that a search on the page gives.
const FOUND: usize = 12;
/// Facts that get a vector at once when the model that makes them was changed, or was not there.
const VECTORS_AT_ONCE: i64 = 32;

/// The memory of a tenant's agents. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    model: Arc<dyn EmbeddingModel>,
    clock: SharedClock,
    /// The conversations that are being condensed.
    condensing: Mutex<HashSet<ConversationId>>,
}

impl Memory {
    /// A memory whose vectors `model` makes.
    pub fn new(model: Arc<dyn EmbeddingModel>, clock: SharedClock) -> Self {
        Self { inner: Arc::new(Inner { model, clock, condensing: Mutex::default() }) }
    }

    /// Remembers a fact. One that says nearly the same of the same subject is changed instead, if it may be: what a person
    /// has confirmed is not overwritten by an agent, and nothing by what may be others' words.
    ///
    /// # Errors
    /// `Invalid` when it is too short or too long; `Conflict` when there is no room for more.
    pub async fn remember(&self, db: &TenantDb, new: NewFact) -> Result<(Fact, Outcome)> {
        let text = checked(&new.text)?;
        if let (Some(run), Some(call)) = (new.origin.run, &new.origin.call)
            && let Some(known) = store::of_call(db, run, call).await?
        {
            return Ok((known, Outcome::Known));
        }
        let vector = self.vector_of(db, &text).await;
        let now = self.inner.clock.now();
        let by_person = matches!(new.source, FactSource::Person | FactSource::Import);
        let fact = Fact {
            id: MemoryId::generate(),
            about: new.subject.about(),
            agent: if let Subject::Agent(agent) = &new.subject { Some(agent.clone()) } else { None },
            user: if let Subject::Person(user) = new.subject { Some(user) } else { None },
            text,
            kind: new.kind,
            source: new.source,
            run: new.origin.run,
            conversation: new.origin.conversation,
            learned_from: new.origin.learned_from,
            tainted: !by_person && !new.origin.has_read.is_empty(),
            has_read: new.origin.has_read,
            confirmed_at: by_person.then_some(now),
            made_by: new.by,
            created_at: now,
            updated_at: now,
            used_at: None,
        };
        let likeness = Likeness { text: &fact.text, vector: vector.as_deref(), model: &self.inner.model.name() };
        let alike = store::alike(db, &new.subject, &likeness).await?;
        if let Some(old) = alike.iter().find(|old| gives_way(old, &fact)) {
            if old.text == fact.text && old.confirmed_at.is_some() {
                return Ok((old.clone(), Outcome::Known));
            }
            let fact = Fact { id: old.id, created_at: old.created_at, used_at: old.used_at, ..fact.clone() };
            if store::replace(db, &fact, new.origin.call.as_deref(), self.stamped(vector.as_deref()).as_ref()).await? {
                self.scrub(db, old).await?;
                self.note(db, Action::MemoryChanged, &fact, fact.made_by.clone()).await?;
                return Ok((fact, Outcome::Changed));
            }
        } else if let Some(old) = alike.into_iter().find(|old| old.text == fact.text) {
            return Ok((old, Outcome::Known));
        }
        let stamped = self.stamped(vector.as_deref());
        if !store::insert(db, &fact, new.origin.call.as_deref(), stamped.as_ref(), MOST_FACTS).await? {
            return Err(Error::conflict(format!("no more than {MOST_FACTS} things are remembered of one"))
                .remedy("forget some that are not needed any more"));
        }
        self.note(db, Action::MemoryAdded, &fact, fact.made_by.clone()).await?;
        Ok((fact, Outcome::Added))
    }

    /// What an agent may be reminded of that fits the question best, best first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn recall(&self, db: &TenantDb, reader: &Reader, question: &str, limit: usize) -> Result<Vec<Fact>> {
        let whose = Whose::Reads { agent: &reader.agent, user: reader.user };
        let facts = self.search(db, &whose, question, limit).await?;
        store::used(db, &facts.iter().map(|fact| fact.id).collect::<Vec<_>>(), self.inner.clock.now()).await?;
        Ok(facts)
    }

    /// What a person may see: everything, the newest first, or what fits a search.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, db: &TenantDb, viewer: Viewer, query: &str) -> Result<Vec<Fact>> {
        let whose = Whose::Sees { user: viewer.user, manages: viewer.manages };
        if query.trim().is_empty() {
            return store::list(db, &whose, MOST_LISTED).await;
        }
        self.search(db, &whose, query, FOUND).await
    }

    /// One fact, if the person may see it.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is about somebody else.
    pub async fn fact(&self, db: &TenantDb, viewer: Viewer, id: MemoryId) -> Result<Fact> {
        let whose = Whose::Sees { user: viewer.user, manages: viewer.manages };
        store::one(db, &whose, id).await?.ok_or_else(|| Error::not_found("the memory"))
    }

    /// Writes something down for a person.
    ///
    /// # Errors
    /// As for [`Memory::remember`]; `Forbidden` when they may not decide about it.
    pub async fn add(
        &self,
        db: &TenantDb,
        viewer: Viewer,
        subject: Subject,
        text: String,
        kind: FactKind,
    ) -> Result<Fact> {
        viewer.check(&subject)?;
        let by = Actor::User { id: viewer.user };
        let new = NewFact { subject, text, kind, source: FactSource::Person, origin: Origin::default(), by };
        Ok(self.remember(db, new).await?.0)
    }

    /// Changes what a fact says. Whoever changes it stands by it.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Invalid`.
    pub async fn change(
        &self,
        db: &TenantDb,
        viewer: Viewer,
        id: MemoryId,
        text: &str,
        kind: FactKind,
    ) -> Result<Fact> {
        let old = self.fact(db, viewer, id).await?;
        viewer.check(&old.subject())?;
        let text = checked(text)?;
        let vector = self.vector_of(db, &text).await;
        let now = self.inner.clock.now();
        let by = Actor::User { id: viewer.user };
        let fact = Fact { text, kind, confirmed_at: Some(now), updated_at: now, made_by: by.clone(), ..old.clone() };
        if !store::replace(db, &fact, None, self.stamped(vector.as_deref()).as_ref()).await? {
            return Err(Error::not_found("the memory"));
        }
        if old.text != fact.text {
            self.scrub(db, &old).await?;
        }
        self.note(db, Action::MemoryChanged, &fact, by).await?;
        Ok(fact)
    }

    /// Says that it is so: from now on it is told to everybody whom it concerns.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub async fn confirm(&self, db: &TenantDb, viewer: Viewer, id: MemoryId) -> Result<Fact> {
        let fact = self.fact(db, viewer, id).await?;
        viewer.check(&fact.subject())?;
        let fact = Fact { confirmed_at: Some(self.inner.clock.now()), ..fact };
        store::confirm(db, id, self.inner.clock.now()).await?;
        self.note(db, Action::MemoryConfirmed, &fact, Actor::User { id: viewer.user }).await?;
        Ok(fact)
    }

    /// Forgets a fact everywhere: its text, its vector, and the summaries that may tell it.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub async fn forget(&self, db: &TenantDb, viewer: Viewer, id: MemoryId) -> Result<()> {
        let fact = self.fact(db, viewer, id).await?;
        // What was learned from somebody they may take back, as long as nobody else stands by it.
        if !(fact.learned_from == Some(viewer.user) && fact.confirmed_at.is_none()) {
            viewer.check(&fact.subject())?;
        }
        self.forget_one(db, &fact, Actor::User { id: viewer.user }).await
    }

    /// Forgets something about a person for them, when they ask an agent to.
    async fn forget_for(&self, db: &TenantDb, user: UserId, id: MemoryId, by: Actor) -> Result<()> {
        let fact = self.fact(db, Viewer { user, manages: false }, id).await?;
        if fact.user != Some(user) {
            return Err(Error::forbidden("that is not about the person who asks; it is forgotten on the page Memory"));
        }
        self.forget_one(db, &fact, by).await
    }

    async fn forget_one(&self, db: &TenantDb, fact: &Fact, by: Actor) -> Result<()> {
        store::delete(db, fact.id).await?;
        self.scrub(db, fact).await?;
        self.note(db, Action::MemoryForgotten, fact, by).await
    }

    /// Forgets what is remembered of a person and what was learned in their conversations, and drops the summaries of those.
    /// Says how many facts that were.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_person(&self, db: &TenantDb, user: UserId, by: Actor) -> Result<usize> {
        let facts = store::of_person(db, user).await?;
        for fact in &facts {
            self.forget_one(db, fact, by.clone()).await?;
        }
        compaction::store::drop_all_of_person(db, user).await?;
        Ok(facts.len())
    }

    /// Forgets what was learned in a conversation. Says how many facts that were.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_conversation(&self, db: &TenantDb, conversation: ConversationId, by: Actor) -> Result<usize> {
        let facts = store::of_conversation(db, conversation).await?;
        for fact in &facts {
            self.forget_one(db, fact, by.clone()).await?;
        }
        Ok(facts.len())
    }

    /// Takes what stands in a `MEMORY.md` or `USER.md` as facts, one for each point or paragraph. Whoever imports it stands
    /// by it. Says how many are new; what is known, too short or beyond the room that there is is left out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn import(&self, db: &TenantDb, subject: &Subject, text: &str, by: Actor) -> Result<usize> {
        let mut added = 0;
        for text in import::facts(text) {
            let (subject, by) = (subject.clone(), by.clone());
            let (kind, source, origin) = (FactKind::Fact, FactSource::Import, Origin::default());
            match self.remember(db, NewFact { subject, text, kind, source, origin, by }).await {
                Ok((_, Outcome::Added)) => added += 1,
                Ok(_) => {}
                Err(error) if error.kind() == Kind::Conflict => break,
                Err(error) if error.kind() == Kind::Invalid => {}
                Err(error) => return Err(error),
            }
        }
        Ok(added)
    }

    async fn search(&self, db: &TenantDb, whose: &Whose<'_>, question: &str, limit: usize) -> Result<Vec<Fact>> {
        let question: String = question.trim().chars().filter(|c| *c != '\0').take(QUESTION_CHARACTERS).collect();
        if question.is_empty() || limit == 0 || !store::anything(db, whose).await? {
            return Ok(Vec::new());
        }
        self.catch_up(db, whose).await?;
        let model = &self.inner.model;
        let vector = match egress::on_behalf_of(db.tenant(), None, model.embed_query(&question)).await {
            Ok(vector) => Some(vector),
            Err(error) => {
                tracing::warn!(%error, "remembering by words alone, because the embedding model does not answer");
                None
            }
        };
        let search = store::Search {
            question: &question,
            vector: vector.as_deref(),
            model: &model.name(),
            dimensions: vector.as_ref().map_or(model.dimensions(), Vec::len),
            limit: i64::try_from(limit).unwrap_or(MOST_LISTED),
        };
        store::search(db, whose, &search).await
    }

    /// Makes the vectors that are missing because the model was changed, or was not there.
    async fn catch_up(&self, db: &TenantDb, whose: &Whose<'_>) -> Result<()> {
        let model = &self.inner.model;
        let missing = store::without_vector(db, whose, &model.name(), VECTORS_AT_ONCE).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> = missing.iter().map(|(_, text)| text.clone()).collect();
        match egress::on_behalf_of(db.tenant(), None, model.embed(&texts)).await {
            Ok(vectors) => {
                for ((id, text), vector) in missing.iter().zip(&vectors) {
                    store::set_vector(db, *id, text, &model.name(), vector).await?;
                }
            }
            Err(error) => tracing::warn!(%error, "what is remembered has no vectors yet"),
        }
        Ok(())
    }

    /// The vector of a text; none when the model does not answer. Then it is made when it is next needed.
    async fn vector_of(&self, db: &TenantDb, text: &str) -> Option<Vec<f32>> {
        let texts = [text.to_owned()];
        match egress::on_behalf_of(db.tenant(), None, self.inner.model.embed(&texts)).await {
            Ok(mut vectors) => vectors.pop(),
            Err(error) => {
                tracing::warn!(%error, "something is remembered without a vector for now");
                None
            }
        }
    }

    fn stamped(&self, vector: Option<&[f32]>) -> Option<(String, Vec<f32>)> {
        vector.map(|vector| (self.inner.model.name(), vector.to_vec()))
    }

    /// Takes a text that holds no more out of whatever was made of it: summaries of the conversation that it comes from and
    /// those that quote it, runs that are not over, requests for leave.
    async fn scrub(&self, db: &TenantDb, fact: &Fact) -> Result<()> {
        store::scrub(db, fact, &veil::forgotten(fact.id)).await
    }

    /// Writes what was done into the audit log, without the text: the log is for good, and what is forgotten is not.
    async fn note(&self, db: &TenantDb, action: Action, fact: &Fact, actor: Actor) -> Result<()> {
        let detail = json!({
            "about": fact.about, "agent": fact.agent, "user": fact.user, "kind": fact.kind, "source": fact.source,
            "tainted": fact.tainted, "has_read": fact.has_read, "conversation": fact.conversation,
            "characters": fact.text.chars().count(),
        });
        let entry = NewEntry { actor, action, run: fact.run_of(action), subject: Some(fact.id.to_string()), detail };
        audit::append(db, &*self.inner.clock, entry).await.map(|_| ())
    }

    fn begin_condensing(&self, conversation: ConversationId) -> bool {
        lock(&self.inner.condensing).insert(conversation)
    }

    fn end_condensing(&self, conversation: ConversationId) {
        lock(&self.inner.condensing).remove(&conversation);
    }
}
