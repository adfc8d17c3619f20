//! Durable jobs, over apalis: work that survives a restart, is tried again, and is given up in the end.
//!
//! A job carries ids only, because its table belongs to no tenant. It is done at least once: every handler must be
//! able to run twice. What apalis leaves open is settled here:
//!
//! - a job of a worker that has died is taken over after 60 s (apalis would wait 300 s);
//! - an attempt that ends with the whole process counts, and a job whose attempts are used up is given up instead of
//!   being taken over for ever;
//! - attempts wait longer and longer, in the database and not in memory;
//! - a worker that loses its database is started again under a new name, since its old jobs may be taken by then.

mod gate;
mod store;
mod worker;

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apalis::prelude::{TaskBuilder, TaskSink as _};
use apalis_postgres::{Config, PostgresStorage};
use async_trait::async_trait;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sqlx::PgPool;
use tokio::{sync::watch, task::JoinSet};

pub use self::gate::{Admission, Gate};
use crate::{
    db::Databases,
    support::{Error, Result, ids::TenantId, random},
};

/// How often finished jobs and dead workers are looked for.
const PRUNE_EVERY: Duration = Duration::from_hours(1);

/// A kind of job: what it carries, and the queue that it waits in.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The queue's name: `knowledge.ingest`. It is stored with each job and must not change.
    const QUEUE: &'static str;

    /// How often it is tried in all.
    const ATTEMPTS: u32 = 5;

    /// Whose job it is. It waits while that tenant is suspended, and ends with it.
    fn tenant(&self) -> Option<&TenantId>;
}

/// Which attempt this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

/// Why an attempt failed, and whether another may help. There is no conversion from an error: a handler decides.
#[derive(Debug)]
pub enum Failure {
    /// Something passes, such as a server that does not answer. It is tried again later, as often as the job allows.
    Retry(Error),
    /// It will fail each time. It is given up at once.
    GiveUp(Error),
}

/// Does the jobs of one kind.
#[async_trait]
pub trait Handler<J: Job>: Send + Sync + 'static {
    /// Does the job. It may have been done before, in part or wholly.
    ///
    /// # Errors
    /// A [`Failure`] that says whether to try again.
    async fn run(&self, job: J, attempt: Attempt) -> Result<(), Failure>;

    /// The job is given up: mark what it was about as failed. `reason` is what the last attempt failed with.
    async fn given_up(&self, job: J, reason: &Error);
}

/// Times that tests shorten.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How often a worker says that it lives. Whole seconds count.
    pub heartbeat: Duration,
    /// After how many heartbeats that did not come a worker's jobs are taken over.
    pub missed_heartbeats: usize,
    /// How often the queue is looked at.
    pub poll: Duration,
    /// The wait after the first attempt. It doubles with each further one, up to five minutes.
    pub backoff: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            missed_heartbeats: 6,
            poll: Duration::from_millis(200),
            backoff: Duration::from_secs(2),
        }
    }
}

/// All queues and workers of this process.
pub struct Jobs {
    pool: PgPool,
    settings: Settings,
    /// Names the workers of this start: those of the last start are other workers, whose jobs are taken over.
    boot: String,
    gate: Arc<dyn Gate>,
    stop: watch::Sender<bool>,
    workers: Mutex<JoinSet<()>>,
}

impl Jobs {
    /// Jobs of this appliance.
    pub fn new(db: &Databases, settings: Settings) -> Self {
        let boot = hex::encode(random::bytes::<8>());
        let (pool, gate) = (db.jobs().clone(), Arc::new(gate::Everybody));
        Self { pool, settings, boot, gate, stop: watch::channel(false).0, workers: Mutex::default() }
    }

    /// Asks `gate` before a tenant's job is done.
    #[must_use]
    pub fn with_gate(self, gate: impl Gate) -> Self {
        Self { gate: Arc::new(gate), ..self }
    }

    /// The queue of a kind of job.
    pub fn queue<J: Job>(&self) -> Queue<J> {
        Queue { storage: storage::<J>(&self.pool, &self.settings), job: PhantomData }
    }

