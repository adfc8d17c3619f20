//! Runs that go on: after a crash or a restart, and after somebody has decided what they waited for.
//!
//! The start looks through every tenant. After that this process knows by itself where it has left runs waiting, and looks
//! there for those whose time is over; where several nodes share a database, all tenants are looked through now and then
//! for runs of nodes that show no sign of life.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Agents,
    event::{self, EventSender, RunEvent},
    in_flight::Place,
    journal::{Journal, store as runs},
    memory::compaction::{self, Cut},
    program::Program,
    record::{Recorder, lock},
    run::{self, CutOff, Job, LastEntry},
    soul::Profile,
    steps::Asks,
};
use crate::{
    audit::{self, Action, Actor, NewEntry},
    db::TenantDb,
    egress,
    models::chat::Message,
    support::{
        Error, Kind, Result,
        ids::{ConversationId, RunId, TenantId, UserId},
    },
    tenants::Tenants,
};

/// How often approvals whose time is over are looked for, where there are any.
const OFTEN: Duration = Duration::from_secs(30);
/// How often runs of nodes that have died are looked for, in rounds of [`OFTEN`].
const SELDOM: u32 = 10;

/// What a run needs to begin, or to begin again.
#[derive(Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) profile: Profile,
    pub(super) question: String,
    pub(super) instructions: Option<String>,
    pub(super) query: String,
    pub(super) history: Vec<Message>,
    #[serde(default)]
    pub(super) cut: Option<Cut>,
    pub(super) today: String,
    pub(super) actor: Actor,
    pub(super) depth: u8,
    #[serde(default)]
    pub(super) program: Program,
}

/// Where a run stands, and what is known of it.
pub(super) struct Standing {
    pub(super) conversation: Option<ConversationId>,
    pub(super) user: Option<UserId>,
    pub(super) asks: Option<Asks>,
    pub(super) journal: Journal,
    pub(super) has_read: Vec<String>,
    pub(super) started: Instant,
}

impl Agents {
    pub(super) fn job(&self, recorder: Recorder, asked: Asked, standing: Standing) -> Job {
        let Asked { profile, question, instructions, query, history, cut, today, actor, depth, program } = asked;
        let Standing { conversation, user, asks, journal, has_read, started } = standing;
        Job {
            recorder,
            conversation,
            profile,
            question,
            instructions,
            query,
            history,
            cut,
            today,
            started,
            actor,
            user,
            depth,
            program,
            node: self.shared.node,
            journal,
            asks,
            has_read,
            over: None,
        }
    }

    /// Has a run go on by itself.
    pub(super) fn set_going(&self, job: Job, sender: EventSender, place: Place) {
        let agents = self.clone();
        tokio::spawn(async move {
            let (db, run) = (job.recorder.db.clone(), job.recorder.run);
            let tenant = db.tenant().clone();
            let driving = run::drive(&agents.shared, &job, sender, place);
            let waits = egress::on_behalf_of(&tenant, Some(run), driving).await;
            if !waits {
                egress::on_behalf_of(&tenant, Some(run), agents.condense(&job)).await;
            }
            if waits {
                lock(&agents.waiting).insert(tenant);
                // Somebody may have decided before the run was put down.
                agents.go_on_or_log(db, run).await;
            }
        });
    }

