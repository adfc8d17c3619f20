//! `aegis tenant …`

use std::process::ExitCode;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    client::Client,
    output::{Output, table},
};

/// `aegis tenant`
#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// Create a tenant: its schema, its database roles, its entry in the list.
    Create {
        /// Its short name in commands and addresses: lower-case letters, digits and hyphens.
        slug: String,
        /// The organisation's name.
        #[arg(long)]
        name: String,
    },
    /// List the tenants.
    List,
}

/// A tenant as the command line prints it.
#[derive(Debug, Serialize, Deserialize)]
struct TenantRow {
    slug: String,
    name: String,
    id: String,
    created_at: String,
}

impl Tenant {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create { slug, name } => {
                let tenant: TenantRow = client.post("/tenants", &json!({ "slug": slug, "name": name })).await?;
                output.result(&tenant, |tenant| format!("Created the tenant {} ({}).", tenant.slug, tenant.name))?;
            }
            Self::List => {
                let tenants: Vec<TenantRow> = client.get("/tenants").await?;
                output.result(&tenants, |tenants| {
                    let rows: Vec<_> =
                        tenants.iter().map(|t| vec![t.slug.clone(), t.name.clone(), t.created_at.clone()]).collect();
                    table(&["SLUG", "NAME", "CREATED"], &rows)
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
