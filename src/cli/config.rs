//! `aegis config …`

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::output::Output;
use crate::{config::Config, support::Result};

/// `aegis config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration and name every problem with its file, line and key.
    Check,
    /// Show every setting that is in force; secrets are masked.
    Show,
}

impl ConfigCommand {
    /// Runs the command; neither needs the appliance.
    pub fn run(self, load: impl FnOnce() -> Result<Config>, output: &Output) -> anyhow::Result<ExitCode> {
        let config = load()?;
        match self {
            Self::Check => output.result(&json!({ "ok": true }), |_| "The configuration is fine.".to_owned())?,
            Self::Show => {
                let toml = config.to_toml_masked()?;
                output.result(&config, |_| toml)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
