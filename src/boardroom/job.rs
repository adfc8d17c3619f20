//! The durable job that holds a meeting, and the sweep that finds those which lost theirs.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Boardroom, State, store};
use crate::{
    audit::{Action, Actor},
    db::Databases,
    jobs::{Attempt, Failure, Handler, Job},
    support::{
        Error, Result,
        ids::{MeetingId, TenantId},
    },
    tenants::Tenants,
};

/// Hold one meeting of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldMeeting {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub meeting: MeetingId,
}

impl Job for HoldMeeting {
    const QUEUE: &'static str = "boardroom.hold";
    /// Each stop of the appliance takes one.
    const ATTEMPTS: u32 = 8;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant)
    }
}

/// Does the jobs.
pub struct Usher {
    databases: Databases,
    boardroom: Boardroom,
}

impl Usher {
    /// A handler for [`crate::jobs::Jobs::work`].
    pub fn new(databases: Databases, boardroom: Boardroom) -> Self {
        Self { databases, boardroom }
    }
}

#[async_trait]
impl Handler<HoldMeeting> for Usher {
    async fn run(&self, job: HoldMeeting, _: Attempt) -> Result<(), Failure> {
        let held = async {
            let db = self.databases.tenant(&job.tenant).await?;
            self.boardroom.hold(&db, job.meeting).await
        };
        held.await.map_err(Failure::Retry)
    }

    async fn given_up(&self, job: HoldMeeting, reason: &Error) {
        let marked = async {
            let db = self.databases.tenant(&job.tenant).await?;
            let why = format!("it could not be brought to its end: {}", reason.message());
            if store::end(&db, job.meeting, State::Failed, Some(&why), self.boardroom.clock.now()).await? {
                let detail = serde_json::json!({ "outcome": "failed", "problem": why });
                self.boardroom.note(&db, Actor::System, Action::MeetingFinished, job.meeting, detail).await?;
            }
            Ok::<(), Error>(())
        };
        if let Err(error) = marked.await {
            tracing::error!(meeting = %job.meeting, %error, "a meeting that was given up could not be marked as failed");
        }
    }
}

/// Queues whatever no worker has brought to an end, for all tenants: for the start. A crash between storing a meeting and
/// queueing it must not strand it. One that is in the queue already is held once all the same. Gives how many.
///
/// # Errors
/// When the database does not answer.
pub async fn resume(boardroom: &Boardroom, tenants: &Tenants) -> Result<usize> {
    let mut resumed = 0;
    for tenant in tenants.list().await? {
        let one = async {
            let unfinished = store::unfinished(&tenants.open(&tenant).await?).await?;
            for meeting in &unfinished {
                boardroom.queue.push(&HoldMeeting { tenant: tenant.id.clone(), meeting: *meeting }).await?;
            }
            Ok::<usize, Error>(unfinished.len())
        };
        match one.await {
            Ok(count) => resumed += count,
            Err(error) => tracing::warn!(tenant = %tenant.id, %error, "unfinished meetings could not be looked for"),
        }
    }
    if resumed > 0 {
        tracing::info!(meetings = resumed, "meetings that were not over go on");
    }
    Ok(resumed)
}
