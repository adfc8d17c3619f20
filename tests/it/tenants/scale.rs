//! What a thousand tenants cost: run by hand, since it takes minutes and its figures are the machine's.
//! `cargo test --test it a_thousand_tenants -- --ignored --nocapture`, with `AEGIS_TEST_TENANTS` for another number.

use std::time::{Duration, Instant};

use aegis::{config, db::Databases, tenants::Tenants};
use tokio_util::sync::CancellationToken;

use crate::harness::{TestDb, database::settings};

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The tables of the catalogs that a request's queries are planned with, and one of the tenant's own.
const REQUEST: &str = "SELECT count(*) FROM documents d LEFT JOIN passages p ON p.document_id = d.id";

/// Median of requests to the first tenant: on an open connection, and with a new pool for each.
async fn requests(databases: &Databases, tenants: &[aegis::tenants::Tenant]) -> (Duration, Duration) {
    let first = databases.tenant(&tenants[0].id).await.unwrap();
    sqlx::query(REQUEST).execute(first.pool()).await.unwrap();
    let mut warm = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        let db = databases.tenant(&tenants[0].id).await.unwrap();
        sqlx::query(REQUEST).execute(db.pool()).await.unwrap();
        warm.push(began.elapsed());
    }
    drop(first);
    let mut cold = Vec::new();
    for tenant in tenants.iter().cycle().skip(1).step_by(7).take(60) {
        let began = Instant::now();
        let db = databases.tenant(&tenant.id).await.unwrap();
        sqlx::query(REQUEST).execute(db.pool()).await.unwrap();
        cold.push(began.elapsed());
    }
    (median(&mut warm), median(&mut cold))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; run by hand"]
async fn a_thousand_tenants_are_made_and_brought_up_to_date() {
    let many: usize = std::env::var("AEGIS_TEST_TENANTS").ok().and_then(|number| number.parse().ok()).unwrap_or(1000);
    let db = TestDb::new().await;
    let few = config::Database { open_tenants: 24, tenant_connections: 3, ..settings() };
    let databases = Databases::open(db.server().clone(), &few).await.unwrap();
    let tenants = Tenants::new(databases.clone(), db.shared_clock());
    let (mut made, mut window, mut medians) = (Vec::new(), Vec::new(), Vec::new());
    let began = Instant::now();
    for number in 1..=many {
        let started = Instant::now();
        made.push(tenants.create(&format!("tenant-{number}").parse().unwrap(), "T").await.unwrap());
        window.push(started.elapsed());
        if number == 1 || number == many / 10 || number == many / 2 || number == many {
            let last: Vec<_> = window.iter().rev().take(20).copied().collect();
            let median = median(&mut last.clone());
            let (warm, cold) = requests(&databases, &made).await;
            println!(
                "tenant {number}: {:.1} ms (median of the last {}); a request {:.2} ms, with a new connection {:.2} ms",
                ms(median),
                last.len(),
                ms(warm),
                ms(cold)
            );
            medians.push((number, median));
        }
    }
    println!("{many} tenants in {:.1} s", began.elapsed().as_secs_f64());
    if let [_, (_, tenth), .., (_, last)] = medians[..] {
        println!("the last against the one at a tenth: {:.2} ×", last.as_secs_f64() / tenth.as_secs_f64());
    }

    // As an older binary left them: without the last migration, which makes two tables.
    let mut superuser = db.superuser().await;
    for tenant in &made {
        let undo = format!(
            "DROP TABLE {0}.secrets, {0}.secret_key; DELETE FROM {0}.refinery_schema_history WHERE version >= 5;
             UPDATE control.tenant_schemas SET fingerprint = 'old' WHERE tenant = '{1}'",
            tenant.id.schema(),
            tenant.id
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(undo)).execute(&mut superuser).await.unwrap();
    }
    let again = Databases::open(db.server().clone(), &few).await.unwrap();
    let began = Instant::now();
    let (done, failed) = again.bring_up_to_date(&CancellationToken::new()).await;
    println!("{done} tenants brought up to date in {:.1} s, {failed} failed", began.elapsed().as_secs_f64());
    assert_eq!((done, failed), (many, 0));

    let began = Instant::now();
    tenants
        .delete(&made[many / 2].id, made[many / 2].slug.as_str(), true, &aegis::audit::Actor::Operator)
        .await
        .unwrap();
    println!("one deleted in {:.0} ms", ms(began.elapsed()));
}

/// Median time of a query on an open connection, with a pool that asks the connection first whether it lives, and with
/// one that does not.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement; run by hand"]
async fn what_it_costs_to_ask_a_connection_whether_it_lives() {
    let db = TestDb::new().await;
    let (acme, open) = db.tenant("acme").await;
    let options = open.pool().connect_options().as_ref().clone();
    let mut medians = Vec::new();
    for ping in [true, false, true, false] {
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).test_before_acquire(ping);
        let pool = pool.connect_with(options.clone()).await.unwrap();
        let mut times = Vec::new();
        for _ in 0..3000 {
            let began = Instant::now();
            sqlx::query("SELECT id FROM documents WHERE id = $1").bind(uuid::Uuid::nil()).execute(&pool).await.unwrap();
            times.push(began.elapsed());
        }
        medians.push(median(&mut times));
        pool.close().await;
    }
    println!(
        "{}: with a ping {:.3} and {:.3} ms, without {:.3} and {:.3} ms",
        acme.slug,
        ms(medians[0]),
        ms(medians[2]),
        ms(medians[1]),
        ms(medians[3])
    );
}
