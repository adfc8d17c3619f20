//! Leave that agents ask for: what they want to do is kept exactly as it will be sent, until somebody allows or denies it,
//! the time is over, or the run ends. Nothing of it is held in memory; a decision sets the run going again.

pub(super) mod asking;
pub mod http;
pub(super) mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    Agents,
    policy::{self, AfterUntrusted, Rule},
    schema,
    soul::Offered,
    tool::ToolContext,
};
use crate::{
    audit::{self, Action, Actor, NewEntry},
    db::TenantDb,
    support::{
        Error, Result,
        ids::{ApprovalId, ConversationId, RunId, UserId},
    },
};

/// The longest reason, in characters.
const REASON_CHARACTERS: usize = 1000;
/// The most bytes of changed arguments.
const ARGUMENTS_BYTES: usize = 128 << 10;
/// How many that are decided are listed.
const DECIDED: i64 = 50;

/// Something that an agent has asked leave for.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Approval {
    /// Its identifier.
    pub id: ApprovalId,
    /// The run that waits for it.
    pub run: RunId,
    /// The conversation that the run belongs to.
    pub conversation: ConversationId,
    /// The call in the run.
    #[serde(skip)]
    pub call: String,
    /// The tool.
    pub tool: String,
    /// The agent.
    pub agent: String,
    /// Exactly what will be sent.
    #[schema(value_type = Object)]
    pub arguments: Value,
    /// What will be sent in its place, because whoever decided changed it.
    #[schema(value_type = Option<Object>)]
    pub edited: Option<Value>,
    /// Why it is asked.
    pub because: Because,
    /// What the run had read that others wrote.
    pub has_read: Vec<String>,
    /// Whose question it was.
    pub asked_by: UserId,
    /// What became of it.
    pub state: ApprovalState,
    /// Why it was denied, in the words of whoever did.
    pub reason: Option<String>,
    /// When it was asked.
    pub asked_at: DateTime<Utc>,
    /// Until when it can be decided.
    pub expires_at: DateTime<Utc>,
    /// When it was decided, or ended.
    pub decided_at: Option<DateTime<Utc>>,
    /// Who decided.
    pub decided_by: Option<UserId>,
}

/// Why leave is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The tool's rule says so.
    Rule,
    /// The tool is allowed, but the run has read what others wrote.
    Untrusted,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nobody has decided yet.
    Pending,
    /// It is done, or will be.
    Allowed,
    /// It is not done.
    Denied,
    /// Nobody decided in time: it is not done.
    Expired,
    /// The run ended before anybody decided: it is not done.
    Withdrawn,
}

/// Who looks at approvals, or decides.
#[derive(Debug, Clone, Copy)]
pub struct Decider {
    /// The person. They see and decide what is asked in their own runs.
    pub user: UserId,
    /// Whether they decide in anybody's.
    pub anybodys: bool,
    /// Whether they set rules.
    pub manages: bool,
}

/// What somebody decides.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is done.
    Allow {
        /// With this in place of what was to be sent.
        edited: Option<Value>,
        /// And the agent need not ask again for this tool.
        always: bool,
    },
    /// It is not done.
    Deny {
        /// What the agent is told.
        reason: Option<String>,
    },
}

impl Approval {
    /// What is sent when it is allowed.
    pub fn sends(&self) -> &Value {
        self.edited.as_ref().unwrap_or(&self.arguments)
    }

    fn may_be_seen_by(&self, by: Decider) -> bool {
        by.anybodys || self.asked_by == by.user
    }
}

