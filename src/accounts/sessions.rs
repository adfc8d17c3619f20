//! Sessions: how long somebody stays signed in, and where.

use std::{fmt, net::IpAddr};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Accounts, SignedIn, Via, store::sessions};
use crate::{
    audit::{Action, Actor},
    http::csrf,
    support::{
        Result,
        ids::{SessionId, TenantId, UserId},
    },
    vault::{Token, TokenHash},
};

/// `last_seen_at` is written when it is older than this, so that most requests only read.
const SEEN_EVERY: TimeDelta = TimeDelta::minutes(1);

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
        let via = Via::Session { id: found.session, csrf: csrf::token(token) };
        Ok(Some(SignedIn { user: found.user, via, tenant: found.tenant, role: found.role }))
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
        let row = sessions::NewRow {
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
        sessions::insert_session(inner.db.control(), &row).await?;
        let detail = json!({ "address": row.address, "user_agent": row.user_agent });
        // What cannot be written down has not happened: nobody gets the token.
        self.record(tenant, Actor::User { id: user }, Action::SessionStarted, id.to_string(), detail).await?;
        let seconds = inner.lifetime.num_seconds();
        Ok(NewSession { token: token.reveal().to_owned(), expires_at: row.expires_at, seconds })
    }
}
