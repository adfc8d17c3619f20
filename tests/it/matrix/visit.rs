//! Who goes to which route, with what in hand, and what comes of it.

use std::fmt;

use aegis::accounts::{Permission, Role, http::Access};
use axum::http::{Method, StatusCode};

/// A route with what the tests ask of it.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
}

/// Somebody at a door.
pub struct Visitor {
    pub name: &'static str,
    pub(super) credential: Credential,
}

/// What they show.
#[derive(Clone)]
pub(super) enum Credential {
    Nothing,
    /// The token of a session, whose row is copied for each visit, since some visits end it.
    Session(String),
    /// A cookie as it is.
    Cookie(String),
    /// An API token.
    Bearer(String),
}

/// What came of it.
pub struct Visit {
    pub status: StatusCode,
    pub body: String,
    /// Where it leads, when it does.
    pub location: String,
    /// What the browser may load.
    pub policy: String,
    /// Whether and how it is saved instead of shown.
    pub disposition: String,
}

impl Route {
    /// Whether an API token with every scope, of a person of this role, may come in.
    pub fn allows_programs_of(&self, role: Role) -> bool {
        self.access != Access::InPerson && self.allows(role)
    }

    /// Whether an API token may come in that carries this permission and no other.
    pub fn allows_with_only(&self, permission: Permission) -> bool {
        matches!(self.access, Access::Open | Access::SignedIn) || self.access == Access::Needs(permission)
    }

    /// Whether a person of this role, who is no operator, may come in.
    pub fn allows(&self, role: Role) -> bool {
        match self.access {
            Access::Open | Access::SignedIn | Access::InPerson => true,
            Access::Needs(permission) => role.may(permission),
            Access::Operator => false,
        }
    }

    pub fn is_open(&self) -> bool {
        self.access == Access::Open
    }

    pub fn is_api(&self) -> bool {
        self.path.starts_with("/api/") || self.path.starts_with("/v1/") || self.path == "/mcp"
    }

    /// Whether its body is a form with files.
    pub fn takes_files(&self) -> bool {
        self.path.ends_with("/documents") || self.path.ends_with("/import") || self.path == "/knowledge"
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (for: {})", self.method, self.path, self.access)
    }
}

impl Visit {
    pub fn leads_to_sign_in(&self) -> bool {
        self.status.is_redirection() && self.location.starts_with("/sign-in")
    }
}
