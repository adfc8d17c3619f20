//! Taking a tenant's role out of service, back into it, and out of the world together with its schema.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::{
    bootstrap::{execute, lock_tenant, quote},
    server::Server,
};
use crate::support::{Error, Result, ids::TenantId};

/// How often a role's sessions are ended: one that is just being let in shows up a moment later.
const ROUNDS: u32 = 40;
const ROUND: Duration = Duration::from_millis(25);

/// Nobody signs in as the tenant's role any more, and whoever has is thrown out. Where there is no role, nothing happens.
pub(super) async fn bar(server: &Server, id: &TenantId) -> Result<()> {
    let mut administrator = server.administrator().await?;
    bar_role(&mut administrator, server, &id.schema()).await?;
    administrator.close().await?;
    Ok(())
}

/// The tenant's role may sign in again.
pub(super) async fn unbar(server: &Server, id: &TenantId) -> Result<()> {
    let mut administrator = server.administrator().await?;
    execute(&mut administrator, format!("ALTER ROLE {} LOGIN", quote(&id.schema()))).await?;
    administrator.close().await?;
    Ok(())
}

/// Removes schema and roles. Running it again goes on where it stopped.
pub(super) async fn remove(server: &Server, id: &TenantId) -> Result<()> {
    let mut administrator = server.administrator().await?;
    lock_tenant(&mut administrator, id).await?;
    let (role, owner) = (id.schema(), id.owner_role());
    bar_role(&mut administrator, server, &role).await?;
    if !server.is_own() && exists(&mut administrator, &owner).await? {
        execute(&mut administrator, format!("GRANT {} TO CURRENT_USER", quote(&owner))).await?;
    }
    execute(&mut administrator, format!("DROP SCHEMA IF EXISTS {} CASCADE", quote(&role))).await?;
    for role in [&role, &owner] {
        if exists(&mut administrator, role).await? {
            // Privileges that name the role, default ones too.
            execute(&mut administrator, format!("DROP OWNED BY {0}; DROP ROLE {0}", quote(role))).await?;
        }
    }
    sqlx::query("DELETE FROM control.tenant_schemas WHERE tenant = $1")
        .bind(id.as_str())
        .execute(&mut administrator)
        .await?;
    administrator.close().await?;
    Ok(())
}

async fn bar_role(administrator: &mut PgConnection, server: &Server, role: &str) -> Result<()> {
    if !exists(administrator, role).await? {
        return Ok(());
    }
    execute(administrator, format!("ALTER ROLE {} NOLOGIN", quote(role))).await?;
    if !server.is_own() {
        // Who is no superuser must be a member of a role to end its sessions.
        execute(administrator, format!("GRANT {} TO CURRENT_USER", quote(role))).await?;
    }
    for _ in 0..ROUNDS {
        let ended: i64 = sqlx::query_scalar(
            "SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity WHERE usename = $1",
        )
        .bind(role)
        .fetch_one(&mut *administrator)
        .await?;
        if ended == 0 {
            return Ok(());
        }
        tokio::time::sleep(ROUND).await;
    }
    Err(Error::unavailable(format!("the sessions of the role {role} do not end")).remedy("try again in a moment"))
}

async fn exists(administrator: &mut PgConnection, role: &str) -> Result<bool> {
    let found = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)")
        .bind(role)
        .fetch_one(administrator)
        .await?;
    Ok(found)
}
