//! Other people's tools: servers that speak MCP, behind an address or as a program on this machine.
//!
//! Nothing of a server is offered to any agent until an admin has looked at it and has named the agents. What models are told
//! of a tool is what the admin saw: when a run connects and the server describes the tool otherwise, the call is refused, and
//! the tool is out of use until somebody has looked again.
//!
//! ```text
//! Servers (add, look, choose, remove) ─ store
//! tool: ToolSource ─ connection ─┬─ outward   by HTTP, through egress
//!                                └─ child     a program that the operator allows
//! ```

pub mod child;
mod connection;
pub mod http;
mod outward;
mod store;
mod tool;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use self::connection::{Connection, Place};
pub use self::tool::McpTools;
use crate::{
    agents::Agents,
    audit::{self, Action, Actor, NewEntry},
    config,
    db::TenantDb,
    egress::{
        self, Egress,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
    secrets::{SecretName, Secrets},
    support::{Error, Result, clock::SharedClock, ids::UserId},
};

/// The most servers of an organisation.
const MOST: usize = 32;
/// The most headers that a server is shown.
const HEADERS: usize = 8;
/// Headers that are not for an admin to set: the transport's own.
const OURS: [&str; 9] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
];

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// By HTTP, at an address that the operator allows in `[egress]`.
    Http,
    /// A program of `[mcp.commands]`.
    Command,
}

/// A server of an organisation.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = McpServer)]
pub struct Server {
    /// What its tools' names begin with.
    pub name: String,
    /// How it is reached.
    pub kind: Kind,
    /// The address, or the command's name.
    pub target: String,
    /// Headers that it is shown, each with the name of the secret that holds the value.
    pub headers: BTreeMap<String, String>,
    /// Who added it.
    pub added_by: UserId,
    /// When.
    pub added_at: DateTime<Utc>,
    /// When it was last asked for its tools.
    pub looked_at: Option<DateTime<Utc>>,
    /// What went wrong then.
    pub problem: Option<String>,
    /// What it offers.
    pub tools: Vec<ServerTool>,
}

/// A tool of a server.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = McpTool)]
pub struct ServerTool {
    /// Its name there; agents know it as `<server>__<name>`.
    pub name: String,
    /// What the server says of it.
    pub description: String,
    /// JSON Schema of its arguments.
    #[schema(value_type = Object)]
    pub parameters: Value,
    /// Stands for all that the server says of it.
    pub fingerprint: String,
    /// Whether an admin has said that it only reads.
    pub read_only: bool,
    /// Whether the server describes it otherwise by now.
    pub changed: bool,
    /// The agents that may use it.
    pub agents: Vec<String>,
}

/// A server that is to be added.
#[derive(Debug, Clone)]
pub struct NewServer {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub kind: Kind,
    /// The address, or the command's name.
    pub target: String,
    /// Headers with the names of secrets.
    pub headers: BTreeMap<String, String>,
}

/// The servers of all organisations. Cheap to clone.
#[derive(Clone)]
pub struct Servers(Arc<Inner>);

struct Inner {
    config: config::Mcp,
    egress: Egress,
    secrets: Secrets,
    clock: SharedClock,
    /// This binary, which starts the children.
    program: PathBuf,
}

impl Servers {
    /// Servers as `config` allows them.
    pub fn new(config: config::Mcp, egress: Egress, secrets: Secrets, clock: SharedClock, program: PathBuf) -> Self {
        Self(Arc::new(Inner { config, egress, secrets, clock, program }))
    }

