//! The staff of an organisation: the agents that come with the appliance, what the organisation changed of them, and
//! those that it added. Every change is a version; a version says only what differs from what the appliance brings, so
//! the rest follows the appliance from release to release.

mod draft;
pub mod http;
mod store;
pub mod workspace;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

pub use draft::Draft;
use store::Row;

use super::soul::{self, AgentInfo, Offered, Profile, Soul};
use crate::{
    audit::{self, Action, Actor, NewEntry},
    db::TenantDb,
    support::{Error, Result, clock::SharedClock},
};

/// The most agents of an organisation.
const MOST: usize = 100;

/// One of the staff.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Who it is.
    pub profile: Profile,
    /// Whether it can be asked.
    pub enabled: bool,
    /// Whether it comes with the appliance.
    pub built_in: bool,
    /// Whether the organisation has changed anything of it.
    pub changed: bool,
}

/// A change of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Version {
    /// Counted from 1; 0 is the agent as it comes with the appliance.
    pub version: u32,
    /// Who made it; nobody when it came with the appliance.
    #[schema(value_type = Option<Object>)]
    pub by: Option<Actor>,
    /// When.
    pub at: Option<DateTime<Utc>>,
    /// What it was for.
    pub note: String,
    /// The profile as it was from then on.
    pub soul: String,
    /// Whether the profile was the appliance's own.
    pub as_built_in: bool,
    /// Whether the agent could be asked from then on.
    pub enabled: bool,
}

/// Why a new version is made, for the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody added an agent.
    Created,
    /// Somebody edited it.
    Changed,
    /// It came from elsewhere.
    Imported,
}

/// The use cases.
#[derive(Clone)]
pub struct Staff {
    clock: SharedClock,
}

