//! What an agent may do without asking: a rule for each tool, for one agent or for all that have none of their own.
//!
//! | | no rule set | allow | ask | deny |
//! |---|---|---|---|---|
//! | reads, or changes what is the agents' own | is done | is done | asks | is not done |
//! | reaches outside | asks | is done | asks | is not done |
//! | reaches outside, after the run has read what others wrote | asks | asks, unless the rule says otherwise | asks | is not done |

pub mod http;
pub(super) mod store;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Agents,
    soul::{AgentInfo, Offered},
    tool::{Effects, ToolContext},
};
use crate::{
    audit::{self, Action, Actor, NewEntry},
    db::TenantDb,
    support::{
        Error, Result,
        ids::{RunId, UserId},
    },
};

/// The longest name of a tool.
const NAME_CHARACTERS: usize = 200;

/// What is done about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// It is made.
    Allow,
    /// Somebody is asked first.
    Ask,
    /// It is not made.
    Deny,
}

/// What `allow` means in a run that has read what others wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AfterUntrusted {
    /// The same.
    Allow,
    /// Somebody is asked first.
    #[default]
    Ask,
}

/// A rule that somebody has set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Policy {
    /// The tool's name.
    pub tool: String,
    /// For which agent; none: for all that have no rule of their own.
    pub agent: Option<String>,
    /// What is done.
    pub rule: Rule,
    /// What `allow` means after untrusted text.
    pub after_untrusted: AfterUntrusted,
    /// Who set it.
    pub set_by: UserId,
    /// When.
    pub set_at: DateTime<Utc>,
}

/// A tool as the page of policies shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ToolInfo {
    /// Its name.
    pub name: String,
    /// What models are told of it.
    pub description: String,
    /// What it does to the world.
    #[schema(value_type = String)]
    pub effects: Effects,
    /// Whether it gives back what others wrote.
    pub untrusted: bool,
}

/// Why a call has to wait, or is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    /// The rule says so.
    Ask,
    /// It would be allowed, but the run has read what others wrote.
    AskAfterUntrusted,
    Deny,
}

/// What is decided about a call.
pub(super) fn verdict(policies: &[Policy], tool: &str, agent: &str, effects: Effects, tainted: bool) -> Verdict {
    let of = |agent: Option<&str>| policies.iter().find(|p| p.tool == tool && p.agent.as_deref() == agent);
    let set = of(Some(agent)).or_else(|| of(None));
    let usual = if effects == Effects::Outside { Rule::Ask } else { Rule::Allow };
    match set.map_or(usual, |policy| policy.rule) {
        Rule::Deny => Verdict::Deny,
        Rule::Ask => Verdict::Ask,
        Rule::Allow => {
            let anyway = set.is_some_and(|policy| policy.after_untrusted == AfterUntrusted::Allow);
            if effects == Effects::Outside && tainted && !anyway { Verdict::AskAfterUntrusted } else { Verdict::Allow }
        }
    }
}

