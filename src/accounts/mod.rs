//! Accounts: who may come in, as whom, and into which organisation.
//!
//! A person has one account and belongs to organisations with a role in each. A sign-in is a session: a random token
//! in a cookie, whose hash is in the database, that ends when it is idle, old, or ended. The first owner comes in
//! through a one-time token that the log prints ([`setup`]); there is no open sign-up.

mod email;
pub mod http;
mod role;
mod setup;
mod signed_in;
mod store;
mod throttle;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use self::throttle::Throttle;
pub use self::{
    email::EmailAddress,
    role::{Permission, Role},
    setup::Setup,
    signed_in::{SignedIn, User, Via},
};
pub use crate::vault::password::Password;
use crate::{
    audit::{self, Actor, NewEntry},
    config,
    db::Databases,
    http::csrf,
    support::{
        Error, Kind, Result,
        clock::SharedClock,
        ids::{SessionId, TenantId, UserId},
    },
    tenants::{Tenant, Tenants},
    vault::{Token, TokenHash, password::Passwords},
};

/// `last_seen_at` is written when it is older than this, so that most requests only read.
const SEEN_EVERY: TimeDelta = TimeDelta::minutes(1);
/// The most characters of a person's name.
const NAME_LENGTH: usize = 200;

/// From where somebody signs in.
#[derive(Debug, Clone, Default)]
pub struct ClientInfo {
    /// The address, when it is known.
    pub address: Option<IpAddr>,
    /// What the browser says it is.
    pub user_agent: Option<String>,
    /// The token of the session that this browser had until now; it is ended.
    pub previous: Option<String>,
}

/// A session that has just begun.
#[derive(Clone)]
pub struct NewSession {
    /// The token for the cookie; nobody can learn it again.
    pub token: String,
    /// When the session ends, whatever happens.
    pub expires_at: DateTime<Utc>,
    /// How long that is from now, in seconds.
    pub seconds: i64,
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The use cases of accounts. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    db: Databases,
    tenants: Tenants,
    clock: SharedClock,
    passwords: Passwords,
    throttle: Throttle,
    idle: TimeDelta,
    lifetime: TimeDelta,
    /// Once there is a user there is one for good.
    is_set_up: AtomicBool,
}

