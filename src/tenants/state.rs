//! Where a tenant is in its life, and everything an operator knows about it.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Tenant;
use crate::support::{Error, Result};

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its schema is being made; the next start finishes what was interrupted.
    Creating,
    /// In service.
    Active,
    /// Nobody gets in and nothing runs; everything is kept.
    Suspended,
    /// As suspended, and to be removed when its grace period is over.
    Deleting,
    /// Being removed: there is no way back.
    Removing,
}

impl State {
    /// The word for it, in the database and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleting => "deleting",
            Self::Removing => "removing",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Creating, Self::Active, Self::Suspended, Self::Deleting, Self::Removing]
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| Error::internal(format!("a tenant's state is \"{text}\"")))
    }
}

/// A tenant as operators know it, whatever its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Who it is.
    #[serde(flatten)]
    pub tenant: Tenant,
    /// Where it is in its life.
    pub state: State,
    /// Since when it is suspended.
    pub suspended_at: Option<DateTime<Utc>>,
    /// Why, in the operator's words.
    pub suspended_reason: Option<String>,
    /// When its removal begins.
    pub delete_after: Option<DateTime<Utc>>,
    /// How many people belong to it.
    pub members: i64,
}
