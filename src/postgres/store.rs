//! The supervisor's own two words to the server. Everything else that talks to it goes through `db`.

use std::time::Duration;

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::timeout;

use super::{Endpoint, MAINTENANCE_DATABASE, SUPERUSER};
use crate::support::{Error, Result};

/// Connects once and looks whether the server has what we need.
///
/// # Errors
/// `Unavailable` when it does not let us in or has no pgvector.
pub async fn check(endpoint: &Endpoint) -> Result<()> {
    let refused = |error: sqlx::Error| {
        Error::unavailable("the database has started but does not let the appliance in").because(error)
    };
    let mut session = connect(endpoint).await.map_err(refused)?;
    let found: bool =
        sqlx::query_scalar("SELECT count(*) > 0 FROM pg_catalog.pg_available_extensions WHERE name = 'vector'")
            .fetch_one(&mut session)
            .await
            .map_err(refused)?;
    let _ = session.close().await;
    if found {
        return Ok(());
    }
    Err(Error::unavailable("this PostgreSQL has no pgvector")
        .remedy("install pgvector for it (Debian: postgresql-18-pgvector), or set mode of [database] to \"embedded\""))
}

/// Has everything written out while sessions still work, so that the shutdown that follows is short.
/// Best effort: the shutdown does the same.
pub async fn checkpoint(endpoint: &Endpoint) {
    let work = async {
        let mut session = connect(endpoint).await?;
        sqlx::query("CHECKPOINT").execute(&mut session).await?;
        session.close().await
    };
    match timeout(Duration::from_mins(2), work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = %error, "no checkpoint before the shutdown"),
        Err(_) => tracing::warn!("the checkpoint before the shutdown takes long; shutting down without waiting for it"),
    }
}

async fn connect(endpoint: &Endpoint) -> Result<PgConnection, sqlx::Error> {
    PgConnectOptions::new_without_pgpass()
        .socket(&endpoint.socket_dir)
        .port(endpoint.port)
        .username(SUPERUSER)
        .database(MAINTENANCE_DATABASE)
        .ssl_mode(PgSslMode::Disable)
        .application_name("aegis supervisor")
        // A checkpoint takes the time that it takes.
        .disable_statement_logging()
        .connect()
        .await
}
