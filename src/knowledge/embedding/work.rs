//! The job's body: what an organisation's vectors need. It can be cut off at any point and goes on from there, and a
//! second worker makes the first one's further writing void.

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::{
    Embedding,
    store::{self, Claim, Switch},
};
use crate::{
    audit::{Action, Actor},
    db::{Databases, TenantDb},
    knowledge::ingest::unavailable,
    models::embedding::{EmbeddingModel, Input},
    support::{Error, Result},
};

/// Passages looked up at once.
const LOOKED_UP: i64 = 256;
/// Passages given to the model at once, and stored at once: few, so that little memory is taken and little is lost.
const BATCH: usize = 32;
/// After so long an organisation makes room for others; it goes on when its turn comes again.
const TURN: Duration = Duration::from_mins(1);
/// Vectors removed in one transaction.
const REMOVED_AT_ONCE: i64 = 2000;

/// Whether the job has to be put into the queue once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing is left to do, or somebody else does it.
    Nothing,
    /// It is somebody else's turn.
    Again,
}

/// Removes what nobody needs any more, makes the vectors of a change that is not finished, and switches when they are
/// complete. Searches that began before the switch have `grace` to end before their vectors go.
pub(super) async fn work(
    embedding: &Embedding,
    databases: &Databases,
    db: &TenantDb,
    grace: Duration,
) -> Result<After> {
    tidy(embedding, databases, db).await?;
    let Some(claim) = store::claim(db.pool()).await? else { return Ok(After::Nothing) };
    let model = match embedding.models.open(&claim.model) {
        Ok(model) => model,
        Err(error) => return fail(embedding, db, &claim, error.message()).await,
    };
    let began = Instant::now();
    let mut after = Uuid::nil();
    loop {
        let missing = claim.next(db.pool(), after, LOOKED_UP).await?;
        match missing.last() {
            Some((last, _)) => after = *last,
            None if !after.is_nil() => {
                // Once more from the beginning: documents may have come, or come back, meanwhile.
                after = Uuid::nil();
                continue;
            }
            None => match switch(embedding, databases, db, &claim, &*model).await? {
                Switch::Done => break,
                Switch::Overtaken => return Ok(After::Nothing),
                Switch::NotYet if began.elapsed() > TURN => return Ok(After::Again),
                Switch::NotYet => continue,
            },
        }
        for batch in missing.chunks(BATCH) {
            if !embed(embedding, db, &claim, &*model, batch).await? {
                return Ok(After::Nothing);
            }
            if began.elapsed() > TURN {
                return Ok(After::Again);
            }
        }
    }
    tokio::time::sleep(grace).await;
    tidy(embedding, databases, db).await?;
    Ok(After::Nothing)
}

/// Gives a change up after all attempts.
pub(super) async fn give_up(embedding: &Embedding, db: &TenantDb, error: &Error) -> Result<()> {
    match store::claim(db.pool()).await? {
        Some(claim) => fail(embedding, db, &claim, error.message()).await.map(drop),
        None => Ok(()),
    }
}

/// False when somebody else has the work now, or it was cancelled.
async fn embed(
    embedding: &Embedding,
    db: &TenantDb,
    claim: &Claim,
    model: &dyn EmbeddingModel,
    batch: &[(Uuid, String)],
) -> Result<bool> {
    let all: Vec<Uuid> = batch.iter().map(|(id, _)| *id).collect();
    let Some(reused) = claim.reuse(db.pool(), &all, embedding.clock.now()).await? else { return Ok(false) };
    let (ids, texts): (Vec<_>, Vec<_>) = batch.iter().filter(|(id, _)| !reused.contains(id)).cloned().unzip();
    if ids.is_empty() {
        return Ok(true);
    }
    match embedding.vectors(db, model, &texts, Input::Passage).await {
        Ok(vectors) => claim.add(db.pool(), &ids, &vectors, embedding.clock.now()).await,
        Err(error) => {
            let error = unavailable(error);
            claim.wait(db.pool(), error.message()).await?;
            Err(error)
        }
    }
}

/// The index first, so that the first search after the switch has it.
async fn switch(
    embedding: &Embedding,
    databases: &Databases,
    db: &TenantDb,
    claim: &Claim,
    model: &dyn EmbeddingModel,
) -> Result<Switch> {
    let lengths = lengths(db, &[model]).await?;
    if !lengths.is_empty() {
        databases.index_vectors(db.tenant(), &lengths).await?;
    }
    let switched = claim.switch(db.pool(), embedding.clock.now()).await?;
    if switched == Switch::Done {
        tracing::info!(tenant = %db.tenant(), model = claim.model, "documents are searched by another embedding model");
        let detail = json!({ "from": claim.previous });
        embedding.record(db, Actor::System, Action::ReembeddingFinished, &claim.model, detail).await?;
    }
    Ok(switched)
}

async fn fail(embedding: &Embedding, db: &TenantDb, claim: &Claim, reason: &str) -> Result<After> {
    if claim.fail(db.pool(), reason, embedding.clock.now()).await? {
        tracing::warn!(tenant = %db.tenant(), model = claim.model, reason, "a change of the embedding model was given up");
        let detail = json!({ "outcome": "failed", "from": claim.previous, "reason": reason });
        embedding.record(db, Actor::System, Action::ReembeddingFailed, &claim.model, detail).await?;
        return Ok(After::Again);
    }
    Ok(After::Nothing)
}

/// Removes vectors and indexes that nobody needs, and makes the indexes that are missing.
async fn tidy(embedding: &Embedding, databases: &Databases, db: &TenantDb) -> Result<()> {
    let Some(row) = store::active(db.pool()).await?.filter(|row| row.untidy) else { return Ok(()) };
    while store::remove_others(db.pool(), REMOVED_AT_ONCE).await? > 0 {}
    let active = embedding.models.open(&row.active).ok();
    let lengths = lengths(db, active.as_deref().as_slice()).await?;
    if !lengths.is_empty() {
        databases.index_vectors(db.tenant(), &lengths).await?;
    }
    store::tidied(db.pool(), &row.active).await
}

/// The lengths of all vectors that there are, and of those that these models will make.
async fn lengths(db: &TenantDb, models: &[&dyn EmbeddingModel]) -> Result<Vec<i16>> {
    let mut lengths = store::dimensions(db.pool()).await?;
    let of_models = models.iter().filter_map(|model| i16::try_from(model.dimensions()).ok());
    lengths.extend(of_models.filter(|&length| length > 0));
    lengths.sort_unstable();
    lengths.dedup();
    Ok(lengths)
}
