//! Durable jobs: done, tried again, taken over, given up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aegis::{
    jobs::{Attempt, Failure, Handler, Job, Jobs, Settings},
    support::{Error, ids::TenantId},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::harness::TestDb;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Errand {
    id: u32,
}

impl Job for Errand {
    const QUEUE: &'static str = "test.errand";
    const ATTEMPTS: u32 = 3;

    fn tenant(&self) -> Option<&TenantId> {
        None
    }
}

/// What an errand does, by the number of the attempt.
type Plan = fn(u32) -> Step;

enum Step {
    Succeed,
    Retry,
    GiveUp,
    Panic,
    Take(Duration),
}

/// Does errands by plan and keeps a diary.
#[derive(Clone)]
struct Messenger {
    plan: Plan,
    diary: Arc<Mutex<Diary>>,
}

#[derive(Default)]
struct Diary {
    begun: Vec<(u32, u32)>,
    finished: Vec<u32>,
    given_up: HashMap<u32, String>,
    running: usize,
    most_at_once: usize,
}

impl Messenger {
    fn new(plan: Plan) -> Self {
        Self { plan, diary: Arc::default() }
    }

    /// The attempts that were begun with errand 1.
    fn attempts(&self) -> Vec<u32> {
        self.diary.lock().unwrap().begun.iter().filter(|(id, _)| *id == 1).map(|(_, number)| *number).collect()
    }

