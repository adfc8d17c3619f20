//! `aegis secret …`

use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    client::{Client, encode},
    output::{Output, table},
};
use crate::{
    app::terminal,
    secrets::{Secret as Listed, VALUE_BYTES},
};

/// `aegis secret`
#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Set a secret, in place of the one that has the name; the value comes from standard input, and nowhere else.
    Set {
        /// What programs ask for: small letters, digits, dots, hyphens and underscores.
        name: String,
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
    },
    /// List secrets: names, by whom, when used; never values.
    List {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
    },
    /// Delete a secret for good.
    Delete {
        /// Which.
        name: String,
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
    },
}

impl Secret {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::Set { name, tenant } => {
                let body = json!({ "name": name, "value": value()? });
                let set: Listed = client.post(&format!("/tenants/{}/secrets", encode(&tenant)), &body).await?;
                output.result(&set, |set| format!("The secret {} is set.", set.name))?;
            }
            Self::List { tenant } => {
                let secrets: Vec<Listed> = client.get(&format!("/tenants/{}/secrets", encode(&tenant))).await?;
                output.result(&secrets, |secrets| {
                    let used = |secret: &Listed| secret.last_used_at.map_or("never".to_owned(), |at| at.to_rfc3339());
                    let rows: Vec<_> = secrets
                        .iter()
                        .map(|s| vec![s.name.to_string(), s.set_by.clone(), s.set_at.to_rfc3339(), used(s)])
                        .collect();
                    table(&["NAME", "SET BY", "SET", "LAST USED"], &rows)
                })?;
            }
            Self::Delete { name, tenant } => {
                let path = format!("/tenants/{}/secrets/{}", encode(&tenant), encode(&name));
                let deleted: Value = client.delete(&path).await?;
                output.result(&deleted, |deleted| {
                    format!("The secret {} is gone.", deleted["name"].as_str().unwrap_or(""))
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Out of a pipe or a file, or typed unseen. The line break that `echo` adds is not part of it.
fn value() -> anyhow::Result<String> {
    const HOW: &str = "try `printf %s \"$TOKEN\" | aegis secret set NAME --tenant TENANT`";
    if std::io::stdin().is_terminal() {
        return terminal::ask("Value: ")?.with_context(|| format!("no value was typed; {HOW}"));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(VALUE_BYTES as u64 + 3)
        .read_to_end(&mut bytes)
        .context("the value could not be read from standard input")?;
    // The error of the conversion would hold the bytes.
    let Ok(text) = String::from_utf8(bytes) else {
        bail!("the value is not text in UTF-8; encode it, for instance with base64");
    };
    let value = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    if value.is_empty() {
        bail!("standard input held no value; {HOW}");
    }
    Ok(value.to_owned())
}
