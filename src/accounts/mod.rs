//! Accounts: who may come in, as whom, and into which organisation.
//!
//! A person has one account and belongs to organisations with a role in each. A sign-in is a session: a random token
//! in a cookie, whose hash is in the database, that ends when it is idle, old, or ended. The first owner comes in
//! through a one-time token that the log prints ([`setup`]); there is no open sign-up.

mod browsers;
mod email;
pub mod http;
mod invitations;
mod members;
mod names;
pub mod oidc;
mod passwords;
mod people;
mod role;
pub mod second_factor;
mod sessions;
mod setup;
mod sign_in;
mod signed_in;
mod store;
mod throttle;
pub mod tokens;
mod user_agent;

use std::sync::{Arc, Mutex, OnceLock, atomic::AtomicBool};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::task::JoinSet;

pub use self::{
    email::EmailAddress,
    invitations::{Invitation, Invited, NewPerson},
    members::{By, Change, Member},
    passwords::Reset,
    people::{Person, PersonMembership},
    role::{Permission, Role},
    sessions::{ClientInfo, NewSession, SessionInfo},
    setup::Setup,
    signed_in::{Organisation, SignedIn, User, Via},
};
use self::{oidc::Providers, throttle::Throttle};
pub use crate::vault::password::Password;
use crate::{
    audit::{self, Action, Actor, NewEntry},
    config,
    db::Databases,
    support::{
        Error, Result,
        clock::SharedClock,
        ids::{TenantId, UserId},
    },
    tenants::{Tenant, Tenants},
    vault::{Keyring, password::Passwords},
};

/// The most characters of a person's name.
const NAME_LENGTH: usize = 200;

/// The use cases of accounts. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

/// What the doors beside the password need.
#[derive(Debug, Clone)]
pub struct Doors {
    /// The keys that the second factor's secrets are sealed to.
    pub keyring: Keyring,
    /// Other people's pages that one may sign in through.
    pub providers: Providers,
}

struct Inner {
    db: Databases,
    tenants: Tenants,
    clock: SharedClock,
    passwords: Passwords,
    throttle: Throttle,
    keyring: Keyring,
    providers: Providers,
    idle: TimeDelta,
    lifetime: TimeDelta,
    /// Once there is a user there is one for good.
    is_set_up: AtomicBool,
    /// What is being written to audit logs while nobody waits for it.
    writing: Mutex<JoinSet<()>>,
    departures: OnceLock<Arc<dyn Departures>>,
}

/// Whoever works for people, and has to end that when somebody is not let in any more. `app::wiring` introduces it.
#[async_trait]
pub trait Departures: Send + Sync + 'static {
    /// Somebody was suspended in an organisation, or, `for_good`, belongs to it no longer.
    async fn departed(&self, tenant: &TenantId, user: UserId, for_good: bool);
}

impl Accounts {
    /// Accounts in the control schema of `db`.
    pub fn new(db: Databases, tenants: Tenants, clock: SharedClock, doors: Doors, settings: &config::Accounts) -> Self {
        let inner = Inner {
            db,
            tenants,
            clock,
            passwords: Passwords::new(settings.concurrent_hashes),
            throttle: Throttle::default(),
            keyring: doors.keyring,
            providers: doors.providers,
            idle: TimeDelta::hours(i64::from(settings.session_idle_hours)),
            lifetime: TimeDelta::days(i64::from(settings.session_days)),
            is_set_up: AtomicBool::new(false),
            writing: Mutex::default(),
            departures: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Creates a person in an organisation, for whoever operates the server. Somebody who has an account already
    /// becomes a member with it: name and password stay theirs.
    ///
    /// # Errors
    /// `Invalid` when the name is empty or too long, or the password made of what everybody knows; `Conflict` when the person belongs to the organisation already.
    pub async fn create_user(
        &self,
        email: &EmailAddress,
        name: &str,
        password: Password,
        tenant: &Tenant,
        role: Role,
    ) -> Result<User> {
        let inner = &*self.inner;
        let name = checked_name(name)?;
        password.is_not_made_of(&[&name, email.as_str(), &tenant.name, tenant.slug.as_str()])?;
        let hash = inner.passwords.hash(password).await?;
        let user = User { id: UserId::generate(), email: email.clone(), name, operator: false };
        let now = inner.clock.now();
        let mut transaction = store::begin(inner.db.control()).await?;
        let added = store::users::insert_user(&mut transaction, &user, &hash, now).await?;
        let user = if added { user } else { store::users::user_by_email(&mut transaction, email).await? };
        store::members::insert_membership(&mut transaction, &user, tenant, role, now).await?;
        store::setup::delete_setup_tokens(&mut transaction).await?;
        store::commit(transaction).await?;
        self.record_membership(Actor::Operator, &user, tenant, role, added).await?;
        Ok(user)
    }

    /// The time by which sessions and links end.
    pub fn now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }

    async fn record_membership(&self, by: Actor, user: &User, tenant: &Tenant, role: Role, new: bool) -> Result<()> {
        let detail = json!({ "role": role, "new_account": new });
        self.record(&tenant.id, by, Action::UserCreated, user.id.to_string(), detail).await
    }

    /// Who hears from now on that somebody is not let in any more.
    pub fn introduce(&self, departures: Arc<dyn Departures>) {
        // A second one would be a mistake of the wiring; the first stays.
        let _ = self.inner.departures.set(departures);
    }

    async fn tell_of_departure(&self, tenant: &TenantId, user: UserId, for_good: bool) {
        if let Some(departures) = self.inner.departures.get() {
            departures.departed(tenant, user, for_good).await;
        }
    }

    async fn record(
        &self,
        tenant: &TenantId,
        actor: Actor,
        action: Action,
        subject: String,
        detail: serde_json::Value,
    ) -> Result<()> {
        let db = self.inner.db.tenant(tenant).await?;
        let entry = NewEntry { actor, action, run: None, subject: Some(subject), detail };
        audit::append(&db, &*self.inner.clock, entry).await?;
        Ok(())
    }
}

fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    if name.is_empty() {
        return Err(Error::invalid("The person's name is empty"));
    }
    if name.chars().count() > NAME_LENGTH {
        return Err(Error::invalid(format!("The person's name is longer than {NAME_LENGTH} characters")));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid("The person's name contains control characters"));
    }
    Ok(name.to_owned())
}
