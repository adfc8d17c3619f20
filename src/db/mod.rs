//! The only place that opens database connections: one pool for the control schema, one small pool for
//! each tenant that is in use, under that tenant's own role.
//!
//! Another tenant's data is out of reach for a tenant's connection, not merely filtered: each tenant has a LOGIN
//! role that may touch its own schema and nothing else. Pools are not shared and roles are not switched, because
//! every way of doing that leaks (see `sql/harden.sql`, and `tests/it/isolation.rs`, which tries them).

mod beside;
mod bootstrap;
mod error;
mod migrate;
mod pools;
mod provision;
mod retention;
mod retire;
mod server;
mod survey;
mod upkeep;
mod vectors;
mod witness;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio_util::sync::CancellationToken;

pub use self::{
    beside::Beside,
    error::violates,
    provision::APPEND_ONLY_TABLES,
    retention::{Cut, LogOwner},
    server::Server,
    survey::Figures,
    witness::{Head, Testimony, Witness},
};
use self::{
    pools::{ACQUIRE_TIMEOUT, Lease, TenantPools},
    upkeep::Upkeep,
};
use crate::{
    config,
    support::{Result, ids::TenantId},
};

/// Connections for jobs: each worker needs one for moments only.
const JOBS_CONNECTIONS: u32 = 3;

/// Every connection of the appliance. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Databases {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    server: Server,
    control: PgPool,
    jobs: PgPool,
    tenants: TenantPools,
    upkeep: Upkeep,
    changed: AtomicU32,
    witness: OnceLock<Arc<dyn Witness>>,
    beside: Beside,
}

