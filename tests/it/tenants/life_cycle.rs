//! Renaming, suspending, resuming, deleting and taking back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use aegis::{
    audit::{self, Actor},
    jobs::{Attempt, Failure, Handler, Job, Jobs, Settings},
    support::{
        Error, Kind,
        ids::{RunId, TenantId},
    },
    tenants::{Renaming, Resident, State},
};
use async_trait::async_trait;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::harness::TestDb;

/// What the tenant's own log says that was done, in order.
async fn log(db: &TestDb, tenant: &TenantId) -> Vec<String> {
    let tenant = db.databases.tenant(tenant).await.unwrap();
    assert!(audit::verify(&tenant).await.unwrap().broken.is_none());
    sqlx::query_scalar("SELECT action FROM audit_entries ORDER BY seq").fetch_all(tenant.pool()).await.unwrap()
}

#[tokio::test]
async fn a_renamed_tenant_is_found_by_its_new_names_and_the_old_slug_is_free() {
    let db = TestDb::new().await;
    let tenants = db.tenants();
    let acme = tenants.create_by(&"acme".parse().unwrap(), "Acme", &Actor::Operator).await.unwrap();
    let renaming = Renaming { name: Some(" Acme & Daughters ".into()), slug: Some("daughters".parse().unwrap()) };
    let renamed = tenants.rename(&acme.id, renaming, &Actor::Operator).await.unwrap();
    assert_eq!((renamed.tenant.name.as_str(), renamed.tenant.slug.as_str()), ("Acme & Daughters", "daughters"));
    assert_eq!(tenants.by_slug(&"acme".parse().unwrap()).await.unwrap(), None);
    assert_eq!(tenants.by_slug(&"daughters".parse().unwrap()).await.unwrap(), Some(renamed.tenant));
    assert_eq!(log(&db, &acme.id).await, ["tenant.created", "tenant.renamed"]);

    let other = tenants.create(&"acme".parse().unwrap(), "Another Acme").await.unwrap();
    let taken = Renaming { slug: Some("daughters".parse().unwrap()), ..Renaming::default() };
    assert_eq!(tenants.rename(&other.id, taken, &Actor::Operator).await.unwrap_err().kind(), Kind::Conflict);
    let empty = Renaming { name: Some(" ".into()), ..Renaming::default() };
    assert_eq!(tenants.rename(&other.id, empty, &Actor::Operator).await.unwrap_err().kind(), Kind::Invalid);
}