impl Staff {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock }
    }

    /// All, in the order in which they are shown, those that are switched off too.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn members(&self, db: &TenantDb) -> Result<Vec<Member>> {
        let mut rows = store::current(db).await?;
        let mut members = Vec::new();
        for built_in in &soul::BUILT_IN {
            let row = rows.iter().position(|row| row.agent == built_in.id).map(|place| rows.remove(place));
            members.push(row.map_or_else(|| untouched(built_in.profile()), member));
        }
        members.extend(rows.into_iter().map(member));
        Ok(members)
    }

    /// One of them.
    ///
    /// # Errors
    /// `NotFound` when there is none of that id.
    pub async fn member(&self, db: &TenantDb, id: &str) -> Result<Member> {
        let found = self.members(db).await?.into_iter().find(|member| member.profile.info.id == id);
        found.ok_or_else(|| Error::not_found("the agent").remedy("`aegis agent list` shows those that there are"))
    }

    /// An agent as one of its versions said, with the appliance's text of today where it said nothing.
    ///
    /// # Errors
    /// `NotFound` when there is no such agent or version.
    pub async fn at(&self, db: &TenantDb, id: &str, version: u32) -> Result<Profile> {
        if version == 0 {
            return soul::built_in(id).ok_or_else(|| Error::not_found("the agent"));
        }
        let number = i32::try_from(version).map_err(|_| Error::not_found("the version"))?;
        let row = store::version(db, id, number).await?;
        Ok(member(row.ok_or_else(|| Error::not_found("the version"))?).profile)
    }

    /// What an agent was like, the newest version first. That of the appliance is the last one.
    ///
    /// # Errors
    /// `NotFound` when there is none of that id.
    pub async fn versions(&self, db: &TenantDb, id: &str) -> Result<Vec<Version>> {
        let rows = store::versions(db, id).await?;
        let built_in = soul::built_in(id);
        if rows.is_empty() && built_in.is_none() {
            return Err(Error::not_found("the agent"));
        }
        let versions = rows.into_iter().map(|row| {
            let (by, at, note) = (Some(row.made_by.clone()), Some(row.made_at), row.note.clone());
            let (as_built_in, enabled) = (row.soul.is_none(), row.enabled);
            let profile = member(row).profile;
            let soul = profile.soul.text().to_owned();
            Version { version: profile.version, by, at, note, soul, as_built_in, enabled }
        });
        let first = built_in.map(|profile| Version {
            version: 0,
            by: None,
            at: None,
            note: "As it comes with the appliance".to_owned(),
            soul: profile.soul.text().to_owned(),
            as_built_in: true,
            enabled: true,
        });
        Ok(versions.chain(first).collect())
    }

    /// Adds an agent.
    ///
    /// # Errors
    /// `Invalid` when the draft is; `Conflict` when there is one of that id already.
    pub async fn add(&self, db: &TenantDb, id: &str, draft: &Draft, reason: Reason, by: Actor) -> Result<Member> {
        draft::check_id(id)?;
        let members = self.members(db).await?;
        if members.iter().any(|member| member.profile.info.id == id) {
            return Err(Error::conflict(format!("there is an agent `{id}` already")).remedy("choose another name"));
        }
        if members.len() >= MOST {
            return Err(Error::conflict(format!("an organisation has at most {MOST} agents")));
        }
        self.write(db, id, None, draft, true, reason, by).await
    }

    /// Changes an agent, whose newest version was `base` when the change was begun.
    ///
    /// # Errors
    /// `Invalid` when the draft is; `NotFound`; `Conflict` when somebody else changed it meanwhile.
    pub async fn change(
        &self,
        db: &TenantDb,
        id: &str,
        base: u32,
        draft: &Draft,
        reason: Reason,
        by: Actor,
    ) -> Result<Member> {
        let member = self.member(db, id).await?;
        if member.profile.version != base {
            return Err(changed_meanwhile(member.profile.version));
        }
        let enabled = member.enabled;
        self.write(db, id, Some(&member), draft, enabled, reason, by).await
    }

    /// Lets an agent be asked, or not.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is the last one that can be asked.
    pub async fn set_enabled(&self, db: &TenantDb, id: &str, enabled: bool, by: Actor) -> Result<()> {
        let members = self.members(db).await?;
        let member = self.member(db, id).await?;
        if member.enabled == enabled {
            return Ok(());
        }
        if !enabled && members.iter().filter(|member| member.enabled).count() == 1 {
            return Err(Error::conflict("it is the last agent that can be asked").remedy("switch another one on first"));
        }
        let note = if enabled { "Switched on" } else { "Switched off" };
        let row = self.next(db, &member, note, by.clone()).await?;
        self.insert(db, &Row { enabled, ..row }).await?;
        let action = if enabled { Action::AgentChanged } else { Action::AgentDisabled };
        self.note(db, by, action, id, json!({ "version": member.profile.version + 1, "enabled": enabled })).await
    }

    /// Makes an earlier version hold again, as a new one; 0 is the agent as it comes with the appliance, which it follows
    /// from then on.
    ///
    /// # Errors
    /// `NotFound` when there is no such agent or version; `Conflict` when somebody else changed it meanwhile.
    pub async fn restore(&self, db: &TenantDb, id: &str, base: u32, version: u32, by: Actor) -> Result<Member> {
        let now = self.member(db, id).await?;
        if now.profile.version != base {
            return Err(changed_meanwhile(now.profile.version));
        }
        let row = self.next(db, &now, &format!("Restored version {version}"), by.clone()).await?;
        let row = if version == 0 {
            soul::built_in(id).ok_or_else(|| Error::not_found("the version"))?;
            Row {
                name: None,
                title: None,
                summary: None,
                brief: None,
                hue: None,
                route: None,
                tools: None,
                soul: None,
                ..row
            }
        } else {
            let number = i32::try_from(version).map_err(|_| Error::not_found("the version"))?;
            let old = store::version(db, id, number).await?.ok_or_else(|| Error::not_found("the version"))?;
            Row {
                version: row.version,
                enabled: row.enabled,
                made_by: row.made_by,
                made_at: row.made_at,
                note: row.note,
                ..old
            }
        };
        self.insert(db, &row).await?;
        let detail = json!({ "version": row.version, "restored": version });
        self.note(db, by, Action::AgentRestored, id, detail).await?;
        self.member(db, id).await
    }

    #[expect(clippy::too_many_arguments, reason = "a version is made of as much")]
    async fn write(
        &self,
        db: &TenantDb,
        id: &str,
        before: Option<&Member>,
        draft: &Draft,
        enabled: bool,
        reason: Reason,
        by: Actor,
    ) -> Result<Member> {
        let draft = draft.checked()?;
        let version = before.map_or(0, |member| member.profile.version) + 1;
        let row = Row { enabled, ..self.row(id, version, &draft, by.clone())? };
        self.insert(db, &row).await?;
        let (action, changed) = match (reason, before) {
            (Reason::Imported, _) => (Action::AgentImported, Vec::new()),
            (_, Some(member)) => (Action::AgentChanged, draft.differs_from(&member.profile)),
            (_, None) => (Action::AgentCreated, Vec::new()),
        };
        let detail = json!({
            "version": version, "name": draft.name, "note": draft.note, "changed": changed,
            "characters": draft.soul.chars().count(), "tools": draft.tools, "route": draft.route,
        });
        self.note(db, by, action, id, detail).await?;
        self.member(db, id).await
    }

    /// The draft as a version: what is as the appliance brings it is not said.
    fn row(&self, id: &str, version: u32, draft: &Draft, by: Actor) -> Result<Row> {
        let own = soul::built_in(id);
        let said =
            |value: &str, of: fn(&Profile) -> &str| (own.as_ref().map(of) != Some(value)).then(|| value.to_owned());
        let tools = Offered(draft.tools.clone());
        Ok(Row {
            agent: id.to_owned(),
            version: i32::try_from(version).map_err(Error::internal)?,
            name: said(&draft.name, |own| &own.info.name),
            title: said(&draft.title, |own| &own.info.title),
            summary: said(&draft.summary, |own| &own.info.summary),
            brief: said(&draft.brief, |own| &own.brief),
            hue: (own.as_ref().map(|own| own.info.hue) != Some(draft.hue))
                .then(|| i16::try_from(draft.hue).unwrap_or(0)),
            route: said(&draft.route, |own| own.route.as_deref().unwrap_or_default()),
            soul: said(&draft.soul, |own| own.soul.text()),
            tools: (own.as_ref().map(|own| &own.tools) != Some(&tools)).then_some(tools.0),
            enabled: true,
            made_by: by,
            made_at: self.clock.now(),
            note: draft.note.clone(),
        })
    }

    /// The next version, which says what the newest does.
    async fn next(&self, db: &TenantDb, member: &Member, note: &str, by: Actor) -> Result<Row> {
        let profile = &member.profile;
        let number = i32::try_from(profile.version).map_err(Error::internal)?;
        let newest = store::version(db, &profile.info.id, number).await?;
        let made = (by.clone(), self.clock.now(), note.to_owned());
        let (made_by, made_at, note) = made;
        match newest {
            Some(row) => Ok(Row { version: number + 1, made_by, made_at, note, ..row }),
            None => Ok(Row { note, ..self.row(&profile.info.id, 1, &Draft::of(profile), by)? }),
        }
    }

    async fn insert(&self, db: &TenantDb, row: &Row) -> Result<()> {
        if store::insert_version(db, row).await? {
            return Ok(());
        }
        Err(changed_meanwhile(self.member(db, &row.agent).await?.profile.version))
    }

    async fn note(
        &self,
        db: &TenantDb,
        actor: Actor,
        action: Action,
        id: &str,
        detail: serde_json::Value,
    ) -> Result<()> {
        let entry = NewEntry { actor, action, run: None, subject: Some(id.to_owned()), detail };
        audit::append(db, &*self.clock, entry).await.map(|_| ())
    }
}

