//! One worker: takes jobs of a queue, does them, and decides what becomes of those that fail.

use std::{
    marker::PhantomData,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use apalis::{
    layers::WorkerBuilderExt as _,
    prelude::{
        AbortError, Attempt as Tries, BackendExt as _, BoxDynError, ParallelizeExt as _, PollSnapshot, PollStrategy,
        TaskId, WorkerBuilder, WorkerError,
    },
};
use futures::{FutureExt as _, future::BoxFuture};
use serde_json::Value;
use sqlx::PgPool;
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::{Interval, MissedTickBehavior},
};

use super::{Admission, Attempt, Failure, Gate, Handler, Job, Settings, storage, store};
use crate::support::{Error, Kind, Result as Outcome};

/// The longest wait between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);

/// How often a job whose tenant is out of service is looked at, in case nobody wakes it.
const PARKED_FOR: Duration = Duration::from_hours(1);

/// The wait before a worker that lost its database is started again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Takes jobs of one kind off the queue and hands them to their handler.
pub(super) struct Worker<J, H> {
    pub(super) pool: PgPool,
    pub(super) settings: Settings,
    pub(super) boot: String,
    pub(super) concurrency: usize,
    pub(super) handler: Arc<H>,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) job: PhantomData<fn(J)>,
}

impl<J: Job, H: Handler<J>> Worker<J, H> {
    /// Works until `stop` turns true, through failures of the database too.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        for number in 1_u64.. {
            let name = format!("{}/{}/{number}", self.boot, J::QUEUE);
            let result = self.run_once(&name, stop.clone()).await;
            let stopping = *stop.borrow();
            if let Err(error) = &result {
                tracing::warn!(queue = J::QUEUE, %error, "a worker lost its database and is started again");
            }
            // What it had taken and not finished must not wait until the worker counts as dead.
            while let Err(error) = store::release(&self.pool, &name).await {
                tracing::debug!(queue = J::QUEUE, %error, "the database does not answer yet");
                if stopping || wait(&mut stop, RESTART_AFTER).await {
                    return;
                }
            }
            if stopping || (result.is_err() && wait(&mut stop, RESTART_AFTER).await) {
                return;
            }
        }
    }

    /// Boxed here, because inside an `async fn` the compiler cannot see that apalis's future may change threads.
    fn run_once(&self, name: &str, mut stop: watch::Receiver<bool>) -> BoxFuture<'static, Result<(), WorkerError>> {
        let (pool, backoff, handler) = (self.pool.clone(), self.settings.backoff, Arc::clone(&self.handler));
        let gate = Arc::clone(&self.gate);
        let perform = move |payload: Value, tries: Tries, id: TaskId| {
            let (pool, gate, handler) = (pool.clone(), Arc::clone(&gate), Arc::clone(&handler));
            async move {
                let number = u32::try_from(tries.current()).unwrap_or(u32::MAX);
                let attempt = Attempt { number, of: J::ATTEMPTS };
                let desk = Desk { pool: &pool, gate: gate.as_ref(), id: &id.to_string(), backoff };
                perform::<J, H>(&desk, handler.as_ref(), payload, attempt).await
            }
        };
        let stopped = async move {
            // An error means that the sender is gone, which is a stop too.
            let _ = stop.wait_for(|stop| *stop).await;
            Ok::<(), WorkerError>(())
        };
        WorkerBuilder::new(name)
            .backend(storage::<J>(&self.pool, &self.settings).poll_with_strategy(Pace::of(self.settings.poll)))
            .concurrency(self.concurrency)
            .parallelize(spawn)
            .build(perform)
            .run_until(stopped)
            .boxed()
    }
}

/// Has the queue looked at again and again. An interval of apalis's own does not ask to be woken again when it is due while the
/// queue is being looked at; the worker then sleeps until its next heartbeat, and a job waits as long.
struct Pace(Interval);

impl Pace {
    fn of(every: Duration) -> Self {
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(interval)
    }
}

impl PollStrategy for Pace {
    fn poll_drive(&mut self, cx: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        let mut due = Poll::Pending;
        // Until it is not due any more: only then it has been asked to wake.
        while self.0.poll_tick(cx).is_ready() {
            due = Poll::Ready(Some(()));
        }
        due
    }
}

