//! The tables `secret_key` and `secrets` of a tenant. Nothing in them can be read without the appliance's key.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor, Postgres, Transaction};

use super::{Secret, SecretName};
use crate::{
    db::TenantDb,
    support::{Error, Result},
};

/// The tenant's key, as it is stored.
#[derive(Debug, Clone, FromRow)]
pub(super) struct KeyRow {
    pub(super) recipient: String,
    pub(super) sealed: Vec<u8>,
    pub(super) sealed_to: String,
    pub(super) made_at: DateTime<Utc>,
}

/// A secret with the key that it is encrypted to, both as of one moment.
#[derive(Debug, FromRow)]
pub(super) struct SealedRow {
    #[sqlx(flatten)]
    pub(super) key: KeyRow,
    pub(super) value: Vec<u8>,
}

#[derive(FromRow)]
struct Row {
    name: String,
    set_at: DateTime<Utc>,
    set_by: String,
    last_used_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Secret {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let Row { name, set_at, set_by, last_used_at } = row;
        Ok(Self { name: name.parse()?, set_at, set_by, last_used_at })
    }
}

/// A transaction in the tenant's schema.
pub(super) async fn begin(db: &TenantDb) -> Result<Transaction<'static, Postgres>> {
    Ok(db.pool().begin().await?)
}

/// Makes what was written hold.
pub(super) async fn commit(transaction: Transaction<'static, Postgres>) -> Result<()> {
    Ok(transaction.commit().await?)
}

/// The key, which is not replaced before the transaction ends.
pub(super) async fn key_in_use(transaction: &mut PgConnection) -> Result<Option<KeyRow>> {
    let row = sqlx::query_as("SELECT recipient, sealed, sealed_to, made_at FROM secret_key FOR SHARE");
    Ok(row.fetch_optional(transaction).await?)
}

/// The key, to be replaced: waits for those who use it to write, and they for this transaction. Readers go on.
pub(super) async fn key_to_replace(transaction: &mut PgConnection) -> Result<Option<KeyRow>> {
    let row = sqlx::query_as("SELECT recipient, sealed, sealed_to, made_at FROM secret_key FOR UPDATE");
    Ok(row.fetch_optional(transaction).await?)
}

/// The key as it is now; whoever writes takes it by [`key_in_use`].
pub(super) async fn key(db: &TenantDb) -> Result<Option<KeyRow>> {
    let row = sqlx::query_as("SELECT recipient, sealed, sealed_to, made_at FROM secret_key");
    Ok(row.fetch_optional(db.pool()).await?)
}

/// The first key; none is put where one is.
pub(super) async fn insert_key(db: &TenantDb, key: &KeyRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO secret_key (recipient, sealed, sealed_to, made_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(&key.recipient)
    .bind(&key.sealed)
    .bind(&key.sealed_to)
    .bind(key.made_at)
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Puts the new key in the place of the old one.
pub(super) async fn replace_key(transaction: &mut PgConnection, key: &KeyRow) -> Result<()> {
    let changed = sqlx::query("UPDATE secret_key SET recipient = $1, sealed = $2, sealed_to = $3, made_at = $4")
        .bind(&key.recipient)
        .bind(&key.sealed)
        .bind(&key.sealed_to)
        .bind(key.made_at)
        .execute(transaction)
        .await?
        .rows_affected();
    if changed == 1 { Ok(()) } else { Err(Error::not_found("the key of the secrets")) }
}

/// Sets a secret. True when there was one of this name.
pub(super) async fn set(transaction: &mut PgConnection, secret: &Secret, sealed: &[u8]) -> Result<bool> {
    let replaced = sqlx::query_scalar(
        "INSERT INTO secrets (name, sealed, set_at, set_by) VALUES ($1, $2, $3, $4)
         ON CONFLICT ON CONSTRAINT secrets_pkey DO UPDATE
         SET sealed = EXCLUDED.sealed, set_at = EXCLUDED.set_at, set_by = EXCLUDED.set_by, last_used_at = NULL
         RETURNING xmax <> 0",
    );
    Ok(replaced
        .bind(secret.name.as_str())
        .bind(sealed)
        .bind(secret.set_at)
        .bind(&secret.set_by)
        .fetch_one(transaction)
        .await?)
}

/// How many there are beside the one of this name.
pub(super) async fn count_others(transaction: &mut PgConnection, name: &SecretName) -> Result<i64> {
    let count = sqlx::query_scalar("SELECT count(*) FROM secrets WHERE name <> $1");
    Ok(count.bind(name.as_str()).fetch_one(transaction).await?)
}

/// All secrets by name, without their values.
pub(super) async fn list(db: &TenantDb) -> Result<Vec<Secret>> {
    let rows: Vec<Row> = sqlx::query_as("SELECT name, set_at, set_by, last_used_at FROM secrets ORDER BY name")
        .fetch_all(db.pool())
        .await?;
    rows.into_iter().map(Secret::try_from).collect()
}

/// One statement, hence one snapshot: the value fits the key even while both are being replaced.
pub(super) async fn find(executor: impl PgExecutor<'_>, name: &SecretName) -> Result<Option<SealedRow>> {
    let row = sqlx::query_as(
        "SELECT recipient, k.sealed, sealed_to, made_at, s.sealed AS value
         FROM secrets s CROSS JOIN secret_key k WHERE s.name = $1",
    );
    Ok(row.bind(name.as_str()).fetch_optional(executor).await?)
}

/// All values, by name, locked.
pub(super) async fn all(transaction: &mut PgConnection) -> Result<Vec<(String, Vec<u8>)>> {
    Ok(sqlx::query_as("SELECT name, sealed FROM secrets ORDER BY name FOR UPDATE").fetch_all(transaction).await?)
}

/// The same secret, encrypted to another key.
pub(super) async fn replace_value(transaction: &mut PgConnection, name: &str, sealed: &[u8]) -> Result<()> {
    sqlx::query("UPDATE secrets SET sealed = $2 WHERE name = $1").bind(name).bind(sealed).execute(transaction).await?;
    Ok(())
}

/// That it has been used. Not where somebody is just replacing it, for whom nobody needs to wait.
pub(super) async fn touch(db: &TenantDb, name: &SecretName, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "UPDATE secrets SET last_used_at = $2
         WHERE name = (SELECT name FROM secrets WHERE name = $1 FOR NO KEY UPDATE SKIP LOCKED)",
    )
    .bind(name.as_str())
    .bind(now)
    .execute(db.pool())
    .await?;
    Ok(())
}

/// False when there was none.
pub(super) async fn delete(db: &TenantDb, name: &SecretName) -> Result<bool> {
    let deleted = sqlx::query("DELETE FROM secrets WHERE name = $1").bind(name.as_str()).execute(db.pool()).await?;
    Ok(deleted.rows_affected() == 1)
}
