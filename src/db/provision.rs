//! A tenant's schema, its owner and its role: each tenant is a role of its own that can reach its schema alone.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{
    bootstrap::{ensure_role, execute, fill, lock_tenant, quote, set_password},
    migrate,
    server::Server,
};
use crate::support::{Result, ids::TenantId};

const OWNER: &str = include_str!("sql/provision_owner.sql");

/// Tables of a tenant's schema that its role may read and add to, but never change.
pub const APPEND_ONLY_TABLES: &[&str] = &["audit_entries", "audit_checkpoints"];

/// Changes whenever the statements of this file do, so that existing tenants are brought up to date.
const REVISION: u32 = 2;

/// What a tenant's schema is made from: it differs when migrations or grants have been added.
pub(super) fn fingerprint() -> String {
    format!("{REVISION}-{}", migrate::tenant_fingerprint())
}

/// Makes or completes the schema, the roles, the privileges and the tables. Running it again changes nothing.
pub(super) async fn provision(server: &Server, id: &TenantId) -> Result<()> {
    let mut administrator = server.administrator().await?;
    lock_tenant(&mut administrator, id).await?;
    let (role, owner) = (id.schema(), id.owner_role());
    ensure_role(&mut administrator, &owner, "NOLOGIN").await?;
    ensure_role(&mut administrator, &role, &format!("LOGIN CONNECTION LIMIT {}", connection_limit(server))).await?;
    set_password(&mut administrator, server, &role).await?;
    let names = [
        ("{role}", quote(&role)),
        ("{owner}", quote(&owner)),
        ("{schema}", quote(&role)),
        ("{group}", quote(&server.tenants_role())),
    ];
    // An administrator who is no superuser must be a member of the owner to act as it.
    let superuser_needs_no = if server.is_own() { "" } else { "GRANT {owner} TO CURRENT_USER;" };
    let as_administrator = format!(
        "{superuser_needs_no}
         CREATE SCHEMA IF NOT EXISTS {{schema}} AUTHORIZATION {{owner}};
         GRANT {{group}} TO {{owner}}, {{role}} WITH INHERIT TRUE, SET FALSE;
         SET ROLE {{owner}};
         SET search_path TO {{schema}}, extensions;"
    );
    execute(&mut administrator, fill(&as_administrator, &names)).await?;
    execute(&mut administrator, fill(OWNER, &names)).await?;
    migrate::tenant(&mut administrator).await?;
    protect(&mut administrator, &role).await?;
    execute(&mut administrator, "RESET ROLE".to_owned()).await?;
    record(&mut administrator, id).await?;
    administrator.close().await?;
    Ok(())
}

/// Refreshes the catalogs' statistics. After many tenants, planning and dumping are slow without.
pub(super) async fn analyze_catalogs(server: &Server) -> Result<()> {
    let mut administrator = server.administrator().await?;
    for catalog in ["pg_class", "pg_attribute", "pg_index", "pg_type", "pg_depend", "pg_shdepend", "pg_constraint"] {
        sqlx::raw_sql(AssertSqlSafe(format!("VACUUM (ANALYZE) pg_catalog.{catalog}")))
            .execute(&mut administrator)
            .await?;
    }
    administrator.close().await?;
    Ok(())
}

/// One node needs a few connections for a tenant; a server that is not our own may be shared by several nodes.
fn connection_limit(server: &Server) -> u32 {
    if server.is_own() { 5 } else { 20 }
}

/// Takes back, as the owner, what the default privileges give on tables that must not be changed.
async fn protect(owner: &mut PgConnection, role: &str) -> Result<()> {
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = $1")
            .bind(role)
            .fetch_all(&mut *owner)
            .await?;
    for table in tables {
        let rights = match table.as_str() {
            // Written by the owner alone, together with the removal of what they stand for.
            "audit_checkpoints" => "INSERT, UPDATE, DELETE, TRUNCATE",
            name if APPEND_ONLY_TABLES.contains(&name) => "UPDATE, DELETE, TRUNCATE",
            "refinery_schema_history" => "INSERT, UPDATE, DELETE, TRUNCATE",
            _ => continue,
        };
        let (schema, role) = (quote(role), quote(role));
        execute(owner, format!("REVOKE {rights} ON {schema}.{} FROM {role}", quote(&table))).await?;
    }
    Ok(())
}

async fn record(administrator: &mut PgConnection, id: &TenantId) -> Result<()> {
    sqlx::query(
        "INSERT INTO control.tenant_schemas (tenant, fingerprint) VALUES ($1, $2)
         ON CONFLICT (tenant) DO UPDATE SET fingerprint = EXCLUDED.fingerprint",
    )
    .bind(id.as_str())
    .bind(fingerprint())
    .execute(administrator)
    .await?;
    Ok(())
}