impl Databases {
    /// Connects, prepares the database and migrates the control schema. Tenants whose tables are older are refused
    /// until [`Databases::bring_up_to_date`] has come to them.
    ///
    /// # Errors
    /// `Unavailable` when the server does not answer, `Conflict` when an external database belongs to another
    /// appliance, `Internal` when a migration fails (the database is then as before that migration).
    pub async fn open(server: Server, settings: &config::Database) -> Result<Self> {
        bootstrap::prepare(&server).await?;
        let control = PgPoolOptions::new()
            .max_connections(settings.control_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(server.control())
            .await?;
        let tenants = TenantPools::new(settings.open_tenants, settings.tenant_connections);
        let jobs = PgPoolOptions::new()
            .max_connections(JOBS_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(server.control());
        let upkeep = Upkeep::read(&control).await?;
        let inner = Inner {
            server,
            control,
            jobs,
            tenants,
            upkeep,
            changed: AtomicU32::new(0),
            witness: OnceLock::new(),
            beside: Beside::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Brings up to date, several at once, the tenants whose schema was made by an older binary, or whose making was
    /// interrupted between the migrations. One that fails is refused from then on and keeps nobody else waiting. What
    /// `stop` leaves undone is the next start's. Gives how many were brought up to date, and how many failed.
    pub async fn bring_up_to_date(&self, stop: &CancellationToken) -> (usize, usize) {
        self.inner.upkeep.run(&self.inner.server, stop).await
    }

    /// How many tenants have been brought up to date, of how many; `None` when none waits.
    pub fn upkeep(&self) -> Option<(usize, usize)> {
        self.inner.upkeep.progress()
    }

    /// The tenants that could not be brought up to date, and why: for the operator.
    pub fn refused(&self) -> Vec<(TenantId, String)> {
        self.inner.upkeep.failed()
    }

    /// What is kept in memory beside the control database.
    pub fn beside(&self) -> &Beside {
        &self.inner.beside
    }

    /// Connections to what belongs to no tenant: tenants, accounts, jobs. They cannot read a tenant's data.
    pub fn control(&self) -> &PgPool {
        &self.inner.control
    }

    /// Connections of the jobs' workers, as the same role as [`Databases::control`]. They have a pool of their own
    /// because a worker that cannot say in time that it lives counts as dead.
    pub fn jobs(&self) -> &PgPool {
        &self.inner.jobs
    }

    /// Connections as the tenant's role. Its pool stays open while somebody holds what this returns.
    ///
    /// # Errors
    /// `Unavailable` when as many tenants as may be open are all in use, and none is given back in 10 s, or while the
    /// tenant's tables are older than this binary.
    pub async fn tenant(&self, id: &TenantId) -> Result<TenantDb> {
        self.inner.upkeep.admit(id)?;
        let (pool, lease) = self.inner.tenants.get(id, || self.inner.server.tenant(id)).await?;
        let witness = self.inner.witness.get().cloned();
        Ok(TenantDb { tenant: id.clone(), pool, witness, lease })
    }

    /// Makes or completes a tenant's schema, roles, privileges and tables. Running it again changes nothing.
    ///
    /// # Errors
    /// When the server does not answer or a migration fails; running it again goes on where it stopped.
    pub async fn provision(&self, id: &TenantId) -> Result<()> {
        provision::provision(&self.inner.server, id).await?;
        self.inner.upkeep.settle(id);
        self.analyze_when_changed().await
    }

    /// Takes a tenant out of service: its role cannot sign in any more, its sessions end, and every [`TenantDb`] of it
    /// that somebody holds is of no use from now on.
    ///
    /// # Errors
    /// When the server does not answer, or a session does not end within a second.
    pub async fn bar(&self, id: &TenantId) -> Result<()> {
        let closing = self.inner.tenants.shut(id);
        retire::bar(&self.inner.server, id).await?;
        closing.await;
        // Whoever asked for it meanwhile.
        self.inner.tenants.shut(id).await;
        Ok(())
    }

    /// Closes this process's connections to a tenant.
    pub async fn shut(&self, id: &TenantId) {
        self.inner.tenants.shut(id).await;
    }

    /// Takes a tenant back into service.
    ///
    /// # Errors
    /// When the server does not answer, or there is no such role.
    pub async fn unbar(&self, id: &TenantId) -> Result<()> {
        retire::unbar(&self.inner.server, id).await
    }

    /// Removes a tenant's schema with everything in it, and its roles. Running it again goes on where it stopped.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn remove(&self, id: &TenantId) -> Result<()> {
        let closing = self.inner.tenants.shut(id);
        retire::remove(&self.inner.server, id).await?;
        closing.await;
        if let Some(witness) = self.witness() {
            witness.forget(id.as_str());
        }
        self.inner.upkeep.settle(id);
        self.analyze_when_changed().await
    }

    /// Sizes, last activity and the number of rows of `table`, for each of these tenants: for operators, who learn how
    /// much a tenant keeps and never what.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn figures(&self, ids: &[TenantId], table: &str) -> Result<Vec<Figures>> {
        survey::figures(&self.inner.server, ids, table).await
    }

    /// Makes one index for each of these lengths of a tenant's vectors, and removes all others, as the schema's owner, while
    /// others read and write. Running it again goes on where it stopped.
    ///
    /// # Errors
    /// When the server does not answer, or a length cannot be indexed.
    pub async fn index_vectors(&self, id: &TenantId, dimensions: &[i16]) -> Result<()> {
        vectors::index(&self.inner.server, id, dimensions).await
    }

    /// Who remembers the heads of the logs outside the database, from now on. Part of the start, before the first entry.
    #[must_use]
    pub fn with_witness(self, witness: Arc<dyn Witness>) -> Self {
        // A second witness would know nothing of what the first has seen: the first one stays.
        let _ = self.inner.witness.set(witness);
        self
    }

    /// Who remembers the heads of the logs, if anybody does.
    pub fn witness(&self) -> Option<&Arc<dyn Witness>> {
        self.inner.witness.get()
    }

    /// Removes the oldest entries of a log and puts a signed checkpoint in their place, as the log's owner: roles that
    /// write a log can do neither. False when the log is not as `cut` says, because somebody else was faster: then
    /// nothing is changed.
    ///
    /// # Errors
    /// When the server does not answer; then nothing is changed.
    pub async fn cut_log(&self, owner: &LogOwner, cut: &Cut) -> Result<bool> {
        retention::cut(&self.inner.server, owner, cut).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// `Unavailable` when it does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(self.control()).await?;
        Ok(())
    }

    /// How many tenants' pools are open.
    pub fn open_tenants(&self) -> usize {
        self.inner.tenants.len()
    }

    /// Closes all connections, waiting for those in use. The last step before the server is stopped.
    pub async fn close(&self) {
        self.inner.tenants.close().await;
        self.inner.jobs.close().await;
        self.inner.control.close().await;
        // Nothing can be written any more: what the witness knows now is the last word.
        if let Some(witness) = self.inner.witness.get().cloned()
            && let Err(error) = tokio::task::spawn_blocking(move || witness.flush()).await
        {
            tracing::error!(%error, "the heads of the audit logs were not written");
        }
    }

    /// The catalogs grow by thousands of rows with each tenant, and leave as many dead ones when it goes. They are
    /// vacuumed and their statistics refreshed each time a tenth of the tenants has come or gone, so that the cost per
    /// tenant stays the same; below that the server's own autovacuum is soon enough.
    async fn analyze_when_changed(&self) -> Result<()> {
        let new = self.inner.changed.fetch_add(1, Ordering::Relaxed) + 1;
        if new < 10 {
            return Ok(());
        }
        let all: i64 =
            sqlx::query_scalar("SELECT count(*) FROM control.tenant_schemas").fetch_one(self.control()).await?;
        if i64::from(new) * 10 >= all {
            self.inner.changed.store(0, Ordering::Relaxed);
            provision::analyze_catalogs(&self.inner.server).await?;
        }
        Ok(())
    }
}

/// A tenant's database: connections that are that tenant's role and can reach nothing else.
///
/// It is had from the request's tenant or the job's tenant, never from an id in a body.
#[derive(Debug, Clone)]
pub struct TenantDb {
    tenant: TenantId,
    pool: PgPool,
    witness: Option<Arc<dyn Witness>>,
    lease: Arc<Lease>,
}

impl TenantDb {
    /// Whose data this is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Who remembers the head of the tenant's log outside the database, if anybody does.
    pub fn witness(&self) -> Option<&Arc<dyn Witness>> {
        self.witness.as_ref()
    }

    /// What is kept in memory beside this database, for as long as somebody uses it.
    pub fn beside(&self) -> &Beside {
        &self.lease.beside
    }

    /// Connections as the tenant's role. Only `store.rs` files use it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}