fn untouched(profile: Profile) -> Member {
    Member { profile, enabled: true, built_in: true, changed: false }
}

/// What a version says, and what the appliance brings where it says nothing.
fn member(row: Row) -> Member {
    let own = soul::built_in(&row.agent);
    let base = own.clone().unwrap_or_else(|| Profile {
        info: AgentInfo {
            id: row.agent.clone(),
            name: row.agent.clone(),
            title: String::new(),
            summary: String::new(),
            hue: 0,
        },
        soul: Soul::new(""),
        brief: String::new(),
        route: None,
        tools: Offered::default(),
        version: 0,
    });
    let profile = Profile {
        info: AgentInfo {
            id: row.agent,
            name: row.name.unwrap_or(base.info.name),
            title: row.title.unwrap_or(base.info.title),
            summary: row.summary.unwrap_or(base.info.summary),
            hue: row.hue.map_or(base.info.hue, i16::unsigned_abs),
        },
        soul: row.soul.map_or(base.soul, |soul| Soul::new(&soul)),
        brief: row.brief.unwrap_or(base.brief),
        route: row.route.map_or(base.route, |route| Some(route).filter(|route| !route.is_empty())),
        tools: row.tools.map_or(base.tools, Offered),
        version: row.version.unsigned_abs(),
    };
    let changed = own.as_ref() != Some(&Profile { version: 0, ..profile.clone() });
    Member { profile, enabled: row.enabled, built_in: own.is_some(), changed }
}

fn changed_meanwhile(version: u32) -> Error {
    Error::conflict(format!("somebody changed this agent meanwhile; its newest version is {version}"))
        .remedy("nothing was overwritten: compare yours with theirs and save again")
}