    async fn until(&self, what: &str, reached: impl Fn(&Diary) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !reached(&self.diary.lock().unwrap()) {
            assert!(Instant::now() < deadline, "not reached: {what}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[async_trait]
impl Handler<Errand> for Messenger {
    async fn run(&self, job: Errand, attempt: Attempt) -> Result<(), Failure> {
        {
            let mut diary = self.diary.lock().unwrap();
            diary.begun.push((job.id, attempt.number));
            diary.running += 1;
            diary.most_at_once = diary.most_at_once.max(diary.running);
        }
        let result = match (self.plan)(attempt.number) {
            Step::Succeed => Ok(()),
            Step::Retry => Err(Failure::Retry(Error::unavailable("the road is closed"))),
            Step::GiveUp => Err(Failure::GiveUp(Error::invalid("there is no such address"))),
            Step::Panic => {
                self.diary.lock().unwrap().running -= 1;
                panic!("stumbled, as this test wants it")
            }
            Step::Take(time) => {
                sleep(time).await;
                Ok(())
            }
        };
        let mut diary = self.diary.lock().unwrap();
        diary.running -= 1;
        if result.is_ok() {
            diary.finished.push(job.id);
        }
        result
    }

    async fn given_up(&self, job: Errand, reason: &Error) {
        self.diary.lock().unwrap().given_up.insert(job.id, reason.message().to_owned());
    }
}

fn quick() -> Settings {
    Settings {
        heartbeat: Duration::from_millis(500),
        missed_heartbeats: 2,
        poll: Duration::from_millis(20),
        backoff: Duration::from_millis(20),
    }
}

fn start(db: &TestDb, messenger: &Messenger) -> Jobs {
    let jobs = Jobs::new(&db.databases, quick());
    jobs.work(2, messenger.clone());
    jobs
}

/// Status and attempts of all jobs, once every one of them has come to its end.
async fn ends(db: &TestDb) -> Vec<(String, i32)> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let rows: Vec<(String, i32)> = sqlx::query_as("SELECT status, attempts FROM apalis.jobs ORDER BY run_at, id")
            .fetch_all(db.databases.control())
            .await
            .unwrap();
        if rows.iter().all(|(status, _)| status == "Done" || status == "Killed") {
            return rows;
        }
        assert!(Instant::now() < deadline, "{rows:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn by_default_a_dead_workers_jobs_are_taken_over_after_a_minute() {
    let settings = Settings::default();
    let takeover = settings.heartbeat * u32::try_from(settings.missed_heartbeats).unwrap();
    assert_eq!(takeover, Duration::from_mins(1));
    assert!(settings.poll <= Duration::from_millis(200));
}

#[tokio::test]
async fn a_job_is_done_soon_after_it_is_pushed_and_the_next_one_too() {
    let db = TestDb::new().await;
    let messenger = Messenger::new(|_| Step::Succeed);
    // A heartbeat makes a worker look at its queue as well; none comes here.
    let settings = Settings { poll: Settings::default().poll, heartbeat: Duration::from_mins(10), ..quick() };
    let jobs = Jobs::new(&db.databases, settings);
    jobs.work(2, messenger.clone());
    for id in 1..=4 {
        // Longer and longer after the last one.
        sleep(Duration::from_millis(150 * u64::from(id))).await;
        jobs.queue().push(&Errand { id }).await.unwrap();
        messenger.until("done", |diary| diary.finished.contains(&id)).await;
    }
    assert_eq!(ends(&db).await.len(), 4);
    assert_eq!(jobs.unfinished().await.unwrap(), []);
    jobs.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_job_waits_until_there_is_a_worker() {
    let db = TestDb::new().await;
    let messenger = Messenger::new(|_| Step::Succeed);
    let pushing = Jobs::new(&db.databases, quick());
    pushing.queue().push(&Errand { id: 1 }).await.unwrap();
    assert_eq!(pushing.unfinished().await.unwrap(), [("test.errand".to_owned(), 1)]);
    let working = start(&db, &messenger);
    assert_eq!(ends(&db).await, [("Done".to_owned(), 1)]);
    working.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn as_many_jobs_run_at_once_as_the_worker_allows() {
    let db = TestDb::new().await;
    let messenger = Messenger::new(|_| Step::Take(Duration::from_millis(300)));
    let jobs = start(&db, &messenger);
    for id in 1..=5 {
        jobs.queue().push(&Errand { id }).await.unwrap();
    }
    messenger.until("all done", |diary| diary.finished.len() == 5).await;
    assert_eq!(messenger.diary.lock().unwrap().most_at_once, 2);
    ends(&db).await;
    jobs.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_job_that_fails_for_a_while_is_tried_again_until_it_succeeds() {
    let db = TestDb::new().await;
    let messenger = Messenger::new(|number| if number < 3 { Step::Retry } else { Step::Succeed });
    let jobs = start(&db, &messenger);
    jobs.queue().push(&Errand { id: 1 }).await.unwrap();
    messenger.until("done", |diary| diary.finished == [1]).await;
    assert_eq!(messenger.attempts(), [1, 2, 3]);
    assert_eq!(ends(&db).await, [("Done".to_owned(), 3)]);
    jobs.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_wait_between_attempts_is_in_the_database() {
    let mut db = TestDb::new().await;
    db.jobs_may_remain();
    let messenger = Messenger::new(|_| Step::Retry);
    let jobs = Jobs::new(&db.databases, Settings { backoff: Duration::from_secs(100), ..quick() });
    jobs.work(1, messenger.clone());
    jobs.queue().push(&Errand { id: 1 }).await.unwrap();
    messenger.until("begun", |diary| !diary.begun.is_empty()).await;
    sleep(Duration::from_millis(300)).await;
    jobs.shutdown(Duration::from_secs(5)).await;
    let (status, attempts, seconds): (String, i32, f64) =
        sqlx::query_as("SELECT status, attempts, extract(epoch FROM run_at - now())::float8 FROM apalis.jobs")
            .fetch_one(db.databases.control())
            .await
            .unwrap();
    assert_eq!((status.as_str(), attempts), ("Failed", 1));
    assert!((90.0..=100.0).contains(&seconds), "{seconds}");
    assert_eq!(messenger.attempts(), [1]);
}

#[tokio::test]
async fn a_job_whose_attempts_are_used_up_is_given_up_with_its_last_reason() {
    let db = TestDb::new().await;
    let messenger = Messenger::new(|_| Step::Retry);
    let jobs = start(&db, &messenger);
    jobs.queue().push(&Errand { id: 1 }).await.unwrap();
    assert_eq!(ends(&db).await, [("Killed".to_owned(), 3)]);
    assert_eq!(messenger.attempts(), [1, 2, 3]);
    assert_eq!(messenger.diary.lock().unwrap().given_up[&1], "the road is closed");
    let stored: String = sqlx::query_scalar("SELECT last_result::text FROM apalis.jobs")
        .fetch_one(db.databases.control())
        .await
        .unwrap();
    assert!(!stored.contains("road"), "what went wrong may tell about a tenant: {stored}");
    jobs.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_job_that_cannot_succeed_is_given_up_at_once() {
    let db = TestDb::new().await;
    let messenger = Messenger::new(|_| Step::GiveUp);
    let jobs = start(&db, &messenger);
    jobs.queue().push(&Errand { id: 1 }).await.unwrap();
    assert_eq!(ends(&db).await, [("Killed".to_owned(), 1)]);
    assert_eq!(messenger.attempts(), [1]);
    assert_eq!(messenger.diary.lock().unwrap().given_up[&1], "there is no such address");
    jobs.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_panic_is_a_failed_attempt_and_the_worker_goes_on() {
    let db = TestDb::new().await;
    let messenger = Messenger::new(|number| if number == 1 { Step::Panic } else { Step::Succeed });
    let jobs = start(&db, &messenger);
    jobs.queue().push(&Errand { id: 1 }).await.unwrap();
    assert_eq!(ends(&db).await, [("Done".to_owned(), 2)]);
    jobs.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_job_that_cannot_be_read_is_given_up_and_the_next_one_is_done() {
    let db = TestDb::new().await;
    sqlx::query(
        r#"INSERT INTO apalis.jobs (id, job_type, job, max_attempts, run_at, metadata)
           VALUES ('01ARZ3NDEKTSV4RRFFQ69G5FAV', $1, '{"no": 1}', 3, now() - interval '1 hour', '')"#,
    )
    .bind(Errand::QUEUE)
    .execute(db.databases.control())
    .await
    .unwrap();
    let messenger = Messenger::new(|_| Step::Succeed);
    let jobs = start(&db, &messenger);
    jobs.queue().push(&Errand { id: 1 }).await.unwrap();
    assert_eq!(ends(&db).await, [("Killed".to_owned(), 1), ("Done".to_owned(), 1)]);
    jobs.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn another_worker_takes_over_what_a_dead_one_held() {
    let db = TestDb::new().await;
    let settings = Settings { missed_heartbeats: 8, ..quick() };
    let dying = Messenger::new(|_| Step::Take(Duration::from_secs(1000)));
    let first = Jobs::new(&db.databases, settings);
    first.work(2, dying.clone());
    first.queue().push(&Errand { id: 1 }).await.unwrap();
    dying.until("begun", |diary| diary.begun.len() == 1).await;
    // Wait until the database knows that it runs, then end it as a killed process ends: without a word.
    sleep(Duration::from_millis(200)).await;
    drop(first);

    let messenger = Messenger::new(|_| Step::Succeed);
    let second = Jobs::new(&db.databases, settings);
    second.work(2, messenger.clone());
    sleep(Duration::from_millis(300)).await;
    assert!(messenger.attempts().is_empty(), "the first may still live");
    messenger.until("taken over", |diary| diary.finished == [1]).await;
    assert_eq!(messenger.attempts(), [2], "the attempt of the dead worker counts");
    assert_eq!(ends(&db).await, [("Done".to_owned(), 2)]);
    second.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_worker_that_is_busy_for_long_keeps_its_job() {
    let db = TestDb::new().await;
    let settings = Settings { missed_heartbeats: 6, ..quick() };
    let busy = Messenger::new(|_| Step::Take(Duration::from_secs(6)));
    let first = Jobs::new(&db.databases, settings);
    first.work(1, busy.clone());
    first.queue().push(&Errand { id: 1 }).await.unwrap();
    first.queue().push(&Errand { id: 2 }).await.unwrap();
    busy.until("begun", |diary| diary.begun.len() == 1).await;
    let other = Messenger::new(|_| Step::Succeed);
    let second = Jobs::new(&db.databases, settings);
    second.work(2, other.clone());
    // The second takes what waits, and not what the first is at, though that lasts twice the takeover time.
    assert_eq!(ends(&db).await.len(), 2);
    assert_eq!(busy.diary.lock().unwrap().begun.len() + other.diary.lock().unwrap().begun.len(), 2);
    first.shutdown(Duration::from_secs(5)).await;
    second.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_job_that_ends_the_process_each_time_is_given_up_without_another_try() {
    let db = TestDb::new().await;
    let messenger = Messenger::new(|_| Step::Take(Duration::from_secs(1000)));
    Jobs::new(&db.databases, quick()).queue().push(&Errand { id: 1 }).await.unwrap();
    for number in 1..=3 {
        let jobs = Jobs::new(&db.databases, quick());
        jobs.recover().await.unwrap();
        jobs.work(1, messenger.clone());
        messenger.until("begun", |diary| diary.begun.len() == number).await;
        drop(jobs);
    }
    let jobs = Jobs::new(&db.databases, quick());
    assert_eq!(jobs.recover().await.unwrap(), 1);
    jobs.work(1, messenger.clone());
    ends(&db).await;
    assert_eq!(messenger.attempts(), [1, 2, 3]);
    assert!(messenger.diary.lock().unwrap().given_up[&1].contains("stopped each time"));
    jobs.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_stop_waits_for_running_jobs() {
    let db = TestDb::new().await;
    let messenger = Messenger::new(|_| Step::Take(Duration::from_millis(500)));
    let jobs = start(&db, &messenger);
    jobs.queue().push(&Errand { id: 1 }).await.unwrap();
    messenger.until("begun", |diary| diary.begun.len() == 1).await;
    jobs.shutdown(Duration::from_secs(10)).await;
    assert_eq!(messenger.diary.lock().unwrap().finished, [1]);
    assert_eq!(ends(&db).await, [("Done".to_owned(), 1)]);
}

#[tokio::test]
async fn a_job_that_a_stop_cuts_off_is_done_at_the_next_start_and_the_attempt_does_not_count() {
    let db = TestDb::new().await;
    let slow = Messenger::new(|_| Step::Take(Duration::from_secs(1000)));
    let jobs = start(&db, &slow);
    jobs.queue().push(&Errand { id: 1 }).await.unwrap();
    slow.until("begun", |diary| diary.begun.len() == 1).await;
    let stopping = Instant::now();
    jobs.shutdown(Duration::from_millis(200)).await;
    assert!(stopping.elapsed() < Duration::from_secs(5));

    let messenger = Messenger::new(|_| Step::Succeed);
    let again = start(&db, &messenger);
    messenger.until("done", |diary| diary.finished == [1]).await;
    assert_eq!(messenger.attempts(), [1]);
    ends(&db).await;
    again.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_worker_survives_the_loss_of_its_connections() {
    let db = TestDb::new().await;
    let messenger = Messenger::new(|_| Step::Succeed);
    let jobs = start(&db, &messenger);
    jobs.queue().push(&Errand { id: 1 }).await.unwrap();
    messenger.until("done", |diary| diary.finished == [1]).await;
    let mut superuser = db.superuser().await;
    for _ in 0..20 {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .execute(&mut superuser)
        .await
        .unwrap();
        sleep(Duration::from_millis(10)).await;
    }
    while jobs.queue().push(&Errand { id: 2 }).await.is_err() {
        sleep(Duration::from_millis(20)).await;
    }
    messenger.until("done after the loss", |diary| diary.finished.contains(&2)).await;
    ends(&db).await;
    jobs.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn finished_jobs_are_kept_for_a_while_and_then_removed() {
    let mut db = TestDb::new().await;
    db.jobs_may_remain();
    sqlx::raw_sql(
        "INSERT INTO apalis.workers (id, worker_type, storage_name, last_seen)
         VALUES ('gone', 'q', 's', now() - interval '2 days'), ('busy', 'q', 's', now() - interval '2 days');
         INSERT INTO apalis.jobs (id, job_type, job, status, done_at, lock_by) VALUES
             ('done today', 'q', '', 'Done', now(), NULL),
             ('done long ago', 'q', '', 'Done', now() - interval '2 days', 'gone'),
             ('given up lately', 'q', '', 'Killed', now() - interval '2 days', NULL),
             ('given up long ago', 'q', '', 'Killed', now() - interval '31 days', NULL),
             ('running', 'q', '', 'Running', NULL, 'busy')",
    )
    .execute(db.databases.control())
    .await
    .unwrap();
    let jobs = Jobs::new(&db.databases, quick());
    jobs.prune();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (left, workers): (Vec<String>, Vec<String>) = sqlx::query_as(
            "SELECT (SELECT array_agg(id ORDER BY id) FROM apalis.jobs), (SELECT array_agg(id) FROM apalis.workers)",
        )
        .fetch_one(db.databases.control())
        .await
        .unwrap();
        if (left.as_slice(), workers.as_slice())
            == (
                ["done today", "given up lately", "running"].map(str::to_owned).as_slice(),
                ["busy".to_owned()].as_slice(),
            )
        {
            break;
        }
        assert!(Instant::now() < deadline, "{left:?} {workers:?}");
        sleep(Duration::from_millis(10)).await;
    }
    jobs.shutdown(Duration::from_secs(5)).await;
}
