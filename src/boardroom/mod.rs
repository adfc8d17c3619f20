//! The boardroom: a question goes to several agents, who state positions, answer each other, and the chair writes what
//! follows, with the dissent in it.
//!
//! ```text
//! call ─ store ─ job ─ meeting ─┬─ agents (a run apart for each contribution)
//!                               ├─ live (who watches, who stops)
//!                               └─ form (what the chair wrote, as rows)
//! export: the record as Markdown;  http: pages and API
//! ```

mod export;
mod form;
pub mod http;
pub mod job;
mod live;
mod meeting;
mod store;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    agents::{Agents, Citation, soul},
    audit::{self, Action, Actor, NewEntry},
    db::TenantDb,
    jobs::Queue,
    support::{
        Error, Kind, Result,
        clock::SharedClock,
        ids::{MeetingId, NextActionId, RunId, TenantId, UserId},
    },
};

pub use export::markdown;
pub use form::{Confidence, Dissent, Synthesis};
use job::HoldMeeting;
use live::Live;
pub use live::MeetingEvent;

/// The fewest and the most members of a meeting.
pub const MEMBERS: std::ops::RangeInclusive<usize> = 2..=7;
/// The most characters of a question.
pub const QUESTION_CHARACTERS: usize = 4_000;
/// How long a meeting's beginning is waited for, in tenths of a second.
const ROOM_PATIENCE: u32 = 250;
/// Meetings that one person may have going on at once.
const AT_ONCE: i64 = 3;

/// The boardroom of the appliance. Cheap to clone.
#[derive(Clone)]
pub struct Boardroom {
    agents: Agents,
    queue: Queue<HoldMeeting>,
    clock: SharedClock,
    live: Live,
}

/// A meeting that is to be held.
#[derive(Debug, Clone)]
pub struct Call {
    /// What is asked.
    pub question: String,
    /// The members, by their ids: two to seven.
    pub agents: Vec<String>,
    /// Which of them writes the outcome.
    pub chair: String,
    /// Whether everybody in the organisation may read it.
    pub shared: bool,
    /// Whose it is; `None` at the command line.
    pub user: Option<UserId>,
}

/// A part of a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Round {
    /// Each states a position, before hearing the others.
    Positions,
    /// Each answers the others.
    Answers,
    /// The chair writes what follows.
    Synthesis,
}

/// How a meeting stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MeetingState)]
pub enum State {
    /// It goes on, or waits to.
    Running,
    /// The outcome is there.
    Finished,
    /// Its person stopped it; what there was until then is kept.
    Stopped,
    /// It came to no outcome.
    Failed,
}

/// An agent as it was when the meeting was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = MeetingMember)]
pub struct Member {
    /// `atlas`
    pub id: String,
    /// `Atlas`
    pub name: String,
    /// `Chief of staff`
    pub title: String,
    /// The hue of its avatar, in degrees.
    pub hue: u16,
}

impl Member {
    /// The drawn mark of its avatar in the sprite.
    pub fn mark(&self) -> &'static str {
        soul::mark(&self.id)
    }

    /// The class that gives its hue.
    pub fn hue_class(&self) -> String {
        soul::hue_class(self.hue)
    }
}

/// What became of a contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Contributed {
    /// It is whole.
    Complete,
    /// The member could not contribute; why is under `problem`.
    Failed,
    /// It was stopped in the middle.
    Stopped,
    /// The member had nothing to add to its position.
    Passed,
}

/// What a member said in a round.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Contribution {
    /// The part of the meeting.
    pub round: Round,
    /// The member.
    pub agent: String,
    /// What became of it.
    pub state: Contributed,
    /// The run in which it was made; its entries in the audit log tell how.
    pub run: Option<RunId>,
    /// Markdown with marks.
    pub text: String,
    /// What the marks mean.
    pub citations: Vec<Citation>,
    /// The model that wrote it.
    pub model: Option<String>,
    /// Whether it consists of quotations because no model was usable.
    pub quoting: bool,
    /// Why it is not whole.
    pub problem: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// Something that is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NextAction {
    /// Its id, by which it can be referred to for good.
    pub id: NextActionId,
    /// Who is to do it, as the chair wrote it: a member's name or a person's role; may be empty.
    pub owner: String,
    /// The member that this names, if it does.
    pub agent: Option<String>,
    /// What is to be done.
    pub what: String,
    /// By when, as the chair wrote it; may be empty.
    pub due: String,
}

/// A meeting in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MeetingSummary {
    /// The meeting.
    pub id: MeetingId,
    /// What was asked.
    pub question: String,
    /// Who sits in it.
    pub members: Vec<Member>,
    /// How it stands.
    pub state: State,
    /// Whether everybody in the organisation may read it.
    pub shared: bool,
    /// Whether it is one's own.
    pub own: bool,
    /// When it was called.
    pub created_at: DateTime<Utc>,
}

