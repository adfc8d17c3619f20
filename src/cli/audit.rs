//! `aegis audit …`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{
    client::{Client, encode},
    output::{Output, table},
};

/// `aegis audit`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Recompute the hash chains of all logs, or of one, and name the first entry that does not fit. Ends with 1 then.
    Verify {
        /// Only this tenant's, by its slug.
        #[arg(long)]
        tenant: Option<String>,
        /// Only the appliance's own.
        #[arg(long, conflicts_with = "tenant")]
        appliance: bool,
    },
    /// Show entries, newest first; or every entry of a run, with prompts, retrievals, model and tool calls.
    Show(Show),
    /// Write a log, or a run in it, to standard output: lines of JSON that anybody can check with other tools.
    Export {
        #[command(flatten)]
        log: OneLog,
        /// Only this run.
        #[arg(long)]
        run: Option<String>,
    },
    /// Remove the entries of before a day; a signed checkpoint remains, from which the rest can still be verified.
    Prune {
        #[command(flatten)]
        log: OneLog,
        /// The first day, or moment, whose entries stay: 2026-05-01.
        #[arg(long)]
        before: String,
    },
    /// Go through a run again from what was recorded, and show the first difference. Ends with 1 if there is one.
    Replay {
        /// The run's id, as `aegis ask` prints it.
        run: String,
        /// The tenant's slug, if you know it; otherwise every tenant's log is searched.
        #[arg(long)]
        tenant: Option<String>,
        /// Take all models' answers from the recording: then what is tried is the appliance's own behaviour. Otherwise a
        /// model that must answer the same request in the same way is asked again.
        #[arg(long)]
        recorded: bool,
    },
}

/// Whose log.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct OneLog {
    /// The tenant's slug.
    #[arg(long)]
    tenant: Option<String>,
    /// The appliance's own log: its configuration, its operators.
    #[arg(long)]
    appliance: bool,
}

/// `aegis audit show`
#[derive(Debug, Args)]
pub struct Show {
    /// The tenant's slug. With --run it may be left out; then every tenant's log is searched.
    #[arg(long)]
    tenant: Option<String>,
    /// The appliance's own log.
    #[arg(long, conflicts_with = "tenant")]
    appliance: bool,
    /// Everything of this run, in order.
    #[arg(long, conflicts_with_all = ["actor", "action", "since", "until", "text", "limit", "appliance"])]
    run: Option<String>,
    /// A person's name, `operator`, `system`, `agent:atlas`, or `user:` and an id.
    #[arg(long)]
    actor: Option<String>,
    /// An action, `document.added`, or the noun alone for all of its actions.
    #[arg(long)]
    action: Option<String>,
    /// From this day or moment on.
    #[arg(long)]
    since: Option<String>,
    /// Up to the end of this day, or before this moment.
    #[arg(long)]
    until: Option<String>,
    /// Words in the subject or the detail.
    #[arg(long)]
    text: Option<String>,
    /// How many entries at most.
    #[arg(long)]
    limit: Option<u32>,
}

impl OneLog {
    fn path(&self) -> String {
        match &self.tenant {
            Some(slug) => format!("/audit/logs/{}", encode(&format!("tenant:{slug}"))),
            None => "/audit/logs/appliance".to_owned(),
        }
    }
}

impl Audit {
    /// Runs the command. A chain that does not hold, and a replay that differs, end with 1.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::Verify { tenant, appliance } => {
                let one = tenant.is_some() || appliance;
                let path = if one { OneLog { tenant, appliance }.path() } else { "/audit".to_owned() };
                let found: Value = client.get(&format!("{path}/verify")).await?;
                output.result(&found, describe_verification)?;
                Ok(code(&found["intact"]))
            }
            Self::Show(show) => show.run(client, output).await,
            Self::Export { log, run } => {
                let query = run.map(|run| format!("?run={}", encode(&run))).unwrap_or_default();
                let mut body = client.get_stream(&format!("{}/export{query}", log.path())).await?.into_body();
                while let Some(frame) = body.frame().await {
                    if let Ok(piece) = frame?.into_data() {
                        Output::bytes(&piece)?;
                    }
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Prune { log, before } => {
                let pruned: Value = client.post(&format!("{}/prune", log.path()), &json!({ "before": before })).await?;
                output.result(&pruned, describe_pruning)?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Replay { run, tenant, recorded } => {
                let asked = json!({ "tenant": tenant, "recorded": recorded });
                let replay: Value = client.post(&format!("/audit/runs/{}/replay", encode(&run)), &asked).await?;
                output.result(&replay, describe_replay)?;
                Ok(code(&replay["identical"]))
            }
        }
    }
}

