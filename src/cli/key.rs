//! `aegis key …`

use std::{io::Read, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::{Client, encode},
    output::Output,
};
use crate::{
    app::terminal,
    config::Config,
    secrets::{ApplianceRotation, KeyStatus, TenantRotation},
    vault::keyring::{Known, Protection},
};

/// `aegis key`
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Show how the keys are protected, when they were made, and what is still sealed to an old one.
    Status,
    /// Make a new key, and seal everything again that the old one opened; nothing stops meanwhile.
    Rotate(Which),
    /// Protect the key file by a passphrase, or by another one; each start needs it from then on.
    Protect {
        /// Read the passphrase from standard input.
        #[arg(long)]
        passphrase_stdin: bool,
    },
    /// Protect the key file by its permissions alone, so that starts need no passphrase.
    Unprotect,
}

/// Which key is rotated.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The key of this tenant (its slug): all its values are encrypted again.
    #[arg(long)]
    tenant: Option<String>,
    /// The appliance's own: every tenant's key is sealed again. Interrupted, it is finished by the next start.
    #[arg(long)]
    appliance: bool,
}

impl Key {
    /// Runs the command. A rotation that leaves something behind ends with 1.
    pub async fn run(self, client: &Client, config: &Config, output: &Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::Status => {
                let status: KeyStatus = client.get("/key").await?;
                output.result(&status, describe_status)?;
            }
            Self::Rotate(Which { tenant: Some(tenant), .. }) => {
                let path = format!("/tenants/{}/key/rotate", encode(&tenant));
                let done: TenantRotation = client.post(&path, &json!({})).await?;
                output.result(&done, |done| {
                    format!("{tenant} has a new key, {}. Values encrypted again: {}.", done.recipient, done.secrets)
                })?;
            }
            Self::Rotate(Which { tenant: None, .. }) => {
                let done: ApplianceRotation = client.post("/key/rotate", &json!({})).await?;
                output.result(&done, describe_rotation)?;
                return Ok(if done.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) });
            }
            Self::Protect { passphrase_stdin } => {
                let body = json!({ "passphrase": passphrase(passphrase_stdin, config)? });
                let done: Value = client.post("/key/protect", &body).await?;
                output.result(&done, |done| match done["as_configured"].as_bool() {
                    Some(true) => "The key file is protected by the passphrase in the configuration.".to_owned(),
                    _ => "The key file is protected. The next start needs this passphrase: write [vault] passphrase into \
                          the configuration, or type it on a terminal. Without it nobody opens the secrets again."
                        .to_owned(),
                })?;
            }
            Self::Unprotect => {
                let done: Value = client.post("/key/unprotect", &json!({})).await?;
                output.result(&done, |done| match done["as_configured"].as_bool() {
                    Some(true) => "The key file is readable without a passphrase.".to_owned(),
                    _ => "The key file is readable without a passphrase. Take [vault] passphrase out of the configuration."
                        .to_owned(),
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// From standard input, typed twice, or `None` for the configured one.
fn passphrase(from_stdin: bool, config: &Config) -> anyhow::Result<Option<String>> {
    if from_stdin {
        let mut text = String::new();
        std::io::stdin()
            .take(4096)
            .read_to_string(&mut text)
            .context("the passphrase could not be read from standard input")?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if config.vault.passphrase.is_some() {
        return Ok(None);
    }
    let Some(first) = terminal::ask("New passphrase: ")? else { return Ok(None) };
    if terminal::ask("Once more: ")?.as_deref() != Some(&*first) {
        bail!("the two are not the same; nothing was changed");
    }
    Ok(Some(first))
}

fn describe_status(status: &KeyStatus) -> String {
    let key = |known: &Known| format!("{}, made {}", known.recipient, known.made_at.format("%Y-%m-%d %H:%M UTC"));
    let overview = &status.overview;
    let mut lines = vec![
        format!(
            "protection   {}",
            match overview.protection {
                Protection::File => "the key file's permissions (no passphrase)",
                Protection::Passphrase => "a passphrase",
            }
        ),
        format!("root         fingerprint {}", overview.root_fingerprint),
        format!("sealing key  {}", key(&overview.sealing)),
    ];
    lines.extend(overview.previous.iter().map(|old| format!("old key      {}", key(old))));
    lines.push(match status.not_resealed.as_slice() {
        [] => format!("tenants      {} with a key of their own, all sealed to the current one", status.tenants),
        left => format!(
            "tenants      {} with a key of their own; not yet sealed to the current one: {}\n             → `aegis key \
             rotate --appliance` goes on",
            status.tenants,
            left.join(", ")
        ),
    });
    if !status.waiting.is_empty() {
        lines.push(format!("             out of service, so that their keys wait: {}", status.waiting.join(", ")));
    }
    lines.join("\n")
}

fn describe_rotation(done: &ApplianceRotation) -> String {
    let began =
        if done.resumed { "The rotation that had been interrupted went on" } else { "The appliance has a new key" };
    let mut lines = vec![format!("{began}: {}. Tenants' keys sealed again: {}.", done.recipient, done.resealed)];
    let left = done.left.iter();
    lines.extend(left.map(|(tenant, why)| format!("  {tenant} is still sealed to the old key, which is kept: {why}")));
    if !done.waiting.is_empty() {
        lines.push(format!(
            "  Out of service, so that their keys wait, and the old key with them: {}. It is forgotten once they are back, \
             or gone.",
            done.waiting.join(", ")
        ));
    }
    lines.join("\n")
}
