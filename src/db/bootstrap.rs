//! From an empty server to a database that slices can use: role, schemas, extensions, privileges, migrations.
//! All of it runs at each start and changes only what is missing.

use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{migrate, server::Server};
use crate::{
    support::{Error, Result, ids::TenantId, random},
    vault::scram,
};

const SCHEMAS: &str = include_str!("sql/schemas.sql");
const HARDEN: &str = include_str!("sql/harden.sql");

/// pgvector for passages; apalis-postgres 1.0 keeps a job's metadata as hstore.
const EXTENSIONS: [&str; 2] = ["vector", "hstore"];

/// Held while the database is prepared, so that several nodes do not do it at once. Any number will do, as long as it
/// stays the same.
const LOCK: i64 = 0x4145_4749_5301;

/// Makes the database, if need be, and brings the control schema up to date.
pub(super) async fn prepare(server: &Server) -> Result<()> {
    let mut administrator = connect_or_create(server).await?;
    lock(&mut administrator, LOCK).await?;
    refuse_another_key(&mut administrator, server).await?;
    let app = server.app_role();
    ensure_role(&mut administrator, &app, "LOGIN").await?;
    set_password(&mut administrator, server, &app).await?;
    let group = server.tenants_role();
    ensure_role(&mut administrator, &group, "NOLOGIN").await?;
    let names = [("{database}", quote(server.database())), ("{app}", quote(&app)), ("{group}", quote(&group))];
    execute(&mut administrator, fill(SCHEMAS, &names)).await?;
    revoke_one_by_one(&mut administrator, server).await?;
    for extension in EXTENSIONS {
        ensure_extension(&mut administrator, extension).await?;
    }
    harden(&mut administrator).await?;
    execute(&mut administrator, "SET search_path TO control, extensions".to_owned()).await?;
    migrate::control(&mut administrator).await?;
    protect_log(&mut administrator, &app).await?;
    claim(&mut administrator, server).await?;
    administrator.close().await?;
    Ok(())
}

/// The appliance's own log may be read and added to by the appliance's role; its checkpoints only read.
async fn protect_log(administrator: &mut PgConnection, app: &str) -> Result<()> {
    let app = quote(app);
    let revoke = format!(
        "REVOKE UPDATE, DELETE, TRUNCATE ON control.audit_entries FROM {app};
         REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON control.audit_checkpoints FROM {app}"
    );
    execute(administrator, revoke).await
}

/// Waits until no other node or task makes, changes or removes this tenant's schema; the lock ends with the connection.
pub(super) async fn lock_tenant(administrator: &mut PgConnection, id: &TenantId) -> Result<()> {
    let digest = Sha256::new().chain_update(b"AEGIS tenant lock\0").chain_update(id.as_str()).finalize();
    let key = digest.iter().take(8).fold(0, |key: i64, byte| (key << 8) | i64::from(*byte));
    lock(administrator, key).await
}

/// Creates a role unless it is there. Roles belong to the whole server, hence another database's node may win.
pub(super) async fn ensure_role(administrator: &mut PgConnection, role: &str, attributes: &str) -> Result<()> {
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)")
        .bind(role)
        .fetch_one(&mut *administrator)
        .await?;
    if there {
        return Ok(());
    }
    match sqlx::raw_sql(AssertSqlSafe(format!("CREATE ROLE {} {attributes}", quote(role)))).execute(administrator).await
    {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42710") => Ok(()),
        other => other.map(drop).map_err(Error::from),
    }
}

/// Sets the password that the key gives, where roles have passwords; the statement carries its verifier only.
pub(super) async fn set_password(administrator: &mut PgConnection, server: &Server, role: &str) -> Result<()> {
    let Some(password) = server.password(role) else { return Ok(()) };
    let verifier = scram::verifier(&password, random::bytes());
    execute(administrator, format!("ALTER ROLE {} PASSWORD '{verifier}'", quote(role))).await
}

