//! The one way in which entries of a log are ever removed: the oldest of them, by the log's owner, for a checkpoint.

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};

use super::{
    bootstrap::{execute, quote},
    server::Server,
};
use crate::support::{Result, ids::TenantId};

/// Whose log it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOwner {
    /// A tenant's, in its schema.
    Tenant(TenantId),
    /// The appliance's own, in the control schema.
    Appliance,
}

/// What is removed, and what is put in its place.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The newest entry that is removed.
    pub seq: i64,
    /// Its hash.
    pub hash: Vec<u8>,
    /// When it is removed.
    pub at: DateTime<Utc>,
    /// How many entries are removed.
    pub removed: i64,
    /// The appliance's signature of all that.
    pub signature: String,
}

/// Removes and signs in one transaction. False, and nothing done, unless exactly what `cut` names is there.
pub(super) async fn cut(server: &Server, owner: &LogOwner, cut: &Cut) -> Result<bool> {
    let mut administrator = server.administrator().await?;
    if let LogOwner::Tenant(id) = owner {
        execute(&mut administrator, format!("SET ROLE {}", quote(&id.owner_role()))).await?;
    }
    let schema = match owner {
        LogOwner::Tenant(id) => id.schema(),
        LogOwner::Appliance => "control".to_owned(),
    };
    execute(&mut administrator, format!("SET search_path TO {}", quote(&schema))).await?;
    let done = replace(&mut administrator, cut).await?;
    administrator.close().await?;
    Ok(done)
}

async fn replace(owner: &mut PgConnection, cut: &Cut) -> Result<bool> {
    let mut transaction = owner.begin().await?;
    let written = sqlx::query(
        "INSERT INTO audit_checkpoints (seq, hash, at, removed, signature)
         SELECT seq, hash, $3, $4, $5 FROM audit_entries WHERE seq = $1 AND hash = $2 ON CONFLICT (seq) DO NOTHING",
    )
    .bind(cut.seq)
    .bind(&cut.hash)
    .bind(cut.at)
    .bind(cut.removed)
    .bind(&cut.signature)
    .execute(&mut *transaction)
    .await?;
    let removed =
        sqlx::query("DELETE FROM audit_entries WHERE seq <= $1").bind(cut.seq).execute(&mut *transaction).await?;
    if written.rows_affected() != 1 || i64::try_from(removed.rows_affected()) != Ok(cut.removed) {
        transaction.rollback().await?;
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}
