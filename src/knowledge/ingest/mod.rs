//! The job's body: from stored bytes to searchable passages. Running it again at any point goes on where it
//! stopped, and a second worker on the same document makes the first one's further writing void.

mod store;

use std::{path::Path, pin::pin, time::Instant};

use serde_json::json;

use self::store::{Claim, Kept};
use super::{
    Knowledge,
    chunk::{Chunker, Draft},
    extract::{Block, Failure, Kind, Limits, Reader, process::ExtractError},
    language,
};
use crate::{
    audit::{Action, Actor},
    db::TenantDb,
    models::{chat::ModelError, embedding::Input},
    support::{Error, Result, ids::DocumentId},
};

/// Passages given to the embedding model at once; more would need more memory than they save time.
const BATCH: usize = 16;
/// Passages stored in one statement.
const STORED_AT_ONCE: usize = 256;
/// Text given to the chunker at once.
const CHUNKED_BYTES: usize = 64 * 1024;

/// How far a step came.
enum Outcome<T> {
    Done(T),
    /// Somebody else has the document now, or it is gone.
    Overtaken,
}

/// Ingests `id`. Failures that the file is to blame for end in the document's `failed` state and are no error;
/// an error means that trying again later may help.
pub(super) async fn ingest(knowledge: &Knowledge, db: &TenantDb, id: DocumentId) -> Result<()> {
    let Some(claim) = store::claim(db.pool(), id).await? else { return Ok(()) };
    let started = Instant::now();
    let outcome = match run(knowledge, db, &claim).await {
        Ok(outcome) => outcome,
        Err(ExtractError::File(failure) | ExtractError::Crashed(failure)) => {
            return fail(knowledge, db, &claim, &failure).await;
        }
        Err(ExtractError::Machine(error)) => {
            // Whoever looks at the document meanwhile sees what it waits for. Where even this cannot be written,
            // the job's own error tells.
            let _ = claim.note(db.pool(), &error.to_string()).await;
            return Err(error);
        }
    };
    let Outcome::Done(done) = outcome else { return Ok(()) };
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(document = %id, duration_ms, "a document can be searched now");
    let detail = json!({ "duration_ms": duration_ms, "title": claim.file_name, "version": done.version });
    knowledge.record(db, Actor::System, Action::DocumentIngested, id, detail).await?;
    knowledge.embedding().ingested(db).await?;
    for old in done.replaced {
        let detail = json!({ "title": claim.file_name, "by": id, "version": done.version });
        knowledge.record(db, Actor::System, Action::DocumentSuperseded, old, detail).await?;
    }
    Ok(())
}

/// Gives a document up because all attempts failed for reasons that are not the file's.
pub(super) async fn give_up(knowledge: &Knowledge, db: &TenantDb, id: DocumentId, error: &Error) -> Result<()> {
    let Some(claim) = store::claim(db.pool(), id).await? else { return Ok(()) };
    let failure = Failure::new(format!(
        "The document could not be ingested: {error}. The file was kept; upload it again to retry."
    ));
    fail(knowledge, db, &claim, &failure).await
}

async fn run(knowledge: &Knowledge, db: &TenantDb, claim: &Claim) -> Result<Outcome<store::Outcome>, ExtractError> {
    if !claim.is_read {
        let read = match read(knowledge, db, claim, false).await {
            Err(ExtractError::Crashed(failure)) if claim.media_type == Kind::Pdf.media_type() => {
                tracing::info!(document = %claim.document(), %failure, "the second PDF reader has a try");
                read(knowledge, db, claim, true).await?
            }
            other => other?,
        };
        if matches!(read, Outcome::Overtaken) {
            return Ok(Outcome::Overtaken);
        }
    }
    loop {
        let model = match embed(knowledge, db, claim).await? {
            Kept::Done(model) => model,
            Kept::Overtaken => return Ok(Outcome::Overtaken),
            Kept::AnotherModel => continue,
        };
        match claim.finish(db.pool(), &model, knowledge.clock().now()).await? {
            Kept::Done(replaced) => return Ok(Outcome::Done(replaced)),
            Kept::Overtaken => return Ok(Outcome::Overtaken),
            Kept::AnotherModel => {}
        }
    }
}

