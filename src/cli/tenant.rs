//! `aegis tenant …`

use std::process::ExitCode;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    client::{Client, encode},
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
    /// List the tenants, with their states.
    List,
    /// Show one: state, members, size, and what operators did to it.
    Show {
        /// Its short name.
        slug: String,
    },
    /// Change a tenant's name, its short name, or both.
    Rename {
        /// Its short name until now.
        slug: String,
        /// The organisation's new name.
        #[arg(long, required_unless_present = "new_slug")]
        name: Option<String>,
        /// The new short name; the old one is free afterwards.
        #[arg(long = "slug", value_name = "SLUG")]
        new_slug: Option<String>,
    },
    /// Take a tenant out of service at once: nobody gets in, nothing runs, everything is kept.
    Suspend {
        /// Its short name.
        slug: String,
        /// Why, for the record.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Take a suspended tenant back into service.
    Resume {
        /// Its short name.
        slug: String,
    },
    /// Delete a tenant: out of service at once, removed with everything in it after the grace period.
    Delete {
        /// Its short name.
        slug: String,
        /// Its short name once more, to confirm.
        #[arg(long, value_name = "SLUG")]
        confirm: String,
        /// Without a grace period: it is gone when the command returns.
        #[arg(long)]
        now: bool,
    },
    /// Take a deleted tenant back, while its grace period lasts.
    Undelete {
        /// Its short name.
        slug: String,
    },
}

/// A tenant as the command line prints it.
#[derive(Debug, Serialize, Deserialize)]
struct TenantRow {
    slug: String,
    name: String,
    id: String,
    state: String,
    members: i64,
    created_at: String,
    #[serde(default)]
    suspended_at: Option<String>,
    #[serde(default)]
    suspended_reason: Option<String>,
    #[serde(default)]
    delete_after: Option<String>,
}

/// The same, with what is known of one only.
#[derive(Debug, Serialize, Deserialize)]
struct Details {
    #[serde(flatten)]
    tenant: TenantRow,
    bytes: i64,
    documents: i64,
    last_activity: Option<String>,
    problem: Option<String>,
    history: Vec<Deed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Deed {
    at: String,
    actor: String,
    action: String,
}

impl Tenant {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        let path = |slug: &str, what: &str| format!("/tenants/{}{what}", encode(slug));
        match self {
            Self::Create { slug, name } => {
                let tenant: TenantRow = client.post("/tenants", &json!({ "slug": slug, "name": name })).await?;
                output.result(&tenant, |tenant| format!("Created the tenant {} ({}).", tenant.slug, tenant.name))?;
            }
            Self::List => {
                let tenants: Vec<TenantRow> = client.get("/tenants").await?;
                output.result(&tenants, |tenants| list(tenants))?;
            }
            Self::Show { slug } => {
                let details: Details = client.get(&path(&slug, "")).await?;
                output.result(&details, show)?;
            }
            Self::Rename { slug, name, new_slug } => {
                let body = json!({ "name": name, "slug": new_slug });
                let tenant: TenantRow = client.post(&path(&slug, "/rename"), &body).await?;
                output.result(&tenant, |tenant| format!("It is now {} ({}).", tenant.slug, tenant.name))?;
            }
            Self::Suspend { slug, reason } => {
                let body = json!({ "reason": reason });
                let tenant: TenantRow = client.post(&path(&slug, "/suspend"), &body).await?;
                output.result(&tenant, |tenant| {
                    format!("{0} is suspended; `aegis tenant resume {0}` takes it back into service.", tenant.slug)
                })?;
            }
            Self::Resume { slug } => {
                let tenant: TenantRow = client.post(&path(&slug, "/resume"), &Value::Null).await?;
                output.result(&tenant, |tenant| format!("{} is in service again.", tenant.slug))?;
            }
            Self::Delete { slug, confirm, now } => {
                let query = format!("?confirm={}&now={now}", encode(&confirm));
                let tenant: TenantRow = client.delete(&path(&slug, &query)).await?;
                output.result(&tenant, deleted)?;
            }
            Self::Undelete { slug } => {
                let tenant: TenantRow = client.post(&path(&slug, "/undelete"), &Value::Null).await?;
                output.result(&tenant, |tenant| format!("{} is kept; it is {}.", tenant.slug, tenant.state))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(tenants: &[TenantRow]) -> String {
    let cells = |t: &TenantRow| {
        let state =
            t.delete_after.as_ref().map_or_else(|| t.state.clone(), |after| format!("{} after {after}", t.state));
        vec![t.slug.clone(), t.name.clone(), state, t.members.to_string(), t.created_at.clone()]
    };
    table(&["SLUG", "NAME", "STATE", "MEMBERS", "CREATED"], &tenants.iter().map(cells).collect::<Vec<_>>())
}

fn show(details: &Details) -> String {
    let tenant = &details.tenant;
    let mut rows = vec![
        ("name", tenant.name.clone()),
        ("id", tenant.id.clone()),
        ("state", tenant.state.clone()),
        ("created", tenant.created_at.clone()),
        ("members", tenant.members.to_string()),
        ("documents", details.documents.to_string()),
        ("size", format!("{} kB", details.bytes / 1000)),
        ("last activity", details.last_activity.clone().unwrap_or_else(|| "none".to_owned())),
    ];
    let optional = [
        ("suspended", &tenant.suspended_at),
        ("because", &tenant.suspended_reason),
        ("removed after", &details.tenant.delete_after),
        ("not served", &details.problem),
    ];
    rows.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    let facts: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let history: Vec<_> =
        details.history.iter().map(|deed| vec![deed.at.clone(), deed.actor.clone(), deed.action.clone()]).collect();
    format!("{}\n\n{}", table(&[&tenant.slug, ""], &facts), table(&["WHEN", "BY", "WHAT"], &history))
}

fn deleted(tenant: &TenantRow) -> String {
    match &tenant.delete_after {
        None => format!("{} is gone, with everything that was its.", tenant.slug),
        Some(after) => format!(
            "{0} is out of service and will be removed after {after}; `aegis tenant undelete {0}` takes it back.",
            tenant.slug
        ),
    }
}
