//! Keys are replaced while secrets are being used, and a rotation that is cut off anywhere is finished later.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use aegis::{audit::Actor, support::SystemClock};

use super::Vault;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_key_is_rotated_while_readers_and_writers_go_on() {
    let vault = Arc::new(Vault::new().await);
    let (_, db) = vault.db.tenant("acme").await;
    for n in 0..20 {
        vault.set(&db, &format!("n{n}"), &format!("value {n}")).await;
    }
    let before: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT sealed FROM secrets ORDER BY name").fetch_all(db.pool()).await.unwrap();
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let user = tokio::spawn({
        let (vault, db, stop, reads) = (Arc::clone(&vault), db.clone(), Arc::clone(&stop), Arc::clone(&reads));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let n = reads.fetch_add(1, Ordering::Relaxed) % 20;
                assert_eq!(vault.value(&db, &format!("n{n}")).await.unwrap(), format!("value {n}"));
                vault.set(&db, "changing", &format!("value {n}")).await;
            }
        }
    });
    let mut recipients = Vec::new();
    for _ in 0..5 {
        let before = reads.load(Ordering::Relaxed);
        let done = vault.secrets.rotate_tenant(&db, Actor::Operator).await.unwrap();
        assert!(done.secrets >= 20);
        recipients.push(done.recipient);
        while reads.load(Ordering::Relaxed) < before + 2 {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    user.await.unwrap();
    recipients.dedup();
    assert_eq!(recipients.len(), 5, "each rotation makes a new key");
    let after: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT sealed FROM secrets ORDER BY name").fetch_all(db.pool()).await.unwrap();
    assert!(before.iter().all(|value| !after.contains(value)), "every value was encrypted again");
    assert!(vault.value(&db, "changing").await.unwrap().starts_with("value "));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_appliances_key_is_rotated_while_secrets_are_used_and_the_old_one_then_opens_nothing() {
    let vault = Arc::new(Vault::new().await);
    let (_, a) = vault.db.tenant("tenant-a").await;
    let (_, b) = vault.db.tenant("tenant-b").await;
    vault.db.tenant("tenant-c").await;
    vault.set(&a, "one", "value of a").await;
    vault.set(&b, "one", "value of b").await;
    let old = vault.keyring.sealing().await.current().clone();
    let stop = Arc::new(AtomicBool::new(false));
    let user = tokio::spawn({
        let (vault, a, b, stop) = (Arc::clone(&vault), a.clone(), b.clone(), Arc::clone(&stop));
        async move {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(vault.value(&a, "one").await.unwrap(), "value of a");
                assert_eq!(vault.value(&b, "one").await.unwrap(), "value of b");
                reads += 1;
            }
            reads
        }
    });
    let done = vault.secrets.rotate_appliance(Actor::Operator).await.unwrap();
    assert!(!done.resumed && done.left.is_empty(), "{done:?}");
    assert_eq!(done.resealed, 2, "a tenant without secrets has no key");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    stop.store(true, Ordering::Relaxed);
    assert!(user.await.unwrap() > 0);

    let status = vault.secrets.key_status().await.unwrap();
    assert_eq!((status.tenants, status.not_resealed.len(), status.overview.previous.len()), (2, 0, 0));
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT sealed FROM secret_key").fetch_one(a.pool()).await.unwrap();
    assert!(old.open(&sealed).is_none());
    let file = std::fs::read_to_string(aegis::vault::Keyring::path(vault.home.path())).unwrap();
    assert!(!file.contains(old.reveal().reveal()), "the old key is in the file no more");
}

/// The states in which a kill can leave the two: the file with both keys and no tenant sealed again, some, or all.
#[tokio::test]
async fn a_rotation_cut_off_after_any_step_is_finished_by_the_next_start() {
    use aegis::support::Clock as _;
    for resealed_before_the_cut in 0..=3 {
        let mut vault = Vault::new().await;
        let mut tenants = Vec::new();
        for slug in ["tenant-a", "tenant-b", "tenant-c"] {
            let (_, db) = vault.db.tenant(slug).await;
            vault.set(&db, "one", slug).await;
            tenants.push((slug, db));
        }
        vault.keyring.begin_rotation(SystemClock.now()).await.unwrap();
        for (_, db) in &tenants[..resealed_before_the_cut] {
            assert!(vault.secrets.reseal(db, &Actor::System).await.unwrap());
        }
        vault.restart();
        for (slug, db) in &tenants {
            assert_eq!(vault.value(db, "one").await.unwrap(), *slug, "all is readable before it is finished");
        }
        let status = vault.secrets.key_status().await.unwrap();
        assert_eq!(status.not_resealed.len(), 3 - resealed_before_the_cut);
        assert_eq!(status.overview.previous.len(), 1);

        let done = vault.secrets.rotate_appliance(Actor::Operator).await.unwrap();
        assert!(done.resumed, "no third key is made");
        assert_eq!((done.resealed, done.left.len()), (3 - resealed_before_the_cut, 0));
        vault.restart();
        for (slug, db) in &tenants {
            assert_eq!(vault.value(db, "one").await.unwrap(), *slug);
        }
        assert!(vault.secrets.key_status().await.unwrap().overview.previous.is_empty());
    }
}

#[tokio::test]
async fn a_tenant_whose_key_cannot_be_opened_keeps_the_old_key_and_is_named() {
    let vault = Vault::new().await;
    let ((_, a), (_, b)) = (vault.db.tenant("tenant-a").await, vault.db.tenant("tenant-b").await);
    vault.set(&a, "one", "value of a").await;
    vault.set(&b, "one", "value of b").await;
    let whole: Vec<u8> = sqlx::query_scalar("SELECT sealed FROM secret_key").fetch_one(a.pool()).await.unwrap();
    sqlx::query("UPDATE secret_key SET sealed = 'damaged'").execute(a.pool()).await.unwrap();
    let done = vault.secrets.rotate_appliance(Actor::Operator).await.unwrap();
    assert_eq!(done.resealed, 1);
    assert_eq!(done.left[0].0, "tenant-a");
    assert_eq!(vault.value(&b, "one").await.unwrap(), "value of b");

    // Put right, for instance from a backup, the next attempt goes on with the old key that was kept.
    sqlx::query("UPDATE secret_key SET sealed = $1").bind(whole).execute(a.pool()).await.unwrap();
    let done = vault.secrets.rotate_appliance(Actor::Operator).await.unwrap();
    assert!(done.resumed && done.left.is_empty() && done.resealed == 1, "{done:?}");
    assert_eq!(vault.value(&a, "one").await.unwrap(), "value of a");
}

#[tokio::test]
async fn a_suspended_tenants_secrets_survive_any_number_of_rotations() {
    let vault = Vault::new().await;
    let tenants = vault.db.tenants();
    let (a, a_db) = vault.db.tenant("tenant-a").await;
    let (_, b) = vault.db.tenant("tenant-b").await;
    vault.set(&a_db, "one", "value of a").await;
    vault.set(&b, "one", "value of b").await;
    drop(a_db);
    tenants.suspend(&a.id, "a test", &Actor::Operator).await.unwrap();
    for _ in 0..2 {
        let done = vault.secrets.rotate_appliance(Actor::Operator).await.unwrap();
        assert!(!done.resumed && done.left.is_empty(), "{done:?}");
        assert_eq!((done.resealed, done.waiting), (1, vec!["tenant-a".to_owned()]));
    }
    let status = vault.secrets.key_status().await.unwrap();
    assert_eq!((status.overview.previous.len(), status.waiting.len()), (2, 1));

    tenants.resume(&a.id, &Actor::Operator).await.unwrap();
    let a_db = tenants.open(&a).await.unwrap();
    assert_eq!(vault.value(&a_db, "one").await.unwrap(), "value of a", "the key from before both is still there");
    vault.secrets.resume_rotation().await.unwrap();
    let status = vault.secrets.key_status().await.unwrap();
    assert_eq!((status.overview.previous.len(), status.not_resealed.len(), status.tenants), (0, 0, 2));
    assert_eq!(vault.value(&a_db, "one").await.unwrap(), "value of a");
}
