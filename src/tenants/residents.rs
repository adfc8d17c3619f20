//! What lives off a tenant outside of its schema: it hears when the tenant goes out of service, comes back, or goes.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::broadcast;

use super::State;
use crate::support::{Result, ids::TenantId};

/// How long what goes on for a tenant may take to end by itself; then its connections are cut.
const STOP_PATIENCE: Duration = Duration::from_millis(700);

/// Changes that a slow listener may fall behind; then it is told that it has missed some.
const CHANGES: usize = 256;

/// A part of the appliance that does something for tenants, or keeps something of them outside of their schemas:
/// files, caches, connections to other services. `app::wiring` introduces them.
#[async_trait]
pub trait Resident: Send + Sync + 'static {
    /// The tenant goes out of service: whatever goes on for it in this process is to end now. For a moment its database
    /// still answers, so that what there is can be stored.
    async fn stop(&self, _tenant: &TenantId) {}

    /// The tenant is gone for good: whatever is kept of it is to be removed. It is asked again if it fails or is cut off.
    ///
    /// # Errors
    /// When something is left; the removal of the tenant then waits.
    async fn forget(&self, _tenant: &TenantId) -> Result<()> {
        Ok(())
    }
}

/// A tenant's new state, for those who listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which tenant.
    pub tenant: TenantId,
    /// What it is now; `None` when it is gone.
    pub state: Option<State>,
}

/// All of them.
pub(super) struct Residents {
    all: RwLock<Vec<Arc<dyn Resident>>>,
    changes: broadcast::Sender<Change>,
    /// The tenants that this process knows to be out of service.
    away: Mutex<HashMap<TenantId, State>>,
}

impl Residents {
    /// Nobody lives off tenants yet.
    pub(super) fn new() -> Self {
        Self { all: RwLock::default(), changes: broadcast::channel(CHANGES).0, away: Mutex::default() }
    }

    /// Somebody who must be told when a tenant goes out of service.
    pub(super) fn add(&self, resident: Arc<dyn Resident>) {
        self.all.write().unwrap_or_else(PoisonError::into_inner).push(resident);
    }

    /// What happens to tenants from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Ends what goes on for a tenant, as far as it ends in time.
    pub(super) async fn stop(&self, tenant: &TenantId, state: State) {
        self.tell(tenant, Some(state));
        let all = self.all();
        let stopping = join_all(all.iter().map(|resident| resident.stop(tenant)));
        if tokio::time::timeout(STOP_PATIENCE, stopping).await.is_err() {
            tracing::warn!(%tenant, "something went on for a tenant out of service; its connections are cut");
        }
    }

    /// Removes what is kept of a tenant that goes.
    pub(super) async fn forget(&self, tenant: &TenantId) -> Result<()> {
        for resident in self.all() {
            resident.forget(tenant).await?;
        }
        Ok(())
    }

    /// Tells those who listen, unless they know.
    pub(super) fn tell(&self, tenant: &TenantId, state: Option<State>) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match state {
            None | Some(State::Active) => away.remove(tenant),
            Some(state) => away.insert(tenant.clone(), state),
        };
        if known != state {
            // An error means that nobody listens.
            let _ = self.changes.send(Change { tenant: tenant.clone(), state });
        }
    }

    /// What has changed against what this process knows, given all tenants out of service.
    pub(super) fn news(&self, away: &HashMap<TenantId, State>) -> Vec<(TenantId, Option<State>)> {
        let known = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let gone_out = away.iter().filter(|(id, state)| known.get(*id) != Some(state));
        let back = known.keys().filter(|id| !away.contains_key(*id));
        gone_out.map(|(id, state)| (id.clone(), Some(*state))).chain(back.map(|id| (id.clone(), None))).collect()
    }

    fn all(&self) -> Vec<Arc<dyn Resident>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Residents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Residents").finish_non_exhaustive()
    }
}
