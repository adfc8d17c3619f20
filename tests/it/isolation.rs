//! One tenant's role against everything that is another's: each object of the database, and each way around that has
//! been seen to work elsewhere.

mod attacks;
mod interleaving;
mod matrix;

use aegis::{
    db::{Databases, TenantDb},
    tenants::Tenant,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use crate::harness::{TestDb, database::settings, server::connect};

/// SQLSTATE of "permission denied".
const DENIED: &str = "42501";

/// Two tenants; the second has a table with a secret beside those that every tenant has.
async fn two_tenants(db: &TestDb) -> (TenantDb, Tenant) {
    let (_, a) = db.tenant("tenant-a").await;
    let (b, _) = db.tenant("tenant-b").await;
    let (schema, owner) = (b.id.schema(), b.id.owner_role());
    let secret = format!(
        "SET ROLE {owner};
         CREATE TABLE {schema}.hoard (id bigint GENERATED ALWAYS AS IDENTITY, body tsvector DEFAULT 'treasure');
         CREATE VIEW {schema}.hoard_view AS SELECT * FROM {schema}.hoard;
         CREATE TYPE {schema}.mood AS ENUM ('good', 'bad');
         CREATE FUNCTION {schema}.reveal() RETURNS bigint LANGUAGE sql SECURITY DEFINER
             AS 'SELECT count(*) FROM {schema}.hoard';
         INSERT INTO {schema}.hoard DEFAULT VALUES;
         RESET ROLE"
    );
    run(&mut db.superuser().await, &secret).await.unwrap();
    (a, b)
}

async fn run(connection: &mut PgConnection, statements: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.map(drop)
}

/// The SQLSTATE that the statement is refused with, over the extended protocol as the appliance speaks it.
async fn refused(pool: &PgPool, statement: &str) -> String {
    match sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(pool).await {
        Err(sqlx::Error::Database(error)) => error.code().unwrap_or_default().into_owned(),
        Err(other) => panic!("{statement}: {other}"),
        Ok(_) => panic!("not refused: {statement}"),
    }
}

async fn all_denied(pool: &PgPool, statements: &[String]) {
    for statement in statements {
        assert_eq!(refused(pool, statement).await, DENIED, "{statement}");
    }
}

async fn names(db: &TestDb, query: &'static str, schema: &str) -> Vec<String> {
    sqlx::query_scalar(query).bind(schema).fetch_all(&mut db.superuser().await).await.unwrap()
}

#[tokio::test]
async fn a_tenants_role_is_denied_on_every_object_of_another_tenant() {
    let db = TestDb::new().await;
    let (a, b) = two_tenants(&db).await;
    let schema = b.id.schema();
    let relations = names(
        &db,
        "SELECT oid::regclass::text FROM pg_class
         WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')",
        &schema,
    )
    .await;
    assert!(relations.iter().any(|name| name.ends_with(".audit_entries")), "{relations:?}");
    assert!(relations.iter().any(|name| name.ends_with(".hoard_view")), "{relations:?}");
    for relation in &relations {
        all_denied(
            a.pool(),
            &[
                format!("SELECT FROM {relation}"),
                format!("SELECT count(*) FROM {relation}"),
                format!("INSERT INTO {relation} DEFAULT VALUES"),
                format!("DELETE FROM {relation}"),
                format!("TRUNCATE {relation}"),
                format!("COPY {relation} TO STDOUT"),
                format!("CREATE TABLE mine (LIKE {relation})"),
                format!("COMMENT ON TABLE {relation} IS 'mine'"),
                format!("ALTER TABLE {relation} RENAME TO mine"),
                format!("DROP TABLE {relation}"),
                format!("GRANT SELECT ON {relation} TO {}", a.tenant().schema()),
            ],
        )
        .await;
    }
    let columns = names(
        &db,
        "SELECT format('%s SET %I = %I', attrelid::regclass, attname, attname)
         FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
         WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' AND attnum > 0 AND attgenerated = ''
           AND attidentity = '' AND NOT attisdropped",
        &schema,
    )
    .await;
    for column in &columns {
        assert_eq!(refused(a.pool(), &format!("UPDATE {column}")).await, DENIED, "{column}");
    }
    let sequences = names(
        &db,
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'S'",
        &schema,
    )
    .await;
    assert!(!sequences.is_empty());
    for sequence in &sequences {
        all_denied(
            a.pool(),
            &[
                format!("SELECT nextval('{sequence}')"),
                format!("SELECT setval('{sequence}', 1)"),
                format!("SELECT last_value FROM {sequence}"),
            ],
        )
        .await;
    }
    all_denied(
        a.pool(),
        &[
            format!("SELECT {schema}.reveal()"),
            format!("SELECT 'good'::{schema}.mood"),
            format!("CREATE TABLE {schema}.mine ()"),
            format!("CREATE FUNCTION {schema}.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
            format!("DROP SCHEMA {schema} CASCADE"),
            format!("ALTER SCHEMA {schema} OWNER TO {}", a.tenant().schema()),
            format!("GRANT USAGE ON SCHEMA {schema} TO {}", a.tenant().schema()),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_tenants_role_has_no_privilege_outside_its_schema() {
    let db = TestDb::new().await;
    let (a, _) = two_tenants(&db).await;
    // What the catalogs say, for all relations and sequences of all schemas that are not PostgreSQL's own.
    let allowed: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text || ' ' || p.privilege
         FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace
         CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER',
                                 'MAINTAIN']) AS p(privilege)
         WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname <> $1
           AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND has_table_privilege($1, c.oid, p.privilege)",
    )
    .bind(a.tenant().schema())
    .fetch_all(&mut db.superuser().await)
    .await
    .unwrap();
    assert_eq!(allowed, Vec::<String>::new());
    let usable: Vec<String> = sqlx::query_scalar(
        "SELECT nspname::text FROM pg_namespace
         WHERE has_schema_privilege($1, oid, 'USAGE') AND nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
    )
    .bind(a.tenant().schema())
    .fetch_all(&mut db.superuser().await)
    .await
    .unwrap();
    assert_eq!(usable, ["extensions".to_owned(), a.tenant().schema()]);
    let creating: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE has_schema_privilege($1, oid, 'CREATE')")
            .bind(a.tenant().schema())
            .fetch_one(&mut db.superuser().await)
            .await
            .unwrap();
    assert_eq!(creating, 0, "not even in its own schema: that is its owner's");
    for table in ["control.tenants", "control.users", "control.sessions", "apalis.jobs", "apalis.workers"] {
        assert_eq!(refused(a.pool(), &format!("SELECT * FROM {table}")).await, DENIED, "{table}");
    }
    assert_eq!(refused(a.pool(), "SELECT apalis.get_jobs('me', 'knowledge.ingest')").await, DENIED);
}

#[tokio::test]
async fn the_control_pool_cannot_read_a_tenants_data() {
    let db = TestDb::new().await;
    let (_, b) = two_tenants(&db).await;
    let schema = b.id.schema();
    let control = db.databases.control();
    all_denied(
        control,
        &[
            format!("SELECT * FROM {schema}.hoard"),
            format!("SELECT * FROM {schema}.audit_entries"),
            format!("SET ROLE {schema}"),
            "CREATE TABLE control.mine ()".to_owned(),
        ],
    )
    .await;
}

#[tokio::test]
async fn switching_roles_inside_one_statement_leads_nowhere() {
    let db = TestDb::new().await;
    let (a, b) = two_tenants(&db).await;
    let schema = b.id.schema();
    all_denied(
        a.pool(),
        &[
            // The attack that reads another tenant through an authenticator role with one single SELECT.
            format!(
                "SELECT * FROM (SELECT set_config('role', '{schema}', true) OFFSET 0) s,
                               ts_stat('SELECT body FROM {schema}.hoard')"
            ),
            format!("SELECT set_config('role', '{schema}', false)"),
            format!("SELECT * FROM ts_stat('SELECT body FROM {schema}.hoard')"),
            format!("SET ROLE {schema}"),
            format!("SET LOCAL ROLE {}", b.id.owner_role()),
            format!("SET ROLE {}", a.tenant().owner_role()),
            format!("SET SESSION AUTHORIZATION {schema}"),
            "SET ROLE aegis".to_owned(),
            "SET ROLE aegis_app".to_owned(),
            "DO $$ BEGIN PERFORM 1; END $$".to_owned(),
            format!("DO $$ BEGIN EXECUTE 'SET ROLE {schema}'; END $$"),
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'".to_owned(),
        ],
    )
    .await;
    sqlx::query("RESET ROLE").execute(a.pool()).await.unwrap();
    sqlx::query("RESET SESSION AUTHORIZATION").execute(a.pool()).await.unwrap();
    let (user, session): (String, String) =
        sqlx::query_as("SELECT current_user::text, session_user::text").fetch_one(a.pool()).await.unwrap();
    assert_eq!((user, session), (a.tenant().schema(), a.tenant().schema()), "there is nothing to reset to");
}

#[tokio::test]
async fn nothing_can_be_left_behind_for_another_session() {
    let db = TestDb::new().await;
    let (a, _) = two_tenants(&db).await;
    all_denied(
        a.pool(),
        &[
            "CREATE TEMP TABLE secrets (body text)".to_owned(),
            "CREATE TEMP VIEW secrets AS SELECT 1".to_owned(),
            "CREATE TABLE secrets ()".to_owned(),
            "CREATE TABLE public.secrets ()".to_owned(),
            "CREATE TABLE extensions.secrets ()".to_owned(),
            "CREATE FUNCTION extensions.lower(text) RETURNS text LANGUAGE sql AS 'SELECT 1'".to_owned(),
            "CREATE SCHEMA mine".to_owned(),
            "DROP EXTENSION hstore".to_owned(),
            "CREATE ROLE mine".to_owned(),
            "CREATE DATABASE mine".to_owned(),
            "SELECT lo_create(0)".to_owned(),
            "SELECT lo_import('/etc/passwd')".to_owned(),
            "SELECT lo_from_bytea(0, 'x')".to_owned(),
            "SELECT pg_read_file('/etc/passwd')".to_owned(),
            "COPY (SELECT 1) TO PROGRAM 'id'".to_owned(),
            "COPY (SELECT 1) TO '/tmp/x'".to_owned(),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_catalogs_tell_nothing_about_others() {
    let db = TestDb::new().await;
    let (a, b) = two_tenants(&db).await;
    let secrets = format!("{}.hoard", b.id.schema());
    let mut superuser = db.superuser().await;
    let oid: i64 =
        sqlx::query_scalar("SELECT $1::regclass::oid::int8").bind(&secrets).fetch_one(&mut superuser).await.unwrap();
    for catalog in [
        "pg_proc",
        "pg_roles",
        "pg_user",
        "pg_authid",
        "pg_shadow",
        "pg_stat_activity",
        "pg_stat_user_tables",
        "pg_stat_database",
        "pg_statio_all_tables",
        "pg_locks",
        "pg_statistic",
        "pg_db_role_setting",
        "pg_auth_members",
    ] {
        assert_eq!(refused(a.pool(), &format!("SELECT count(*) FROM pg_catalog.{catalog}")).await, DENIED, "{catalog}");
    }
    all_denied(
        a.pool(),
        &[
            format!("SELECT pg_stat_get_live_tuples({oid}::oid)"),
            format!("SELECT pg_total_relation_size({oid}::oid)"),
            format!("SELECT pg_relation_size({oid}::oid)"),
            "SELECT pg_stat_get_activity(NULL)".to_owned(),
            "SELECT pg_lock_status()".to_owned(),
        ],
    )
    .await;
    let told: i64 = sqlx::query_scalar("SELECT count(*) FROM information_schema.columns WHERE table_schema = $1")
        .bind(b.id.schema())
        .fetch_one(a.pool())
        .await
        .unwrap();
    assert_eq!(told, 0);
}

#[tokio::test]
async fn a_role_cannot_change_another_nor_where_its_own_pool_looks() {
    let db = TestDb::new().await;
    let (a, b) = two_tenants(&db).await;
    let (mine, other) = (a.tenant().schema(), b.id.schema());
    all_denied(
        a.pool(),
        &[
            format!("ALTER ROLE {other} SET search_path = public"),
            format!("ALTER ROLE {other} PASSWORD 'x'"),
            format!("ALTER ROLE {mine} CONNECTION LIMIT 100"),
            format!("ALTER ROLE {mine} SUPERUSER"),
            format!("GRANT {other} TO {mine}"),
            format!("GRANT {} TO {mine}", b.id.owner_role()),
            format!("DROP ROLE {other}"),
            "CHECKPOINT".to_owned(),
        ],
    )
    .await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(db.databases.tenant(&b.id).await.unwrap().pool())
        .await
        .unwrap();
    all_denied(a.pool(), &[format!("SELECT pg_terminate_backend({pid})"), format!("SELECT pg_cancel_backend({pid})")])
        .await;

    // It may set a search path for itself; the pool's start-up option wins.
    sqlx::query(AssertSqlSafe(format!("ALTER ROLE {mine} SET search_path = {other}, control")))
        .execute(a.pool())
        .await
        .unwrap();
    let again = Databases::open(db.server().clone(), &settings()).await.unwrap();
    let reopened = again.tenant(a.tenant()).await.unwrap();
    let path: String = sqlx::query_scalar("SHOW search_path").fetch_one(reopened.pool()).await.unwrap();
    assert_eq!(path, format!("{mine},extensions"));
}

#[tokio::test]
async fn a_tenants_role_connects_to_its_own_database_only_and_not_too_often() {
    let db = TestDb::new().await;
    let (a, _) = two_tenants(&db).await;
    let elsewhere = TestDb::new().await;
    let role = a.tenant().schema();
    for database in ["postgres", "template1", elsewhere.server().database()] {
        let error = connect(&role, database).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some(DENIED), "{database}: {error}");
    }
    a.pool().close().await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(connect(&role, db.server().database()).await.unwrap());
    }
    let error = connect(&role, db.server().database()).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("53300"), "{error}");
    for session in sessions {
        session.close().await.unwrap();
    }
    let error = connect(&a.tenant().owner_role(), db.server().database()).await.unwrap_err();
    assert_eq!(
        error.as_database_error().unwrap().code().as_deref(),
        Some("28000"),
        "the owner cannot sign in: {error}"
    );
}

#[tokio::test]
async fn what_the_driver_needs_still_works_for_a_tenant() {
    let db = TestDb::new().await;
    let (a, _) = two_tenants(&db).await;
    // Types that the driver must look up in the catalogs, a prepared statement, a transaction with a setting.
    let vector: pgvector::HalfVector = sqlx::query_scalar("SELECT $1::halfvec")
        .bind(pgvector::HalfVector::from_f32_slice(&[1.0, 2.0]))
        .fetch_one(a.pool())
        .await
        .unwrap();
    assert_eq!(vector.to_vec().len(), 2);
    let mut transaction = a.pool().begin().await.unwrap();
    sqlx::query("SET LOCAL hnsw.ef_search = 100").execute(&mut *transaction).await.unwrap();
    let rank: f32 =
        sqlx::query_scalar("SELECT ts_rank_cd(to_tsvector('english', $1), websearch_to_tsquery('english', $2))")
            .bind("parental leave")
            .bind("leave")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
    assert!(rank > 0.0);
    transaction.commit().await.unwrap();
}
