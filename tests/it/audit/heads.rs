//! The heads beside the database: a tail that was cut off, a log that was written anew, several nodes, long logs.

use std::{sync::Arc, time::Instant};

use aegis::{
    audit::{self, Fault, HeadFiles, Log, Verification},
    db::{Databases, TenantDb, Witness as _},
    support::{clock::SharedClock, ids::TenantId},
    vault::ApplianceKey,
};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use super::{entry, write};
use crate::harness::{TestDb, database::settings};

/// A database, and a data directory with the heads of its logs.
pub struct Watched {
    pub db: TestDb,
    pub directory: TempDir,
    pub heads: Arc<HeadFiles>,
    pub tenant: TenantDb,
}

impl Watched {
    pub async fn new() -> Self {
        let db = TestDb::new().await;
        let directory = tempfile::tempdir().unwrap();
        let heads = HeadFiles::open(directory.path(), key()).unwrap();
        let _ = db.databases.clone().with_witness(heads.clone());
        let (_, tenant) = db.tenant("acme").await;
        Self { db, directory, heads, tenant }
    }

    /// Another process on the same database, with the heads of this or another directory.
    pub async fn another_node(&self, directory: &TempDir) -> (Databases, Arc<HeadFiles>) {
        let heads = HeadFiles::open(directory.path(), key()).unwrap();
        let databases = Databases::open(self.db.server().clone(), &settings()).await.unwrap();
        (databases.with_witness(heads.clone()), heads)
    }

    /// What a restart finds.
    async fn after_a_restart(&self) -> (TenantDb, Databases) {
        self.heads.flush();
        let (databases, _) = self.another_node(&self.directory).await;
        (databases.tenant(self.tenant.tenant()).await.unwrap(), databases)
    }

    pub async fn as_superuser(&self, statement: &str) {
        as_superuser(&self.db, self.tenant.tenant(), statement).await;
    }

    async fn broken(&self, log: &TenantDb) -> Option<(i64, Fault)> {
        audit::verify(log).await.unwrap().broken.map(|broken| (broken.seq, broken.fault))
    }
}

pub fn key() -> ApplianceKey {
    ApplianceKey::from_bytes([1; 32])
}

pub async fn as_superuser(db: &TestDb, tenant: &TenantId, statement: &str) {
    let mut superuser = db.superuser().await;
    let statement = format!("SET search_path TO {}; {statement}", tenant.schema());
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut superuser).await.unwrap();
}

fn why(found: &Verification) -> &str {
    &found.broken.as_ref().expect("it is broken").why
}

#[tokio::test]
async fn a_tail_that_was_cut_off_is_found_by_the_head_outside_even_after_a_restart() {
    let watched = Watched::new().await;
    write(&watched.db, &watched.tenant, 100).await;
    watched.as_superuser("DELETE FROM audit_entries WHERE seq > 90").await;

    let found = audit::verify(&watched.tenant).await.unwrap();
    assert_eq!((found.entries, found.witnessed), (90, Some(100)));
    assert!(
        why(&found).starts_with("entries 91–100 are missing: the head kept outside the database says 100"),
        "{found:?}"
    );

    let (restarted, databases) = watched.after_a_restart().await;
    assert_eq!(watched.broken(&restarted).await, Some((91, Fault::CutOff)));

    // Whoever cut it hopes that the next entries cover it up.
    for number in 0..30 {
        audit::append(&restarted, &*watched.db.clock, entry(number, None)).await.unwrap();
    }
    let found = audit::verify(&restarted).await.unwrap();
    assert_eq!((found.entries, found.witnessed), (120, Some(100)), "the evidence is not written over");
    assert_eq!(watched.broken(&restarted).await, Some((100, Fault::Replaced)));
    databases.close().await;
    let (restarted, _databases) = watched.after_a_restart().await;
    assert_eq!(watched.broken(&restarted).await, Some((100, Fault::Replaced)));
}

#[tokio::test]
async fn a_log_that_was_emptied_is_found() {
    let watched = Watched::new().await;
    write(&watched.db, &watched.tenant, 3).await;
    watched.as_superuser("TRUNCATE audit_entries").await;
    let found = audit::verify(&watched.tenant).await.unwrap();
    assert!(why(&found).starts_with("entries 1–3 are missing"), "{found:?}");
    audit::append(&watched.tenant, &*watched.db.clock, entry(1, None)).await.unwrap();
    assert!(watched.broken(&watched.tenant).await.is_some(), "a new beginning does not hide the old one");
}