/// Runs statements that have no parameters.
pub(super) async fn execute(connection: &mut PgConnection, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Puts quoted names into a file of statements.
pub(super) fn fill(template: &str, names: &[(&str, String)]) -> String {
    names.iter().fold(template.to_owned(), |text, (placeholder, name)| text.replace(placeholder, name))
}

/// An identifier as SQL wants it.
pub(super) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

async fn lock(administrator: &mut PgConnection, key: i64) -> Result<()> {
    sqlx::query("SELECT pg_advisory_lock($1)").bind(key).execute(administrator).await?;
    Ok(())
}

/// Earlier binaries granted to each tenant's roles what the tenants' common role has now. A tenant that is brought up to
/// date becomes a member of that one.
async fn revoke_one_by_one(administrator: &mut PgConnection, server: &Server) -> Result<()> {
    let granted: Vec<(bool, String)> = sqlx::query_as(
        "SELECT DISTINCT g.of_database, r.rolname::text
         FROM (SELECT true AS of_database, (aclexplode(datacl)).grantee FROM pg_catalog.pg_database
               WHERE datname = current_database()
               UNION ALL
               SELECT false, (aclexplode(nspacl)).grantee FROM pg_catalog.pg_namespace WHERE nspname = 'extensions') g
         JOIN pg_catalog.pg_roles r ON r.oid = g.grantee
         WHERE r.rolname ~ '^tenant_[a-z2-7]{16}(_owner)?$'",
    )
    .fetch_all(&mut *administrator)
    .await?;
    for (of_database, privilege) in [
        (true, format!("CONNECT ON DATABASE {}", quote(server.database()))),
        (false, "USAGE ON SCHEMA extensions".to_owned()),
    ] {
        let roles: Vec<String> =
            granted.iter().filter(|grant| grant.0 == of_database).map(|grant| quote(&grant.1)).collect();
        if !roles.is_empty() {
            execute(administrator, format!("REVOKE {privilege} FROM {}", roles.join(", "))).await?;
        }
    }
    Ok(())
}

/// On a server that is not ours, an extension may be for its administrator to install: then the error says how.
async fn ensure_extension(administrator: &mut PgConnection, extension: &str) -> Result<()> {
    let schema: Option<String> = sqlx::query_scalar(
        "SELECT n.nspname::text FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
         WHERE e.extname = $1",
    )
    .bind(extension)
    .fetch_optional(&mut *administrator)
    .await?;
    match schema.as_deref() {
        Some("extensions") => return Ok(()),
        Some(other) => {
            let message = format!("the database has the extension {extension} in its schema \"{other}\"");
            let remedy = format!("let an administrator run: ALTER EXTENSION {extension} SET SCHEMA extensions");
            return Err(Error::unavailable(message).remedy(remedy));
        }
        None => {}
    }
    let create = format!("CREATE EXTENSION IF NOT EXISTS {extension} SCHEMA extensions");
    match sqlx::raw_sql(AssertSqlSafe(create.clone())).execute(administrator).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) => {
            let message = format!("the database lacks the extension {extension}: {}", error.message());
            Err(Error::unavailable(message).remedy(format!("let an administrator run: {create}")))
        }
        Err(error) => Err(error.into()),
    }
}

async fn connect_or_create(server: &Server) -> Result<PgConnection> {
    if !server.is_own() {
        return server.administrator().await.map_err(unreachable);
    }
    ensure_database(server).await?;
    Ok(server.administrator().await?)
}

/// Also closes the databases that every server comes with: a role that may connect there can look around.
async fn ensure_database(server: &Server) -> Result<()> {
    let mut administrator = server.connect_as_administrator("postgres").await?;
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)")
        .bind(server.database())
        .fetch_one(&mut administrator)
        .await?;
    if !there {
        execute(&mut administrator, "REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC".to_owned()).await?;
        execute(&mut administrator, format!("CREATE DATABASE {}", quote(server.database()))).await?;
    }
    administrator.close().await?;
    Ok(())
}

async fn harden(administrator: &mut PgConnection) -> Result<()> {
    let superuser: bool =
        sqlx::query_scalar("SELECT current_setting('is_superuser')::boolean").fetch_one(&mut *administrator).await?;
    if superuser {
        execute(administrator, HARDEN.to_owned()).await
    } else {
        tracing::warn!(
            "the database's role is no superuser: tenants stay apart, but each can see the names and sizes of the \
             others' tables in PostgreSQL's catalogs"
        );
        Ok(())
    }
}

/// Nodes that share a database must share the key, or each would change the roles' passwords under the others. Hence
/// this comes before anything is changed.
async fn refuse_another_key(administrator: &mut PgConnection, server: &Server) -> Result<()> {
    let claimed: bool = sqlx::query_scalar("SELECT to_regclass('control.appliance') IS NOT NULL")
        .fetch_one(&mut *administrator)
        .await?;
    if server.is_own() || !claimed {
        return Ok(());
    }
    let key: Option<String> =
        sqlx::query_scalar("SELECT key_fingerprint FROM control.appliance").fetch_optional(&mut *administrator).await?;
    if key.is_none_or(|key| key == server.key_fingerprint()) {
        return Ok(());
    }
    Err(Error::conflict("the database belongs to an appliance with another key")
        .remedy("copy keys/appliance.key from the first node, or name another database in database.url"))
}

async fn claim(administrator: &mut PgConnection, server: &Server) -> Result<()> {
    if !server.is_own() {
        sqlx::query("INSERT INTO control.appliance (key_fingerprint) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(server.key_fingerprint())
            .execute(administrator)
            .await?;
    }
    Ok(())
}

fn unreachable(error: sqlx::Error) -> Error {
    let message = match &error {
        sqlx::Error::Database(database) => {
            format!("the external database refused the connection: {}", database.message())
        }
        other => format!("the external database cannot be reached: {other}"),
    };
    Error::unavailable(message).remedy("check database.url, the server and the network between").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_so_that_it_stays_one_name() {
        assert_eq!(quote("plain"), "\"plain\"");
        assert_eq!(quote("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(fill("GRANT {x} TO {y}", &[("{x}", quote("a")), ("{y}", quote("b"))]), "GRANT \"a\" TO \"b\"");
    }
}
