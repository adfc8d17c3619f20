//! People across all organisations: what the appliance's operator does with accounts, and everybody with their own.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Accounts, By, Change, EmailAddress, Role, SignedIn, User, checked_name,
    store::{self, members, people, users},
};
use crate::{
    audit::{Action, Actor},
    support::{Error, Result, ids::TenantId},
    tenants::Tenant,
};

/// A person with an account, as the operator sees them.
#[derive(Debug, Clone, Serialize)]
pub struct Person {
    /// Who.
    #[serde(flatten)]
    pub user: User,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// Since when they are kept out everywhere.
    pub suspended_at: Option<DateTime<Utc>>,
    /// When they were last seen, to a minute.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// How many sessions they have.
    pub sessions: i64,
    /// Where they belong.
    pub memberships: Vec<PersonMembership>,
}

/// An organisation that a person belongs to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PersonMembership {
    /// Its slug.
    pub tenant: String,
    /// What they may do there.
    pub role: Role,
    /// Since when they are kept out there.
    pub suspended_at: Option<DateTime<Utc>>,
}

impl Accounts {
    /// Everybody with an account, or those of one organisation, by address.
    pub async fn people(&self, tenant: Option<&Tenant>) -> Result<Vec<Person>> {
        people::list(self.inner.db.control(), tenant.map(|tenant| &tenant.id)).await
    }

    /// The person of an address.
    ///
    /// # Errors
    /// `NotFound` when nobody has it.
    pub async fn person(&self, email: &EmailAddress) -> Result<Person> {
        people::by_email(self.inner.db.control(), email).await?.ok_or_else(|| nobody(email))
    }

    /// Keeps somebody out of the whole appliance, or lets them in again. Their sessions end at once.
    ///
    /// # Errors
    /// `NotFound` when nobody has the address.
    pub async fn suspend_person(&self, email: &EmailAddress, suspend: bool) -> Result<Person> {
        let inner = &*self.inner;
        let person = self.person(email).await?;
        let since = suspend.then(|| inner.clock.now());
        if people::set_suspended(inner.db.control(), person.user.id, since).await? {
            let action = if suspend { Action::MemberSuspended } else { Action::MemberResumed };
            for tenant in people::tenants(inner.db.control(), person.user.id).await?.iter().filter(|_| suspend) {
                self.tell_of_departure(tenant, person.user.id, false).await;
            }
            self.record_everywhere(person.user.id, &Actor::Operator, action, json!({ "everywhere": true })).await?;
        }
        self.person(email).await
    }

    /// Makes somebody an operator of the appliance, or no longer.
    ///
    /// # Errors
    /// `NotFound` when nobody has the address.
    pub async fn set_operator(&self, email: &EmailAddress, operator: bool) -> Result<Person> {
        let person = self.person(email).await?;
        if people::set_operator(self.inner.db.control(), person.user.id, operator).await? {
            let detail = json!({ "operator": operator });
            self.record_everywhere(person.user.id, &Actor::Operator, Action::OperatorChanged, detail).await?;
        }
        self.person(email).await
    }

    /// Ends somebody's membership in one organisation.
    ///
    /// # Errors
    /// `NotFound` when there is no such member, `Conflict` when nobody would be left as an owner.
    pub async fn remove_from(&self, email: &EmailAddress, tenant: &Tenant) -> Result<()> {
        let person = self.person(email).await?;
        self.change_member(By::Operator, tenant, person.user.id, Change::Remove).await
    }

    /// Removes somebody's account with all memberships and sessions. What they wrote stays with the organisations.
    ///
    /// # Errors
    /// `NotFound` when nobody has the address, `Conflict` when an organisation would be left without an owner; then
    /// nothing has been removed.
    pub async fn remove_person(&self, email: &EmailAddress) -> Result<Person> {
        let inner = &*self.inner;
        let person = self.person(email).await?;
        let user = person.user.id;
        let tenants = people::tenants(inner.db.control(), user).await?;
        let mut transaction = store::begin(inner.db.control()).await?;
        for tenant in &tenants {
            let locked = members::lock(&mut transaction, tenant, user, None).await?;
            let is_owner = |row: &members::Locked| row.role == Role::Owner && row.active;
            let owns = locked.iter().any(|row| row.user == user && row.role == Role::Owner);
            if owns && !locked.iter().any(|row| row.user != user && is_owner(row)) {
                let slug = self.slug_of(tenant).await?;
                return Err(Error::conflict(format!("{email} is the only owner of {slug}"))
                    .remedy("Make somebody else an owner first, or delete the organisation"));
            }
        }
        people::delete(&mut transaction, user).await?;
        store::commit(transaction).await?;
        for tenant in &tenants {
            self.tell_of_departure(tenant, user, true).await;
            let detail = json!({ "email": person.user.email, "account": true });
            self.record(tenant, Actor::Operator, Action::MemberRemoved, user.to_string(), detail).await?;
        }
        Ok(person)
    }

    /// Calls oneself something else.
    ///
    /// # Errors
    /// `Invalid` when the name is empty, too long or not one readable line.
    pub async fn rename(&self, signed_in: &SignedIn, name: &str) -> Result<()> {
        let name = checked_name(name)?;
        if name == signed_in.user.name {
            return Ok(());
        }
        let user = signed_in.user.id;
        users::set_name(self.inner.db.control(), user, &name).await?;
        let detail = json!({ "from": signed_in.user.name, "to": name });
        self.record_everywhere(user, &signed_in.actor(), Action::UserRenamed, detail).await
    }

    async fn slug_of(&self, tenant: &TenantId) -> Result<String> {
        let tenant = self.inner.tenants.by_id(tenant).await?;
        Ok(tenant.map_or_else(|| "an organisation".to_owned(), |tenant| tenant.slug.to_string()))
    }
}

/// The refusal for an address that nobody has.
pub(super) fn nobody(email: &EmailAddress) -> Error {
    Error::not_found(&format!("the person {email}")).remedy("`aegis user list` shows everybody")
}
