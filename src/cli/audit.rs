//! `aegis audit …`

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::{
    client::{Client, encode},
    output::Output,
};

/// `aegis audit`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Recompute the hash chain of a tenant's log and name the first entry that does not fit.
    Verify {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
    },
    /// Show every entry of a run: prompts, retrievals, model and tool calls.
    Show {
        /// The run's id, as `aegis ask` prints it.
        #[arg(long)]
        run: String,
        /// The tenant's slug, if you know it; otherwise every tenant's log is searched.
        #[arg(long)]
        tenant: Option<String>,
    },
}

impl Audit {
    /// Runs the command. A chain that does not hold ends with 1.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::Verify { tenant } => {
                let found: Value = client.get(&format!("/tenants/{}/audit/verify", encode(&tenant))).await?;
                let intact = found["intact"].as_bool() == Some(true);
                output.result(&found, describe_verification)?;
                Ok(if intact { ExitCode::SUCCESS } else { ExitCode::from(1) })
            }
            Self::Show { run, tenant } => {
                let query = tenant.map(|slug| format!("?tenant={}", encode(&slug))).unwrap_or_default();
                let entries: Vec<Value> = client.get(&format!("/audit/runs/{}{query}", encode(&run))).await?;
                output.result(&entries, |entries| entries.iter().map(describe_entry).collect::<Vec<_>>().join("\n"))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn describe_verification(found: &Value) -> String {
    let entries = &found["entries"];
    if found["intact"].as_bool() == Some(true) {
        return format!("The chain holds: {entries} entries, head {}.", found["head"].as_str().unwrap_or("(empty)"));
    }
    let broken = &found["broken"];
    format!("The chain is broken at entry {}: {}", broken["seq"], broken["why"].as_str().unwrap_or("unknown"))
}

fn describe_entry(entry: &Value) -> String {
    let subject = entry["subject"].as_str().unwrap_or("");
    let detail = serde_json::to_string_pretty(&entry["detail"]).unwrap_or_default().replace('\n', "\n    ");
    format!(
        "{:>5}  {}  {}  {subject}\n    {detail}",
        entry["seq"],
        entry["at"].as_str().unwrap_or(""),
        entry["action"].as_str().unwrap_or(""),
    )
}
