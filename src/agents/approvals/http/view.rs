//! An approval as a card shows it.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::{Approval, ApprovalState, Because, Decider};
use crate::{
    agents::soul::AgentInfo,
    http::format,
    support::ids::{ApprovalId, ConversationId, RunId, UserId},
};

/// What somebody has to decide, or has decided.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of the template")]
pub(in crate::agents) struct Card {
    pub(in crate::agents) id: ApprovalId,
    pub(in crate::agents) run: RunId,
    pub(in crate::agents) conversation: ConversationId,
    /// Whether the conversation is the reader's own.
    pub(in crate::agents) own: bool,
    pub(in crate::agents) tool: String,
    pub(in crate::agents) agent: String,
    /// Whose question it was; empty for the reader's own.
    pub(in crate::agents) asker: String,
    /// Exactly what is sent: names and values, as a person reads them.
    pub(in crate::agents) sends: Vec<(String, String)>,
    /// The same as JSON, to be changed.
    pub(in crate::agents) editable: String,
    /// Whether it differs from what the agent wanted.
    pub(in crate::agents) edited: bool,
    /// Whether it asks because of what the run has read.
    pub(in crate::agents) untrusted: bool,
    pub(in crate::agents) has_read: Vec<String>,
    /// `for another 3 days`
    pub(in crate::agents) expires: String,
    pub(in crate::agents) expires_at: String,
    pub(in crate::agents) may_always: bool,
    /// What became of it, in a word.
    pub(in crate::agents) outcome: &'static str,
    /// `ready`, `failed` or nothing.
    pub(in crate::agents) mark: &'static str,
    pub(in crate::agents) decided: String,
    pub(in crate::agents) decided_at: String,
    pub(in crate::agents) decider: String,
    pub(in crate::agents) reason: String,
    /// Whether the form for changes is open.
    pub(in crate::agents) open: bool,
}

pub(in crate::agents) fn card(
    approval: Approval,
    by: Decider,
    agents: &[AgentInfo],
    names: &[(UserId, String)],
    now: DateTime<Utc>,
) -> Card {
    let name = |user: UserId| {
        if user == by.user {
            return "you".to_owned();
        }
        names.iter().find(|(id, _)| *id == user).map_or_else(|| "somebody".to_owned(), |(_, name)| name.clone())
    };
    let (outcome, mark) = match approval.state {
        ApprovalState::Pending => ("waits", "busy"),
        ApprovalState::Allowed => ("allowed", "ready"),
        ApprovalState::Denied => ("denied", "failed"),
        ApprovalState::Expired => ("expired", ""),
        ApprovalState::Withdrawn => ("withdrawn", ""),
    };
    let agent = agents.iter().find(|agent| agent.id == approval.agent);
    Card {
        id: approval.id,
        run: approval.run,
        conversation: approval.conversation,
        own: approval.asked_by == by.user,
        agent: agent.map_or_else(|| approval.agent.clone(), |agent| agent.name.clone()),
        asker: if approval.asked_by == by.user { String::new() } else { name(approval.asked_by) },
        sends: fields(approval.sends()),
        editable: serde_json::to_string_pretty(&approval.arguments).unwrap_or_default(),
        edited: approval.edited.is_some(),
        untrusted: approval.because == Because::Untrusted,
        expires: within(now, approval.expires_at),
        expires_at: format::machine(approval.expires_at),
        may_always: by.manages,
        outcome,
        mark,
        decided: approval.decided_at.map(|at| format::ago(now, at)).unwrap_or_default(),
        decided_at: approval.decided_at.map(format::machine).unwrap_or_default(),
        decider: approval.decided_by.map(name).unwrap_or_default(),
        reason: approval.reason.unwrap_or_default(),
        open: false,
        tool: approval.tool,
        has_read: approval.has_read,
    }
}

/// Each argument with its value: text as it is, everything else as JSON.
fn fields(arguments: &Value) -> Vec<(String, String)> {
    let told = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    match arguments {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), told(value))).collect(),
        other => vec![(String::new(), told(other))],
    }
}

fn within(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    let minutes = (then - now).num_minutes();
    match minutes {
        ..1 => "for less than a minute".to_owned(),
        1..120 => format!("for another {}", format::count(minutes, "minute")),
        120..2880 => format!("for another {}", format::count(minutes / 60, "hour")),
        _ => format!("for another {}", format::count(minutes / 1440, "day")),
    }
}
