//! `aegis doctor`: each part examined, each problem with its remedy.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{client::Client, output::Output};
use crate::{
    app::doctor::{Finding, State},
    config::Config,
};

/// `aegis doctor`
#[derive(Debug, Args)]
pub struct Doctor {}

impl Doctor {
    /// Examines the running appliance, or boots one to examine. Ends with 1 if something does not work.
    pub async fn run(self, config: &Config, output: &Output) -> anyhow::Result<ExitCode> {
        let mut findings = vec![Finding::ok("configuration", "every setting is understood")];
        match Client::connect(config).await {
            Ok(client) => {
                findings.extend(client.get::<Vec<Finding>>("/doctor").await?);
                client.close().await;
            }
            Err(error) => {
                let remedy = error
                    .downcast_ref::<crate::support::Error>()
                    .and_then(|error| error.remedy_text())
                    .unwrap_or("start it with `aegis serve` and read what it logs");
                findings.push(Finding::broken("appliance", format!("it does not start: {error:#}"), remedy));
            }
        }
        let works = findings.iter().all(|finding| finding.state != State::Broken);
        output.result(&json!({ "ok": works, "findings": findings }), |_| {
            findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")
        })?;
        Ok(if works { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}