impl Agents {
    /// What waits for a decision that this person may take, the oldest first, and what was decided last.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn approvals(&self, db: &TenantDb, by: Decider) -> Result<(Vec<Approval>, Vec<Approval>)> {
        self.expire_approvals(db).await?;
        let whose = (!by.anybodys).then_some(by.user);
        Ok((store::pending(db, whose).await?, store::decided(db, whose, DECIDED).await?))
    }

    /// How many wait for this person's decision.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn approvals_waiting(&self, db: &TenantDb, by: Decider) -> Result<i64> {
        store::count_pending(db, (!by.anybodys).then_some(by.user), self.clock.now()).await
    }

    /// What was asked in a conversation and is not decided.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn approvals_in(&self, db: &TenantDb, conversation: ConversationId) -> Result<Vec<Approval>> {
        store::pending_in(db, conversation).await
    }

    /// One that this person may see.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not theirs to decide.
    pub async fn approval(&self, db: &TenantDb, by: Decider, id: ApprovalId) -> Result<Approval> {
        let found = store::one(db, id).await?.filter(|approval| approval.may_be_seen_by(by));
        found.ok_or_else(|| Error::not_found("the approval"))
    }

    /// Allows or denies it. The run goes on by itself as soon as nothing else in it waits.
    ///
    /// # Errors
    /// `NotFound` when it is not theirs to decide, `Conflict` when it is decided already or too late, `Invalid` when
    /// changed arguments are not what the tool takes, `Forbidden` for a rule by somebody who sets none.
    pub async fn decide(&self, db: &TenantDb, by: Decider, id: ApprovalId, decision: Decision) -> Result<Approval> {
        let approval = self.approval(db, by, id).await?;
        if self.clock.now() >= approval.expires_at {
            self.expire_approvals(db).await?;
        }
        let taken =
            || Error::conflict("this is decided already, or no longer waits").remedy("look at what became of it");
        if approval.state != ApprovalState::Pending || self.clock.now() >= approval.expires_at {
            return Err(taken());
        }
        let (state, edited, reason) = match decision {
            Decision::Allow { edited, always } => {
                let edited = match edited {
                    Some(edited) => self.checked(db, &approval, edited).await?,
                    None => None,
                };
                if always {
                    self.always(db, by, &approval).await?;
                }
                (ApprovalState::Allowed, edited, None)
            }
            Decision::Deny { reason } => {
                let reason = reason.map(|reason| reason.replace('\0', "").trim().to_owned());
                (ApprovalState::Denied, None, reason.filter(|reason| !reason.is_empty()))
            }
        };
        if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARACTERS) {
            return Err(Error::invalid(format!("the reason is longer than {REASON_CHARACTERS} characters")));
        }
        let decided = Approval {
            state,
            edited,
            reason,
            decided_at: Some(self.clock.now()),
            decided_by: Some(by.user),
            ..approval
        };
        if !store::decide(db, &decided).await? {
            return Err(taken());
        }
        for (action, detail) in entries(&decided) {
            self.note_approval(db, Actor::User { id: by.user }, action, &decided, detail).await?;
        }
        self.go_on(db, decided.run).await?;
        Ok(decided)
    }

    /// Arguments as somebody changed them; `None` when they are what they were.
    async fn checked(&self, db: &TenantDb, approval: &Approval, edited: Value) -> Result<Option<Value>> {
        if edited.to_string().len() > ARGUMENTS_BYTES {
            return Err(Error::invalid("that is more than can be sent").remedy("shorten it"));
        }
        let context = ToolContext {
            db: db.clone(),
            run: approval.run,
            conversation: Some(approval.conversation),
            agent: approval.agent.clone(),
            user: Some(approval.asked_by),
            actor: Actor::User { id: approval.asked_by },
            depth: 0,
            idempotency_key: String::new(),
            has_read: approval.has_read.clone(),
        };
        let tools = self.shared.tools.for_run(&context, &Offered::default()).await;
        let tool = tools.find(&approval.tool).ok_or_else(|| Error::conflict("the tool is not there any more"))?;
        let edited = schema::check(&tool.spec().parameters, edited)
            .map_err(|why| Error::invalid(why).remedy("correct it, or allow it as it was"))?;
        Ok(Some(edited).filter(|edited| *edited != approval.arguments))
    }

    async fn always(&self, db: &TenantDb, by: Decider, approval: &Approval) -> Result<()> {
        if !by.manages {
            return Err(Error::forbidden("Only those who manage agents set rules").remedy("Allow it once"));
        }
        let known = policy::store::all(db).await?;
        let own = known.iter().find(|p| p.tool == approval.tool && p.agent.as_deref() == Some(&approval.agent));
        let after_untrusted = own.map_or(AfterUntrusted::Ask, |policy| policy.after_untrusted);
        let rule = Some((Rule::Allow, after_untrusted));
        self.set_policy(db, by.user, &approval.tool, Some(&approval.agent), rule).await
    }

    /// Ends those that nobody has decided in time; their runs go on and are told so.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn expire_approvals(&self, db: &TenantDb) -> Result<()> {
        for approval in store::expire(db, self.clock.now()).await? {
            let detail = json!({"expires_at": approval.expires_at, "outcome": "refused"});
            self.note_approval(db, Actor::System, Action::ApprovalExpired, &approval, detail).await?;
            self.go_on(db, approval.run).await?;
        }
        Ok(())
    }

    async fn note_approval(
        &self,
        db: &TenantDb,
        actor: Actor,
        action: Action,
        approval: &Approval,
        detail: Value,
    ) -> Result<()> {
        let entry = entry(actor, action, approval, detail);
        audit::append(db, &*self.clock, entry).await.map(|_| ())
    }
}

/// The entry about an approval.
fn entry(actor: Actor, action: Action, approval: &Approval, mut detail: Value) -> NewEntry {
    detail["approval"] = json!(approval.id);
    detail["call"] = json!(approval.call);
    detail["agent"] = json!(approval.agent);
    NewEntry { actor, action, run: Some(approval.run), subject: Some(approval.tool.clone()), detail }
}

/// What is written down of a decision.
fn entries(decided: &Approval) -> Vec<(Action, Value)> {
    let mut entries = Vec::new();
    if let Some(edited) = &decided.edited {
        entries.push((Action::ApprovalEdited, json!({"before": decided.arguments, "after": edited})));
    }
    let waited = decided.decided_at.map_or(0, |at| (at - decided.asked_at).num_milliseconds().max(0));
    let outcome = if decided.state == ApprovalState::Denied { "refused" } else { "done" };
    let detail = json!({
        "decision": decided.state, "outcome": outcome, "reason": decided.reason, "sends": decided.sends(),
        "duration_ms": waited,
    });
    entries.push((Action::ApprovalDecided, detail));
    entries
}
