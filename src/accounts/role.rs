//! Who may do what: one table, which the guard round every route, the pages and `aegis permissions` all ask.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::support::{Error, Result};

/// What a person is in an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads; changes nothing and asks no agent.
    Viewer,
    /// Works with agents and knowledge.
    Member,
    /// Runs the organisation's side: members, secrets, audit.
    Admin,
    /// Everything, the organisation itself included.
    Owner,
}

impl Role {
    /// From the most to the least.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Member, Self::Viewer];

    /// `owner`, `admin`, `member` or `viewer`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Viewer => "viewer",
        }
    }

    /// What the role is for, in a few words.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Owner => "everything, the organisation itself included",
            Self::Admin => "members, secrets and the audit log",
            Self::Member => "works with agents and knowledge",
            Self::Viewer => "reads, changes nothing",
        }
    }

    /// Whether the role carries the permission.
    pub fn may(self, permission: Permission) -> bool {
        self >= permission.least()
    }

    /// Whether somebody of this role may give `other` to somebody, or take it: nobody reaches above themselves.
    pub fn may_grant(self, other: Self) -> bool {
        self.may(Permission::MembersManage) && self >= other
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| Error::invalid("A role is owner, admin, member or viewer"))
    }
}

/// Something that a role, or the scopes of an API token, may allow in an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum Permission {
    /// Read one's own conversations.
    #[serde(rename = "chat:read")]
    ChatRead,
    /// Ask agents.
    #[serde(rename = "chat:write")]
    ChatWrite,
    /// Read and search documents.
    #[serde(rename = "knowledge:read")]
    KnowledgeRead,
    /// Add and delete documents.
    #[serde(rename = "knowledge:write")]
    KnowledgeWrite,
    /// Make collections and say who reads them.
    #[serde(rename = "knowledge:manage")]
    KnowledgeManage,
    /// Edit agents: their profiles, tools and policies; what they remember of the organisation; MCP servers.
    #[serde(rename = "agents:manage")]
    AgentsManage,
    /// Allow or deny what agents ask for in anybody's runs; everybody decides in their own.
    #[serde(rename = "approvals:decide")]
    ApprovalsDecide,
    /// See what models were used for and what that cost.
    #[serde(rename = "usage:read")]
    UsageRead,
    /// See who belongs to the organisation.
    #[serde(rename = "members:read")]
    MembersRead,
    /// Invite people, change their roles, suspend and remove them.
    #[serde(rename = "members:manage")]
    MembersManage,
    /// Read the audit log and run time lines, verify, export and replay.
    #[serde(rename = "audit:read")]
    AuditRead,
    /// See which secrets there are (never their values), set and delete them.
    #[serde(rename = "secrets:manage")]
    SecretsManage,
    /// Rename the organisation, set its policies.
    #[serde(rename = "settings:manage")]
    SettingsManage,
}

impl Permission {
    /// All, as the table lists them.
    pub const ALL: [Self; 13] = [
        Self::ChatRead,
        Self::ChatWrite,
        Self::KnowledgeRead,
        Self::KnowledgeWrite,
        Self::KnowledgeManage,
        Self::AgentsManage,
        Self::ApprovalsDecide,
        Self::UsageRead,
        Self::MembersRead,
        Self::MembersManage,
        Self::AuditRead,
        Self::SecretsManage,
        Self::SettingsManage,
    ];

    /// The permission's name, which is also the scope that an API token needs: `knowledge:read`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatRead => "chat:read",
            Self::ChatWrite => "chat:write",
            Self::KnowledgeRead => "knowledge:read",
            Self::KnowledgeWrite => "knowledge:write",
            Self::KnowledgeManage => "knowledge:manage",
            Self::AgentsManage => "agents:manage",
            Self::ApprovalsDecide => "approvals:decide",
            Self::UsageRead => "usage:read",
            Self::MembersRead => "members:read",
            Self::MembersManage => "members:manage",
            Self::AuditRead => "audit:read",
            Self::SecretsManage => "secrets:manage",
            Self::SettingsManage => "settings:manage",
        }
    }

    /// What it allows, as a person reads it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::ChatRead => "read one's own conversations",
            Self::ChatWrite => "ask agents",
            Self::KnowledgeRead => "read and search documents",
            Self::KnowledgeWrite => "add and delete documents",
            Self::KnowledgeManage => "make collections and say who reads them",
            Self::AgentsManage => "edit agents, their tools and policies, and what they remember",
            Self::ApprovalsDecide => "allow or deny what agents ask for in anybody's runs",
            Self::UsageRead => "see what models were used for and what that cost",
            Self::MembersRead => "see who belongs to the organisation",
            Self::MembersManage => "invite, suspend and remove people, change roles",
            Self::AuditRead => "read, verify, export and replay the audit log",
            Self::SecretsManage => "set and delete secrets, never read them",
            Self::SettingsManage => "rename the organisation, set its policies",
        }
    }

    /// The table itself: the least role that carries the permission.
    fn least(self) -> Role {
        match self {
            Self::ChatRead | Self::KnowledgeRead => Role::Viewer,
            Self::ChatWrite | Self::KnowledgeWrite | Self::MembersRead => Role::Member,
            Self::KnowledgeManage
            | Self::AgentsManage
            | Self::ApprovalsDecide
            | Self::UsageRead
            | Self::MembersManage
            | Self::AuditRead
            | Self::SecretsManage => Role::Admin,
            Self::SettingsManage => Role::Owner,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Permission {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|permission| permission.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|permission| permission.name()).collect();
            Error::invalid(format!("There is no permission \"{}\"", text.escape_debug()))
                .remedy(format!("Use one of {}", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_none_is_given_twice() {
        for role in Role::ALL {
            assert_eq!(role.name().parse::<Role>().unwrap(), role);
        }
        for permission in Permission::ALL {
            assert_eq!(permission.name().parse::<Permission>().unwrap(), permission);
            assert_eq!(serde_json::to_value(permission).unwrap(), permission.name());
        }
        assert!("root".parse::<Role>().is_err() && "chat".parse::<Permission>().is_err());
    }

    #[test]
    fn the_table_is_the_one_that_was_agreed_on() {
        let table: Vec<String> = Permission::ALL
            .iter()
            .map(|permission| {
                let roles: Vec<_> =
                    Role::ALL.iter().filter(|role| role.may(*permission)).map(|role| role.name()).collect();
                format!("{permission}: {}", roles.join(" "))
            })
            .collect();
        assert_eq!(
            table,
            [
                "chat:read: owner admin member viewer",
                "chat:write: owner admin member",
                "knowledge:read: owner admin member viewer",
                "knowledge:write: owner admin member",
                "knowledge:manage: owner admin",
                "agents:manage: owner admin",
                "approvals:decide: owner admin",
                "usage:read: owner admin",
                "members:read: owner admin member",
                "members:manage: owner admin",
                "audit:read: owner admin",
                "secrets:manage: owner admin",
                "settings:manage: owner",
            ]
        );
    }

    #[test]
    fn an_admin_makes_no_owner_and_a_member_makes_nobody() {
        assert!(Role::Owner.may_grant(Role::Owner) && Role::Admin.may_grant(Role::Admin));
        assert!(!Role::Admin.may_grant(Role::Owner));
        assert!(!Role::Member.may_grant(Role::Viewer) && !Role::Viewer.may_grant(Role::Viewer));
    }
}