/// Waits, and says whether it is time to stop.
async fn wait(stop: &mut watch::Receiver<bool>, time: Duration) -> bool {
    tokio::time::timeout(time, stop.wait_for(|stop| *stop)).await.is_ok()
}

/// One job in a worker's hands.
struct Desk<'a> {
    pool: &'a PgPool,
    gate: &'a dyn Gate,
    id: &'a str,
    backoff: Duration,
}

impl Desk<'_> {
    /// What becomes of a job, as far as its tenant decides that.
    async fn admission<J: Job>(&self, job: &J) -> Outcome<Admission> {
        match job.tenant() {
            Some(tenant) => self.gate.admit(tenant).await,
            None => Ok(Admission::Run),
        }
    }

    /// Puts the job back for the time that its tenant is out of service.
    async fn park(&self, queue: &str) -> Result<(), BoxDynError> {
        tracing::info!(queue, job = self.id, "a job waits, because its tenant is out of service");
        store::park(self.pool, self.id, PARKED_FOR).await.map_err(|error| error.to_string())?;
        Err("parked".into())
    }
}

/// Does a job once. What it returns is stored with the job and must tell nothing about a tenant.
async fn perform<J: Job, H: Handler<J>>(
    desk: &Desk<'_>,
    handler: &H,
    payload: Value,
    attempt: Attempt,
) -> Result<(), BoxDynError> {
    let id = desk.id;
    let decode = || serde_json::from_value::<J>(payload.clone());
    let (job, same_job) = match (decode(), decode()) {
        (Ok(job), Ok(same_job)) => (job, same_job),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(queue = J::QUEUE, job = id, %error, "a job cannot be read and is given up");
            return Err(AbortError::new("unreadable").into());
        }
    };
    match desk.admission(&job).await {
        Ok(Admission::Wait) => return desk.park(J::QUEUE).await,
        Ok(Admission::Drop) => return Ok(()),
        // Where nobody can say, the job itself finds out.
        Ok(Admission::Run) | Err(_) => {}
    }
    if attempt.number > attempt.of {
        // The last attempts did not fail: the process ended during them.
        let error = Error::new(Kind::Internal, "the appliance stopped each time while it was at this");
        return give_up(handler, same_job, id, attempt, &error).await;
    }
    let failure = match AssertUnwindSafe(handler.run(job, attempt)).catch_unwind().await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(failure)) => failure,
        Err(_) => Failure::Retry(Error::new(Kind::Internal, "a fault in the appliance's own code")),
    };
    // A tenant that is taken out of service loses its connections, and that is no fault of the job.
    match desk.admission(&same_job).await {
        Ok(Admission::Wait) => return desk.park(J::QUEUE).await,
        Ok(Admission::Drop) => return Ok(()),
        Ok(Admission::Run) | Err(_) => {}
    }
    match failure {
        Failure::Retry(error) if attempt.number < attempt.of => {
            let wait = desk.backoff.saturating_mul(1 << (attempt.number - 1).min(16)).min(LONGEST_BACKOFF);
            tracing::warn!(
                queue = J::QUEUE,
                job = id,
                attempt = attempt.number,
                %error,
                wait_ms = wait.as_millis(),
                "a job failed and will be tried again"
            );
            store::postpone(desk.pool, id, wait).await.map_err(|error| error.to_string())?;
            Err(format!("{:?}", error.kind()).into())
        }
        Failure::Retry(error) | Failure::GiveUp(error) => give_up(handler, same_job, id, attempt, &error).await,
    }
}

async fn give_up<J: Job, H: Handler<J>>(
    handler: &H,
    job: J,
    id: &str,
    attempt: Attempt,
    error: &Error,
) -> Result<(), BoxDynError> {
    tracing::error!(queue = J::QUEUE, job = id, attempt = attempt.number, %error, "a job is given up");
    if AssertUnwindSafe(handler.given_up(job, error)).catch_unwind().await.is_err() {
        tracing::error!(queue = J::QUEUE, job = id, "giving up a job failed by a fault in the appliance's own code");
    }
    Err(AbortError::new(format!("{:?}", error.kind())).into())
}

/// A job runs as a task of its own, so that a busy one does not keep its worker from saying that it lives, and ends
/// with its worker, because others may take the job then.
fn spawn<F>(future: F) -> Running<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    Running(tokio::spawn(future))
}

struct Running<T>(JoinHandle<T>);

impl<T> Future for Running<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
