//! `aegis models …`

use std::{fmt::Write, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Subcommand;
use http_body_util::BodyExt;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;

use super::{
    client::Client,
    output::{Output, table},
};
use crate::{
    models::catalogue::{Overview, Pull, ServerRow, StoredModel, TargetRow, ToolCalling, Trial},
    support::{Error, Kind},
};

/// `aegis models`
#[derive(Debug, Subcommand)]
pub enum Models {
    /// List routes, their targets with their states, and what the Ollama servers keep.
    List,
    /// Ask a route or a target a real question: how fast it is, whether it calls tools.
    Test {
        /// A route's name, or a target's as `list` shows it; without it the default route.
        #[arg(default_value = "default")]
        name: String,
    },
    /// Have an Ollama server fetch a model. Ctrl-C stops; the next time it goes on where it was.
    Pull {
        /// Its name in Ollama's library: `llama3.2`, `qwen3:8b`.
        model: String,
        /// Which server: `ollama`, or the name of a provider of that kind.
        #[arg(long, default_value = "ollama")]
        server: String,
    },
}

impl Models {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::List => {
                let overview: Overview = client.get("/models").await?;
                output.result(&overview, describe)?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Test { name } => {
                let trial: Trial = client.post("/models/test", &json!({ "name": name })).await?;
                output.result(&trial, describe_trial)?;
                Ok(ExitCode::from(u8::from(trial.error.is_some())))
            }
            Self::Pull { model, server } => pull(client, output, &server, &model).await,
        }
    }
}

async fn pull(client: &Client, output: &Output, server: &str, model: &str) -> anyhow::Result<ExitCode> {
    let body = json!({ "server": server, "model": model });
    let mut stream = client.post_for_stream("/models/pull", &body).await?.into_body();
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("{msg:28!} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let (mut buffer, mut last): (Vec<u8>, Option<Pull>) = (Vec::new(), None);
    while let Some(frame) = stream.frame().await {
        let Ok(data) = frame.context("the appliance closed the connection")?.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let pull: Pull = serde_json::from_slice(&line)?;
            let (completed, total) = pull.bytes();
            bar.set_length(total);
            bar.set_position(completed);
            bar.set_message(pull.status.clone());
            last = Some(pull);
        }
    }
    bar.finish_and_clear();
    let pull = last.context("the appliance ended the pull without a word")?;
    match pull.state.as_str() {
        "done" => {
            output.result(&pull, |pull| format!("✓ {model} is there: {}", HumanBytes(pull.bytes().1)))?;
            Ok(ExitCode::SUCCESS)
        }
        "running" => {
            Err(anyhow::anyhow!("the appliance stopped before {model} was there; the next pull goes on there"))
        }
        "stopped" => Err(Error::new(Kind::Conflict, format!("the pull of {model} was stopped"))
            .remedy("pull it again: Ollama goes on where it was")
            .into()),
        _ => Err(Error::new(Kind::Unavailable, pull.error.unwrap_or_else(|| "the pull failed".to_owned())).into()),
    }
}

fn describe(overview: &Overview) -> String {
    let mut text = String::new();
    for route in &overview.routes {
        let _ = writeln!(text, "route {}: {}", route.name, names(&route.chain));
        for (what, targets) in [("long prompts", &route.context), ("refused content", &route.refusal)] {
            if !targets.is_empty() {
                let _ = writeln!(text, "  for {what}: {}", names(targets));
            }
        }
    }
    let rows: Vec<_> = overview.targets.iter().map(target_row).collect();
    let _ = writeln!(text, "\n{}", table(&["TARGET", "STATE", "CONTEXT", "CAN", "PRICE"], &rows));
    for target in overview.targets.iter().filter(|target| target.problem.is_some()) {
        let _ = writeln!(text, "  {}: {}", target.model, target.problem.as_deref().unwrap_or_default());
        if let Some(remedy) = &target.remedy {
            let _ = writeln!(text, "    → {remedy}");
        }
    }
    for server in &overview.servers {
        let _ = writeln!(text, "\n{}", describe_server(server));
    }
    for pull in overview.pulls.iter().filter(|pull| pull.is_running()) {
        let _ = writeln!(text, "\nfetching {} to {}: {} %", pull.model, pull.server, pull.percent());
    }
    text
}

fn names(targets: &[String]) -> String {
    if targets.is_empty() { "nothing".to_owned() } else { targets.join(", ") }
}

fn target_row(target: &TargetRow) -> Vec<String> {
    let state = match target.cooling_seconds {
        Some(seconds) => format!("cooling {seconds} s"),
        None => target.state.clone(),
    };
    let context = target.context_tokens.map_or_else(|| "–".to_owned(), |tokens| tokens.to_string());
    vec![target.model.clone(), state, context, target.abilities.join(" "), target.price()]
}

fn describe_server(server: &ServerRow) -> String {
    let heading = format!("{} at {}", server.name, server.address);
    if let Some(problem) = &server.problem {
        return format!("{heading}: {problem}");
    }
    if server.models.is_empty() {
        return format!("{heading} keeps no models; `aegis models pull llama3.2` fetches one");
    }
    let row = |model: &StoredModel| {
        let loaded = model.loaded_bytes.map_or_else(String::new, |bytes| format!("in memory, {}", HumanBytes(bytes)));
        vec![
            model.name.clone(),
            HumanBytes(model.bytes).to_string(),
            model.family.clone(),
            model.parameters.clone(),
            model.quantization.clone(),
            loaded,
        ]
    };
    let rows: Vec<_> = server.models.iter().map(row).collect();
    format!("{heading}\n{}", table(&["MODEL", "SIZE", "FAMILY", "PARAMETERS", "QUANTIZATION", "LOADED"], &rows))
}

fn describe_trial(trial: &Trial) -> String {
    let mut text = format!("{} ({})\n", trial.model, trial.why);
    for attempt in &trial.attempts {
        let _ = writeln!(text, "  asked before in vain: {attempt}");
    }
    let _ = writeln!(text, "\n{}\n", trial.text.trim());
    let _ = writeln!(text, "first token after {} ms, all after {} ms", trial.first_token_ms, trial.duration_ms);
    let speed = trial.tokens_per_second.map_or_else(String::new, |speed| format!(", {speed:.1} tokens/s"));
    let _ = writeln!(text, "{} tokens read, {} written{speed}", trial.prompt_tokens, trial.completion_tokens);
    let tools = match trial.tools {
        ToolCalling::Works => "calls tools",
        ToolCalling::Wrong => "calls tools, but wrongly",
        ToolCalling::NotCalled => "did not call the tool that it was told to call",
        ToolCalling::Unsupported => "has no tools: the appliance searches for it",
        ToolCalling::Failed => "did not answer when it was offered a tool",
    };
    let _ = writeln!(text, "{tools}");
    if let Some(error) = &trial.error {
        let _ = writeln!(text, "the answer broke off: {error}");
    }
    text
}