impl Agents {
    /// The rules that were set, by tool.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn policies(&self, db: &TenantDb) -> Result<Vec<Policy>> {
        store::all(db).await
    }

    /// The tools that agents of this tenant could call.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tools(&self, db: &TenantDb, user: UserId) -> Result<Vec<ToolInfo>> {
        let mut known: Vec<ToolInfo> = Vec::new();
        for AgentInfo { id, .. } in self.agents(db).await? {
            let context = ToolContext {
                db: db.clone(),
                run: RunId::generate(),
                conversation: None,
                agent: id,
                user: Some(user),
                actor: Actor::User { id: user },
                depth: 0,
                idempotency_key: String::new(),
                has_read: Vec::new(),
            };
            for tool in self.shared.tools.for_run(&context, &Offered::default()).await.all() {
                let spec = tool.spec();
                if known.iter().all(|known| known.name != spec.name) {
                    let (effects, untrusted) = (tool.effects(), tool.returns_untrusted_text());
                    known.push(ToolInfo { name: spec.name, description: spec.description, effects, untrusted });
                }
            }
        }
        known.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(known)
    }

    /// Sets a rule, or takes it back for `None`: then the usual holds.
    ///
    /// # Errors
    /// `Invalid` for a name that no tool can have, `NotFound` when there is no such agent.
    pub async fn set_policy(
        &self,
        db: &TenantDb,
        by: UserId,
        tool: &str,
        agent: Option<&str>,
        rule: Option<(Rule, AfterUntrusted)>,
    ) -> Result<()> {
        let well_formed = |c: char| c.is_ascii_graphic();
        if tool.is_empty() || tool.chars().count() > NAME_CHARACTERS || !tool.chars().all(well_formed) {
            return Err(Error::invalid("That is no tool's name").remedy("Take one of those that are listed"));
        }
        if let Some(agent) = agent {
            let known = self.agents(db).await?;
            if known.iter().all(|known| known.id != agent) {
                return Err(Error::not_found("the agent"));
            }
        }
        let before = store::one(db, tool, agent).await?;
        let policy = rule.map(|(rule, after_untrusted)| Policy {
            tool: tool.to_owned(),
            agent: agent.map(str::to_owned),
            rule,
            after_untrusted,
            set_by: by,
            set_at: self.clock.now(),
        });
        let words = |policy: &Policy| json!({"rule": policy.rule, "after_untrusted": policy.after_untrusted});
        if before.as_ref().map(words) == policy.as_ref().map(words) {
            return Ok(());
        }
        match &policy {
            Some(policy) => store::set(db, policy).await?,
            None => store::remove(db, tool, agent).await?,
        }
        let detail = json!({
            "agent": agent, "before": before.as_ref().map(words), "after": policy.as_ref().map(words),
        });
        let entry = NewEntry {
            actor: Actor::User { id: by },
            action: Action::PolicyChanged,
            run: None,
            subject: Some(tool.to_owned()),
            detail,
        };
        audit::append(db, &*self.clock, entry).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(tool: &str, agent: Option<&str>, rule: Rule, after_untrusted: AfterUntrusted) -> Policy {
        Policy {
            tool: tool.to_owned(),
            agent: agent.map(str::to_owned),
            rule,
            after_untrusted,
            set_by: UserId::generate(),
            set_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_reaches_outside_asks_unless_a_rule_says_otherwise() {
        for (effects, verdict_then) in
            [(Effects::None, Verdict::Allow), (Effects::Own, Verdict::Allow), (Effects::Outside, Verdict::Ask)]
        {
            for tainted in [false, true] {
                assert_eq!(verdict(&[], "mail.send", "atlas", effects, tainted), verdict_then);
            }
        }
    }

    #[test]
    fn an_agents_own_rule_comes_before_that_of_all() {
        let rules = [
            policy("mail.send", None, Rule::Deny, AfterUntrusted::Ask),
            policy("mail.send", Some("iris"), Rule::Allow, AfterUntrusted::Ask),
        ];
        let of = |agent| verdict(&rules, "mail.send", agent, Effects::Outside, false);
        assert_eq!((of("iris"), of("atlas")), (Verdict::Allow, Verdict::Deny));
        assert_eq!(verdict(&rules, "mail.read", "atlas", Effects::None, false), Verdict::Allow, "another tool");
    }

    #[test]
    fn what_others_wrote_makes_an_allowed_tool_ask_unless_the_tenant_says_otherwise() {
        let asks = [policy("t", None, Rule::Allow, AfterUntrusted::Ask)];
        assert_eq!(verdict(&asks, "t", "atlas", Effects::Outside, false), Verdict::Allow);
        assert_eq!(verdict(&asks, "t", "atlas", Effects::Outside, true), Verdict::AskAfterUntrusted);
        assert_eq!(verdict(&asks, "t", "atlas", Effects::Own, true), Verdict::Allow);
        let trusts = [policy("t", None, Rule::Allow, AfterUntrusted::Allow)];
        assert_eq!(verdict(&trusts, "t", "atlas", Effects::Outside, true), Verdict::Allow);
        let denies = [policy("t", None, Rule::Deny, AfterUntrusted::Allow)];
        assert_eq!(verdict(&denies, "t", "atlas", Effects::None, false), Verdict::Deny);
    }
}