#[tokio::test]
async fn a_suspended_tenants_database_handles_are_of_no_use_wherever_they_are_held() {
    let db = TestDb::new().await;
    let tenants = db.tenants();
    let (acme, held) = db.tenant("acme").await;
    let (_, other) = db.tenant("other").await;
    let mut session = held.pool().acquire().await.unwrap();
    sqlx::query("SELECT 1").execute(&mut *session).await.unwrap();
    // One that is in the middle of a long statement.
    let busy = tokio::spawn({
        let held = held.clone();
        async move { sqlx::query("SELECT pg_sleep(50)").execute(held.pool()).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;

    let began = Instant::now();
    let record = tenants.suspend(&acme.id, "The bill was not paid", &Actor::Operator).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!((record.state, record.suspended_reason.as_deref()), (State::Suspended, Some("The bill was not paid")));

    assert!(busy.await.unwrap().is_err());
    assert!(sqlx::query("SELECT 1").execute(&mut *session).await.is_err(), "a session that was open");
    assert!(sqlx::query("SELECT 1").execute(held.pool()).await.is_err(), "the pool that was open");
    let anew = db.databases.tenant(&acme.id).await.unwrap();
    let error = Error::from(sqlx::query("SELECT 1").execute(anew.pool()).await.unwrap_err());
    assert_eq!(error.kind(), Kind::Forbidden, "{error}");
    let by_hand = crate::harness::server::connect(&acme.id.schema(), db.server().database()).await.unwrap_err();
    assert_eq!(by_hand.as_database_error().unwrap().code().as_deref(), Some("28000"), "{by_hand}");
    sqlx::query("SELECT 1").execute(other.pool()).await.unwrap();
    assert_eq!(tenants.by_slug(&acme.slug).await.unwrap(), None);
    assert_eq!(tenants.list().await.unwrap().len(), 1);
    drop((anew, held));

    tenants.resume(&acme.id, &Actor::Operator).await.unwrap();
    assert_eq!(tenants.by_slug(&acme.slug).await.unwrap(), Some(acme.clone()));
    // All its connections were busy: its log heard of it afterwards.
    assert_eq!(log(&db, &acme.id).await, ["tenant.resumed"]);
}

#[tokio::test]
async fn a_step_that_does_not_fit_the_state_is_refused_and_says_what_to_do() {
    let db = TestDb::new().await;
    let tenants = db.tenants();
    let (acme, _) = db.tenant("acme").await;
    let by = Actor::Operator;
    assert_eq!(tenants.resume(&acme.id, &by).await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(tenants.undelete(&acme.id, &by).await.unwrap_err().kind(), Kind::Conflict);
    let unconfirmed = tenants.delete(&acme.id, "acne", false, &by).await.unwrap_err();
    assert_eq!(unconfirmed.kind(), Kind::Invalid);
    assert!(unconfirmed.to_string().contains("acme"), "{unconfirmed}");

    tenants.suspend(&acme.id, "", &by).await.unwrap();
    let again = tenants.suspend(&acme.id, "", &by).await.unwrap_err();
    assert!(again.remedy_text().unwrap().contains("aegis tenant resume acme"), "{again}");
    tenants.delete(&acme.id, "acme", false, &by).await.unwrap();
    assert!(tenants.resume(&acme.id, &by).await.unwrap_err().remedy_text().unwrap().contains("undelete"));
    assert_eq!(tenants.rename(&acme.id, Renaming::default(), &by).await.unwrap_err().kind(), Kind::Conflict);

    // It was suspended before, so it is again.
    assert_eq!(tenants.undelete(&acme.id, &by).await.unwrap().state, State::Suspended);
    tenants.resume(&acme.id, &by).await.unwrap();
    let done: Vec<String> =
        tenants.deeds(Some(&acme.id), 10).await.unwrap().into_iter().rev().map(|deed| deed.action).collect();
    let all = ["tenant.suspended", "tenant.deletion_requested", "tenant.undeleted", "tenant.resumed"];
    assert_eq!(done, all, "the appliance's log has every step");
    assert_eq!(log(&db, &acme.id).await, ["tenant.suspended", "tenant.resumed"]);
    let tenant = db.databases.tenant(&acme.id).await.unwrap();
    let told: String = sqlx::query_scalar("SELECT detail FROM audit_entries WHERE action = 'tenant.resumed'")
        .fetch_one(tenant.pool())
        .await
        .unwrap();
    assert!(told.contains("tenant.deletion_requested") && told.contains("tenant.undeleted"), "{told}");
}

#[tokio::test]
async fn a_deleted_tenant_can_be_taken_back_until_its_grace_period_is_over() {
    let db = TestDb::new().await;
    let tenants = db.tenants();
    let (acme, _) = db.tenant("acme").await;
    let deleting = tenants.delete(&acme.id, "acme", false, &Actor::Operator).await.unwrap().unwrap();
    assert_eq!(deleting.state, State::Deleting);
    db.clock.advance(TimeDelta::days(29));
    assert_eq!(tenants.remove_due().await.unwrap(), 0);
    assert_eq!(tenants.undelete(&acme.id, &Actor::Operator).await.unwrap().state, State::Active);
    assert_eq!(log(&db, &acme.id).await, ["tenant.deletion_requested", "tenant.undeleted"]);

    tenants.delete(&acme.id, "acme", false, &Actor::Operator).await.unwrap();
    db.clock.advance(TimeDelta::days(31));
    assert_eq!(tenants.remove_due().await.unwrap(), 1);
    assert_eq!(tenants.record(&acme.id).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(tenants.undelete(&acme.id, &Actor::Operator).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_suspension_that_was_cut_off_is_finished_by_the_next_start() {
    let db = TestDb::new().await;
    let (acme, _) = db.tenant("acme").await;
    sqlx::raw_sql("UPDATE control.tenants SET state = 'suspended', suspended_at = now()")
        .execute(&mut db.superuser().await)
        .await
        .unwrap();
    let session = crate::harness::server::connect(&acme.id.schema(), db.server().database()).await;
    assert!(session.is_ok(), "the role can sign in still");
    db.tenants().repair().await.unwrap();
    assert!(crate::harness::server::connect(&acme.id.schema(), db.server().database()).await.is_err());
}

/// Counts what it is told.
#[derive(Default)]
struct Lodger {
    stopped: AtomicU32,
}

#[async_trait]
impl Resident for Lodger {
    async fn stop(&self, _: &TenantId) {
        self.stopped.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn whoever_lives_off_a_tenant_hears_that_it_goes_and_comes_back_from_another_node_too() {
    let db = TestDb::new().await;
    let tenants = db.tenants();
    let (acme, _) = db.tenant("acme").await;
    // Another node of the same database.
    let (elsewhere, lodger) = (db.tenants(), Arc::new(Lodger::default()));
    elsewhere.introduce(lodger.clone());
    let mut changes = elsewhere.changes();
    let stop = tokio_util::sync::CancellationToken::new();
    let following = tokio::spawn(elsewhere.clone().follow(stop.clone()));

    let mut heard = async || {
        let change = tokio::time::timeout(Duration::from_secs(10), changes.recv()).await.unwrap().unwrap();
        assert_eq!(change.tenant, acme.id);
        change.state
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    tenants.suspend(&acme.id, "", &Actor::Operator).await.unwrap();
    assert_eq!(heard().await, Some(State::Suspended));
    tenants.resume(&acme.id, &Actor::Operator).await.unwrap();
    assert_eq!(heard().await, Some(State::Active));
    tenants.delete(&acme.id, "acme", true, &Actor::Operator).await.unwrap();
    while heard().await.is_some() {}
    assert!(lodger.stopped.load(Ordering::SeqCst) >= 1);
    stop.cancel();
    following.await.unwrap();
}

/// A tenant's job.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Errand {
    tenant: TenantId,
    run: RunId,
}

impl Job for Errand {
    const QUEUE: &'static str = "test.tenants.errand";
    const ATTEMPTS: u32 = 2;

    fn tenant(&self) -> Option<&TenantId> {
        Some(&self.tenant)
    }
}

/// Reads as its tenant, slowly; counts the errands done and those given up.
#[derive(Clone)]
struct Messenger {
    databases: aegis::db::Databases,
    begun: Arc<AtomicU32>,
    done: Arc<AtomicU32>,
    given_up: Arc<AtomicU32>,
}

#[async_trait]
impl Handler<Errand> for Messenger {
    async fn run(&self, errand: Errand, _: Attempt) -> Result<(), Failure> {
        let db = self.databases.tenant(&errand.tenant).await.map_err(Failure::Retry)?;
        self.begun.fetch_add(1, Ordering::SeqCst);
        sqlx::query("SELECT pg_sleep(0.4)").execute(db.pool()).await.map_err(|error| Failure::Retry(error.into()))?;
        self.done.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn given_up(&self, _: Errand, _: &Error) {
        self.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_tenants_jobs_wait_and_run_when_it_is_resumed_and_a_deleted_ones_vanish() {
    let db = TestDb::new().await;
    let tenants = db.tenants();
    let (acme, _) = db.tenant("acme").await;
    let settings =
        Settings { poll: Duration::from_millis(20), backoff: Duration::from_millis(50), ..Settings::default() };
    let jobs = Jobs::new(&db.databases, settings).with_gate(tenants.clone());
    let messenger = Messenger {
        databases: db.databases.clone(),
        begun: Arc::default(),
        done: Arc::default(),
        given_up: Arc::default(),
    };
    let count = |counter: &Arc<AtomicU32>| counter.load(Ordering::SeqCst);
    let queue = jobs.queue::<Errand>();
    let push = async || queue.push(&Errand { tenant: acme.id.clone(), run: RunId::generate() }).await.unwrap();
    for _ in 0..3 {
        push().await;
    }
    jobs.work(1, messenger.clone());
    until("the first to begin", async || count(&messenger.begun) >= 1).await;
    tenants.suspend(&acme.id, "", &Actor::Operator).await.unwrap();
    push().await;
    // The one that ran has lost its connection; it and the others are put back as if nobody had touched them.
    let parked = async || {
        let states: Vec<(String, i32, bool)> = sqlx::query_as(
            "SELECT status, attempts, run_at > now() + interval '1 minute' FROM apalis.jobs WHERE status <> 'Done'",
        )
        .fetch_all(db.databases.control())
        .await
        .unwrap();
        !states.is_empty()
            && states.iter().all(|(status, attempts, later)| status == "Pending" && *attempts == 0 && *later)
    };
    until("all to be parked", parked).await;
    let done = count(&messenger.done);
    assert!(done < 4);

    tenants.resume(&acme.id, &Actor::Operator).await.unwrap();
    until("all to be done", async || count(&messenger.done) == 4).await;
    assert_eq!(count(&messenger.given_up), 0, "none was lost");

    tenants.suspend(&acme.id, "", &Actor::Operator).await.unwrap();
    push().await;
    until("it to be parked", parked).await;
    tenants.delete(&acme.id, "acme", true, &Actor::Operator).await.unwrap();
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM apalis.jobs").fetch_one(db.databases.control()).await.unwrap();
    assert_eq!(left, 0, "jobs of a tenant that is gone are gone, those that were done too");
    // One that somebody puts into the queue all the same ends quietly.
    push().await;
    until("it to end", async || jobs.unfinished().await.unwrap().is_empty()).await;
    assert_eq!((count(&messenger.done), count(&messenger.given_up)), (4, 0));
    jobs.shutdown(Duration::from_secs(5)).await;
}
