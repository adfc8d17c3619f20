//! A run's side of approvals: whether a call may be made, and what the run has read that others wrote.

use chrono::TimeDelta;
use serde_json::json;

use super::{Approval, ApprovalState, Because, entries, entry, store};
use crate::{
    agents::{calls::Ready, event::RunEvent, journal, policy::Verdict, record::lock, steps::Bench},
    audit::{self, Action, Actor},
    support::{Result, ids::ApprovalId},
};

/// The most names of texts that a run keeps.
const NAMES: usize = 50;
/// The longest name, in characters.
const NAME_CHARACTERS: usize = 300;

/// What a call may do now.
pub(in crate::agents) enum Leave {
    /// Be made; with exactly these arguments, where somebody has allowed them.
    Go { exactly: Option<serde_json::Value>, edited: bool },
    /// Not be made, and why, for the model to read.
    No(String),
    /// Nothing, until somebody has decided.
    Wait,
}

impl Bench<'_> {
    /// Whether a call may be made. Where somebody has to be asked, they are.
    pub(in crate::agents) async fn leave(&self, ready: &Ready<'_>, verdict: Verdict) -> Result<Leave> {
        let name = &ready.call.name;
        if verdict == Verdict::Deny {
            return Ok(Leave::No(format!(
                "not called: the organisation does not allow {} `{name}`",
                self.agent_name()
            )));
        }
        let Some(asked) = self.asks else {
            return Ok(match verdict {
                Verdict::Allow => Leave::Go { exactly: None, edited: false },
                _ => Leave::No(format!("not called: `{name}` needs a person's leave, and here is nobody to ask")),
            });
        };
        let db = &self.context.db;
        if let Some(approval) = store::of_call(db, self.context.run, &ready.call.id).await? {
            return self.follow(approval).await;
        }
        let because = match verdict {
            Verdict::Allow => return Ok(Leave::Go { exactly: None, edited: false }),
            Verdict::AskAfterUntrusted => Because::Untrusted,
            Verdict::Ask | Verdict::Deny => Because::Rule,
        };
        let now = self.recorder.clock.now();
        let approval = Approval {
            id: ApprovalId::generate(),
            run: self.context.run,
            conversation: asked.conversation,
            call: ready.call.id.clone(),
            tool: name.clone(),
            agent: self.context.agent.clone(),
            arguments: ready.arguments.clone(),
            edited: None,
            because,
            has_read: lock(&self.has_read).clone(),
            asked_by: asked.user,
            state: ApprovalState::Pending,
            reason: None,
            asked_at: now,
            expires_at: now + TimeDelta::hours(i64::from(self.limits.approval_hours)),
            decided_at: None,
            decided_by: None,
        };
        store::insert(db, &approval).await?;
        self.follow(approval).await
    }

    async fn follow(&self, approval: Approval) -> Result<Leave> {
        let noted = |action| self.journal.is_noted(action, &approval.id.to_string());
        if !noted(Action::ApprovalRequested) {
            let detail = json!({
                "arguments": approval.arguments, "because": approval.because, "has_read": approval.has_read,
                "expires_at": approval.expires_at,
            });
            let actor = Actor::Agent { name: self.context.agent.clone() };
            self.write_entry(entry(actor, Action::ApprovalRequested, &approval, detail)).await?;
        }
        // The process may have ended between the decision and its entry.
        if let Some(by) = approval.decided_by
            && !noted(Action::ApprovalDecided)
        {
            for (action, detail) in entries(&approval).into_iter().filter(|(action, _)| !noted(*action)) {
                self.write_entry(entry(Actor::User { id: by }, action, &approval, detail)).await?;
            }
        }
        Ok(match approval.state {
            ApprovalState::Pending => {
                let Approval { id, tool, expires_at, .. } = approval;
                self.events.send(RunEvent::ApprovalNeeded { approval: id, tool, expires_at });
                Leave::Wait
            }
            ApprovalState::Allowed => {
                Leave::Go { edited: approval.edited.is_some(), exactly: Some(approval.sends().clone()) }
            }
            ApprovalState::Denied => Leave::No(match &approval.reason {
                Some(reason) => format!("not called: the person denied it and said: {reason}"),
                None => "not called: the person denied it".to_owned(),
            }),
            ApprovalState::Expired => {
                Leave::No("not called: it needed a person's leave, and nobody decided in time".to_owned())
            }
            ApprovalState::Withdrawn => Leave::No("not called: the question was withdrawn".to_owned()),
        })
    }

    async fn write_entry(&self, entry: audit::NewEntry) -> Result<()> {
        if self.recorder.is_replay() {
            return Ok(());
        }
        audit::append(&self.recorder.db, &*self.recorder.clock, entry).await.map(|_| ())
    }

    fn agent_name(&self) -> &str {
        &self.profile.info.name
    }

    /// From now on the run has read these, which others wrote.
    pub(in crate::agents) async fn taint(&self, names: Vec<String>) -> Result<()> {
        let mut fresh = Vec::new();
        {
            let mut known = lock(&self.has_read);
            for name in names {
                let name: String = name.replace('\0', "").chars().take(NAME_CHARACTERS).collect();
                if !known.contains(&name) && known.len() < NAMES {
                    known.push(name.clone());
                    fresh.push(name);
                }
            }
        }
        if fresh.is_empty() || self.recorder.is_replay() {
            return Ok(());
        }
        if self.asks.is_some() {
            let all = lock(&self.has_read).clone();
            journal::store::set_read(&self.context.db, self.context.run, &all).await?;
        }
        for name in fresh.iter().filter(|name| !self.journal.is_noted(Action::RunTainted, name)) {
            let agent = Some(self.context.agent.as_str());
            self.recorder.note(Action::RunTainted, agent, json!({"text": name})).await?;
        }
        Ok(())
    }
}
