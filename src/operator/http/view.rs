//! Tenants as the pages show them.

use chrono::{DateTime, Utc};

use crate::{
    http::format,
    operator::Overview,
    tenants::{Deed, State},
};

/// A moment in words, and for the attribute `datetime`.
pub(super) struct Moment {
    pub(super) told: String,
    pub(super) at: String,
}

/// A tenant as the operator's pages show it.
pub(super) struct TenantView {
    pub(super) id: String,
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) class: &'static str,
    /// Why it is in that state, or until when.
    pub(super) note: Option<String>,
    pub(super) members: String,
    pub(super) documents: String,
    pub(super) size: String,
    pub(super) active: Option<Moment>,
    pub(super) created: Moment,
    where_it_is: State,
    /// What goes with it, in words.
    pub(super) lost: String,
}

/// Something that was done to a tenant.
pub(super) struct DeedView {
    pub(super) when: Moment,
    pub(super) actor: String,
    pub(super) action: String,
}

impl Moment {
    fn new(moment: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { told: format::ago(now, moment), at: format::machine(moment) }
    }
}

impl TenantView {
    /// A tenant as it is now.
    pub(super) fn new(tenant: Overview, now: DateTime<Utc>) -> Self {
        let (state, class) = match tenant.state {
            State::Active if tenant.refused => ("Not served", "failed"),
            State::Active => ("In service", "ready"),
            State::Creating => ("Being created", "busy"),
            State::Suspended => ("Suspended", "failed"),
            State::Deleting => ("To be deleted", "failed"),
            State::Removing => ("Being removed", "busy"),
        };
        let note = match tenant.state {
            State::Active if tenant.refused => {
                Some("Its tables could not be brought up to date; `aegis doctor` tells why.".to_owned())
            }
            State::Suspended => tenant.suspended_reason.clone(),
            State::Deleting => tenant.delete_after.map(|after| after.format("on %-d %B %Y").to_string()),
            _ => None,
        };
        let members = match tenant.members {
            1 => "1 person loses access".to_owned(),
            many => format!("{many} people lose access"),
        };
        Self {
            lost: format!(
                "{}, {} of data, all conversations and the audit log; {members}",
                format::count(tenant.documents, "document"),
                format::size(tenant.bytes)
            ),
            members: tenant.members.to_string(),
            documents: tenant.documents.to_string(),
            size: format::size(tenant.bytes),
            active: tenant.last_activity.map(|moment| Moment::new(moment, now)),
            created: Moment::new(tenant.created_at, now),
            where_it_is: tenant.state,
            id: tenant.id,
            slug: tenant.slug,
            name: tenant.name,
            state,
            class,
            note,
        }
    }
}

impl TenantView {
    /// Whether it can be renamed and suspended.
    pub(super) fn may_change(&self) -> bool {
        matches!(self.where_it_is, State::Active | State::Suspended)
    }

    /// Whether it is in service.
    pub(super) fn is_active(&self) -> bool {
        self.where_it_is == State::Active
    }

    /// Whether it is out of service.
    pub(super) fn is_suspended(&self) -> bool {
        self.where_it_is == State::Suspended
    }

    /// Whether it is to be removed.
    pub(super) fn is_deleting(&self) -> bool {
        self.where_it_is == State::Deleting
    }

    /// What a phone shows under the name.
    pub(super) fn facts(&self) -> String {
        let people = if self.members == "1" { "1 member".to_owned() } else { format!("{} members", self.members) };
        format!("{people}, {}", self.size)
    }
}

impl DeedView {
    /// A deed, told from now.
    pub(super) fn new(deed: Deed, now: DateTime<Utc>) -> Self {
        let action = match deed.action.as_str() {
            "tenant.created" => "Created",
            "tenant.renamed" => "Renamed",
            "tenant.suspended" => "Suspended",
            "tenant.resumed" => "Taken back into service",
            "tenant.deletion_requested" => "Deletion requested",
            "tenant.undeleted" => "Taken back from deletion",
            "tenant.deleted" => "Removed",
            other => other,
        };
        Self { when: Moment::new(deed.at, now), actor: deed.actor, action: action.to_owned() }
    }
}