    /// The servers of an organisation.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, db: &TenantDb) -> Result<Vec<Server>> {
        store::all(db).await
    }

    /// The programs that may be servers here.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.0.config.commands.keys().map(String::as_str)
    }

    /// Adds a server, and looks at it. No agent may use anything of it yet.
    ///
    /// # Errors
    /// `Invalid` for what cannot be a server, `Conflict` when there is one of that name or there are too many.
    pub async fn add(&self, db: &TenantDb, by: UserId, new: NewServer) -> Result<()> {
        let NewServer { name, kind, target, headers } = self.checked(new)?;
        if store::all(db).await?.len() >= MOST {
            return Err(Error::conflict(format!("There are {MOST} servers already")).remedy("Remove one first"));
        }
        let server = Server {
            name: name.clone(),
            kind,
            target: target.clone(),
            headers: headers.clone(),
            added_by: by,
            added_at: self.0.clock.now(),
            looked_at: None,
            problem: None,
            tools: Vec::new(),
        };
        if !store::insert(db, &server).await? {
            return Err(Error::conflict("There is a server of that name").remedy("Choose another name"));
        }
        let detail = json!({"kind": kind, "target": target, "headers": headers});
        self.note(db, Actor::User { id: by }, Action::McpServerAdded, &name, detail).await?;
        self.look(db, by, &name).await
    }

    /// Asks a server for its tools and keeps what it says. What goes wrong is kept with the server, and is no error.
    ///
    /// # Errors
    /// `NotFound` when there is no such server.
    pub async fn look(&self, db: &TenantDb, by: UserId, name: &str) -> Result<()> {
        let server = self.one(db, name).await?;
        let actor = Actor::User { id: by };
        let looking = async {
            let connection = self.connect(db, &server, actor.clone()).await?;
            connection.tools().await
        };
        let at = self.0.clock.now();
        let detail = match looking.await {
            Ok((tools, refused)) => {
                store::looked(db, name, &tools, at).await?;
                let names: Vec<_> = tools.iter().map(|tool| &tool.name).collect();
                json!({"tools": names, "left_out": refused})
            }
            Err(error) => {
                store::failed(db, name, &crate::http::error::in_sentences(&error), at).await?;
                json!({"outcome": "failed", "error": error.message()})
            }
        };
        self.note(db, actor, Action::McpServerLooked, name, detail).await
    }

    /// Says which agents may use a tool, and whether it only reads. `fingerprint` is that of the description which was shown.
    ///
    /// # Errors
    /// `NotFound` for an agent that is not there; `Conflict` when the server describes the tool otherwise by now.
    pub async fn choose(
        &self,
        (db, staff): (&TenantDb, &Agents),
        by: UserId,
        (server, tool): (&str, &str),
        fingerprint: &str,
        (agents, read_only): (&[String], bool),
    ) -> Result<()> {
        let known = staff.agents(db).await?;
        if agents.iter().any(|agent| known.iter().all(|known| known.id != *agent)) {
            return Err(Error::not_found("the agent"));
        }
        if !store::choose(db, (server, tool), fingerprint, agents, read_only).await? {
            let error = Error::conflict("The tool is not there, or is described otherwise than it was on this page");
            return Err(error.remedy("Look at the server again, and decide then"));
        }
        let detail = json!({"tool": tool, "agents": agents, "read_only": read_only, "fingerprint": fingerprint});
        self.note(db, Actor::User { id: by }, Action::McpToolChosen, server, detail).await
    }

    /// Removes a server. Runs that use it lose it with their next call.
    ///
    /// # Errors
    /// `NotFound` when there is no such server.
    pub async fn remove(&self, db: &TenantDb, by: UserId, name: &str) -> Result<()> {
        if !store::remove(db, name).await? {
            return Err(Error::not_found("the server"));
        }
        self.note(db, Actor::User { id: by }, Action::McpServerRemoved, name, json!({})).await
    }

    async fn one(&self, db: &TenantDb, name: &str) -> Result<Server> {
        let found = store::all(db).await?.into_iter().find(|server| server.name == name);
        found.ok_or_else(|| Error::not_found("the server"))
    }

    /// Opens a connection; the secrets are read for it, and their use is in the audit log.
    async fn connect(&self, db: &TenantDb, server: &Server, by: Actor) -> Result<Connection> {
        let Inner { config, egress, secrets, program, .. } = &*self.0;
        let place = match server.kind {
            Kind::Http => {
                let mut headers = HeaderMap::new();
                for (header, secret) in &server.headers {
                    let secret: SecretName = secret.parse()?;
                    let purpose = format!("the header {header} for the MCP server {}", server.name);
                    let value = secrets.use_secret(db, &secret, &purpose, by.clone()).await?;
                    let mut value = HeaderValue::from_str(value.reveal())
                        .map_err(|_| Error::invalid(format!("The secret {secret} cannot be the value of a header")))?;
                    value.set_sensitive(true);
                    let header = HeaderName::try_from(header).map_err(Error::internal)?;
                    headers.insert(header, value);
                }
                Place::Http { egress: egress.clone(), url: egress::parse("the address", &server.target)?, headers }
            }
            Kind::Command => {
                let command = config.commands.get(&server.target).ok_or_else(|| not_allowed(&server.target))?;
                Place::Command { starter: program.clone(), command: command.clone() }
            }
        };
        Connection::open(place).await
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.0.config.call_seconds)
    }

    fn checked(&self, new: NewServer) -> Result<NewServer> {
        let NewServer { name, kind, target, headers } = new;
        let (name, target) = (name.trim().to_owned(), target.trim().to_owned());
        let proper = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 32 || !name.chars().all(proper) {
            return Err(Error::invalid("That is no name for a server")
                .remedy("Use at most 32 small letters, digits and hyphens, a letter first: calendar"));
        }
        match kind {
            Kind::Http => {
                let url = egress::parse("the address", &target)?;
                if target.len() > 2_000 || !url.username().is_empty() || url.password().is_some() {
                    return Err(Error::invalid("The address is too long, or has a password in it")
                        .remedy("Put the password into a secret, and name it for the header Authorization"));
                }
            }
            Kind::Command if self.0.config.commands.contains_key(&target) => {}
            Kind::Command => return Err(not_allowed(&target)),
        }
        let headers: BTreeMap<String, String> =
            headers.into_iter().map(|(header, secret)| (header.trim().to_ascii_lowercase(), secret)).collect();
        if headers.len() > HEADERS || (kind == Kind::Command && !headers.is_empty()) {
            return Err(Error::invalid(format!("At most {HEADERS} headers can be sent, and only to an address")));
        }
        for (header, secret) in &headers {
            let _: SecretName = secret.parse()?;
            if HeaderName::try_from(header).is_err() || OURS.contains(&header.as_str()) {
                return Err(Error::invalid("That header cannot be set").remedy("Name one such as Authorization"));
            }
        }
        Ok(NewServer { name, kind, target, headers })
    }

    /// The server describes a tool otherwise than when it was allowed.
    async fn note_changed(&self, db: &TenantDb, server: &str, detail: Value) -> Result<()> {
        self.note(db, Actor::System, Action::McpToolChanged, server, detail).await
    }

    async fn note(&self, db: &TenantDb, actor: Actor, action: Action, server: &str, detail: Value) -> Result<()> {
        let entry = NewEntry { actor, action, run: None, subject: Some(server.to_owned()), detail };
        audit::append(db, &*self.0.clock, entry).await.map(|_| ())
    }
}

fn not_allowed(command: &str) -> Error {
    let shown: String = command.chars().take(40).collect();
    Error::forbidden(format!("The operator of this appliance allows no command `{}`", shown.escape_debug()))
        .remedy("Ask the operator for a section [mcp.commands.<name>] in the configuration")
}
