//! Who belongs to an organisation, and what they may do there.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    Accounts, EmailAddress, Permission, Role, SignedIn,
    store::{self, invitations, members},
};
use crate::{
    audit::{Action, Actor},
    support::{
        Error, Result,
        ids::{TenantId, UserId},
    },
    tenants::{Renaming, Tenant},
};

/// A person in an organisation.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Their e-mail address.
    pub email: EmailAddress,
    /// What they are called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Since when they belong to it.
    pub since: DateTime<Utc>,
    /// When they were last here, to a minute.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// Since when they are kept out, here or of the whole appliance.
    pub suspended_at: Option<DateTime<Utc>>,
    /// Whether they show a code after their password; `null` for those who do not manage members, since it tells whose
    /// account is the easiest to take.
    pub second_factor: Option<bool>,
}

impl Member {
    /// As far as `signed_in` may know them.
    #[must_use]
    pub fn as_seen_by(self, signed_in: &SignedIn) -> Self {
        let second_factor = self.second_factor.filter(|_| signed_in.may(Permission::MembersManage));
        Self { second_factor, ..self }
    }
}

/// What can be done with a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Another role.
    Role(Role),
    /// Kept out, until further notice.
    Suspend,
    /// Let in again.
    Resume,
    /// No member any more. The account stays.
    Remove,
}

impl Accounts {
    /// Gives the organisation that somebody is signed in to another name.
    ///
    /// # Errors
    /// `Invalid` when the name is empty or too long.
    pub async fn rename_organisation(&self, signed_in: &SignedIn, name: &str) -> Result<Tenant> {
        let renaming = Renaming { name: Some(name.to_owned()), slug: None };
        let record = self.inner.tenants.rename(&signed_in.tenant.id, renaming, &signed_in.actor()).await?;
        Ok(record.tenant)
    }
}

/// On whose behalf something is done to people.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// A member of the organisation, who reaches as far as their role does.
    Member(&'a SignedIn),
    /// Somebody at the command line of the server.
    Operator,
}

impl By<'_> {
    /// As the audit log names them.
    pub fn actor(self) -> Actor {
        match self {
            Self::Member(signed_in) => signed_in.actor(),
            Self::Operator => Actor::Operator,
        }
    }

    /// Whether they may give this role, or take it.
    pub(super) fn may_grant(self, role: Role) -> bool {
        match self {
            Self::Member(signed_in) => signed_in.role.may_grant(role),
            Self::Operator => true,
        }
    }
}

impl Accounts {
    /// Who belongs to an organisation, by name.
    pub async fn members(&self, tenant: &Tenant) -> Result<Vec<Member>> {
        members::list(self.inner.db.control(), &tenant.id, None).await
    }

    /// A member of an organisation.
    pub async fn member(&self, tenant: &Tenant, user: UserId) -> Result<Option<Member>> {
        Ok(members::list(self.inner.db.control(), &tenant.id, Some(user)).await?.pop())
    }

