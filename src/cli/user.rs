//! `aegis user …`

use std::{io::Read, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    client::{Client, encode},
    output::{Output, table},
};

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
    /// List people, with where they belong.
    List {
        /// Only those of this tenant.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Show one person.
    Show {
        /// The person's e-mail address.
        email: String,
    },
    /// Make a link by which somebody becomes a member; it works once, for a week.
    Invite {
        /// The person's e-mail address.
        email: String,
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// What the person may do there.
        #[arg(long, value_enum)]
        role: RoleName,
    },
    /// Make a link by which somebody sets a new password; it works once, for a day.
    Reset {
        /// The person's e-mail address.
        email: String,
    },
    /// Make somebody an operator of this appliance.
    Operator {
        /// The person's e-mail address.
        email: String,
        /// Make them none instead.
        #[arg(long)]
        revoke: bool,
    },
    /// Take the second factor from somebody who has lost their phone and their recovery codes. Make sure who asks.
    SecondFactor {
        /// The person's e-mail address.
        email: String,
        /// Take it away; they can set up another one.
        #[arg(long, required = true)]
        remove: bool,
    },
    /// Keep somebody out of all tenants. Their sessions end at once.
    Suspend {
        /// The person's e-mail address.
        email: String,
    },
    /// Let somebody in again.
    Resume {
        /// The person's e-mail address.
        email: String,
    },
    /// Remove somebody from a tenant, or their account altogether.
    Remove {
        /// The person's e-mail address.
        email: String,
        /// The tenant that they leave. Without it the account is removed.
        #[arg(long)]
        tenant: Option<String>,
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

/// A person as the command line prints them.
#[derive(Debug, Serialize, Deserialize)]
struct PersonRow {
    id: String,
    email: String,
    name: String,
    operator: bool,
    created_at: String,
    suspended_at: Option<String>,
    last_seen_at: Option<String>,
    sessions: i64,
    memberships: Vec<MembershipRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MembershipRow {
    tenant: String,
    role: String,
    suspended_at: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Removal {
    email: String,
    removed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Made {
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    link: String,
    expires_at: String,
}

impl User {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create { email, tenant, role, name, password_stdin: _ } => {
                let password = password_of_stdin()?;
                let body =
                    json!({ "email": email, "tenant": tenant, "role": role, "name": name, "password": password });
                let user: UserRow = client.post("/users", &body).await?;
                output.result(&user, |user| format!("{} is now {} of {}.", user.email, user.role, user.tenant))?;
            }
            Self::List { tenant } => {
                let query = tenant.map(|slug| format!("?tenant={}", encode(&slug))).unwrap_or_default();
                let people: Vec<PersonRow> = client.get(&format!("/users{query}")).await?;
                output.result(&people, |people| list(people))?;
            }
            Self::Show { email } => {
                let person: PersonRow = client.get(&path(&email, "")).await?;
                output.result(&person, show)?;
            }
            Self::Invite { email, tenant, role } => {
                let body = json!({ "email": email, "tenant": tenant, "role": role });
                let link: Made = client.post("/invitations", &body).await?;
                output.result(&link, |link| format!("{}\nGood once, until {}.", link.link, link.expires_at))?;
            }
            Self::Reset { email } => {
                let link: Made = client.post(&path(&email, "/reset"), &json!({})).await?;
                output.result(&link, |link| format!("{}\nGood once, until {}.", link.link, link.expires_at))?;
            }
            Self::Operator { email, revoke } => {
                let person: PersonRow = client.post(&path(&email, "/operator"), &json!({ "on": !revoke })).await?;
                output.result(&person, |person| {
                    let is = if person.operator { "is now" } else { "is not" };
                    format!("{} {is} an operator of this appliance.", person.email)
                })?;
            }
            Self::SecondFactor { email, remove: _ } => {
                let removal: Removal = client.delete(&path(&email, "/second-factor")).await?;
                output.result(&removal, |removal| {
                    let is =
                        if removal.removed { "signs in with the password alone now" } else { "had no second factor" };
                    format!("{} {is}.", removal.email)
                })?;
            }
            Self::Suspend { email } => {
                let person: PersonRow = client.post(&path(&email, "/suspended"), &json!({ "on": true })).await?;
                output.result(&person, |person| {
                    format!("{} is suspended, and all their sessions have ended.", person.email)
                })?;
            }
            Self::Resume { email } => {
                let person: PersonRow = client.post(&path(&email, "/suspended"), &json!({ "on": false })).await?;
                output.result(&person, |person| format!("{} may come in again.", person.email))?;
            }
            Self::Remove { email, tenant } => {
                let query = tenant.as_ref().map(|slug| format!("?tenant={}", encode(slug))).unwrap_or_default();
                let person: PersonRow = client.delete(&path(&email, &query)).await?;
                output.result(&person, |person| match tenant {
                    Some(slug) => format!("{} is no member of {slug} any more.", person.email),
                    None => format!("The account of {} is removed.", person.email),
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn path(email: &str, rest: &str) -> String {
    format!("/users/{}{rest}", encode(email))
}

fn password_of_stdin() -> anyhow::Result<String> {
    let mut password = String::new();
    std::io::stdin()
        .take(4096)
        .read_to_string(&mut password)
        .context("the password could not be read from standard input")?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("standard input held no password; try `printf %s \"$PASSWORD\" | aegis user create … --password-stdin`");
    }
    Ok(password.to_owned())
}

fn list(people: &[PersonRow]) -> String {
    let rows: Vec<_> = people
        .iter()
        .map(|person| {
            let seen = person.last_seen_at.as_deref().and_then(|at| at.split('T').next()).unwrap_or("never");
            vec![person.email.clone(), person.name.clone(), belongs(person), seen.to_owned(), state(person)]
        })
        .collect();
    table(&["EMAIL", "NAME", "BELONGS TO", "LAST SEEN", "STATE"], &rows)
}

fn show(person: &PersonRow) -> String {
    let rows = [
        ("Email", person.email.clone()),
        ("Name", person.name.clone()),
        ("Belongs to", belongs(person)),
        ("State", state(person)),
        ("Sessions", person.sessions.to_string()),
        ("Last seen", person.last_seen_at.clone().unwrap_or_else(|| "never".to_owned())),
        ("Created", person.created_at.clone()),
        ("Id", person.id.clone()),
    ];
    rows.map(|(name, value)| format!("{name:<12}{value}")).join("\n")
}

/// `acme (owner), beta (viewer, suspended)`
fn belongs(person: &PersonRow) -> String {
    let of = |membership: &MembershipRow| {
        let suspended = if membership.suspended_at.is_some() { ", suspended" } else { "" };
        format!("{} ({}{suspended})", membership.tenant, membership.role)
    };
    person.memberships.iter().map(of).collect::<Vec<_>>().join(", ")
}

fn state(person: &PersonRow) -> String {
    match (person.suspended_at.is_some(), person.operator) {
        (true, _) => "suspended".to_owned(),
        (false, true) => "operator".to_owned(),
        (false, false) => "active".to_owned(),
    }
}
