//! Tenants: the organisations that the appliance serves. Each has a schema and a database role of its own.
//!
//! ```text
//! creating → active ⇄ suspended
//!               ↓  ⇅      ↓ ⇅        with a grace period, in which there is a way back
//!              deleting(until) → removing → gone
//! ```

mod deeds;
mod life_cycle;
mod removal;
mod residents;
mod slug;
mod state;
mod store;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast;

use self::residents::Residents;
pub use self::{
    deeds::Deed,
    life_cycle::Renaming,
    residents::{Change, Resident},
    slug::Slug,
    state::{Record, State},
};
use crate::{
    audit::{Action, Actor},
    db::{Databases, TenantDb},
    jobs::{Admission, Gate},
    support::{Error, Result, clock::SharedClock, ids::TenantId, random},
};

/// How long a deleted tenant can be taken back, unless the configuration says otherwise.
const GRACE: TimeDelta = TimeDelta::days(30);

/// The most characters of a tenant's name.
const NAME_LENGTH: usize = 200;

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tenant {
    /// What its schema and role are named by.
    pub id: TenantId,
    /// What commands and addresses call it.
    pub slug: Slug,
    /// What people call it.
    pub name: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// The use cases of tenants. Cheap to clone.
#[derive(Clone)]
pub struct Tenants {
    db: Databases,
    clock: SharedClock,
    grace: TimeDelta,
    residents: Arc<Residents>,
}

impl Tenants {
    /// Tenants of this database.
    pub fn new(db: Databases, clock: SharedClock) -> Self {
        Self { db, clock, grace: GRACE, residents: Arc::new(Residents::new()) }
    }

    /// The same tenants; a deleted one can be taken back for so long.
    #[must_use]
    pub fn with_grace(self, grace: TimeDelta) -> Self {
        Self { grace, ..self }
    }

    /// Introduces a part of the appliance that lives off tenants.
    pub fn introduce(&self, resident: Arc<dyn Resident>) {
        self.residents.add(resident);
    }

    /// Hears of every tenant that goes out of service, comes back or goes: for what runs as long as its tenant does.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.residents.subscribe()
    }

    /// Creates a tenant with its schema and roles. It is listed once all of that is there.
    ///
    /// # Errors
    /// `Invalid` when the name is empty or too long, `Conflict` when the slug is taken.
    pub async fn create(&self, slug: &Slug, name: &str) -> Result<Tenant> {
        let tenant = Tenant {
            id: TenantId::from_random(random::bytes()),
            slug: slug.clone(),
            name: checked_name(name)?,
            created_at: self.clock.now(),
        };
        store::insert_creating(self.db.control(), &tenant).await?;
        if let Err(error) = self.db.provision(&tenant.id).await {
            // Kept as `creating`: the next start finishes it, because parts of it may be in the database.
            tracing::error!(tenant = %tenant.id, %error, "a tenant could not be made; the next start tries again");
            return Err(error);
        }
        store::activate(self.db.control(), &tenant.id).await?;
        tracing::info!(tenant = %tenant.id, slug = %tenant.slug, "tenant created");
        Ok(tenant)
    }

    /// As [`Tenants::create`], written down as somebody's doing.
    ///
    /// # Errors
    /// As [`Tenants::create`].
    pub async fn create_by(&self, slug: &Slug, name: &str, by: &Actor) -> Result<Tenant> {
        let tenant = self.create(slug, name).await?;
        self.note(&tenant.id, Action::TenantCreated, by).await?;
        self.write(&tenant.id, Action::TenantCreated, by, json!({ "name": tenant.name, "slug": tenant.slug })).await?;
        Ok(tenant)
    }

    /// All tenants in service, by slug.
    pub async fn list(&self) -> Result<Vec<Tenant>> {
        store::list(self.db.control()).await
    }

    /// The tenant of this slug, if it is in service.
    pub async fn by_slug(&self, slug: &Slug) -> Result<Option<Tenant>> {
        store::by_slug(self.db.control(), slug).await
    }

    /// The tenant of this id, if it is in service.
    pub async fn by_id(&self, id: &TenantId) -> Result<Option<Tenant>> {
        store::by_id(self.db.control(), id).await
    }

    /// The tenant of this slug, whatever its state.
    pub async fn record_by_slug(&self, slug: &Slug) -> Result<Option<Record>> {
        store::record_by_slug(self.db.control(), slug).await
    }

    /// Tenants in any state by slug, those that follow `after`, `limit` at most.
    pub async fn records(&self, after: &str, limit: usize) -> Result<Vec<Record>> {
        store::records(self.db.control(), after, i64::try_from(limit).unwrap_or(i64::MAX)).await
    }

    /// The tenants that are not in service, by slug.
    pub async fn away(&self) -> Result<Vec<Record>> {
        store::records_away(self.db.control()).await
    }

    /// How many tenants there are, by state.
    pub async fn counts(&self) -> Result<HashMap<State, i64>> {
        store::counts(self.db.control()).await
    }

    /// The tenant's database.
    pub async fn open(&self, tenant: &Tenant) -> Result<TenantDb> {
        self.db.tenant(&tenant.id).await
    }

    /// Finishes tenants whose creation was interrupted, and closes again those that are out of service, in case that was
    /// interrupted. Part of each start. One that fails is told in the log and keeps nobody else waiting. Returns how many
    /// were finished.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn repair(&self) -> Result<usize> {
        let mut finished = 0;
        for id in store::creating(self.db.control()).await? {
            let finishing = async {
                self.db.provision(&id).await?;
                store::activate(self.db.control(), &id).await
            };
            match finishing.await {
                Ok(()) => {
                    finished += 1;
                    tracing::warn!(tenant = %id, "finished a tenant whose creation had been interrupted");
                }
                Err(error) => tracing::error!(tenant = %id, %error, "a tenant's creation cannot be finished yet"),
            }
        }
        for (id, state) in store::away(self.db.control()).await? {
            self.residents.tell(&id, Some(state));
            if state != State::Creating
                && let Err(error) = self.db.bar(&id).await
            {
                tracing::error!(tenant = %id, %error, "a tenant out of service could not be closed");
            }
        }
        Ok(finished)
    }
}

#[async_trait]
impl Gate for Tenants {
    async fn admit(&self, tenant: &TenantId) -> Result<Admission> {
        Ok(match store::state(self.db.control(), tenant).await? {
            Some(State::Active) => Admission::Run,
            Some(State::Creating | State::Suspended | State::Deleting) => Admission::Wait,
            Some(State::Removing) | None => Admission::Drop,
        })
    }
}

fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    if name.is_empty() {
        return Err(Error::invalid("the organisation's name is empty"));
    }
    if name.chars().count() > NAME_LENGTH {
        return Err(Error::invalid(format!("the organisation's name is longer than {NAME_LENGTH} characters")));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid("the organisation's name contains control characters"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_must_be_one_readable_line() {
        assert_eq!(checked_name("  Acme & Söhne ").unwrap(), "Acme & Söhne");
        for wrong in ["", "  ", "two\nlines", &"x".repeat(201)] {
            assert!(checked_name(wrong).is_err(), "{wrong:?}");
        }
    }
}
