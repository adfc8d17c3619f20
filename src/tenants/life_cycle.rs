//! What becomes of a tenant after its creation: renamed, suspended, resumed, deleted and, within the grace period, taken
//! back.
//!
//! Each step is written twice. The tenant's own audit log has it while its database can be written to: a suspension is
//! written right before it begins, and what happened to a tenant meanwhile is told to its log when it comes back.
//! The appliance's own log has every step (`deeds`), and outlives the tenant.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Record, Slug, State, Tenants, checked_name, store};
use crate::{
    audit::{self, Action, Actor, NewEntry},
    jobs,
    support::{Error, Kind, Result, ids::TenantId},
};

/// The most characters of a reason.
const REASON_LENGTH: usize = 500;

/// How long the last entry before a tenant goes out of service may take to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What is to change about a tenant's names; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Renaming {
    /// What people call it.
    pub name: Option<String>,
    /// What commands and addresses call it. The old one is free afterwards.
    pub slug: Option<Slug>,
}

impl Tenants {
    /// Gives a tenant another name, another slug, or both.
    ///
    /// # Errors
    /// `Invalid` when the name is empty or too long, `Conflict` when the slug is taken or the tenant is being deleted.
    pub async fn rename(&self, id: &TenantId, renaming: Renaming, by: &Actor) -> Result<Record> {
        let before = self.record(id).await?;
        expect(&before, &[State::Active, State::Suspended], "renamed")?;
        let name =
            renaming.name.map(|name| checked_name(&name)).transpose()?.unwrap_or_else(|| before.tenant.name.clone());
        let slug = renaming.slug.unwrap_or_else(|| before.tenant.slug.clone());
        if name == before.tenant.name && slug == before.tenant.slug {
            return Ok(before);
        }
        store::rename(self.db.control(), id, &name, &slug).await?;
        self.note(id, Action::TenantRenamed, by).await?;
        if before.state == State::Active {
            let detail = json!({
                "name": { "old": before.tenant.name, "new": name },
                "slug": { "old": before.tenant.slug, "new": slug },
            });
            self.write(id, Action::TenantRenamed, by, detail).await?;
        }
        tracing::info!(tenant = %id, %slug, "tenant renamed");
        self.record(id).await
    }

    /// Takes a tenant out of service, at once and whole: nobody gets in, runs end with what they have, jobs wait, and its
    /// database role can do nothing any more. Everything is kept.
    ///
    /// # Errors
    /// `Invalid` when the reason is too long, `Conflict` when the tenant is not in service.
    pub async fn suspend(&self, id: &TenantId, reason: &str, by: &Actor) -> Result<Record> {
        let reason = checked_reason(reason)?;
        let before = self.record(id).await?;
        expect(&before, &[State::Active], "suspended")?;
        self.write_if_possible(id, Action::TenantSuspended, by, json!({ "reason": reason })).await;
        let now = self.clock.now();
        changed(store::suspend(self.db.control(), id, &reason, now).await?)?;
        self.take_out(id, State::Suspended).await?;
        self.note(id, Action::TenantSuspended, by).await?;
        tracing::warn!(tenant = %id, "tenant suspended");
        self.record(id).await
    }

    /// Takes a suspended tenant back into service. Sessions that have not run out are good again, and jobs go on.
    ///
    /// # Errors
    /// `Conflict` when the tenant is not suspended.
    pub async fn resume(&self, id: &TenantId, by: &Actor) -> Result<Record> {
        let before = self.record(id).await?;
        expect(&before, &[State::Suspended], "resumed")?;
        self.db.unbar(id).await?;
        changed(store::resume(self.db.control(), id).await?)?;
        self.note(id, Action::TenantResumed, by).await?;
        self.take_back(&before, Action::TenantResumed, by).await?;
        self.record(id).await
    }

    /// Takes a tenant out of service and, after the grace period or with `now` at once, removes it with everything that
    /// is its. `confirmation` is its slug, typed by whoever wants this. With `now` it is gone when this returns.
    ///
    /// # Errors
    /// `Invalid` when the confirmation is not the slug, `Conflict` when it is being deleted already (unless `now`).
    pub async fn delete(&self, id: &TenantId, confirmation: &str, now: bool, by: &Actor) -> Result<Option<Record>> {
        let before = self.record(id).await?;
        if confirmation.trim() != before.tenant.slug.as_str() {
            return Err(Error::invalid(format!(
                "what was typed is not the short name of {}, so nothing was deleted",
                before.tenant.name
            ))
            .remedy(format!("type {} to confirm", before.tenant.slug)));
        }
        let allowed: &[State] =
            if now { &[State::Active, State::Suspended, State::Deleting] } else { &[State::Active, State::Suspended] };
        expect(&before, allowed, "deleted")?;
        let grace = if now { TimeDelta::zero() } else { self.grace };
        let after = self.clock.now() + grace;
        if before.state == State::Active {
            self.write_if_possible(id, Action::TenantDeletionRequested, by, json!({ "delete_after": after })).await;
        }
        changed(store::delete(self.db.control(), id, after).await?)?;
        self.take_out(id, State::Deleting).await?;
        self.note(id, Action::TenantDeletionRequested, by).await?;
        tracing::warn!(tenant = %id, delete_after = %after, "tenant is to be deleted");
        if !now {
            return self.record(id).await.map(Some);
        }
        self.remove(id).await?;
        Ok(None)
    }