impl Accounts {
    /// Accounts in the control schema of `db`.
    pub fn new(db: Databases, tenants: Tenants, clock: SharedClock, settings: &config::Accounts) -> Self {
        let inner = Inner {
            db,
            tenants,
            clock,
            passwords: Passwords::new(settings.concurrent_hashes),
            throttle: Throttle::default(),
            idle: TimeDelta::hours(i64::from(settings.session_idle_hours)),
            lifetime: TimeDelta::days(i64::from(settings.session_days)),
            is_set_up: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Creates a person in an organisation, for whoever operates the server. Somebody who has an account already
    /// becomes a member with it: name and password stay theirs.
    ///
    /// # Errors
    /// `Invalid` when the name is empty or too long; `Conflict` when the person belongs to the organisation already.
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
        let hash = inner.passwords.hash(password).await?;
        let user = User { id: UserId::generate(), email: email.clone(), name, operator: false };
        let now = inner.clock.now();
        let mut transaction = store::begin(inner.db.control()).await?;
        let added = store::insert_user(&mut transaction, &user, &hash, now).await?;
        let user = if added { user } else { store::user_by_email(&mut transaction, email).await? };
        store::insert_membership(&mut transaction, &user, tenant, role, now).await?;
        store::delete_setup_tokens(&mut transaction).await?;
        store::commit(transaction).await?;
        self.record_membership(Actor::Operator, &user, tenant, role, added).await?;
        Ok(user)
    }

    /// Begins a session for whoever knows the password. The browser's session until now is ended.
    ///
    /// # Errors
    /// `Unauthenticated` when the address or the password is wrong, without saying which and after the same time;
    /// `TooMany` after too many attempts; `Forbidden` when the person belongs to no organisation.
    pub async fn sign_in(&self, email: &EmailAddress, password: Password, client: &ClientInfo) -> Result<NewSession> {
        let inner = &*self.inner;
        inner.throttle.take(email, client.address, inner.clock.now())?;
        let known = store::credentials(inner.db.control(), email).await?;
        let hash = known.as_ref().map(|known| known.password_hash.clone());
        let right = inner.passwords.verify(password, hash).await?;
        if !right {
            self.record_failure(known.as_ref(), client);
        }
        let Some(known) = known.filter(|_| right) else {
            return Err(Error::new(Kind::Unauthenticated, "The e-mail address or the password is wrong"));
        };
        inner.throttle.give_back(email, client.address);
        let Some(tenant) = known.tenant else {
            return Err(Error::forbidden("You belong to no organisation").remedy("Ask an owner to add you"));
        };
        self.begin_session(known.user, &tenant, client).await
    }

    /// Who the session of this token is, if it has not ended. One round trip, but for once a minute.
    pub async fn session(&self, token: &str) -> Result<Option<SignedIn>> {
        let inner = &*self.inner;
        let now = inner.clock.now();
        let found = store::session(inner.db.control(), &TokenHash::of(token), now, now - inner.idle).await?;
        let Some(found) = found else { return Ok(None) };
        if now - found.last_seen >= SEEN_EVERY {
            store::touch(inner.db.control(), found.session, now).await?;
        }
        let via = Via::Session { id: found.session, csrf: csrf::token(token) };
        Ok(Some(SignedIn { user: found.user, via, tenant: found.tenant, role: found.role }))
    }

    /// Ends a session. One that has ended already stays so.
    pub async fn sign_out(&self, session: SessionId) -> Result<()> {
        let ended = store::delete_session(self.inner.db.control(), session).await?;
        if let Some((user, tenant)) = ended {
            self.record(&tenant, Actor::User { id: user }, "session.ended", session.to_string(), json!({})).await?;
        }
        Ok(())
    }

    /// A new session of somebody whose identity has been established.
    async fn begin_session(&self, user: UserId, tenant: &TenantId, client: &ClientInfo) -> Result<NewSession> {
        let inner = &*self.inner;
        let now = inner.clock.now();
        let (id, token) = (SessionId::generate(), Token::generate());
        let row = store::NewRow {
            id,
            token: token.hash(),
            previous: client.previous.as_deref().map(TokenHash::of),
            user,
            tenant,
            now,
            idle_since: now - inner.idle,
            expires_at: now + inner.lifetime,
            address: client.address.map(|address| address.to_string()),
            user_agent: client.user_agent.as_deref(),
        };
        store::insert_session(inner.db.control(), &row).await?;
        let detail = json!({ "address": row.address, "user_agent": row.user_agent });
        // What cannot be written down has not happened: nobody gets the token.
        self.record(tenant, Actor::User { id: user }, "session.started", id.to_string(), detail).await?;
        let seconds = inner.lifetime.num_seconds();
        Ok(NewSession { token: token.reveal().to_owned(), expires_at: row.expires_at, seconds })
    }

    /// Writes a failed attempt down, on a task of its own: the answer takes as long for an account that does not exist.
    fn record_failure(&self, known: Option<&store::Credentials>, client: &ClientInfo) {
        tracing::info!(address = client.address.map(tracing::field::display), "a sign-in failed");
        let Some((user, tenant)) = known.and_then(|known| Some((known.user, known.tenant.clone()?))) else { return };
        let (accounts, detail) = (self.clone(), json!({ "address": client.address }));
        tokio::spawn(async move {
            let written = accounts.record(&tenant, Actor::System, "sign_in.failed", user.to_string(), detail).await;
            if let Err(error) = written {
                tracing::error!(%error, "a failed sign-in could not be written to the audit log");
            }
        });
    }

    async fn record_membership(&self, by: Actor, user: &User, tenant: &Tenant, role: Role, new: bool) -> Result<()> {
        let detail = json!({ "role": role, "new_account": new });
        self.record(&tenant.id, by, "user.created", user.id.to_string(), detail).await
    }

    async fn record(
        &self,
        tenant: &TenantId,
        actor: Actor,
        action: &'static str,
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