/// A meeting with all that was said in it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Meeting {
    /// The meeting.
    pub id: MeetingId,
    /// Whose it is; nobody's when it was called at the command line.
    pub user: Option<UserId>,
    /// What was asked.
    pub question: String,
    /// Who sits in it, in the order in which they were picked.
    pub members: Vec<Member>,
    /// Which of them is the chair.
    pub chair: String,
    /// How it stands.
    pub state: State,
    /// Why there is no outcome, or what is to be known about it.
    pub problem: Option<String>,
    /// Whether everybody in the organisation may read it.
    pub shared: bool,
    /// When it was called.
    pub created_at: DateTime<Utc>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
    /// What was said, in order.
    pub contributions: Vec<Contribution>,
    /// The outcome.
    pub synthesis: Option<Synthesis>,
    /// What is to be done.
    pub actions: Vec<NextAction>,
}

impl Meeting {
    /// What a member said in a round, if that is over.
    pub fn contribution(&self, round: Round, agent: &str) -> Option<&Contribution> {
        self.contributions.iter().find(|contribution| contribution.round == round && contribution.agent == agent)
    }

    fn actor(&self) -> Actor {
        self.user.map_or(Actor::Operator, |id| Actor::User { id })
    }
}

impl Boardroom {
    /// A boardroom of these agents, whose meetings wait in `queue` to be held.
    pub fn new(agents: Agents, queue: Queue<HoldMeeting>, clock: SharedClock) -> Self {
        Self { agents, queue, clock, live: Live::default() }
    }

