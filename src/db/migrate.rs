//! Migrations: refinery's bookkeeping over the one database driver of the house.
//!
//! `migrations/control` is applied once, `migrations/tenant` in every tenant's schema as the schema's owner.
//! Both only go forward, each file in a transaction of its own.

use refinery_core::{
    AsyncMigrate, Migration, Runner,
    traits::r#async::{AsyncQuery, AsyncTransaction},
};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::support::{Error, Result};

mod control {
    //! The files of `migrations/control`.
    #![allow(missing_docs, clippy::pedantic, clippy::unwrap_used, reason = "written by refinery")]
    refinery::embed_migrations!("migrations/control");
}

mod tenant {
    //! The files of `migrations/tenant`.
    #![allow(missing_docs, clippy::pedantic, clippy::unwrap_used, reason = "written by refinery")]
    refinery::embed_migrations!("migrations/tenant");
}

/// Applies what is missing of `migrations/control`. The session's search path must begin with `control`.
pub(super) async fn control(connection: &mut PgConnection) -> Result<()> {
    run(&control::migrations::runner(), connection).await
}

/// Applies what is missing of `migrations/tenant`. The session must be the schema's owner and look into it first.
pub(super) async fn tenant(connection: &mut PgConnection) -> Result<()> {
    run(&tenant::migrations::runner(), connection).await
}

/// Identifies the set of tenant migrations in this binary.
pub(super) fn tenant_fingerprint() -> String {
    let mut hash = Sha256::new();
    for migration in tenant::migrations::runner().get_migrations() {
        hash.update(format!("{migration} {}\n", migration.checksum()));
    }
    hex::encode(hash.finalize())
}

async fn run(runner: &Runner, connection: &mut PgConnection) -> Result<()> {
    let report = runner.run_async(&mut Session(connection)).await.map_err(|error| {
        Error::internal(error).remedy("the database was left as it was before the migration that failed; see the log")
    })?;
    for migration in report.applied_migrations() {
        tracing::debug!(%migration, "migration applied");
    }
    Ok(())
}

/// A connection as refinery wants one.
struct Session<'c>(&'c mut PgConnection);

impl AsyncTransaction for Session<'_> {
    type Error = sqlx::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(&'a mut self, queries: T) -> sqlx::Result<usize> {
        let mut transaction = self.0.begin().await?;
        let mut count = 0;
        for query in queries {
            sqlx::raw_sql(AssertSqlSafe(query)).execute(&mut *transaction).await?;
            count += 1;
        }
        transaction.commit().await?;
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Session<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> sqlx::Result<Vec<Migration>> {
        let rows = sqlx::raw_sql(AssertSqlSafe(query)).fetch_all(&mut *self.0).await?;
        rows.iter()
            .map(|row| {
                let applied_on: String = row.try_get_unchecked("applied_on")?;
                let checksum: String = row.try_get_unchecked("checksum")?;
                Ok(Migration::applied(
                    row.try_get_unchecked("version")?,
                    row.try_get_unchecked("name")?,
                    OffsetDateTime::parse(&applied_on, &Rfc3339).map_err(decode)?,
                    checksum.parse().map_err(decode)?,
                ))
            })
            .collect()
    }
}

impl AsyncMigrate for Session<'_> {}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
