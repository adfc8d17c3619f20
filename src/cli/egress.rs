//! `aegis egress`: what may be reached outside, and why.

use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    client::Client,
    output::{Output, table},
};

/// `aegis egress`
#[derive(Debug, Args)]
pub struct Egress {}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    address: String,
    because_of: String,
    own_network: bool,
}

impl Egress {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        let allowed: Vec<Row> = client.get("/egress").await?;
        output.result(&allowed, |allowed| {
            if allowed.is_empty() {
                return "Nothing outside may be reached. Hosts are added in [egress] allow of config.toml.".to_owned();
            }
            let network = |own| if own { "the own one, too" } else { "the internet only" }.to_owned();
            let rows: Vec<_> = allowed
                .iter()
                .map(|row| vec![row.address.clone(), row.because_of.clone(), network(row.own_network)])
                .collect();
            table(&["ADDRESS", "BECAUSE OF", "NETWORK"], &rows)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
