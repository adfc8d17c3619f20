//! `aegis user …`

use std::{io::Read, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{client::Client, output::Output};

/// `aegis user`
#[derive(Debug, Subcommand)]
pub enum User {
    /// Create an account, or make an existing one a member of a further tenant.
    Create {
        /// The person's e-mail address.
        email: String,
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// What the person may do there.
        #[arg(long, value_enum)]
        role: RoleName,
        /// The person's name; the part of the address before the @ if not given.
        #[arg(long)]
        name: Option<String>,
        /// Read the password from standard input, so that it stands in no shell history.
        #[arg(long, required = true)]
        password_stdin: bool,
    },
}

/// The roles that a person may have in a tenant.
#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleName {
    /// May do everything in the tenant.
    Owner,
    /// May manage members and secrets and read the audit log.
    Admin,
    /// May use the agents and the knowledge base.
    Member,
    /// May read.
    Viewer,
}

#[derive(Debug, Serialize, Deserialize)]
struct UserRow {
    id: String,
    email: String,
    name: String,
    tenant: String,
    role: String,
}

impl User {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        let Self::Create { email, tenant, role, name, password_stdin: _ } = self;
        let mut password = String::new();
        std::io::stdin()
            .take(4096)
            .read_to_string(&mut password)
            .context("the password could not be read from standard input")?;
        let password = password.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            bail!(
                "standard input held no password; try `printf %s \"$PASSWORD\" | aegis user create … --password-stdin`"
            );
        }
        let body = json!({ "email": email, "tenant": tenant, "role": role, "name": name, "password": password });
        let user: UserRow = client.post("/users", &body).await?;
        output.result(&user, |user| format!("{} is now {} of {}.", user.email, user.role, user.tenant))?;
        Ok(ExitCode::SUCCESS)
    }
}
