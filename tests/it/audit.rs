//! The audit log as the database has it: who may write, what concurrent writers do to it, and that tampering is found.

mod export;
pub mod heads;
mod retention;

use std::collections::HashSet;

use aegis::{
    audit::{self, Action, Actor, Fault, NewEntry, Verification},
    db::TenantDb,
    support::ids::{RunId, UserId},
};
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::harness::TestDb;

fn entry(number: usize, run: Option<RunId>) -> NewEntry {
    NewEntry {
        actor: Actor::User { id: UserId::generate() },
        action: Action::UserCreated,
        run,
        subject: Some(format!("subject {number}")),
        detail: json!({"number": number, "nothing": null, "text": "zero \0, quote \", ü, \u{1F600}", "float": 0.1}),
    }
}

async fn write(db: &TestDb, tenant: &TenantDb, count: usize) {
    for number in 0..count {
        audit::append(tenant, &*db.clock, entry(number, None)).await.unwrap();
    }
}

/// Does `statement` in the tenant's schema as the superuser and says what the log looks like then.
async fn tampered(statement: &str) -> Verification {
    let db = TestDb::new().await;
    let (tenant, tenant_db) = db.tenant("acme").await;
    write(&db, &tenant_db, 7).await;
    assert_eq!(audit::verify(&tenant_db).await.unwrap().broken, None, "before");
    let mut superuser = db.superuser().await;
    let statement = format!("SET search_path TO {}; {statement}", tenant.id.schema());
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut superuser).await.unwrap();
    audit::verify(&tenant_db).await.unwrap()
}

async fn first_fault(statement: &str) -> Option<(i64, Fault)> {
    tampered(statement).await.broken.map(|broken| (broken.seq, broken.fault))
}

#[tokio::test]
async fn an_untouched_log_verifies_and_reads_back_as_it_was_written() {
    let db = TestDb::new().await;
    let (_, tenant) = db.tenant("acme").await;
    let empty = audit::verify(&tenant).await.unwrap();
    assert_eq!((empty.entries, empty.head, empty.broken), (0, "0".repeat(64), None));

    let run = RunId::generate();
    let first = audit::append(&tenant, &*db.clock, entry(1, Some(run))).await.unwrap();
    audit::append(&tenant, &*db.clock, entry(2, Some(RunId::generate()))).await.unwrap();
    let third = audit::append(&tenant, &*db.clock, entry(3, Some(run))).await.unwrap();

    let whole = audit::verify(&tenant).await.unwrap();
    assert_eq!((whole.entries, whole.head, whole.broken), (3, third.hash.clone(), None));
    let of_run = audit::of_run(&tenant, run).await.unwrap();
    assert_eq!(serde_json::to_value(&of_run).unwrap(), serde_json::to_value([&first, &third]).unwrap());
    assert_eq!(of_run[0].detail, entry(1, None).detail);
    assert_eq!(of_run[0].seq, 1);
}

#[tokio::test]
async fn concurrent_writers_never_fork_the_chain() {
    let db = TestDb::new().await;
    let (_, tenant) = db.tenant("acme").await;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (tenant, clock) = (tenant.clone(), db.shared_clock());
            tokio::spawn(async move {
                let mut places = Vec::new();
                for number in 0..50 {
                    let written = audit::append(&tenant, &*clock, entry(writer * 100 + number, None)).await.unwrap();
                    places.push(written.seq);
                }
                assert!(places.is_sorted(), "a writer's own entries keep their order");
                places
            })
        })
        .collect();
    let mut places = HashSet::new();
    for writer in writers {
        places.extend(writer.await.unwrap());
    }
    assert_eq!(places, (1..=400).collect());
    let verified = audit::verify(&tenant).await.unwrap();
    assert_eq!((verified.entries, verified.broken), (400, None));
}

#[tokio::test]
async fn entries_that_come_together_are_written_together_and_each_is_told_its_place() {
    let db = TestDb::new().await;
    let (tenant, tenant_db) = db.tenant("acme").await;
    let together = (0..500).map(|number| audit::append(&tenant_db, &*db.clock, entry(number, None)));
    let written = futures::future::join_all(together).await;
    for (number, written) in written.into_iter().enumerate() {
        let written = written.unwrap();
        assert_eq!(written.detail, entry(number, None).detail, "{written:?}");
    }
    assert_eq!(audit::verify(&tenant_db).await.unwrap().entries, 500);
    let mut superuser = db.superuser().await;
    let statement = format!("SELECT count(DISTINCT xmin::text) FROM {}.audit_entries", tenant.id.schema());
    let (transactions,): (i64,) = sqlx::query_as(AssertSqlSafe(statement)).fetch_one(&mut superuser).await.unwrap();
    assert!(transactions < 50, "500 entries in {transactions} transactions");
}

#[tokio::test]
async fn an_entry_that_was_handed_over_is_written_although_its_writer_went_away() {
    let db = TestDb::new().await;
    let (_, tenant) = db.tenant("acme").await;
    let mut given_up = Box::pin(audit::append(&tenant, &*db.clock, entry(1, None)));
    assert!(futures::poll!(&mut given_up).is_pending());
    drop(given_up);
    assert_eq!(audit::append(&tenant, &*db.clock, entry(2, None)).await.unwrap().seq, 2);
    assert_eq!(audit::verify(&tenant).await.unwrap().entries, 2);
}

