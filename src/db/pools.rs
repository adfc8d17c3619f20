//! Tenants' pools: opened when a tenant is first used, closed when others need the place.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::Notify;

use super::beside::Beside;
use crate::support::{Error, Result, ids::TenantId};

/// An idle connection costs the server 1.3 to 1.9 MB: it is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// The longest wait for a connection, or for another tenant's pool to become free.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a pool that is shut waits for its connections; their sessions are ended by then.
const SHUT_PATIENCE: Duration = Duration::from_millis(500);

/// The pools that are open, at most `limit` of them.
#[derive(Debug)]
pub(super) struct TenantPools {
    limit: usize,
    connections: u32,
    open: Mutex<HashMap<TenantId, OpenPool>>,
    freed: Arc<Notify>,
}

/// Says that a pool is in use: as long as one of these is alive, the pool is not closed.
#[derive(Debug)]
pub(super) struct Lease {
    freed: Arc<Notify>,
    pub(super) beside: Beside,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.freed.notify_one();
    }
}

#[derive(Debug)]
struct OpenPool {
    pool: PgPool,
    lease: Weak<Lease>,
    used: Instant,
}

/// What became of an attempt to get a pool.
enum Attempt {
    Got(PgPool, Arc<Lease>, Option<PgPool>),
    AllInUse,
}

impl TenantPools {
    /// So many tenants' pools at once, each of so many connections.
    pub(super) fn new(limit: u32, connections: u32) -> Self {
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        Self { limit, connections, open: Mutex::default(), freed: Arc::default() }
    }

    /// The tenant's pool. Where all places are taken, the one unused longest is closed; where all are in use, it waits.
    ///
    /// # Errors
    /// `Unavailable` when no place became free in time.
    pub(super) async fn get(
        &self,
        id: &TenantId,
        options: impl Fn() -> PgConnectOptions,
    ) -> Result<(PgPool, Arc<Lease>)> {
        let deadline = tokio::time::Instant::now() + ACQUIRE_TIMEOUT;
        loop {
            let freed = self.freed.notified();
            match self.attempt(id, &options) {
                Attempt::Got(pool, lease, evicted) => {
                    if let Some(evicted) = evicted {
                        evicted.close().await;
                    }
                    return Ok((pool, lease));
                }
                Attempt::AllInUse => {
                    tokio::time::timeout_at(deadline, freed).await.map_err(|_| {
                        Error::unavailable("too many organisations are being served at once")
                            .remedy("try again shortly, or raise database.open_tenants")
                    })?;
                }
            }
        }
    }

    /// Closes all pools, waiting for their connections to be given back.
    pub(super) async fn close(&self) {
        let pools: Vec<PgPool> = self.locked().drain().map(|(_, open)| open.pool).collect();
        for pool in pools {
            pool.close().await;
        }
    }

    /// Closes a tenant's pool at once, whoever uses it; what is returned waits for its connections to be given back.
    pub(super) fn shut(&self, id: &TenantId) -> impl Future<Output = ()> + Send + 'static {
        let pool = self.locked().remove(id).map(|open| open.pool);
        self.freed.notify_one();
        let closing = pool.map(|pool| tokio::spawn(async move { pool.close().await }));
        async move {
            if let Some(closing) = closing {
                // Whoever still holds a connection finds it dead: there is nothing to wait for beyond a moment.
                let _ = tokio::time::timeout(SHUT_PATIENCE, closing).await;
            }
        }
    }

    /// How many pools are open.
    pub(super) fn len(&self) -> usize {
        self.locked().len()
    }

    fn attempt(&self, id: &TenantId, options: &impl Fn() -> PgConnectOptions) -> Attempt {
        let mut open = self.locked();
        if let Some(entry) = open.get_mut(id) {
            entry.used = Instant::now();
            let lease = entry.lease.upgrade().unwrap_or_else(|| self.lease());
            entry.lease = Arc::downgrade(&lease);
            return Attempt::Got(entry.pool.clone(), lease, None);
        }
        let mut evicted = None;
        if open.len() >= self.limit {
            let unused = open.iter().filter(|(_, entry)| entry.lease.strong_count() == 0);
            let Some(oldest) = unused.min_by_key(|(_, entry)| entry.used).map(|(id, _)| id.clone()) else {
                return Attempt::AllInUse;
            };
            evicted = open.remove(&oldest).map(|entry| entry.pool);
        }
        // The driver asks a connection whether it lives before it hands it out. That costs 3 % of the cheapest query over
        // the socket (tests/it/tenants/scale.rs), and a session that was killed is replaced instead of failing a request.
        let pool = PgPoolOptions::new()
            .max_connections(self.connections)
            .min_connections(0)
            .idle_timeout(IDLE_TIMEOUT)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options());
        let lease = self.lease();
        let entry = OpenPool { pool: pool.clone(), lease: Arc::downgrade(&lease), used: Instant::now() };
        open.insert(id.clone(), entry);
        Attempt::Got(pool, lease, evicted)
    }

    fn lease(&self) -> Arc<Lease> {
        Arc::new(Lease { freed: Arc::clone(&self.freed), beside: Beside::default() })
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, OpenPool>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> TenantId {
        TenantId::from_random([n; 10])
    }

    #[tokio::test]
    async fn the_pool_unused_longest_makes_place_and_one_in_use_never_does() {
        let pools = TenantPools::new(2, 1);
        let options = PgConnectOptions::new_without_pgpass;
        let (_, first_lease) = pools.get(&id(1), options).await.unwrap();
        let (second, second_lease) = pools.get(&id(2), options).await.unwrap();
        drop(second_lease);
        let (third, _third_lease) = pools.get(&id(3), options).await.unwrap();
        assert!(second.is_closed(), "the second was free");
        assert!(!third.is_closed());
        assert_eq!(pools.len(), 2);
        drop(first_lease);
        let (again, _lease) = pools.get(&id(1), options).await.unwrap();
        assert!(!again.is_closed(), "the first was in use and is still open");
    }

    #[tokio::test]
    async fn who_finds_all_places_in_use_waits_for_the_first_to_be_given_back() {
        let pools = Arc::new(TenantPools::new(1, 1));
        let options = PgConnectOptions::new_without_pgpass;
        let (_, lease) = pools.get(&id(1), options).await.unwrap();
        let waiting = tokio::spawn({
            let pools = Arc::clone(&pools);
            async move { pools.get(&id(2), PgConnectOptions::new_without_pgpass).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(lease);
        waiting.await.unwrap().unwrap();
    }
}
