//! Cutting a log: signed, refused for a broken one, found out when it is forged.

use aegis::{
    audit::{self, Actor, Fault},
    support::{Clock as _, Kind},
};
use chrono::Duration;
use sqlx::AssertSqlSafe;

use super::{heads::Watched, write};

/// Ten entries of yesterday, five of today; then what was before today is removed.
async fn pruned() -> Watched {
    let watched = Watched::new().await;
    write(&watched.db, &watched.tenant, 10).await;
    watched.db.clock.advance(Duration::days(1));
    write(&watched.db, &watched.tenant, 5).await;
    let pruned = prune(&watched).await.unwrap().expect("there was something to remove");
    assert_eq!((pruned.removed, pruned.through), (10, 10));
    watched
}

async fn prune(watched: &Watched) -> aegis::support::Result<Option<audit::Pruned>> {
    let clock = &*watched.db.clock;
    audit::prune(&watched.db.databases, &watched.tenant, clock, Actor::Operator, clock.now()).await
}

async fn broken(watched: &Watched) -> Option<(i64, Fault)> {
    audit::verify(&watched.tenant).await.unwrap().broken.map(|broken| (broken.seq, broken.fault))
}

#[tokio::test]
async fn a_pruned_log_verifies_from_its_checkpoint_and_says_what_was_removed() {
    let watched = pruned().await;
    let found = audit::verify(&watched.tenant).await.unwrap();
    assert_eq!((found.entries, found.broken), (6, None), "five of today, and that of the removal");
    let checkpoint = found.checkpoint.expect("a checkpoint");
    assert_eq!((checkpoint.seq, checkpoint.removed), (10, 10));
    let entry = audit::newest_of(&watched.tenant, audit::Action::AuditPruned).await.unwrap().expect("an entry");
    assert_eq!((entry.actor, entry.seq), (Actor::Operator, 16));
    assert_eq!(entry.detail["through"], 10);

    assert_eq!(prune(&watched).await.unwrap(), None, "there is nothing more to remove");
    watched.db.clock.advance(Duration::days(1));
    let again = prune(&watched).await.unwrap().expect("the rest but for the newest");
    assert_eq!((again.removed, again.through), (5, 15));
    let found = audit::verify(&watched.tenant).await.unwrap();
    assert_eq!((found.entries, found.broken), (2, None), "the newest entry stays, whatever its age");
}

#[tokio::test]
async fn a_broken_log_is_not_pruned() {
    let watched = Watched::new().await;
    write(&watched.db, &watched.tenant, 5).await;
    watched.as_superuser("UPDATE audit_entries SET action = 'x' WHERE seq = 5").await;
    watched.db.clock.advance(Duration::days(1));
    let error = prune(&watched).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(
        error.message().contains("broken at entry 5") && error.message().contains("Nothing was removed"),
        "{error}"
    );
    assert_eq!(audit::verify(&watched.tenant).await.unwrap().entries, 5);
}

#[tokio::test]
async fn a_checkpoint_that_this_appliance_did_not_sign_is_found() {
    for forgery in [
        // Somebody with the database's superuser removes entries as if they had been pruned.
        "INSERT INTO audit_checkpoints SELECT seq, hash, now(), 2, repeat('0', 64) FROM audit_entries WHERE seq = 12;
         DELETE FROM audit_entries WHERE seq <= 12",
        "INSERT INTO audit_checkpoints SELECT 12, hash, at, removed, signature FROM audit_checkpoints WHERE seq = 10;
         DELETE FROM audit_entries WHERE seq <= 12",
        "UPDATE audit_checkpoints SET at = at - interval '1 day'",
        "UPDATE audit_checkpoints SET removed = 3",
        "UPDATE audit_checkpoints SET hash = decode(repeat('ab', 32), 'hex')",
    ] {
        let watched = pruned().await;
        assert_eq!(broken(&watched).await, None);
        watched.as_superuser(forgery).await;
        let (_, fault) = broken(&watched).await.expect(forgery);
        assert_eq!(fault, Fault::Forged, "{forgery}");
    }
}

#[tokio::test]
async fn removing_the_checkpoint_or_more_than_it_says_is_found() {
    let watched = pruned().await;
    watched.as_superuser("DELETE FROM audit_entries WHERE seq = 11").await;
    assert_eq!(broken(&watched).await, Some((11, Fault::Missing)));

    let watched = pruned().await;
    watched.as_superuser("DELETE FROM audit_checkpoints").await;
    assert_eq!(broken(&watched).await, Some((1, Fault::Missing)));

    let watched = pruned().await;
    watched
        .as_superuser("INSERT INTO audit_entries SELECT 9, at, actor, action, run, subject, detail, previous, hash FROM audit_entries WHERE seq = 12")
        .await;
    assert_eq!(broken(&watched).await, Some((9, Fault::Surplus)));
}

#[tokio::test]
async fn the_tenants_role_can_make_no_checkpoint_and_the_appliances_role_no_change_to_its_own_log() {
    let watched = pruned().await;
    let refused = async |pool: &sqlx::PgPool, statement: &str| {
        let error = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(pool).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
    };
    for statement in [
        "INSERT INTO audit_checkpoints SELECT seq, hash, at, 1, 'x' FROM audit_entries",
        "UPDATE audit_checkpoints SET removed = 1",
        "DELETE FROM audit_checkpoints",
    ] {
        refused(watched.tenant.pool(), statement).await;
        refused(watched.db.databases.control(), statement).await;
    }
    refused(watched.db.databases.control(), "UPDATE audit_entries SET action = 'x'").await;
    refused(watched.db.databases.control(), "DELETE FROM audit_entries").await;
}
