//! Creating tenants, and finding them again.

use aegis::support::Kind;

use crate::harness::TestDb;

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
    let mut superuser = db.superuser().await;
    let lose = format!(
        "UPDATE control.tenant_schemas SET fingerprint = 'old'; REVOKE USAGE ON SCHEMA extensions FROM {}",
        acme.id.schema()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(lose)).execute(&mut superuser).await.unwrap();

    let again = aegis::db::Databases::open(db.server().clone(), &crate::harness::database::settings()).await.unwrap();

    let tenant = again.tenant(&acme.id).await.unwrap();
    let vector: String = sqlx::query_scalar("SELECT '[1,2]'::vector::text").fetch_one(tenant.pool()).await.unwrap();
    assert_eq!(vector, "[1,2]");
}