    /// What somebody may do in an organisation now; `None` for whoever does not belong to it, or is suspended there or
    /// altogether.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn role_of(&self, tenant: &TenantId, user: UserId) -> Result<Option<Role>> {
        members::role_of(self.inner.db.control(), tenant, user).await
    }

    /// Changes a membership. Whoever is suspended or removed is signed out at once; with another role, sessions get new
    /// tokens. Invitations that the person could not make any more are revoked.
    ///
    /// # Errors
    /// `NotFound` when there is no such member; `Forbidden` when the role of whoever asks does not reach so far;
    /// `Conflict` when nobody would be left as an owner.
    pub async fn change_member(&self, by: By<'_>, tenant: &Tenant, user: UserId, change: Change) -> Result<()> {
        let control = self.inner.db.control();
        let before = self.member(tenant, user).await?.ok_or_else(missing)?;
        let mut transaction = store::begin(control).await?;
        let actor = match by {
            By::Member(signed_in) => Some(signed_in.user.id),
            By::Operator => None,
        };
        // From here on nobody else changes an owner, the person, or whoever asks; what they are now is what counts.
        let locked = members::lock(&mut transaction, &tenant.id, user, actor).await?;
        let find = |id| locked.iter().find(|row| row.user == id);
        let target = find(user).ok_or_else(missing)?;
        if let Some(actor) = actor {
            let role = find(actor).filter(|row| row.active).map(|row| row.role);
            allowed(role, target.role, change, actor == user)?;
        }
        let keeps_owner = matches!(change, Change::Role(Role::Owner) | Change::Resume);
        let is_owner = |row: &members::Locked| row.role == Role::Owner && row.active;
        if is_owner(target) && !keeps_owner && !locked.iter().any(|row| is_owner(row) && row.user != user) {
            return Err(Error::conflict(format!("{} is the only owner of {}", before.name, tenant.name))
                .remedy("Make somebody else an owner first"));
        }

        let now = self.inner.clock.now();
        let (action, detail): (Action, Value) = match change {
            Change::Role(role) if role == target.role => return Ok(()),
            Change::Role(role) => {
                members::set_role(&mut transaction, &tenant.id, user, role).await?;
                let out_of_reach: Vec<Role> = Role::ALL.into_iter().filter(|other| !role.may_grant(*other)).collect();
                invitations::revoke_those_of(&mut transaction, &tenant.id, user, &out_of_reach).await?;
                (Action::MemberRoleChanged, json!({ "from": target.role, "to": role }))
            }
            Change::Suspend => {
                members::suspend(&mut transaction, &tenant.id, user, now).await?;
                invitations::revoke_those_of(&mut transaction, &tenant.id, user, &Role::ALL).await?;
                (Action::MemberSuspended, json!({}))
            }
            Change::Resume => {
                members::resume(&mut transaction, &tenant.id, user).await?;
                (Action::MemberResumed, json!({}))
            }
            Change::Remove => {
                members::delete(&mut transaction, &tenant.id, user).await?;
                invitations::revoke_those_of(&mut transaction, &tenant.id, user, &Role::ALL).await?;
                (Action::MemberRemoved, json!({ "role": target.role, "email": before.email }))
            }
        };
        store::commit(transaction).await?;
        if matches!(change, Change::Suspend | Change::Remove) {
            self.tell_of_departure(&tenant.id, user, change == Change::Remove).await;
        }
        self.record(&tenant.id, by.actor(), action, user.to_string(), detail).await
    }
}

/// Whether somebody of role `own` may do this to somebody of role `other`.
fn allowed(own: Option<Role>, other: Role, change: Change, to_oneself: bool) -> Result<()> {
    let own = own.ok_or_else(|| Error::forbidden("You do not belong to this organisation any more"))?;
    let reaches = |role: Role| {
        if own.may_grant(role) {
            return Ok(());
        }
        Err(Error::forbidden(format!("As {own} you may not give or take the role of {role}"))
            .remedy("Ask an owner of the organisation"))
    };
    reaches(other)?;
    match change {
        Change::Role(role) => reaches(role),
        Change::Suspend if to_oneself => Err(Error::invalid("You cannot suspend yourself")),
        Change::Suspend | Change::Resume | Change::Remove => Ok(()),
    }
}

fn missing() -> Error {
    Error::not_found("the member")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_reaches_above_themselves() {
        let ok = |own, other, change| allowed(Some(own), other, change, false).is_ok();
        assert!(ok(Role::Owner, Role::Owner, Change::Remove));
        assert!(ok(Role::Admin, Role::Member, Change::Role(Role::Admin)));
        assert!(!ok(Role::Admin, Role::Member, Change::Role(Role::Owner)));
        assert!(!ok(Role::Admin, Role::Owner, Change::Role(Role::Member)));
        assert!(!ok(Role::Admin, Role::Owner, Change::Suspend));
        assert!(!ok(Role::Member, Role::Viewer, Change::Remove));
        assert!(allowed(None, Role::Viewer, Change::Remove, false).is_err());
        assert!(allowed(Some(Role::Owner), Role::Owner, Change::Suspend, true).is_err());
    }
}