    /// Starts doing the jobs of a kind, `concurrency` at once. Needs a running tokio runtime.
    pub fn work<J: Job>(&self, concurrency: usize, handler: impl Handler<J>) {
        let worker = worker::Worker {
            pool: self.pool.clone(),
            settings: self.settings,
            boot: self.boot.clone(),
            concurrency: concurrency.max(1),
            gate: Arc::clone(&self.gate),
            handler: Arc::new(handler),
            job: PhantomData,
        };
        self.workers().spawn(worker.run(self.stop.subscribe()));
    }

    /// Starts pruning: done jobs are kept for a day, those given up for a month.
    pub fn prune(&self) {
        let (pool, mut stop) = (self.pool.clone(), self.stop.subscribe());
        self.workers().spawn(async move {
            loop {
                if let Err(error) = store::prune(&pool).await {
                    tracing::warn!(%error, "finished jobs could not be pruned");
                }
                tokio::select! {
                    () = tokio::time::sleep(PRUNE_EVERY) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        });
    }

    /// Makes all unfinished jobs wait again, at once and not after 60 s. Only right before any worker runs, and only
    /// when no other node shares the database. Returns how many there were.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn recover(&self) -> Result<u64> {
        let recovered = store::recover(&self.pool).await?;
        if recovered > 0 {
            tracing::info!(jobs = recovered, "jobs that the last stop interrupted wait again");
        }
        Ok(recovered)
    }

    /// How many jobs wait or run, by queue.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unfinished(&self) -> Result<Vec<(String, i64)>> {
        store::unfinished(&self.pool).await
    }

    /// Stops taking jobs and waits for those that run, at most `grace`; what is cut off waits for the next start.
    pub async fn shutdown(&self, grace: Duration) {
        self.stop.send_replace(true);
        let mut workers = std::mem::take(&mut *self.workers());
        let all = async { while workers.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!("jobs were cut off by the stop; they will be tried again");
            workers.shutdown().await;
            if let Err(error) = store::release(&self.pool, &format!("{}/", self.boot)).await {
                tracing::warn!(%error, "jobs that were cut off stay locked until they are taken over");
            }
        }
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes all jobs of a tenant, done ones too. Gives how many.
///
/// # Errors
/// When the database does not answer.
pub async fn forget(db: &Databases, tenant: &TenantId) -> Result<u64> {
    store::forget(db.jobs(), tenant).await
}

/// Lets the jobs of a tenant that is back in service run at once.
///
/// # Errors
/// When the database does not answer; they run within the hour anyway.
pub async fn wake(db: &Databases, tenant: &TenantId) -> Result<u64> {
    store::wake(db.jobs(), tenant).await
}

/// A queue that jobs of one kind are put into. Cheap to clone.
pub struct Queue<J> {
    storage: PostgresStorage<Value>,
    job: PhantomData<fn(J)>,
}

impl<J> Clone for Queue<J> {
    fn clone(&self) -> Self {
        Self { storage: self.storage.clone(), job: PhantomData }
    }
}

impl<J: Job> Queue<J> {
    /// Puts a job into the queue. Once this returns, the job will be done, whatever happens to this process.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer: then the job is not in the queue.
    pub async fn push(&self, job: &J) -> Result<()> {
        let payload = serde_json::to_value(job).map_err(Error::internal)?;
        let task = TaskBuilder::new(payload).max_attempts(J::ATTEMPTS as usize).build();
        self.storage.clone().push_task(task).await.map_err(|error| match error {
            apalis::prelude::TaskSinkError::PushError(apalis_postgres::Error::Database(error)) => error.into(),
            other => Error::internal(other.to_string()),
        })
    }

    /// The jobs that are neither done nor given up, whether somebody does them now or not. One that cannot be read, which
    /// an older binary may have left, is left out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn waiting(&self) -> Result<Vec<J>> {
        let payloads = store::waiting(self.storage.pool(), J::QUEUE).await?;
        Ok(payloads.iter().filter_map(|payload| serde_json::from_slice(payload).ok()).collect())
    }
}

/// One job at a time is fetched: a batch would wait, out of other workers' reach, behind the jobs that run, and while
/// something waits there apalis sends no heartbeats.
fn storage<J: Job>(pool: &PgPool, settings: &Settings) -> PostgresStorage<Value> {
    let config = Config::default()
        .queue(J::QUEUE)
        .batch_size(1)
        .heartbeat_interval(settings.heartbeat)
        .missed_heartbeats(settings.missed_heartbeats);
    PostgresStorage::new(pool).with_config(config)
}
