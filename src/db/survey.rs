//! How large tenants are, as the administrator sees it: their sizes and how much they keep, never what.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection as _, FromRow};

use super::{bootstrap::quote, server::Server};
use crate::support::{Result, ids::TenantId};

/// One tenant's figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of its tables and indexes.
    pub bytes: i64,
    /// Rows of the table that was asked about.
    pub rows: i64,
    /// When its audit log was last written to.
    pub last_activity: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct Row {
    place: i32,
    bytes: i64,
    rows: i64,
    last_activity: Option<DateTime<Utc>>,
}

/// The figures of these tenants, in their order, with one statement. A tenant without a schema has none.
pub(super) async fn figures(server: &Server, ids: &[TenantId], table: &str) -> Result<Vec<Figures>> {
    let mut all = vec![Figures::default(); ids.len()];
    let mut administrator = server.administrator().await?;
    let schemas: Vec<String> = ids.iter().map(TenantId::schema).collect();
    let there: Vec<String> = sqlx::query_scalar(
        "SELECT schemaname::text FROM pg_catalog.pg_tables
         WHERE schemaname = ANY($1) AND tablename IN ($2, 'audit_entries') GROUP BY 1 HAVING count(*) = 2",
    )
    .bind(&schemas)
    .bind(table)
    .fetch_all(&mut administrator)
    .await?;
    let parts: Vec<String> = schemas
        .iter()
        .enumerate()
        .filter(|(_, schema)| there.contains(schema))
        .map(|(place, name)| {
            let (schema, table) = (quote(name), quote(table));
            format!(
                "SELECT {place} AS place,
                        (SELECT COALESCE(sum(pg_catalog.pg_total_relation_size(oid)), 0)::bigint FROM pg_catalog.pg_class
                         WHERE relnamespace = '{name}'::regnamespace AND relkind IN ('r', 'm')) AS bytes,
                        (SELECT count(*) FROM {schema}.{table}) AS rows,
                        (SELECT at FROM {schema}.audit_entries WHERE isfinite(at) ORDER BY seq DESC LIMIT 1)
                            AS last_activity"
            )
        })
        .collect();
    if !parts.is_empty() {
        let rows: Vec<Row> =
            sqlx::query_as(AssertSqlSafe(parts.join(" UNION ALL "))).fetch_all(&mut administrator).await?;
        for Row { place, bytes, rows, last_activity } in rows {
            if let Some(figures) = usize::try_from(place).ok().and_then(|place| all.get_mut(place)) {
                *figures = Figures { bytes, rows, last_activity };
            }
        }
    }
    administrator.close().await?;
    Ok(all)
}
