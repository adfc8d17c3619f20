//! `aegis token …`

use std::process::ExitCode;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    client::Client,
    output::{Output, table},
};

/// `aegis token`
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make an API token for a member of a tenant. It is printed once.
    Create {
        /// The member's e-mail address.
        #[arg(long)]
        user: String,
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// What it is for.
        #[arg(long)]
        name: String,
        /// What it carries, as `aegis permissions` lists them; may be given several times.
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// How long it is good: 30, 90 or 365 days.
        #[arg(long, default_value_t = 90, conflicts_with = "no_expiry")]
        days: u16,
        /// Good until it is revoked; for owners only.
        #[arg(long)]
        no_expiry: bool,
    },
    /// List the API tokens of a tenant, never what they are presented by.
    List {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// Of this member only.
        #[arg(long)]
        user: Option<String>,
    },
    /// Revoke an API token. It stops working at once.
    Revoke {
        /// Its id, as `aegis token list` shows it.
        id: String,
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
    },
}

/// A token as the command line prints it.
#[derive(Debug, Serialize, Deserialize)]
struct TokenRow {
    id: String,
    name: String,
    user: String,
    scopes: Vec<String>,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl Token {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create { user, tenant, name, scopes, days, no_expiry } => {
                let days = (!no_expiry).then_some(days);
                let body = json!({ "user": user, "name": name, "scopes": scopes, "days": days });
                let token: TokenRow = client.post(&format!("/tenants/{tenant}/tokens"), &body).await?;
                output.result(&token, |token| token.secret.clone().unwrap_or_default())?;
                Output::note(format_args!("This is shown once: {} for {}, {}.", token.name, token.user, ends(&token)));
            }
            Self::List { tenant, user } => {
                let tokens: Vec<TokenRow> = client.get(&format!("/tenants/{tenant}/tokens")).await?;
                let tokens: Vec<TokenRow> = tokens
                    .into_iter()
                    .filter(|token| user.as_ref().is_none_or(|user| user.eq_ignore_ascii_case(&token.user)))
                    .collect();
                output.result(&tokens, |tokens| {
                    let used = |token: &TokenRow| token.last_used_at.clone().unwrap_or_else(|| "never".to_owned());
                    let row = |t: &TokenRow| {
                        vec![t.id.clone(), t.name.clone(), t.user.clone(), t.scopes.join(" "), ends(t), used(t)]
                    };
                    let rows: Vec<_> = tokens.iter().map(row).collect();
                    table(&["ID", "NAME", "USER", "SCOPES", "EXPIRES", "USED"], &rows)
                })?;
            }
            Self::Revoke { id, tenant } => {
                let token: TokenRow = client.delete(&format!("/tenants/{tenant}/tokens/{id}")).await?;
                output.result(&token, |token| format!("Revoked {} of {}.", token.name, token.user))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn ends(token: &TokenRow) -> String {
    token.expires_at.clone().unwrap_or_else(|| "never expires".to_owned())
}