#[tokio::test]
async fn a_log_of_one_tenant_says_nothing_about_anothers() {
    let watched = Watched::new().await;
    let (_, beta) = watched.db.tenant("beta").await;
    write(&watched.db, &watched.tenant, 5).await;
    write(&watched.db, &beta, 2).await;
    watched.as_superuser("DELETE FROM audit_entries WHERE seq = 5").await;
    assert_eq!(watched.broken(&watched.tenant).await, Some((5, Fault::CutOff)));
    assert_eq!(watched.broken(&beta).await, None);

    let appliance = Log::of_appliance(&watched.db.databases);
    audit::append(&appliance, &*watched.db.clock, entry(1, None)).await.unwrap();
    let found = audit::verify(&appliance).await.unwrap();
    assert_eq!((found.entries, found.witnessed, found.broken), (1, Some(1), None));
}

#[tokio::test]
async fn a_file_that_lags_behind_names_an_ancestor() {
    let watched = Watched::new().await;
    write(&watched.db, &watched.tenant, 4).await;
    watched.heads.flush();
    // Killed before the next write: the file says 4, the log has 7.
    let file = watched.directory.path().join("audit-heads").join(watched.tenant.tenant().as_str());
    let old = std::fs::read(&file).unwrap();
    write(&watched.db, &watched.tenant, 3).await;
    watched.heads.flush();
    std::fs::write(&file, old).unwrap();

    let (databases, heads) = watched.another_node(&watched.directory).await;
    let restarted = databases.tenant(watched.tenant.tenant()).await.unwrap();
    let found = audit::verify(&restarted).await.unwrap();
    assert_eq!((found.entries, found.witnessed, found.broken), (7, Some(4), None));
    audit::append(&restarted, &*watched.db.clock, entry(1, None)).await.unwrap();
    assert_eq!(audit::verify(&restarted).await.unwrap().witnessed, Some(8), "and catches up with the next entry");
    heads.flush();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_on_two_nodes_never_fork_the_chain_and_both_heads_stay_ancestors() {
    let watched = Watched::new().await;
    let other_directory = tempfile::tempdir().unwrap();
    let (databases, other_heads) = watched.another_node(&other_directory).await;
    let other = databases.tenant(watched.tenant.tenant()).await.unwrap();
    let clock: SharedClock = watched.db.shared_clock();
    let writers: Vec<_> = (0..12)
        .map(|writer| {
            let log = if writer % 2 == 0 { watched.tenant.clone() } else { other.clone() };
            let clock = clock.clone();
            tokio::spawn(async move {
                for number in 0..25 {
                    audit::append(&log, &*clock, entry(writer * 100 + number, None)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for (log, heads) in [(&watched.tenant, &watched.heads), (&other, &other_heads)] {
        heads.flush();
        let found = audit::verify(log).await.unwrap();
        assert_eq!((found.entries, found.broken), (300, None));
        assert!(found.witnessed.is_some_and(|seq| (1..=300).contains(&seq)), "{:?}", found.witnessed);
    }
}

#[tokio::test]
async fn a_hundred_thousand_entries_are_verified_and_exported_in_one_walk() {
    let watched = Watched::new().await;
    write(&watched.db, &watched.tenant, 1).await;
    // Written by the database itself, by the description in chain.rs: as good a check of it as any.
    watched
        .as_superuser(
            "DO $$
             DECLARE
                 place bigint := 1; before bytea; sealed bytea; detail text; moment timestamptz := '2026-05-02';
                 who text := '{\"type\":\"system\"}'; what text := 'document.added';
             BEGIN
                 SELECT hash INTO before FROM audit_entries WHERE seq = 1;
                 FOR place IN 2..100000 LOOP
                     detail := '{\"number\":' || place || ',\"text\":\"' || repeat('x', 200) || '\"}';
                     sealed := sha256('AEGIS audit entry v1'::bytea || '\\x00'::bytea || before || int8send(place)
                         || int8send((extract(epoch FROM moment) * 1000000)::bigint)
                         || int8send(length(who)) || who::bytea || int8send(length(what)) || what::bytea
                         || '\\x0000'::bytea || int8send(length(detail)) || detail::bytea);
                     INSERT INTO audit_entries VALUES (place, moment, who, what, NULL, NULL, detail, before, sealed);
                     before := sealed;
                 END LOOP;
             END $$",
        )
        .await;
    let began = Instant::now();
    let found = audit::verify(&watched.tenant).await.unwrap();
    println!("100,000 entries verified in {} ms", began.elapsed().as_millis());
    assert_eq!((found.entries, found.broken), (100_000, None));

    watched.as_superuser("UPDATE audit_entries SET detail = replace(detail, 'xx', 'xy') WHERE seq = 99998").await;
    assert_eq!(watched.broken(&watched.tenant).await, Some((99_998, Fault::Altered)));
}
