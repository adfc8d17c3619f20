//! API tokens: what programs come in with. A token belongs to a person, works in one organisation, carries some of what
//! the person may do there, and ends by itself, by hand, or with its owner.

use std::{fmt, net::IpAddr};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Accounts, EmailAddress, Permission, Role, SignedIn, User, store::tokens as store};
use crate::{
    audit::{Action, Actor},
    support::{
        Error, Kind, Result,
        ids::{ApiTokenId, UserId},
    },
    tenants::Tenant,
    vault::{Token, TokenHash},
};

/// How every token begins, so that one that has leaked is found by whoever searches for it.
pub const PREFIX: &str = "aegis_";

/// How many tokens a person may have in an organisation.
const MOST: i64 = 50;
/// The most characters of a token's name.
const NAME_LENGTH: usize = 100;
/// `last_used_at` is written when it is older than this, so that most requests only read.
const SEEN_EVERY: TimeDelta = TimeDelta::minutes(1);

/// How long a token may be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// So many days: 30, 90 or 365.
    Days(u16),
    /// Until it is revoked. Only owners may make such a one.
    Unlimited,
}

/// What a token is made of.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is for, so that it is known again in the list.
    pub name: String,
    /// What it carries.
    pub scopes: Vec<Permission>,
    /// How long.
    pub lifetime: Lifetime,
}

/// A token as it is listed: never what it is presented by.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ApiToken {
    /// Which.
    pub id: ApiTokenId,
    /// What it is for.
    pub name: String,
    /// What it carries, as far as its owner's role does.
    pub scopes: Vec<Permission>,
    /// Whose it is.
    pub owner: TokenOwner,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Whose a token is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenOwner {
    /// Which person.
    pub id: UserId,
    /// What they are called.
    pub name: String,
    /// What they sign in with.
    #[schema(value_type = String)]
    pub email: EmailAddress,
}

/// A token that has just been made.
#[derive(Clone)]
pub struct Made {
    /// What it is.
    pub token: ApiToken,
    /// What it is presented by; nobody can learn it again.
    pub secret: String,
}

/// A token that was presented and is good.
pub(super) struct Found {
    pub(super) id: ApiTokenId,
    pub(super) last_used: Option<DateTime<Utc>>,
    pub(super) signed_in: SignedIn,
}

impl Lifetime {
    /// The choices, the usual one first.
    pub const CHOICES: [Self; 4] = [Self::Days(90), Self::Days(30), Self::Days(365), Self::Unlimited];

    /// From a number of days; `None` is no limit.
    ///
    /// # Errors
    /// `Invalid` when it is another number than 30, 90 or 365.
    pub fn of_days(days: Option<u16>) -> Result<Self> {
        let wanted = days.map_or(Self::Unlimited, Self::Days);
        Self::CHOICES.into_iter().find(|choice| *choice == wanted).ok_or_else(|| {
            Error::invalid("An API token lasts 30, 90 or 365 days")
                .remedy("Choose one of these, or no limit as an owner")
        })
    }

    /// The number of days, if there is a limit.
    pub fn days(self) -> Option<u16> {
        match self {
            Self::Days(days) => Some(days),
            Self::Unlimited => None,
        }
    }
}

impl Accounts {
    /// Makes a token for a member of an organisation.
    ///
    /// # Errors
    /// `Invalid` without a name or scopes; `Forbidden` for scopes that the person's role does not carry, and for a token
    /// without an end to anybody but an owner; `Conflict` when the person has fifty.
    pub async fn create_token(
        &self,
        owner: &User,
        tenant: &Tenant,
        role: Role,
        new: NewToken,
        by: Actor,
    ) -> Result<Made> {
        let inner = &*self.inner;
        let name = checked_name(&new.name)?;
        let scopes = checked_scopes(new.scopes, role)?;
        if new.lifetime == Lifetime::Unlimited && role != Role::Owner {
            return Err(Error::forbidden("Only owners make API tokens that never expire")
                .remedy("Choose 365 days at most, and make a new one in time"));
        }
        let now = inner.clock.now();
        let expires_at = new.lifetime.days().map(|days| now + TimeDelta::days(i64::from(days)));
        let (id, secret) = (ApiTokenId::generate(), format!("{PREFIX}{}", Token::generate().reveal()));
        let row = store::NewRow {
            id,
            hash: TokenHash::of(&secret),
            user: owner.id,
            tenant: &tenant.id,
            name: &name,
            scopes: &scopes,
            now,
            expires_at,
            most: MOST,
        };
        if !store::insert(inner.db.control(), &row).await? {
            return Err(Error::conflict(format!("{} has {MOST} API tokens already", owner.email))
                .remedy("Revoke those that are no longer used"));
        }
        let detail = json!({ "name": name, "scopes": scopes, "expires_at": expires_at, "owner": owner.id });
        // What cannot be written down has not happened: nobody gets the token.
        self.record(&tenant.id, by, Action::TokenCreated, id.to_string(), detail).await?;
        let owner = TokenOwner { id: owner.id, name: owner.name.clone(), email: owner.email.clone() };
        let token = ApiToken { id, name, scopes, owner, created_at: now, expires_at, last_used_at: None };
        Ok(Made { token, secret })
    }