#[tokio::test]
async fn a_log_longer_than_a_page_is_walked_to_its_end() {
    let db = TestDb::new().await;
    let (tenant, tenant_db) = db.tenant("acme").await;
    write(&db, &tenant_db, 501).await;
    assert_eq!(audit::verify(&tenant_db).await.unwrap().entries, 501);
    let mut superuser = db.superuser().await;
    let statement = format!("DELETE FROM {}.audit_entries WHERE seq = 500", tenant.id.schema());
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut superuser).await.unwrap();
    let broken = audit::verify(&tenant_db).await.unwrap().broken.unwrap();
    assert_eq!((broken.seq, broken.fault), (500, Fault::Missing));
}

#[tokio::test]
async fn one_changed_byte_names_its_entry() {
    let found = tampered("UPDATE audit_entries SET detail = replace(detail, '0.1', '0.2') WHERE seq = 4").await;
    let broken = found.broken.unwrap();
    assert_eq!((found.entries, broken.seq, broken.fault), (7, 4, Fault::Altered));
    assert!(broken.why.contains("altered"), "{}", broken.why);
}

#[tokio::test]
async fn every_column_is_sealed() {
    for change in [
        "at = at + interval '1 microsecond'",
        "at = 'infinity'",
        "actor = replace(actor, 'user', 'User')",
        "actor = actor || ' '",
        "action = 'test.undone'",
        "run = gen_random_uuid()",
        "subject = NULL",
        "detail = detail || ' '",
        "hash = decode(repeat('00', 32), 'hex')",
    ] {
        let statement = format!(
            "ALTER TABLE audit_entries DROP CONSTRAINT IF EXISTS audit_entries_at_check;
             UPDATE audit_entries SET {change} WHERE seq = 3"
        );
        assert_eq!(first_fault(&statement).await, Some((3, Fault::Altered)), "{change}");
    }
    let relinked = "UPDATE audit_entries SET previous = decode(repeat('00', 32), 'hex') WHERE seq = 3";
    assert_eq!(first_fault(relinked).await, Some((3, Fault::Altered)));
}

#[tokio::test]
async fn a_deleted_entry_is_missed() {
    assert_eq!(first_fault("DELETE FROM audit_entries WHERE seq = 1").await, Some((1, Fault::Missing)));
    assert_eq!(first_fault("DELETE FROM audit_entries WHERE seq IN (3, 5)").await, Some((3, Fault::Missing)));
}

#[tokio::test]
async fn entries_that_changed_places_are_found() {
    let swap = "UPDATE audit_entries SET seq = 100 WHERE seq = 3; UPDATE audit_entries SET seq = 3 WHERE seq = 5;
                UPDATE audit_entries SET seq = 5 WHERE seq = 100";
    assert_eq!(first_fault(swap).await, Some((3, Fault::Altered)));
}

#[tokio::test]
async fn a_forged_entry_is_found_at_the_end_and_before_the_beginning() {
    let forge = |seq: i64| {
        format!(
            "ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_seq_check;
             INSERT INTO audit_entries SELECT {seq}, at, actor, action, run, subject, detail, hash, hash
             FROM audit_entries WHERE seq = 7"
        )
    };
    assert_eq!(first_fault(&forge(8)).await, Some((8, Fault::Altered)));
    assert_eq!(first_fault(&forge(0)).await, Some((0, Fault::Altered)));
    assert_eq!(first_fault(&forge(9)).await, Some((8, Fault::Missing)));
}

#[tokio::test]
async fn the_tenants_role_may_add_but_neither_change_nor_remove() {
    let db = TestDb::new().await;
    let (_, tenant) = db.tenant("acme").await;
    write(&db, &tenant, 1).await;
    for statement in [
        "UPDATE audit_entries SET action = 'x'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "DROP TABLE audit_entries",
        "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
        "INSERT INTO audit_entries SELECT * FROM audit_entries ON CONFLICT (seq) DO UPDATE SET action = 'x'",
    ] {
        let error = sqlx::query(AssertSqlSafe(statement)).execute(tenant.pool()).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
    }
    let verified = audit::verify(&tenant).await.unwrap();
    assert_eq!((verified.entries, verified.broken), (1, None));
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_any_more_is_told_and_not_hidden() {
    let db = TestDb::new().await;
    let (tenant, tenant_db) = db.tenant("acme").await;
    let run = RunId::generate();
    audit::append(&tenant_db, &*db.clock, entry(1, Some(run))).await.unwrap();
    let mut superuser = db.superuser().await;
    let statement = format!("UPDATE {}.audit_entries SET detail = '{{'", tenant.id.schema());
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut superuser).await.unwrap();
    let error = audit::of_run(&tenant_db, run).await.unwrap_err();
    assert!(error.to_string().contains("entry 1") && error.to_string().contains("aegis audit verify"), "{error}");
}
