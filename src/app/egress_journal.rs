//! Outbound requests in the audit log: what left the appliance in a tenant's name stands in that tenant's chain.
//!
//! Each attempt is an entry `egress.requested` of its own, beside the `model.called` or `tool.called` that it served: the
//! one tells what was thought, the other what went over the wire, and one rule without exceptions is one that can be
//! checked by counting. What the appliance does for itself is in its log only.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, Receiver, Sender, error::TrySendError},
    task::JoinHandle,
};

use crate::{
    audit::{self, Action, Actor, NewEntry},
    db::Databases,
    egress::{Attempt, Caller, Journal},
    support::{Error, Result, clock::SharedClock},
};

/// Attempts that may wait for the database. At that depth the database is away, and then no run goes on either.
const WAITING: usize = 10_000;

/// Takes attempts and writes them in the background, one after the other.
pub struct EgressJournal {
    /// None when it takes no more.
    sender: Mutex<Option<Sender<(Caller, Attempt)>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    lost: AtomicU64,
}

impl EgressJournal {
    /// Starts the writer.
    pub fn start(databases: Databases, clock: SharedClock) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let writer = tokio::spawn(write(receiver, databases, clock));
        Arc::new(Self {
            sender: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
            lost: AtomicU64::default(),
        })
    }

    /// Takes no more attempts, and waits until those that it has are written.
    pub async fn close(&self, patience: Duration) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut writer) = writer else { return };
        if tokio::time::timeout(patience, &mut writer).await.is_err() {
            writer.abort();
            tracing::error!("not all outbound requests could be written into the tenants' audit logs");
        }
    }
}

impl Journal for EgressJournal {
    fn note(&self, attempt: &Attempt) {
        let Some(caller) = attempt.caller.clone() else { return };
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sender) = sender else { return };
        if let Err(TrySendError::Full(_)) = sender.try_send((caller, attempt.clone())) {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(lost, "an outbound request could not be written into a tenant's audit log");
        }
    }
}

async fn write(mut attempts: Receiver<(Caller, Attempt)>, databases: Databases, clock: SharedClock) {
    while let Some((caller, attempt)) = attempts.recv().await {
        if let Err(error) = append(&databases, &clock, &caller, &attempt).await {
            let tenant = &caller.tenant;
            tracing::error!(%tenant, %error, "an outbound request could not be written into a tenant's audit log");
        }
    }
}

async fn append(databases: &Databases, clock: &SharedClock, caller: &Caller, attempt: &Attempt) -> Result<()> {
    let db = databases.tenant(&caller.tenant).await?;
    let entry = NewEntry {
        actor: Actor::System,
        action: Action::EgressRequested,
        run: caller.run,
        subject: Some(attempt.place()),
        detail: serde_json::to_value(attempt).map_err(Error::internal)?,
    };
    audit::append(&db, &**clock, entry).await?;
    Ok(())
}