    /// A box, since a run that goes on may come to wait, and go on again.
    fn go_on_or_log(&self, db: TenantDb, run: RunId) -> futures::future::BoxFuture<'static, ()> {
        let agents = self.clone();
        Box::pin(async move {
            if let Err(error) = agents.go_on(&db, run).await {
                tracing::error!(%run, tenant = %db.tenant(), error = ?error, "a run could not go on; the next start tries again");
            }
        })
    }

    /// Goes on with a run that waits, if nothing of what it has asked leave for is open any more.
    pub(super) async fn go_on(&self, db: &TenantDb, run: RunId) -> Result<bool> {
        // Only what waits: a run that goes on in this very process is no node's that has died.
        self.take_over(db, run, false, "it is decided").await
    }

    /// Goes on with a run that nobody works on. False when somebody does, or it is not to be had.
    async fn take_over(&self, db: &TenantDb, run: RunId, alone: bool, why: &str) -> Result<bool> {
        if self.shared.in_flight.is_closing() || self.shared.in_flight.has(run) {
            return Ok(false);
        }
        let Some(claimed) = runs::claim(db, run, self.shared.node, alone).await? else { return Ok(false) };
        self.resume_or_leave(db, run, claimed, why, None).await?;
        Ok(true)
    }

    /// Brings a run to its end that waits for leave.
    pub(super) async fn stop_waiting(&self, db: &TenantDb, run: RunId, user: UserId, why: CutOff) -> Result<bool> {
        let Some(claimed) = runs::claim_waiting(db, run, self.shared.node, user).await? else { return Ok(false) };
        self.resume_or_leave(db, run, claimed, "it was stopped", Some(why)).await?;
        Ok(true)
    }

    /// A run that was taken over and cannot go on here is anybody's again.
    async fn resume_or_leave(
        &self,
        db: &TenantDb,
        run: RunId,
        claimed: runs::Claimed,
        why: &str,
        over: Option<CutOff>,
    ) -> Result<()> {
        let resumed = self.resume(db, run, claimed, why, over).await;
        if resumed.is_err() {
            runs::leave(db, run, self.shared.node).await?;
        }
        resumed
    }

    async fn resume(
        &self,
        db: &TenantDb,
        run: RunId,
        claimed: runs::Claimed,
        why: &str,
        over: Option<CutOff>,
    ) -> Result<()> {
        let started = Instant::now();
        let runs::Claimed { conversation, user, asked, has_read } = claimed;
        let mut asked: Asked = serde_json::from_str(&asked).map_err(Error::internal)?;
        asked.cut = compaction::read_again(db, asked.cut).await?;
        let (sender, told) = event::channel();
        let place = self.shared.in_flight.enter(db.tenant().clone(), Some(user), conversation, run, told)?;
        let entries = audit::of_run(db, run).await?;
        let journal = Journal::read(db.clone(), run, &entries).await?;
        let recorder = self.recorder(db, run, &asked.profile.info.id);
        let (steps, calls) = journal.known();
        let detail = json!({"why": why, "known": {"steps": steps, "calls": calls}});
        let agent = asked.profile.info.id.clone();
        recorder.note_by(Actor::System, Action::RunResumed, Some(&agent), detail).await?;
        sender.send(RunEvent::Started { run, conversation: Some(conversation) });
        let asks = Some(Asks { conversation, user });
        let standing =
            Standing { conversation: Some(conversation), user: Some(user), asks, journal, has_read, started };
        let job = Job { over, ..self.job(recorder, asked, standing) };
        self.set_going(job, sender, place);
        Ok(())
    }

    /// Goes on with all runs of a tenant that nobody works on. `alone`: no other node shares the database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn resume_all_of(&self, db: &TenantDb, alone: bool) -> Result<usize> {
        for (run, entry) in runs::unwritten(db).await? {
            self.write_last_entry(db, run, &entry).await?;
        }
        self.expire_approvals(db).await?;
        let mut resumed = 0;
        for run in runs::unfinished(db, self.shared.node, alone).await? {
            match self.take_over(db, run, alone, "the process that worked on it had ended").await {
                Ok(taken) => resumed += usize::from(taken),
                Err(error) => {
                    tracing::error!(%run, error = ?error, "a run could not go on; the next start tries again");
                }
            }
        }
        if runs::anything_waits(db).await? {
            lock(&self.waiting).insert(db.tenant().clone());
        } else {
            lock(&self.waiting).remove(db.tenant());
        }
        Ok(resumed)
    }

    async fn write_last_entry(&self, db: &TenantDb, run: RunId, entry: &str) -> Result<()> {
        if self.shared.in_flight.has(run) {
            return Ok(());
        }
        let last: LastEntry = serde_json::from_str(entry).map_err(Error::internal)?;
        let action = Action::ALL.iter().find(|action| action.name() == last.action);
        let known = audit::of_run(db, run).await?;
        if let Some(action) = action.filter(|action| known.iter().all(|entry| entry.action != action.name())) {
            let LastEntry { actor, agent, detail, .. } = last;
            let entry = NewEntry { actor, action: *action, run: Some(run), subject: Some(agent), detail };
            audit::append(db, &*self.clock, entry).await?;
        }
        runs::is_written(db, run).await
    }

    /// Stops all runs of somebody in a tenant, who is not let in any more.
    pub async fn stop_all_of_person(&self, db: &TenantDb, user: UserId) {
        self.shared.in_flight.stop_all_of_person(db.tenant(), user);
        let stopped = async {
            for run in runs::waiting_of(db, user).await? {
                self.stop_waiting(db, run, user, CutOff::Departed).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = stopped.await {
            tracing::error!(tenant = %db.tenant(), %error, "the waiting runs of somebody could not be stopped");
        }
    }

    /// Looks through all tenants for runs to go on with, then, until `closing`, for approvals whose time is over and, where
    /// this node is not `alone`, for runs of nodes that have died.
    pub async fn keep_going(self, tenants: Tenants, alone: bool, closing: CancellationToken) {
        self.look_through(&tenants, alone).await;
        let mut round = 0_u32;
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(OFTEN) => {}
            }
            round = round.wrapping_add(1);
            if !alone && round.is_multiple_of(SELDOM) {
                self.look_through(&tenants, alone).await;
                continue;
            }
            let waiting: Vec<TenantId> = lock(&self.waiting).iter().cloned().collect();
            for id in waiting {
                let one = async {
                    let tenant = tenants.by_id(&id).await?.ok_or_else(|| Error::not_found("the tenant"))?;
                    self.resume_all_of(&tenants.open(&tenant).await?, alone).await
                };
                if let Err(error) = one.await {
                    if error.kind() == Kind::NotFound {
                        lock(&self.waiting).remove(&id);
                    }
                    tracing::warn!(tenant = %id, %error, "approvals whose time is over could not be looked for");
                }
            }
        }
    }

    async fn look_through(&self, tenants: &Tenants, alone: bool) {
        let all = match tenants.list().await {
            Ok(all) => all,
            Err(error) => {
                tracing::error!(%error, "unfinished runs could not be looked for; the next start will");
                return;
            }
        };
        let mut resumed = 0;
        for tenant in all {
            let one = async { self.resume_all_of(&tenants.open(&tenant).await?, alone).await };
            match one.await {
                Ok(count) => resumed += count,
                Err(error) => tracing::warn!(tenant = %tenant.id, %error, "unfinished runs could not be looked for"),
            }
        }
        if resumed > 0 {
            tracing::info!(runs = resumed, "runs that were not finished go on");
        }
    }
}

/// Where this process has left runs waiting.
pub(super) type Waiting = Arc<std::sync::Mutex<std::collections::HashSet<TenantId>>>;
