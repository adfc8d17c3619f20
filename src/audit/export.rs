//! A log as lines of JSON, so that anybody can keep it elsewhere and check it with other tools.
//!
//! | line | fields |
//! |---|---|
//! | first | `format` = [`FORMAT`]; `log`, its name; `complete`, whether every entry behind the checkpoint follows; `checkpoint`, where the log begins once older entries were removed: `seq`, `hash`, `at`, `removed`, `signature`, or null |
//! | each entry | `seq`; `at`, and the same as `at_micros`; `actor` and `detail`, JSON in a string, since its exact bytes were hashed; `action`; `run`, `subject`, or null; `previous` and `hash` in hex |
//! | last | `end` = true; `entries`, how many there were; `head`, the hash of the last. An export without this line was cut off |
//!
//! How `hash` is made of the other fields stands in `chain.rs`. `tests/it/audit/verify_export.py` checks an export by
//! this description with nothing but Python's standard library, and is run by the tests.

use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use serde::Serialize;
use serde_json::json;

use super::{chain::Sealed, checkpoint::Checkpoint, log::Log, store};
use crate::support::{Error, Result, ids::RunId};

/// What the first line says.
pub const FORMAT: &str = "aegis audit export v1";

/// Entries that are in memory at once.
const PAGE: i64 = 100;

#[derive(Serialize)]
struct Line<'a> {
    seq: i64,
    at: Option<String>,
    at_micros: Option<i64>,
    actor: &'a str,
    action: &'a str,
    run: Option<uuid::Uuid>,
    subject: Option<&'a str>,
    detail: &'a str,
    previous: String,
    hash: String,
}

/// How far an export has come.
enum Step {
    Head,
    Entries { after: i64, entries: i64, head: String },
    Done,
}

/// The whole log, in pieces of whole lines, read as fast as they are taken.
pub fn export(log: impl Into<Log>) -> BoxStream<'static, Result<String>> {
    let log = log.into();
    stream::try_unfold((log, Step::Head), |(log, step)| async move {
        Ok(match step {
            Step::Head => {
                let checkpoint = store::checkpoints(&log).await?.pop();
                let after = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.seq);
                let head = checkpoint.as_ref().map_or_else(|| "0".repeat(64), |one| hex::encode(&one.hash));
                let line = first(&log, true, checkpoint.as_ref());
                Some((line, (log, Step::Entries { after, entries: 0, head })))
            }
            Step::Entries { after, entries, head } => {
                let page: Vec<Sealed> = store::page(&log, after, PAGE).try_collect().await?;
                let Some(last) = page.last() else {
                    return Ok(Some((end(entries, &head), (log, Step::Done))));
                };
                let next = Step::Entries {
                    after: last.seq,
                    entries: entries + i64::try_from(page.len()).map_err(Error::internal)?,
                    head: hex::encode(&last.hash),
                };
                Some((page.iter().map(line).collect::<Result<String>>()?, (log, next)))
            }
            Step::Done => None,
        })
    })
    .boxed()
}

/// The entries of a run, in the same format. Each can be checked by its own hash; the links between them lie in the log.
///
/// # Errors
/// When the database does not answer; `NotFound` when there is no such run in the log.
pub async fn export_run(log: impl Into<Log>, run: RunId) -> Result<String> {
    let log = log.into();
    let entries = store::of_run(&log, run).await?;
    let Some(last) = entries.last() else { return Err(Error::not_found("the run")) };
    let mut text = first(&log, false, None);
    for entry in &entries {
        text.push_str(&line(entry)?);
    }
    text.push_str(&end(i64::try_from(entries.len()).map_err(Error::internal)?, &hex::encode(&last.hash)));
    Ok(text)
}

fn first(log: &Log, complete: bool, checkpoint: Option<&Checkpoint>) -> String {
    format!("{}\n", json!({ "format": FORMAT, "log": log.name(), "complete": complete, "checkpoint": checkpoint }))
}

fn line(entry: &Sealed) -> Result<String> {
    let content = &entry.content;
    let line = Line {
        seq: entry.seq,
        at: content.at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)),
        at_micros: content.at.map(|at| at.timestamp_micros()),
        actor: &content.actor,
        action: &content.action,
        run: content.run,
        subject: content.subject.as_deref(),
        detail: &content.detail,
        previous: hex::encode(&entry.previous),
        hash: hex::encode(&entry.hash),
    };
    Ok(format!("{}\n", serde_json::to_string(&line).map_err(Error::internal)?))
}

fn end(entries: i64, head: &str) -> String {
    format!("{}\n", json!({ "end": true, "entries": entries, "head": head }))
}
