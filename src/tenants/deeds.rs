//! What operators did to tenants, out of the appliance's own audit log: it outlives tenants, and therefore knows them by
//! their opaque ids alone, without their names and without anybody's words.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Record, Tenants};
use crate::{
    audit::{self, Action, Actor, Filter, Log, NewEntry},
    support::{Result, ids::TenantId},
};

/// Entries read at once.
const PAGE: i64 = 100;
/// Pages looked through for one tenant: half a million entries.
const PAGES: usize = 100;

/// Something that was done to a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deed {
    /// Its place in the appliance's log.
    pub seq: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// `operator` at the command line, `system`, or `user` with an account's id.
    pub actor: String,
    /// `tenant.suspended`, `tenant.deleted`, …
    pub action: String,
    /// The tenant's id: its names go with it.
    pub tenant: String,
}

impl Tenants {
    /// The newest deeds, to one tenant or to all, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deeds(&self, of: Option<&TenantId>, limit: usize) -> Result<Vec<Deed>> {
        self.found(
            Filter { action: Some("tenant".to_owned()), text: of.map(ToString::to_string), ..Filter::default() },
            limit,
        )
        .await
    }

    /// The newest removals: by their place in the log, whose it was.
    pub(super) async fn newest_removals(&self) -> Result<BTreeMap<i64, TenantId>> {
        let filter = Filter { action: Some(Action::TenantDeleted.name().to_owned()), ..Filter::default() };
        let removals = self.found(filter, 200).await?;
        removals.into_iter().map(|deed| Ok((deed.seq, deed.tenant.parse()?))).collect()
    }

    /// What was done to a tenant since it went out of service, oldest first.
    pub(super) async fn missed(&self, before: &Record) -> Result<Vec<Deed>> {
        let began =
            if before.suspended_at.is_some() { Action::TenantSuspended } else { Action::TenantDeletionRequested };
        let mut missed = Vec::new();
        for deed in self.deeds(Some(&before.tenant.id), 100).await? {
            let is_the_first = deed.action == began.name();
            missed.push(deed);
            if is_the_first {
                break;
            }
        }
        missed.reverse();
        Ok(missed)
    }

    /// Writes to the appliance's log.
    pub(super) async fn note(&self, id: &TenantId, action: Action, by: &Actor) -> Result<()> {
        let entry = NewEntry { actor: by.clone(), action, run: None, subject: Some(id.to_string()), detail: json!({}) };
        audit::append(&Log::of_appliance(&self.db), &*self.clock, entry).await?;
        Ok(())
    }

    async fn found(&self, filter: Filter, limit: usize) -> Result<Vec<Deed>> {
        let log = Log::of_appliance(&self.db);
        let (mut deeds, mut below) = (Vec::new(), None);
        for _ in 0..PAGES {
            let page = audit::find(&log, &filter, below, PAGE).await?;
            deeds.extend(page.entries.into_iter().map(|entry| Deed {
                seq: entry.seq,
                at: entry.at,
                actor: actor_name(&entry.actor),
                action: entry.action,
                tenant: entry.subject.unwrap_or_default(),
            }));
            below = page.older;
            if deeds.len() >= limit || below.is_none() {
                break;
            }
        }
        deeds.truncate(limit);
        Ok(deeds)
    }
}

fn actor_name(actor: &Actor) -> String {
    match actor {
        Actor::User { id } => format!("user {id}"),
        Actor::Agent { name } => format!("agent {name}"),
        Actor::Operator => "operator".to_owned(),
        Actor::System => "system".to_owned(),
    }
}