    /// Who comes with this token. One round trip, but for once a minute.
    ///
    /// # Errors
    /// `Unauthenticated` when there is no such token, or no longer, or its owner is kept out; `TooMany` when that was
    /// tried too often from this address. Good tokens are let in from there all the same.
    pub async fn bearer(&self, secret: &str, address: Option<IpAddr>) -> Result<SignedIn> {
        let inner = &*self.inner;
        let now = inner.clock.now();
        let found = if secret.starts_with(PREFIX) {
            store::find(inner.db.control(), &TokenHash::of(secret), now).await?
        } else {
            None
        };
        let Some(found) = found else {
            inner.throttle.take_token(address, now)?;
            tracing::info!(address = address.map(tracing::field::display), "an API token was refused");
            return Err(Error::new(Kind::Unauthenticated, "This API token is not good, or no longer")
                .remedy("It may have expired or been revoked: make a new one at /account/tokens"));
        };
        if found.last_used.is_none_or(|used| now - used >= SEEN_EVERY) {
            store::touch(inner.db.control(), found.id, now).await?;
        }
        Ok(found.signed_in)
    }

    /// For whom the operator makes a token: a member of the organisation, with their role.
    ///
    /// # Errors
    /// `NotFound` when there is no such member, or they are kept out.
    pub async fn token_owner(&self, tenant: &Tenant, email: &EmailAddress) -> Result<(User, Role)> {
        store::owner(self.inner.db.control(), &tenant.id, email).await?.ok_or_else(|| {
            Error::not_found(&format!("{email} in {}", tenant.slug))
                .remedy("`aegis user create` makes somebody a member of a tenant")
        })
    }

    /// The tokens of an organisation, or of one person in it; the newest first.
    pub async fn tokens(&self, tenant: &Tenant, owner: Option<UserId>) -> Result<Vec<ApiToken>> {
        store::list(self.inner.db.control(), &tenant.id, owner).await
    }

    /// Revokes a token of the organisation, of that person only if one is given. It stops working at once.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn revoke_token(
        &self,
        tenant: &Tenant,
        owner: Option<UserId>,
        token: ApiTokenId,
        by: Actor,
    ) -> Result<ApiToken> {
        let revoked = store::delete(self.inner.db.control(), &tenant.id, owner, token).await?;
        let revoked = revoked.ok_or_else(|| Error::not_found("the API token"))?;
        let detail = json!({ "name": revoked.name, "owner": revoked.owner.id });
        self.record(&tenant.id, by, Action::TokenRevoked, token.to_string(), detail).await?;
        Ok(revoked)
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made").field("token", &self.token).finish_non_exhaustive()
    }
}

fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 {
        return Err(Error::invalid("The API token has no name").remedy("Name it after the program that will use it"));
    }
    if length > NAME_LENGTH || name.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "The API token's name is longer than {NAME_LENGTH} characters or no plain text"
        )));
    }
    Ok(name.to_owned())
}

fn checked_scopes(mut scopes: Vec<Permission>, role: Role) -> Result<Vec<Permission>> {
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Error::invalid("The API token may do nothing").remedy("Choose at least one scope"));
    }
    match scopes.iter().find(|scope| !role.may(**scope)) {
        None => Ok(scopes),
        Some(scope) => Err(Error::forbidden(format!("The role {role} does not carry {scope}"))
            .remedy("A token carries no more than its owner's role does")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_carries_no_more_than_the_role_of_its_owner() {
        let scopes = vec![Permission::KnowledgeRead, Permission::ChatRead, Permission::KnowledgeRead];
        assert_eq!(checked_scopes(scopes, Role::Viewer).unwrap(), [Permission::ChatRead, Permission::KnowledgeRead]);
        assert_eq!(checked_scopes(vec![Permission::ChatWrite], Role::Viewer).unwrap_err().kind(), Kind::Forbidden);
        assert_eq!(checked_scopes(Vec::new(), Role::Owner).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn only_the_offered_lifetimes_are_taken() {
        assert_eq!(Lifetime::of_days(Some(365)).unwrap(), Lifetime::Days(365));
        assert_eq!(Lifetime::of_days(None).unwrap(), Lifetime::Unlimited);
        assert!(Lifetime::of_days(Some(366)).is_err() && Lifetime::of_days(Some(0)).is_err());
    }
}
