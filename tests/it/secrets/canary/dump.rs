//! Every row of every table of a database, the catalogs' too, as its superuser sees them.

use futures::TryStreamExt as _;
use sqlx::PgConnection;

/// Each table's name with its rows as text; `bytea` is in hexadecimal there.
pub async fn dump(superuser: &mut PgConnection) -> Vec<(String, Vec<u8>)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'r' AND c.relpersistence = 'p' ORDER BY 1",
    )
    .fetch_all(&mut *superuser)
    .await
    .unwrap();
    let mut rows = Vec::new();
    for table in tables {
        let copy = format!("COPY (SELECT * FROM {table}) TO STDOUT");
        let mut stream = superuser.copy_out_raw(&copy).await.unwrap();
        let mut text = Vec::new();
        while let Some(piece) = stream.try_next().await.unwrap() {
            text.extend_from_slice(&piece);
        }
        rows.push((format!("the table {table}"), text));
    }
    rows
}
