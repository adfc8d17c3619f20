//! Who is behind a request.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EmailAddress, Permission, Role};
use crate::{
    audit::Actor,
    support::ids::{ApiTokenId, SessionId, UserId},
    tenants::Tenant,
};

/// A person with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    /// Which.
    pub id: UserId,
    /// Where they are reached, and what they sign in with.
    pub email: EmailAddress,
    /// What they are called.
    pub name: String,
    /// Whether they look after the appliance itself: all tenants' existence, never their data.
    pub operator: bool,
}

/// An organisation that somebody belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Organisation {
    /// What commands and addresses call it.
    pub slug: String,
    /// What people call it.
    pub name: String,
}

/// By what somebody is known.
#[derive(Debug, Clone)]
pub enum Via {
    /// A browser's session.
    Session {
        /// Which.
        id: SessionId,
        /// A CSRF token for this session; each reading of it gives another one that is as good.
        csrf: String,
        /// Its rights have changed, so that it gets a new token with the next page.
        renew: bool,
        /// The other organisations that it could move to, by name.
        elsewhere: Vec<Organisation>,
    },
    /// An API token, which carries at most these permissions.
    Token {
        /// Which.
        id: ApiTokenId,
        /// What it was made for.
        scopes: Vec<Permission>,
    },
}

/// Who is behind a request, as far as the session or the API token says.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The person.
    pub user: User,
    /// By what they are known.
    pub via: Via,
    /// The organisation that they work in.
    pub tenant: Tenant,
    /// The person's role in it.
    pub role: Role,
    /// Whether they reach nothing here before they have set up a second factor.
    pub must_enrol: bool,
}

impl SignedIn {
    /// The person as the audit log names them.
    pub fn actor(&self) -> Actor {
        Actor::User { id: self.user.id }
    }

    /// Whether the person may do this here: their role carries it, and so does the token that they came with.
    pub fn may(&self, permission: Permission) -> bool {
        let in_scope = match &self.via {
            Via::Session { .. } => true,
            Via::Token { scopes, .. } => scopes.contains(&permission),
        };
        in_scope && self.role.may(permission)
    }

    /// Whether the person looks after the appliance, and came in person: no API token carries that.
    pub fn is_operator(&self) -> bool {
        self.user.operator && self.session().is_some()
    }

    /// The session, when there is one.
    pub fn session(&self) -> Option<SessionId> {
        match self.via {
            Via::Session { id, .. } => Some(id),
            Via::Token { .. } => None,
        }
    }

    /// A CSRF token for the page's forms; empty for who came with an API token, whose requests need none.
    pub fn csrf(&self) -> &str {
        match &self.via {
            Via::Session { csrf, .. } => csrf,
            Via::Token { .. } => "",
        }
    }
}
