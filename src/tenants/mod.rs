//! Tenants: the organisations that the appliance serves. Each has a schema and a database role of its own.

mod slug;
mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use self::slug::Slug;
use crate::{
    db::{Databases, TenantDb},
    support::{Error, Result, clock::SharedClock, ids::TenantId, random},
};

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
}

impl Tenants {
    /// Tenants of this database.
    pub fn new(db: Databases, clock: SharedClock) -> Self {
        Self { db, clock }
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

    /// All tenants, by slug.
    pub async fn list(&self) -> Result<Vec<Tenant>> {
        store::list(self.db.control()).await
    }

    /// The tenant of this slug.
    pub async fn by_slug(&self, slug: &Slug) -> Result<Option<Tenant>> {
        store::by_slug(self.db.control(), slug).await
    }

    /// The tenant of this id.
    pub async fn by_id(&self, id: &TenantId) -> Result<Option<Tenant>> {
        store::by_id(self.db.control(), id).await
    }

    /// The tenant's database.
    pub async fn open(&self, tenant: &Tenant) -> Result<TenantDb> {
        self.db.tenant(&tenant.id).await
    }

    /// Finishes tenants whose creation was interrupted. Part of each start. Returns how many there were.
    pub async fn repair(&self) -> Result<usize> {
        let unfinished = store::creating(self.db.control()).await?;
        for id in &unfinished {
            self.db.provision(id).await?;
            store::activate(self.db.control(), id).await?;
            tracing::warn!(tenant = %id, "finished a tenant whose creation had been interrupted");
        }
        Ok(unfinished.len())
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
