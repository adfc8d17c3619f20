//! `aegis ask`: one question to an agent, the answer as it comes.

use std::{fmt::Write, process::ExitCode};

use anyhow::Context;
use clap::Args;
use http_body_util::BodyExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    client::{Client, encode},
    output::Output,
};
use crate::support::{Error, Kind};

/// `aegis ask`
#[derive(Debug, Args)]
pub struct Ask {
    /// The tenant's slug.
    #[arg(long)]
    tenant: String,
    /// The agent.
    #[arg(long, default_value = "atlas")]
    agent: String,
    /// The question.
    question: String,
}

/// The answer as `--json` prints it.
#[derive(Debug, Serialize)]
struct Answered {
    run_id: Value,
    answer: Value,
    citations: Vec<Value>,
    model: Value,
    quoting: Value,
    tool_calls: Value,
}

impl Ask {
    /// Runs the command: streams to a terminal, otherwise prints the whole answer at its end.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        let route = format!("/tenants/{}/ask", encode(&self.tenant));
        let body = json!({ "agent": self.agent, "question": self.question });
        let mut stream = client.post_for_stream(&route, &body).await?.into_body();
        let mut buffer = Vec::new();
        let mut answer = None;
        while let Some(frame) = stream.frame().await {
            let Ok(data) = frame.context("the appliance closed the connection")?.into_data() else { continue };
            buffer.extend_from_slice(&data);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                if let Some(done) = show(output, &serde_json::from_slice(&line)?)? {
                    answer = Some(done);
                }
            }
        }
        let answer = answer.context("the appliance ended the answer too early")?;
        if output.is_live() {
            Output::piece(&describe_sources(&answer))?;
        } else {
            output.result(&answered(&answer), |answered| {
                format!("{}\n{}", answered.answer.as_str().unwrap_or_default(), describe_sources(&answer))
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Shows one event of the run; the last one carries the answer.
fn show(output: &Output, event: &Value) -> anyhow::Result<Option<Value>> {
    match event["type"].as_str().unwrap_or_default() {
        "text" if output.is_live() => Output::piece(event["text"].as_str().unwrap_or_default())?,
        "loading" => Output::note(format_args!("loading {} …", event["model"].as_str().unwrap_or("the model"))),
        "tool_finished" if output.is_live() => Output::note(format_args!(
            "· {} · {} · {} ms",
            event["name"].as_str().unwrap_or("tool"),
            event["summary"].as_str().unwrap_or(""),
            event["duration_ms"]
        )),
        "finished" => return Ok(Some(event.clone())),
        "failed" => {
            let error = Error::new(Kind::Unavailable, event["message"].as_str().unwrap_or("the run failed"));
            return Err(match event["remedy"].as_str() {
                Some(remedy) => error.remedy(remedy),
                None => error,
            }
            .into());
        }
        _ => {}
    }
    Ok(None)
}

fn answered(answer: &Value) -> Answered {
    let citation = |c: &Value| json!({ "document": c["document"], "locator": c["locator"], "text": c["text"] });
    Answered {
        run_id: answer["run_id"].clone(),
        answer: answer["answer"].clone(),
        citations: answer["citations"].as_array().map(|all| all.iter().map(citation).collect()).unwrap_or_default(),
        model: answer["model"].clone(),
        quoting: answer["quoting"].clone(),
        tool_calls: answer["tool_calls"].clone(),
    }
}

fn describe_sources(answer: &Value) -> String {
    let mut text = String::from("\n");
    for citation in answer["citations"].as_array().into_iter().flatten() {
        let document = citation["document"].as_str().unwrap_or_default();
        let locator = citation["locator"].as_str().unwrap_or_default();
        let _ = writeln!(text, "[{}] {document} · {locator}", citation["number"]);
    }
    let seconds = answer["duration_ms"].as_f64().unwrap_or_default() / 1000.0;
    let model = answer["model"].as_str().unwrap_or_default();
    let _ = writeln!(text, "— {model} · {seconds:.1} s · run {}", answer["run_id"].as_str().unwrap_or_default());
    text
}
