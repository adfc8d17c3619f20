//! Creating tenants, finding them again, and bringing them up to date.

mod life_cycle;
mod operator;
mod removal;
mod scale;

use aegis::{db::Databases, support::Kind};
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;

use crate::harness::{TestDb, database::settings};

#[tokio::test]
async fn a_tenant_is_found_by_its_slug_once_it_is_created() {
    let db = TestDb::new().await;
    let tenants = db.tenants();
    let acme = tenants.create(&"acme".parse().unwrap(), " Acme Ltd ").await.unwrap();
    assert_eq!(acme.name, "Acme Ltd");
    assert_eq!(tenants.by_slug(&acme.slug).await.unwrap().as_ref(), Some(&acme));
    assert_eq!(tenants.by_id(&acme.id).await.unwrap().as_ref(), Some(&acme));
    assert_eq!(tenants.by_slug(&"other".parse().unwrap()).await.unwrap(), None);
    let beta = tenants.create(&"beta".parse().unwrap(), "Beta").await.unwrap();
    assert_eq!(tenants.list().await.unwrap(), [acme, beta]);
}

#[tokio::test]
async fn a_slug_is_given_once() {
    let db = TestDb::new().await;
    db.tenant("acme").await;
    let error = db.tenants().create(&"acme".parse().unwrap(), "Another").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(db.tenants().list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_interrupted_creation_is_invisible_and_the_next_start_finishes_it() {
    let db = TestDb::new().await;
    let (acme, connection) = db.tenant("acme").await;
    drop(connection);
    let mut superuser = db.superuser().await;
    for statement in [
        "UPDATE control.tenants SET state = 'creating'",
        "DELETE FROM control.tenant_schemas",
        &format!("DROP SCHEMA {} CASCADE", acme.id.schema()),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut superuser).await.unwrap();
    }
    assert_eq!(db.tenants().by_slug(&acme.slug).await.unwrap(), None);

    assert_eq!(db.tenants().repair().await.unwrap(), 1);

    assert_eq!(db.tenants().by_slug(&acme.slug).await.unwrap(), Some(acme.clone()));
    let tenant = db.databases.tenant(&acme.id).await.unwrap();
    let role: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(tenant.pool()).await.unwrap();
    assert_eq!(role, acme.id.schema());
    assert_eq!(db.tenants().repair().await.unwrap(), 0);
}

#[tokio::test]
async fn many_tenants_share_few_pools() {
    let db = TestDb::new().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(db.tenants().create(&format!("tenant-{n}").parse().unwrap(), "T").await.unwrap().id);
    }
    for id in ids.iter().chain(&ids) {
        let tenant = db.databases.tenant(id).await.unwrap();
        let role: String = sqlx::query_scalar("SELECT session_user::text").fetch_one(tenant.pool()).await.unwrap();
        assert_eq!(role, id.schema());
    }
    assert_eq!(db.databases.open_tenants(), 4, "as many as the settings allow");
}

#[tokio::test]
async fn a_start_brings_tenants_of_an_older_binary_up_to_date() {
    let db = TestDb::new().await;
    let (acme, _) = db.tenant("acme").await;
    let group = format!("{}_tenants", db.server().database());
    let mut superuser = db.superuser().await;
    let lose =
        format!("UPDATE control.tenant_schemas SET fingerprint = 'old'; REVOKE {group} FROM {}", acme.id.schema());
    sqlx::raw_sql(sqlx::AssertSqlSafe(lose)).execute(&mut superuser).await.unwrap();

    let again = Databases::open(db.server().clone(), &settings()).await.unwrap();
    assert_eq!(again.upkeep(), Some((0, 1)));
    assert_eq!(again.tenant(&acme.id).await.unwrap_err().kind(), Kind::Unavailable, "not before its turn");
    assert_eq!(again.bring_up_to_date(&CancellationToken::new()).await, (1, 0));
    assert_eq!(again.upkeep(), None);

    let tenant = again.tenant(&acme.id).await.unwrap();
    let vector: String = sqlx::query_scalar("SELECT '[1,2]'::vector::text").fetch_one(tenant.pool()).await.unwrap();
    assert_eq!(vector, "[1,2]");
}

#[tokio::test]
async fn one_tenant_that_cannot_be_brought_up_to_date_is_refused_and_keeps_nobody_else_waiting() {
    let db = TestDb::new().await;
    let (sick, _) = db.tenant("sick").await;
    let (sound, _) = db.tenant("sound").await;
    // Its history says that a migration of another text has been applied.
    let spoil = format!(
        "UPDATE control.tenant_schemas SET fingerprint = 'old';
         UPDATE {}.refinery_schema_history SET checksum = '1' WHERE version = 1",
        sick.id.schema()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(spoil)).execute(&mut db.superuser().await).await.unwrap();

    let again = Databases::open(db.server().clone(), &settings()).await.unwrap();
    assert_eq!(again.bring_up_to_date(&CancellationToken::new()).await, (1, 1));
    assert_eq!(again.upkeep(), None, "none waits any more");
    again.tenant(&sound.id).await.unwrap();
    let error = again.tenant(&sick.id).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.remedy_text().unwrap().contains("aegis doctor"), "{error}");
    let refused = again.refused();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].0 == sick.id && !refused[0].1.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn bringing_tenants_up_to_date_goes_on_where_it_was_cut_off() {
    let db = TestDb::new().await;
    for n in 0..8 {
        db.tenant(&format!("tenant-{n}")).await;
    }
    sqlx::raw_sql("UPDATE control.tenant_schemas SET fingerprint = 'old'")
        .execute(&mut db.superuser().await)
        .await
        .unwrap();
    // Somebody holds four in the middle, as many as are brought up to date at once, so that none begins behind them.
    let mut superuser = db.superuser().await;
    let mut held = superuser.begin().await.unwrap();
    sqlx::query(
        "SELECT FROM control.tenant_schemas
         WHERE tenant IN (SELECT tenant FROM control.tenant_schemas ORDER BY tenant COLLATE \"C\" OFFSET 2 LIMIT 4)
         FOR UPDATE",
    )
    .execute(&mut *held)
    .await
    .unwrap();
    let stop = CancellationToken::new();
    let first = Databases::open(db.server().clone(), &settings()).await.unwrap();
    assert_eq!(first.upkeep(), Some((0, 8)));
    let (result, ()) = tokio::join!(first.bring_up_to_date(&stop), async {
        while first.upkeep().is_some_and(|(done, _)| done < 2) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        stop.cancel();
        held.rollback().await.unwrap();
    });
    // What was under way is finished, or had not begun; the last two never began.
    let done = result.0;
    assert!((2..=6).contains(&done) && result.1 == 0, "{result:?}");

    let second = Databases::open(db.server().clone(), &settings()).await.unwrap();
    assert_eq!(second.upkeep(), Some((0, 8 - done)), "what is done is done");
    assert_eq!(second.bring_up_to_date(&CancellationToken::new()).await, (8 - done, 0));
}
