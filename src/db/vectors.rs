//! Indexes of vectors. Which ones are needed depends on the embedding model that a tenant uses, so they come and go while
//! the appliance runs; and since a tenant's role can make none, they are made here, as the schema's owner.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::{
    bootstrap::{execute, quote},
    server::Server,
};
use crate::support::{Error, Result, ids::TenantId};

/// pgvector indexes half-precision vectors of up to so many numbers.
const MOST_DIMENSIONS: i16 = 4000;

/// How often it is asked whether it is one's turn.
const ASKED_EVERY: Duration = Duration::from_millis(100);

/// Makes one index for each of these lengths of vectors, and removes all others. Readers and writers are not held up:
/// that is what `CONCURRENTLY` is for. One that an interruption left unfinished is made anew.
pub(super) async fn index(server: &Server, id: &TenantId, dimensions: &[i16]) -> Result<()> {
    if let Some(wrong) = dimensions.iter().find(|length| !(1..=MOST_DIMENSIONS).contains(*length)) {
        return Err(Error::invalid(format!("vectors of {wrong} numbers cannot be indexed")));
    }
    let mut owner = server.administrator().await?;
    wait_for_turn(&mut owner, id).await?;
    let there = indexes(&mut owner, &id.schema()).await?;
    execute(&mut owner, format!("SET ROLE {}", quote(&id.owner_role()))).await?;
    execute(&mut owner, format!("SET search_path TO {}, extensions", quote(&id.schema()))).await?;
    let name = |length: i16| format!("passage_vectors_{length}_idx");
    for (length, valid) in &there {
        if !valid || !dimensions.contains(length) {
            execute(&mut owner, format!("DROP INDEX CONCURRENTLY IF EXISTS {}", name(*length))).await?;
        }
    }
    for &length in dimensions.iter().filter(|length| !there.contains(&(**length, true))) {
        // The search names the same expression and condition.
        let make = format!(
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS {} ON passage_vectors
             USING hnsw ((embedding::extensions.halfvec({length})) extensions.halfvec_cosine_ops)
             WHERE dimensions = {length}",
            name(length)
        );
        execute(&mut owner, make).await?;
    }
    owner.close().await?;
    Ok(())
}

/// Two that make indexes of one table at once wait for each other for ever, so they take turns; the turn ends with the
/// connection. Whoever waits asks again and again: a statement that waited would itself be waited for.
async fn wait_for_turn(owner: &mut PgConnection, id: &TenantId) -> Result<()> {
    loop {
        let mine: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended('AEGIS vectors ' || $1, 0))")
            .bind(id.as_str())
            .fetch_one(&mut *owner)
            .await?;
        if mine {
            return Ok(());
        }
        tokio::time::sleep(ASKED_EVERY).await;
    }
}

/// The lengths for which there is an index, and whether it is whole.
async fn indexes(administrator: &mut PgConnection, schema: &str) -> Result<Vec<(i16, bool)>> {
    Ok(sqlx::query_as(
        "SELECT substring(c.relname FROM '^passage_vectors_([0-9]+)_idx$')::smallint, i.indisvalid
         FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
         JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
         WHERE n.nspname = $1 AND t.relname = 'passage_vectors' AND c.relname ~ '^passage_vectors_[0-9]+_idx$'",
    )
    .bind(schema)
    .fetch_all(administrator)
    .await?)
}