    /// The agents that may be invited.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn agents(&self, db: &TenantDb) -> Result<Vec<Member>> {
        let agents = self.agents.agents(db).await?;
        let member = |info: soul::AgentInfo| Member { id: info.id, name: info.name, title: info.title, hue: info.hue };
        Ok(agents.into_iter().map(member).collect())
    }

    /// Calls a meeting. Once this returns it will be held, whatever happens to this process.
    ///
    /// # Errors
    /// `Invalid` without a question, with too few or too many members, or with a chair who is none of them; `NotFound`
    /// for an agent that there is not; `TooMany` while too many of one's meetings go on.
    pub async fn call(&self, db: &TenantDb, call: Call) -> Result<MeetingId> {
        let question = checked_question(&call.question)?;
        let mut ids: Vec<String> = Vec::new();
        for id in call.agents.iter().map(|id| id.trim().to_lowercase()).filter(|id| !id.is_empty()) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        if !MEMBERS.contains(&ids.len()) {
            return Err(Error::invalid("a meeting has two to seven members").remedy("pick two agents at least"));
        }
        let known = self.agents(db).await?;
        let mut members = Vec::new();
        for id in &ids {
            let member = known.iter().find(|member| member.id == *id).cloned();
            let all = known.iter().map(|member| member.id.as_str()).collect::<Vec<_>>().join(", ");
            members
                .push(member.ok_or_else(|| {
                    Error::not_found(&format!("the agent {id:?}")).remedy(format!("there are {all}"))
                })?);
        }
        let chair = call.chair.trim().to_lowercase();
        if !ids.contains(&chair) {
            return Err(Error::invalid("the chair must be one of the members")
                .remedy("pick the chair's agent as a member, too"));
        }
        if store::running(db, call.user).await? >= AT_ONCE {
            return Err(Error::new(Kind::TooMany, format!("{AT_ONCE} of your meetings go on already"))
                .remedy("wait until one is over, or stop it"));
        }
        let meeting = Meeting {
            id: MeetingId::generate(),
            user: call.user,
            question,
            members,
            chair,
            state: State::Running,
            problem: None,
            shared: call.shared,
            created_at: self.clock.now(),
            ended_at: None,
            contributions: Vec::new(),
            synthesis: None,
            actions: Vec::new(),
        };
        store::insert(db, &meeting).await?;
        let detail = json!({
            "question": meeting.question, "members": ids, "chair": meeting.chair, "shared": meeting.shared,
        });
        self.note(db, meeting.actor(), Action::MeetingStarted, meeting.id, detail).await?;
        self.queue.push(&HoldMeeting { tenant: db.tenant().clone(), meeting: meeting.id }).await?;
        Ok(meeting.id)
    }

    /// One's own meetings and those that are shared, the newest first; 100 at most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn meetings(&self, db: &TenantDb, user: Option<UserId>) -> Result<Vec<MeetingSummary>> {
        store::meetings(db, user).await
    }

    /// A meeting that is one's own or shared.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is somebody else's alone.
    pub async fn meeting(&self, db: &TenantDb, user: Option<UserId>, id: MeetingId) -> Result<Meeting> {
        let meeting = store::meeting(db, id).await?;
        meeting.filter(|meeting| meeting.shared || meeting.user == user).ok_or_else(no_meeting)
    }

    /// Any meeting, for whoever runs the server.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn any_meeting(&self, db: &TenantDb, id: MeetingId) -> Result<Meeting> {
        store::meeting(db, id).await?.ok_or_else(no_meeting)
    }

    /// What a member is saying at this moment.
    pub fn said(&self, db: &TenantDb, id: MeetingId, round: Round, agent: &str) -> String {
        self.live.room(db.tenant(), id).map(|room| room.said(round, agent)).unwrap_or_default()
    }

    /// What happens in a meeting: what is being said already, then what comes, and `Ended` when nothing more will. A
    /// meeting that waits for its turn is waited for.
    ///
    /// # Errors
    /// As for [`Boardroom::meeting`].
    pub async fn watch(
        &self,
        db: &TenantDb,
        user: Option<UserId>,
        id: MeetingId,
    ) -> Result<impl Stream<Item = MeetingEvent> + Send + use<>> {
        let meeting = self.meeting(db, user, id).await?;
        let room = match meeting.state {
            State::Running => self.room(db, id).await,
            _ => None,
        };
        let over = futures::stream::iter(room.is_none().then_some(MeetingEvent::Ended));
        let events = futures::stream::iter(room).flat_map(live::Room::watch);
        Ok(over.chain(events))
    }

    /// The room of a meeting. Until its job has begun it is waited for; the stream ends when that takes long, and whoever
    /// watches asks again.
    async fn room(&self, db: &TenantDb, id: MeetingId) -> Option<Arc<live::Room>> {
        for tenth in 1..=ROOM_PATIENCE {
            if let Some(room) = self.live.room(db.tenant(), id) {
                return Some(room);
            }
            if tenth % 10 == 0 && !store::is_running(db, id).await.unwrap_or(false) {
                return None;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        None
    }

    /// Stops a meeting; what was said until now is kept.
    ///
    /// # Errors
    /// `NotFound` when it is not one's own, `Conflict` when it is over.
    pub async fn stop(&self, db: &TenantDb, user: Option<UserId>, id: MeetingId) -> Result<()> {
        let meeting = self.own(db, user, id).await?;
        let why = "it was stopped before its end";
        if !store::end(db, id, State::Stopped, Some(why), self.clock.now()).await? {
            return Err(Error::conflict("the meeting is over already"));
        }
        self.note(db, meeting.actor(), Action::MeetingStopped, id, json!({ "outcome": "stopped" })).await?;
        if let Some(room) = self.live.room(db.tenant(), id) {
            room.stop.cancel();
        }
        Ok(())
    }

    /// Lets everybody in the organisation read it, or nobody else any more.
    ///
    /// # Errors
    /// `NotFound` when it is not one's own.
    pub async fn share(&self, db: &TenantDb, user: Option<UserId>, id: MeetingId, shared: bool) -> Result<()> {
        let meeting = self.own(db, user, id).await?;
        store::share(db, id, shared).await?;
        self.note(db, meeting.actor(), Action::MeetingShared, id, json!({ "shared": shared, "before": meeting.shared }))
            .await
    }

    /// Removes a meeting with all that was said in it; the audit log keeps its entries. One that goes on is stopped first.
    ///
    /// # Errors
    /// `NotFound` when it is not one's own.
    pub async fn delete(&self, db: &TenantDb, user: Option<UserId>, id: MeetingId) -> Result<()> {
        let meeting = self.own(db, user, id).await?;
        if let Some(room) = self.live.room(db.tenant(), id) {
            room.stop.cancel();
        }
        if !store::delete(db, id).await? {
            return Err(no_meeting());
        }
        self.note(db, meeting.actor(), Action::MeetingDeleted, id, json!({ "question": meeting.question })).await
    }

    /// Has all meetings of a tenant wait, which goes out of service; they go on when it is back.
    pub fn suspend(&self, tenant: &TenantId) {
        self.live.suspend(tenant);
    }

    async fn own(&self, db: &TenantDb, user: Option<UserId>, id: MeetingId) -> Result<Meeting> {
        let meeting = store::meeting(db, id).await?;
        meeting.filter(|meeting| meeting.user == user).ok_or_else(no_meeting)
    }

    async fn note(
        &self,
        db: &TenantDb,
        actor: Actor,
        action: Action,
        meeting: MeetingId,
        detail: serde_json::Value,
    ) -> Result<()> {
        let entry = NewEntry { actor, action, run: None, subject: Some(meeting.to_string()), detail };
        audit::append(db, &*self.clock, entry).await.map(|_| ())
    }
}

fn checked_question(question: &str) -> Result<String> {
    let question = question.replace('\0', "").trim().to_owned();
    if question.is_empty() {
        return Err(Error::invalid("there is no question"));
    }
    if question.chars().count() > QUESTION_CHARACTERS {
        let message = format!("the question is longer than {QUESTION_CHARACTERS} characters");
        return Err(Error::new(Kind::TooLarge, message).remedy("put the long part into a document and ask about it"));
    }
    Ok(question)
}

fn no_meeting() -> Error {
    Error::not_found("the meeting")
}
