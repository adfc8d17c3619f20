//! `aegis boardroom`: several agents on one question, as it goes on, and a meeting's record.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{
    client::{Client, encode},
    output::Output,
};

/// `aegis boardroom`
#[derive(Debug, Subcommand)]
pub enum Boardroom {
    /// Put a question to several agents and wait for the outcome, which everybody in the organisation may read.
    Ask(Ask),
    /// Print the record of a meeting as Markdown.
    Export(Export),
}

/// `aegis boardroom ask`
#[derive(Debug, Args)]
pub struct Ask {
    /// The tenant's slug.
    #[arg(long)]
    tenant: String,
    /// The members, two to seven: `atlas,sage`.
    #[arg(long, value_delimiter = ',', required = true)]
    agents: Vec<String>,
    /// Which of them writes the outcome; the first unless told.
    #[arg(long)]
    chair: Option<String>,
    /// The question.
    question: String,
}

/// `aegis boardroom export`
#[derive(Debug, Args)]
pub struct Export {
    /// The tenant's slug.
    #[arg(long)]
    tenant: String,
    /// The meeting's id.
    meeting: String,
}

impl Boardroom {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::Ask(ask) => ask.run(client, output).await,
            Self::Export(Export { tenant, meeting }) => {
                let record: Value = client.get(&route(&tenant, &meeting)).await?;
                output.result(&record, |record| record["markdown"].as_str().unwrap_or_default().to_owned())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Ask {
    async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        let chair = self.chair.or_else(|| self.agents.first().cloned()).unwrap_or_default();
        let body = json!({ "question": self.question, "agents": self.agents, "chair": chair });
        let path = format!("/tenants/{}/boardroom", encode(&self.tenant));
        let mut stream = client.post_for_stream(&path, &body).await?.into_body();
        let (mut buffer, mut meeting, mut speaking) = (Vec::new(), None, String::new());
        while let Some(frame) = stream.frame().await {
            let Ok(data) = frame.context("the appliance closed the connection; the meeting goes on there")?.into_data()
            else {
                continue;
            };
            buffer.extend_from_slice(&data);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line)?;
                if let Some(id) = event["meeting"].as_str() {
                    Output::note(format_args!("meeting {id}"));
                    meeting = Some(id.to_owned());
                }
                if output.is_live() {
                    show(&event, &mut speaking)?;
                } else if event["type"] == "contributed" {
                    Output::note(format_args!(
                        "· {} · {} · {}",
                        word(&event, "round"),
                        word(&event, "agent"),
                        word(&event, "state")
                    ));
                }
            }
        }
        let meeting = meeting.context("the appliance ended the answer too early")?;
        let record: Value = client.get(&route(&self.tenant, &meeting)).await?;
        output.result(&record, |record| record["markdown"].as_str().unwrap_or_default().to_owned())?;
        Ok(if record["meeting"]["state"] == "finished" { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

fn route(tenant: &str, meeting: &str) -> String {
    format!("/tenants/{}/boardroom/{}", encode(tenant), encode(meeting))
}

fn word<'e>(event: &'e Value, key: &str) -> &'e str {
    event[key].as_str().unwrap_or_default()
}

/// Prints what is said, with the speaker's name whenever another one speaks.
fn show(event: &Value, speaking: &mut String) -> anyhow::Result<()> {
    let speaker = format!("{} · {}", word(event, "round"), word(event, "agent"));
    match word(event, "type") {
        "said" if *speaking == speaker => Output::piece(word(event, "text")),
        "said" => {
            Output::piece(&format!("\n\n── {speaker} ──\n{}", word(event, "text")))?;
            *speaking = speaker;
            Ok(())
        }
        "contributed" if word(event, "state") != "complete" => {
            Output::note(format_args!("\n· {speaker} · {}", word(event, "state")));
            Ok(())
        }
        "ended" => Output::piece("\n\n"),
        _ => Ok(()),
    }
}
