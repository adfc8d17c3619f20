//! Sessions: how long somebody stays signed in, where, and in which organisation.

use std::{fmt, net::IpAddr};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Accounts, SignedIn, Via, signed_in::Organisation, store::sessions, user_agent};
use crate::{
    audit::{Action, Actor},
    http::csrf,
    support::{
        Error, Result,
        ids::{SessionId, TenantId, UserId},
    },
    tenants::Slug,
    vault::{Token, TokenHash},
};

/// `last_seen_at` is written when it is older than this, so that most requests only read.
const SEEN_EVERY: TimeDelta = TimeDelta::minutes(1);
/// How long a session lasts at most in a browser that was not asked to stay signed in.
const UNREMEMBERED: TimeDelta = TimeDelta::hours(12);

/// From where somebody signs in.
#[derive(Debug, Clone, Default)]
pub struct ClientInfo {
    /// The address, when it is known.
    pub address: Option<IpAddr>,
    /// What the browser says it is.
    pub user_agent: Option<String>,
    /// The token of the session that this browser had until now; it is ended.
    pub previous: Option<String>,
    /// The token by which the browser is known since somebody signed in with it.
    pub browser: Option<String>,
    /// Whether the browser shall stay signed in when it is closed.
    pub remember: bool,
    /// The token of an invitation that the person wants to accept once they are signed in.
    pub invitation: Option<String>,
}

