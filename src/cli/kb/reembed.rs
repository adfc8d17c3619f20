//! `aegis kb reembed`: documents get the vectors of another embedding model.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::{
    client::{Client, encode},
    output::Output,
};

/// `aegis kb reembed`
#[derive(Debug, Args)]
pub struct Reembed {
    /// The tenant's slug.
    #[arg(long)]
    tenant: String,
    /// The model: `builtin`, `ollama/nomic-embed-text`, `openai/text-embedding-3-large@1024`. Unless given, the
    /// configuration's, which the tenant follows again.
    #[arg(long, conflicts_with_all = ["status", "cancel"])]
    model: Option<String>,
    /// Show how far it is, and change nothing.
    #[arg(long, conflicts_with = "cancel")]
    status: bool,
    /// Stop what goes on, and keep the model that documents are searched by.
    #[arg(long)]
    cancel: bool,
    /// Wait until the documents are searched by the new model, showing how far it is.
    #[arg(long, conflicts_with_all = ["status", "cancel"])]
    wait: bool,
}

/// How the tenant stands, as the admin socket describes it.
#[derive(Debug, Deserialize, Serialize)]
struct State {
    active: String,
    configured: String,
    chosen: Option<String>,
    problem: Option<String>,
    offered: Vec<String>,
    change: Option<Change>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Change {
    model: String,
    previous: String,
    status: String,
    reason: Option<String>,
    done: u64,
    total: u64,
    seconds_left: Option<u64>,
}

impl Change {
    fn is_unfinished(&self) -> bool {
        matches!(self.status.as_str(), "running" | "waiting")
    }
}

impl Reembed {
    /// Runs the command.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        let path = format!("/tenants/{}/embedding", encode(&self.tenant));
        let mut state: State = if self.status {
            client.get(&path).await?
        } else if self.cancel {
            client.post(&format!("{path}/cancel"), &json!({})).await?
        } else {
            client.post(&path, &json!({ "model": self.model })).await?
        };
        let waits = self.wait && state.change.as_ref().is_some_and(Change::is_unfinished);
        if waits {
            state = wait(client, &path, state).await?;
        }
        output.result(&state, describe)?;
        let failed = waits && state.change.as_ref().is_some_and(|change| change.status != "done");
        Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}

async fn wait(client: &Client, path: &str, mut state: State) -> anyhow::Result<State> {
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} passages")?);
    while let Some(change) = state.change.as_ref().filter(|change| change.is_unfinished()) {
        bar.set_length(change.total);
        bar.set_position(change.done);
        bar.set_message(change.reason.clone().unwrap_or_else(|| change.model.clone()));
        tokio::time::sleep(Duration::from_millis(200)).await;
        state = client.get(path).await?;
    }
    bar.finish_and_clear();
    Ok(state)
}

fn describe(state: &State) -> String {
    let mut lines = vec![match &state.problem {
        Some(problem) => format!("Documents are searched by words alone: {problem}"),
        None => format!("Documents are searched by {}.", state.active),
    }];
    if let Some(change) = &state.change {
        let Change { model, done, total, .. } = change;
        let reason = change.reason.as_deref().unwrap_or("the reason is not known");
        let left = change.seconds_left.map(|seconds| format!(", some {} min left", seconds.div_ceil(60)));
        lines.push(match change.status.as_str() {
            "running" => {
                format!("Moving to {model}: {done} of {total} passages{}.", left.unwrap_or_default())
            }
            "waiting" => {
                format!("Moving to {model}: {done} of {total} passages; it waits and goes on by itself: {reason}")
            }
            "failed" => format!("The change to {model} was given up: {reason}"),
            "cancelled" => format!("The change to {model} was stopped."),
            _ => format!("They were moved from {}.", change.previous),
        });
    }
    if let Some(chosen) = &state.chosen {
        lines.push(format!("{chosen} was chosen for this tenant; the configuration has {}.", state.configured));
    }
    lines.join("\n")
}