impl Show {
    async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        if let Some(run) = self.run {
            let query = self.tenant.map(|slug| format!("?tenant={}", encode(&slug))).unwrap_or_default();
            let entries: Vec<Value> = client.get(&format!("/audit/runs/{}{query}", encode(&run))).await?;
            output.result(&entries, |entries| entries.iter().map(describe_entry).collect::<Vec<_>>().join("\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.tenant.is_none() && !self.appliance {
            anyhow::bail!("whose log? Give --tenant SLUG, --appliance, or --run RUN");
        }
        let path = OneLog { tenant: self.tenant, appliance: self.appliance }.path();
        let limit = self.limit.map(|limit| limit.to_string());
        let fields = [
            ("actor", self.actor),
            ("action", self.action),
            ("from", self.since),
            ("to", self.until),
            ("text", self.text),
            ("limit", limit),
        ];
        let query: Vec<String> =
            fields.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encode(&value?)))).collect();
        let found: Value = client.get(&format!("{path}/entries?{}", query.join("&"))).await?;
        let entries = found["entries"].as_array().cloned().unwrap_or_default();
        output.result(&entries, |entries| describe_entries(entries))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn code(good: &Value) -> ExitCode {
    if good == true { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn describe_verification(found: &Value) -> String {
    let Some(logs) = found["logs"].as_array() else { return describe_log(found) };
    let line = |log: &Value| format!("{}: {}", log["log"].as_str().unwrap_or("?"), describe_log(log));
    logs.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn describe_log(found: &Value) -> String {
    let entries = &found["entries"];
    let from = match found["checkpoint"]["seq"].as_i64() {
        Some(seq) => format!(" behind the checkpoint at {seq}"),
        None => String::new(),
    };
    if found["intact"] == true {
        let head = found["head"].as_str().unwrap_or("(empty)");
        return format!("The chain holds: {entries} entries{from}, head {head}.");
    }
    let broken = &found["broken"];
    format!("The chain is broken at entry {}: {}", broken["seq"], broken["why"].as_str().unwrap_or("unknown"))
}

fn describe_pruning(pruned: &Value) -> String {
    if pruned["checkpoint"].is_null() {
        return "There was nothing to remove.".to_owned();
    }
    let (removed, through) = (&pruned["removed"], &pruned["checkpoint"]["through"]);
    format!("Removed {removed} entries, up to entry {through}; the log now begins at a signed checkpoint.")
}

fn describe_replay(replay: &Value) -> String {
    let mut lines = Vec::new();
    for seq in replay["altered"].as_array().into_iter().flatten() {
        lines.push(format!("Entry {seq} of the run is not what was sealed: somebody changed the log."));
    }
    let asked = replay["asked_again"].as_array().map_or(&[][..], Vec::as_slice);
    let told = match asked {
        [] => "all models' answers taken from the recording".to_owned(),
        [.., last] => format!("{} asked again {} times", last.as_str().unwrap_or("the model"), asked.len()),
    };
    let cut_off = if replay["cut_off"] == true { "; the run was cut off there" } else { "" };
    if replay["identical"] == true {
        lines.push(format!("Identical: {} steps, {told}{cut_off}.", replay["steps"]));
        return lines.join("\n");
    }
    let difference = &replay["difference"];
    let text = |field: &str| difference[field].as_str().unwrap_or("").to_owned();
    lines.push(format!("Different at step {}, {}, {} ({told}):", difference["step"], text("action"), text("field")));
    lines.push(format!("  recorded  {}", text("recorded").replace('\n', "\n            ")));
    lines.push(format!("  now       {}", text("now").replace('\n', "\n            ")));
    lines.join("\n")
}

fn describe_entries(entries: &[Value]) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let row = |entry: &Value| {
        let took = entry["detail"]["duration_ms"].as_u64().map(|ms| format!("{ms} ms")).unwrap_or_default();
        let at = text(&entry["at"]);
        let at = at.get(..19).map_or(at.clone(), |at| at.replace('T', " "));
        let subject = text(&entry["subject"]);
        vec![
            entry["seq"].to_string(),
            at,
            text(&entry["by"]),
            text(&entry["action"]),
            subject,
            text(&entry["outcome"]),
            took,
        ]
    };
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    table(&["seq", "at (UTC)", "by", "action", "subject", "result", "took"], &rows)
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
