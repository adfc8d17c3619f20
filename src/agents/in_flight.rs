//! The runs that are going on in this process: who may stop them, and how all of them end before the process does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    event::{Events, RunEvent},
    record::lock,
};
use crate::support::{
    Error, Result,
    ids::{ConversationId, RunId, TenantId, UserId},
};

/// The runs of this process.
#[derive(Clone)]
pub(super) struct InFlight(Arc<Shared>);

struct Shared {
    runs: Mutex<HashMap<RunId, Entry>>,
    count: watch::Sender<usize>,
    closing: CancellationToken,
}

struct Entry {
    tenant: TenantId,
    user: Option<UserId>,
    conversation: ConversationId,
    stop: CancellationToken,
    suspend: CancellationToken,
    depart: CancellationToken,
    events: Events,
}

/// A run's place among them; given up when it is dropped.
pub(super) struct Place {
    runs: InFlight,
    run: RunId,
    /// Cancelled when the run is to stop.
    pub(super) stop: CancellationToken,
    /// Cancelled before `stop` when that is because its organisation goes out of service.
    pub(super) suspend: CancellationToken,
    /// Cancelled before `stop` when that is because its person is not let in any more.
    pub(super) depart: CancellationToken,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            runs: Mutex::default(),
            count: watch::Sender::new(0),
            closing: CancellationToken::new(),
        }))
    }

    /// Takes a run in.
    ///
    /// # Errors
    /// `Conflict` when an answer in this conversation is still being written, `Unavailable` during shutdown.
    pub(super) fn enter(
        &self,
        tenant: TenantId,
        user: Option<UserId>,
        conversation: ConversationId,
        run: RunId,
        events: Events,
    ) -> Result<Place> {
        if self.0.closing.is_cancelled() {
            return Err(Error::unavailable("the appliance is shutting down").remedy("ask again in a moment"));
        }
        let mut runs = lock(&self.0.runs);
        if runs.values().any(|entry| entry.conversation == conversation) {
            return Err(Error::conflict("an answer is still being written in this conversation")
                .remedy("wait for it or stop it, then ask again"));
        }
        let (stop, suspend, depart) =
            (self.0.closing.child_token(), CancellationToken::new(), CancellationToken::new());
        let entry = Entry {
            tenant,
            user,
            conversation,
            stop: stop.clone(),
            suspend: suspend.clone(),
            depart: depart.clone(),
            events,
        };
        runs.insert(run, entry);
        self.0.count.send_replace(runs.len());
        Ok(Place { runs: self.clone(), run, stop, suspend, depart })
    }

    /// Stops a run if it is that person's in that tenant. False when there is no such run (any more).
    pub(super) fn stop(&self, tenant: &TenantId, user: Option<UserId>, run: RunId) -> bool {
        let runs = lock(&self.0.runs);
        let found = runs.get(&run).filter(|entry| entry.tenant == *tenant && entry.user == user);
        found.inspect(|entry| entry.stop.cancel()).is_some()
    }

    /// What a run of that person tells, from its beginning; `None` when there is no such run (any more).
    pub(super) fn watch(&self, tenant: &TenantId, user: UserId, run: RunId) -> Option<BoxStream<'static, RunEvent>> {
        let runs = lock(&self.0.runs);
        let found = runs.get(&run).filter(|entry| entry.tenant == *tenant && entry.user == Some(user));
        found.map(|entry| entry.events.read())
    }

    /// Whether a run goes on in this process.
    pub(super) fn has(&self, run: RunId) -> bool {
        lock(&self.0.runs).contains_key(&run)
    }

    /// Stops all runs of a person in a tenant.
    pub(super) fn stop_all_of_person(&self, tenant: &TenantId, user: UserId) {
        for entry in lock(&self.0.runs).values() {
            if entry.user == Some(user) && entry.tenant == *tenant {
                entry.depart.cancel();
                entry.stop.cancel();
            }
        }
    }

    /// Stops all runs of a tenant, and waits until none is left.
    pub(super) async fn stop_all_of(&self, tenant: &TenantId) {
        let mut count = self.0.count.subscribe();
        let stop = || {
            let runs = lock(&self.0.runs);
            let theirs = runs.values().filter(|entry| entry.tenant == *tenant);
            theirs.inspect(|entry| entry.suspend.cancel()).inspect(|entry| entry.stop.cancel()).count()
        };
        // One that began meanwhile is stopped in the next round.
        while stop() > 0 {
            if count.changed().await.is_err() {
                return;
            }
        }
    }

    /// Stops all runs and waits until they are stored, for `patience` at most. True when all are.
    pub(super) async fn close(&self, patience: Duration) -> bool {
        self.0.closing.cancel();
        let mut count = self.0.count.subscribe();
        let stored = tokio::time::timeout(patience, count.wait_for(|count| *count == 0)).await;
        stored.is_ok()
    }

    /// Whether the process is shutting down.
    pub(super) fn is_closing(&self) -> bool {
        self.0.closing.is_cancelled()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut runs = lock(&self.runs.0.runs);
        runs.remove(&self.run);
        self.runs.0.count.send_replace(runs.len());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::event::channel, *};

    #[tokio::test]
    async fn a_run_is_stopped_by_its_own_person_only_and_a_conversation_has_one_at_a_time() {
        let runs = InFlight::new();
        let (ours, theirs) = (TenantId::from_random([1; 10]), TenantId::from_random([2; 10]));
        let (user, run, conversation) = (Some(UserId::generate()), RunId::generate(), ConversationId::generate());
        let place = runs.enter(ours.clone(), user, conversation, run, channel().1).unwrap();
        assert!(runs.enter(ours.clone(), user, conversation, RunId::generate(), channel().1).is_err());

        assert!(!runs.stop(&theirs, user, run));
        assert!(!runs.stop(&ours, None, run));
        assert!(!place.stop.is_cancelled());
        assert!(runs.stop(&ours, user, run));
        assert!(place.stop.is_cancelled());

        drop(place);
        assert!(!runs.stop(&ours, user, run));
        assert!(runs.enter(ours, user, conversation, run, channel().1).is_ok());
    }

    #[tokio::test]
    async fn closing_stops_all_and_waits_for_them() {
        let runs = InFlight::new();
        let tenant = TenantId::from_random([1; 10]);
        let place =
            runs.enter(tenant.clone(), None, ConversationId::generate(), RunId::generate(), channel().1).unwrap();
        assert!(!runs.close(Duration::from_millis(1)).await);
        assert!(place.stop.is_cancelled());
        assert!(runs.enter(tenant, None, ConversationId::generate(), RunId::generate(), channel().1).is_err());
        tokio::spawn(async move {
            place.stop.cancelled().await;
        });
        assert!(runs.close(Duration::from_secs(5)).await);
    }
}