    /// Takes a tenant back whose removal has not begun. It is what it was before: in service, or suspended.
    ///
    /// # Errors
    /// `Conflict` when it is not being deleted, or its removal has begun.
    pub async fn undelete(&self, id: &TenantId, by: &Actor) -> Result<Record> {
        let before = self.record(id).await?;
        expect(&before, &[State::Deleting], "taken back")?;
        let suspended = before.suspended_at.is_some();
        if !suspended {
            self.db.unbar(id).await?;
        }
        changed(store::undelete(self.db.control(), id).await?)?;
        self.note(id, Action::TenantUndeleted, by).await?;
        if suspended {
            self.residents.tell(id, Some(State::Suspended));
        } else {
            self.take_back(&before, Action::TenantUndeleted, by).await?;
        }
        self.record(id).await
    }

    /// The tenant of this id, whatever its state.
    ///
    /// # Errors
    /// `NotFound` when there is none, or no longer.
    pub async fn record(&self, id: &TenantId) -> Result<Record> {
        store::record(self.db.control(), id).await?.ok_or_else(|| Error::not_found("the organisation"))
    }

    /// Ends what goes on for a tenant, then closes its database to everybody.
    pub(super) async fn take_out(&self, id: &TenantId, state: State) -> Result<()> {
        self.residents.stop(id, state).await;
        self.db.bar(id).await
    }

    /// The tenant is in service again: its log hears what it missed, its jobs go on.
    async fn take_back(&self, before: &Record, action: Action, by: &Actor) -> Result<()> {
        let id = &before.tenant.id;
        self.residents.tell(id, Some(State::Active));
        let missed: Vec<Value> = self
            .missed(before)
            .await?
            .into_iter()
            .map(|deed| json!({ "at": deed.at, "actor": deed.actor, "action": deed.action }))
            .collect();
        self.write(id, action, by, json!({ "while_out_of_service": missed })).await?;
        let woken = jobs::wake(&self.db, id).await?;
        tracing::info!(tenant = %id, jobs = woken, "tenant is in service again");
        Ok(())
    }

    /// Writes to the tenant's own audit log.
    pub(super) async fn write(&self, id: &TenantId, action: Action, by: &Actor, detail: Value) -> Result<()> {
        let db = self.db.tenant(id).await?;
        let entry = NewEntry { actor: by.clone(), action, run: None, subject: Some(id.to_string()), detail };
        audit::append(&db, &*self.clock, entry).await?;
        Ok(())
    }

    /// As [`Self::write`], for a tenant that is about to go out of service: that must not wait for a database which is
    /// busy, or broken. What is missing then is told to the log when the tenant comes back.
    async fn write_if_possible(&self, id: &TenantId, action: Action, by: &Actor, detail: Value) {
        match tokio::time::timeout(LAST_WORDS, self.write(id, action, by, detail)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(tenant = %id, %action, %error, "not written to the tenant's own audit log");
            }
            Err(_) => {
                tracing::warn!(tenant = %id, %action, "not written to the tenant's own audit log: it is too busy");
            }
        }
    }
}

fn expect(record: &Record, allowed: &[State], what: &str) -> Result<()> {
    if allowed.contains(&record.state) {
        return Ok(());
    }
    let slug = &record.tenant.slug;
    let error = Error::conflict(format!("{slug} is {} and cannot be {what} now", record.state));
    Err(match record.state {
        State::Active => error.remedy("it is in service; nothing needs to be done"),
        State::Suspended => error.remedy(format!("resume it first: aegis tenant resume {slug}")),
        State::Deleting => error.remedy(format!("take it back first: aegis tenant undelete {slug}")),
        State::Creating => error.remedy("restart the appliance, which finishes its creation"),
        State::Removing => error.remedy("its removal has begun and cannot be stopped"),
    })
}

/// Somebody else may have been first.
fn changed(changed: bool) -> Result<()> {
    if changed {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, "somebody else has just changed the organisation's state")
        .remedy("look at it again"))
}

fn checked_reason(reason: &str) -> Result<String> {
    let reason = reason.trim();
    if reason.chars().count() > REASON_LENGTH || reason.chars().any(|c| c.is_control() && c != '\n' && c != '\r') {
        return Err(Error::invalid(format!(
            "a reason has at most {REASON_LENGTH} characters and no control characters"
        )));
    }
    Ok(reason.to_owned())
}