/// A session that has just begun, or has got a new token.
#[derive(Clone)]
pub struct NewSession {
    /// The token for the cookie; nobody can learn it again.
    pub token: String,
    /// When the session ends, whatever happens.
    pub expires_at: DateTime<Utc>,
    /// How long that is from now, in seconds; `None` when the cookie shall go as soon as the browser is closed.
    pub seconds: Option<i64>,
    /// The token by which the browser will be known, when it has none yet.
    pub browser: Option<String>,
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A session as its owner sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionInfo {
    /// Which.
    pub id: SessionId,
    /// Browser and system in a few words: `Firefox on Linux`.
    pub browser: String,
    /// From which address it began.
    pub address: Option<String>,
    /// The organisation that it works in.
    pub organisation: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it was last used, to a minute.
    pub last_seen_at: DateTime<Utc>,
    /// When it ends, whatever happens.
    pub expires_at: DateTime<Utc>,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl NewSession {
    /// A session under a new token.
    pub(super) fn renewed(token: &Token, expires_at: DateTime<Utc>, remembered: bool, now: DateTime<Utc>) -> Self {
        let seconds = remembered.then(|| (expires_at - now).num_seconds());
        Self { token: token.reveal().to_owned(), expires_at, seconds, browser: None }
    }
}

impl Accounts {
    /// Who the session of this token is, if it has not ended. One round trip, but for once a minute.
    pub async fn session(&self, token: &str) -> Result<Option<SignedIn>> {
        let inner = &*self.inner;
        let now = inner.clock.now();
        let found = sessions::session(inner.db.control(), &TokenHash::of(token), now, now - inner.idle).await?;
        let Some(found) = found else { return Ok(None) };
        if now - found.last_seen >= SEEN_EVERY {
            sessions::touch(inner.db.control(), found.session, now).await?;
        }
        let via = Via::Session {
            id: found.session,
            csrf: csrf::token(token),
            renew: found.renew,
            elsewhere: found.elsewhere,
        };
        Ok(Some(SignedIn {
            user: found.user,
            via,
            tenant: found.tenant,
            role: found.role,
            must_enrol: found.must_enrol,
        }))
    }

    /// Ends a session. One that has ended already stays so.
    pub async fn sign_out(&self, session: SessionId) -> Result<()> {
        let ended = sessions::delete_session(self.inner.db.control(), session).await?;
        if let Some((user, tenant)) = ended {
            self.record(&tenant, Actor::User { id: user }, Action::SessionEnded, session.to_string(), json!({}))
                .await?;
        }
        Ok(())
    }

    /// Where the person is signed in, the session in use first, then by last use.
    pub async fn sessions_of(&self, signed_in: &SignedIn) -> Result<Vec<SessionInfo>> {
        let inner = &*self.inner;
        let now = inner.clock.now();
        let rows = sessions::of_user(inner.db.control(), signed_in.user.id, now, now - inner.idle).await?;
        let mut found: Vec<SessionInfo> = rows
            .into_iter()
            .map(|row| SessionInfo {
                id: SessionId(row.id),
                browser: user_agent::describe(row.user_agent.as_deref()),
                address: row.address,
                organisation: row.organisation,
                started_at: row.created_at,
                last_seen_at: row.last_seen_at,
                expires_at: row.expires_at.min(row.last_seen_at + inner.idle),
                current: signed_in.session() == Some(SessionId(row.id)),
            })
            .collect();
        found.sort_by_key(|session| !session.current);
        Ok(found)
    }

    /// Ends one of the person's own sessions.
    ///
    /// # Errors
    /// `NotFound` when there is none of this id, or it is somebody else's.
    pub async fn end_session(&self, signed_in: &SignedIn, session: SessionId) -> Result<()> {
        let control = self.inner.db.control();
        let tenant = sessions::delete_own(control, signed_in.user.id, session).await?;
        let tenant = tenant.ok_or_else(|| Error::not_found("the session"))?;
        let detail = json!({ "by": signed_in.session() });
        self.record(&tenant, signed_in.actor(), Action::SessionEnded, session.to_string(), detail).await
    }

    /// Ends all of the person's sessions but the one that asks. Returns how many there were.
    pub async fn end_other_sessions(&self, signed_in: &SignedIn) -> Result<usize> {
        let ended = sessions::delete_others(self.inner.db.control(), signed_in.user.id, signed_in.session()).await?;
        for (session, tenant) in &ended {
            let detail = json!({ "by": signed_in.session() });
            self.record(tenant, signed_in.actor(), Action::SessionEnded, session.to_string(), detail).await?;
        }
        Ok(ended.len())
    }

    /// Moves the session to another of the person's organisations. It gets a new token, since it may do other things
    /// from now on.
    ///
    /// # Errors
    /// `NotFound` when the person does not belong to the organisation, or is suspended there.
    pub async fn switch(&self, signed_in: &SignedIn, slug: &Slug) -> Result<NewSession> {
        let inner = &*self.inner;
        let missing = || Error::not_found("the organisation").remedy("Choose one that you belong to");
        let session = signed_in.session().ok_or_else(missing)?;
        let (now, token) = (inner.clock.now(), Token::generate());
        let moved = sessions::switch(inner.db.control(), session, slug, &token.hash(), now).await?;
        let moved = moved.ok_or_else(missing)?;
        if moved.tenant != signed_in.tenant.id {
            let (actor, subject) = (signed_in.actor(), session.to_string());
            let detail = json!({ "switched": true });
            self.record(&signed_in.tenant.id, actor.clone(), Action::SessionEnded, subject.clone(), detail.clone())
                .await?;
            self.record(&moved.tenant, actor, Action::SessionStarted, subject, detail).await?;
        }
        Ok(NewSession::renewed(&token, moved.expires_at, moved.remembered, now))
    }

    /// Gives a session whose rights have changed a new token. `None` when another request has just done so.
    pub(super) async fn renew(&self, session: SessionId, token: &str) -> Result<Option<NewSession>> {
        let inner = &*self.inner;
        let (now, new) = (inner.clock.now(), Token::generate());
        let row = sessions::renew(inner.db.control(), session, &TokenHash::of(token), &new.hash()).await?;
        Ok(row.map(|(expires_at, remembered)| NewSession::renewed(&new, expires_at, remembered, now)))
    }

    /// A new session of somebody whose identity has been established.
    pub(super) async fn begin_session(
        &self,
        user: UserId,
        tenant: &TenantId,
        client: &ClientInfo,
    ) -> Result<NewSession> {
        let inner = &*self.inner;
        let now = inner.clock.now();
        let (id, token) = (SessionId::generate(), Token::generate());
        let lifetime = if client.remember { inner.lifetime } else { inner.lifetime.min(UNREMEMBERED) };
        let row = sessions::NewRow {
            id,
            token: token.hash(),
            previous: client.previous.as_deref().map(TokenHash::of),
            user,
            tenant,
            now,
            idle_since: now - inner.idle,
            expires_at: now + lifetime,
            remembered: client.remember,
            address: client.address.map(|address| address.to_string()),
            user_agent: client.user_agent.as_deref(),
        };
        sessions::insert_session(inner.db.control(), &row).await?;
        let detail = json!({ "address": row.address, "user_agent": row.user_agent });
        // What cannot be written down has not happened: nobody gets the token.
        self.record(tenant, Actor::User { id: user }, Action::SessionStarted, id.to_string(), detail).await?;
        let browser = self.know_browser(user, client.browser.as_deref(), now).await?;
        Ok(NewSession { browser, ..NewSession::renewed(&token, row.expires_at, client.remember, now) })
    }
}

impl SignedIn {
    /// The other organisations that the session could move to.
    pub fn elsewhere(&self) -> &[Organisation] {
        match &self.via {
            Via::Session { elsewhere, .. } => elsewhere,
            Via::Token { .. } => &[],
        }
    }
}
