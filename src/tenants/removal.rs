//! The end of a tenant: everything that is its is removed, in steps that can each be done again, so that a removal which
//! was cut off at any point goes on at the next start.
//!
//! What stays is the appliance's audit log (a tenant of this id was created, suspended, deleted, and when) and the accounts
//! of the people who belonged to it: an account is the person's, who may belong to other organisations or be invited to
//! one. PostgreSQL's own files hold what was removed until it overwrites them (write-ahead log, free space), and backups
//! hold it until they are pruned.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{State, Tenants, store};
use crate::{
    audit::{Action, Actor},
    jobs,
    support::{Result, ids::TenantId},
};

/// How often it is looked for tenants whose grace period is over.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// How often a node asks what other nodes have done to tenants.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

impl Tenants {
    /// Removes tenants whose time has come, and goes on with removals that were cut off, until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.remove_due().await {
                tracing::error!(%error, "tenants to be removed could not be looked for; in a minute they are again");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Removes tenants whose grace period is over. One that fails is tried again next time and holds up nobody else.
    /// Returns how many are gone.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn remove_due(&self) -> Result<usize> {
        let mut gone = 0;
        for id in store::due(self.db.control(), self.clock.now()).await? {
            match self.remove(&id).await {
                Ok(()) => gone += 1,
                Err(error) => tracing::error!(tenant = %id, %error, "a tenant could not be removed yet"),
            }
        }
        Ok(gone)
    }

    /// Ends here what other nodes of the same database have taken out of service, until `stop`. Their roles are barred
    /// for all nodes; what goes on in this process and its open connections are for this process to end.
    pub async fn follow(self, stop: CancellationToken) {
        let mut seen = None;
        while tokio::time::timeout(FOLLOW_EVERY, stop.cancelled()).await.is_err() {
            if let Err(error) = self.look_round(&mut seen).await {
                tracing::debug!(%error, "the tenants' states could not be asked for");
            }
        }
    }

    /// `seen`: the removals in the appliance's log that are known.
    async fn look_round(&self, seen: &mut Option<HashSet<i64>>) -> Result<()> {
        self.catch_up(&store::away(self.db.control()).await?).await;
        let removals = self.newest_removals().await?;
        let known = seen.get_or_insert_with(|| removals.keys().copied().collect());
        for (entry, id) in &removals {
            // A removal can be over before anybody has seen it begin.
            if known.insert(*entry) {
                self.leave(id, State::Removing).await;
                self.residents.tell(id, None);
            }
        }
        known.retain(|entry| removals.contains_key(entry));
        Ok(())
    }

    async fn catch_up(&self, away: &HashMap<TenantId, State>) {
        for (id, state) in self.residents.news(away) {
            match state {
                Some(State::Creating) => self.residents.tell(&id, state),
                Some(state) => self.leave(&id, state).await,
                None => match store::record(self.db.control(), &id).await {
                    Ok(record) => self.residents.tell(&id, record.map(|record| record.state)),
                    Err(error) => tracing::debug!(%error, "a tenant's state could not be asked for"),
                },
            }
        }
    }

    /// Ends what goes on here for a tenant that another node has taken out of service. Its role is that node's business:
    /// it may be in service again by now.
    async fn leave(&self, id: &TenantId, state: State) {
        self.residents.stop(id, state).await;
        self.db.shut(id).await;
    }

    /// Removes a tenant that is to be deleted and whose time has come.
    pub(super) async fn remove(&self, id: &TenantId) -> Result<()> {
        if !store::begin_removal(self.db.control(), id, self.clock.now()).await? {
            return Ok(());
        }
        self.take_out(id, State::Removing).await?;
        self.residents.forget(id).await?;
        jobs::forget(&self.db, id).await?;
        self.db.remove(id).await?;
        // Jobs that were being put into the queue meanwhile.
        jobs::forget(&self.db, id).await?;
        // A removal that is cut off right here is noted twice, but never not at all.
        self.note(id, Action::TenantDeleted, &Actor::System).await?;
        // Memberships and sessions go with the row.
        if store::finish_removal(self.db.control(), id).await? {
            tracing::warn!(tenant = %id, "tenant deleted");
        }
        self.residents.tell(id, None);
        Ok(())
    }
}