/// Reads the file into passages.
async fn read(knowledge: &Knowledge, db: &TenantDb, claim: &Claim, second: bool) -> Result<Outcome<()>, ExtractError> {
    let pool = db.pool();
    if !claim.start_reading(pool).await? {
        return Ok(Outcome::Overtaken);
    }
    let (program, settings) = (knowledge.program(), knowledge.settings());
    let parts = super::store::original(pool, claim.document());
    let mut reader = start(program, Limits::of(settings), claim, second, parts).await?;
    let markdown = claim.media_type == Kind::Markdown.media_type();
    let model = knowledge.embedding().active(db).await?;
    let mut chunker = Some(Chunker::new(model, settings.passage_tokens, &claim.file_name, markdown));
    let (mut drafts, mut total, mut language) = (Vec::new(), 0_i32, None);
    loop {
        let (blocks, more) = next_blocks(&mut reader).await?;
        drafts.extend(chunk(&mut chunker, blocks, more).await?);
        while drafts.len() >= STORED_AT_ONCE || (!more && !drafts.is_empty()) {
            let rest = drafts.split_off(drafts.len().min(STORED_AT_ONCE));
            total = total.saturating_add(i32::try_from(drafts.len()).unwrap_or(i32::MAX));
            // The beginning tells the language of the whole.
            let texts = drafts.iter().map(|draft| draft.text.as_str());
            let language = *language.get_or_insert_with(|| language::configuration(texts));
            if !claim.add_passages(pool, &drafts, language).await? {
                return Ok(Outcome::Overtaken);
            }
            drafts = rest;
        }
        if !more {
            break;
        }
    }
    if total == 0 {
        return Err(Failure::empty().into());
    }
    let language = language.unwrap_or(language::UNKNOWN);
    let kept = claim.finish_reading(pool, total, reader.finished().pages, language).await?;
    Ok(if kept { Outcome::Done(()) } else { Outcome::Overtaken })
}

async fn start(
    program: &Path,
    limits: Limits,
    claim: &Claim,
    second: bool,
    parts: impl futures::Stream<Item = Result<Vec<u8>>>,
) -> Result<Reader, ExtractError> {
    let parts = pin!(parts);
    Reader::start(program, limits, &claim.file_name, second, parts).await
}

/// Some blocks, and whether there may be more.
async fn next_blocks(reader: &mut Reader) -> Result<(Vec<Block>, bool), ExtractError> {
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    while bytes < CHUNKED_BYTES {
        match reader.next().await? {
            None => return Ok((blocks, false)),
            Some(block) => {
                bytes += block.text.len();
                blocks.push(block);
            }
        }
    }
    Ok((blocks, true))
}

/// Cuts blocks into passages, off the async threads: counting tokens is work.
async fn chunk(chunker: &mut Option<Chunker>, blocks: Vec<Block>, more: bool) -> Result<Vec<Draft>> {
    let Some(mut taken) = chunker.take() else { return Ok(Vec::new()) };
    let (back, drafts) = tokio::task::spawn_blocking(move || {
        let mut drafts: Vec<Draft> = blocks.into_iter().flat_map(|block| taken.push(block)).collect();
        if !more {
            drafts.extend(taken.finish());
        }
        (taken, drafts)
    })
    .await
    .map_err(Error::internal)?;
    *chunker = Some(back);
    Ok(drafts)
}

/// Embeds the passages that lack a vector of the active model, and says which that is.
async fn embed(knowledge: &Knowledge, db: &TenantDb, claim: &Claim) -> Result<Kept<String>, ExtractError> {
    let model = knowledge.embedding().active(db).await?;
    let name = model.name();
    if !claim.reuse_vectors(db.pool(), &name).await? {
        return Ok(Kept::Overtaken);
    }
    let mut from = 0;
    loop {
        let missing = claim.without_vector(db.pool(), &name, from, 4 * i64::try_from(BATCH).unwrap_or(16)).await?;
        let Some(last) = missing.last() else { return Ok(Kept::Done(name)) };
        from = last.ordinal + 1;
        for batch in missing.chunks(BATCH) {
            let (ids, texts): (Vec<_>, Vec<_>) = batch.iter().map(|one| (one.id, one.text.clone())).unzip();
            let vectors =
                knowledge.embedding().vectors(db, &*model, &texts, Input::Passage).await.map_err(unavailable)?;
            match claim.add_vectors(db.pool(), &name, &ids, &vectors).await? {
                Kept::Done(()) => {}
                Kept::Overtaken => return Ok(Kept::Overtaken),
                Kept::AnotherModel => return Ok(Kept::AnotherModel),
            }
        }
    }
}

/// What a failing embedding model means: it may answer later.
pub(super) fn unavailable(error: ModelError) -> Error {
    let message = error.to_string();
    Error::unavailable(message).because(error)
}

async fn fail(knowledge: &Knowledge, db: &TenantDb, claim: &Claim, failure: &Failure) -> Result<()> {
    if claim.fail(db.pool(), &failure.reason).await? {
        let id = claim.document();
        tracing::info!(document = %id, reason = %failure, "a document could not be ingested");
        let detail = json!({ "title": claim.file_name, "reason": failure.reason });
        knowledge.record(db, Actor::System, Action::DocumentFailed, id, detail).await?;
    }
    Ok(())
}
