//! The configuration: one struct for each section of `config.example.toml`, whose values are the defaults.
//!
//! The file is compiled in; over it comes the user's file, then variables `AEGIS_SECTION__KEY`, then the command
//! line. [`Config::load`] refuses what it does not know or cannot use, all of it at once, each with its place.

mod check;
mod egress;
mod embedding;
mod known;
mod load;
mod mcp;
mod oidc;
mod problem;
mod providers;
mod routes;
mod secret;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use self::{
    egress::{AllowedHost, Egress},
    embedding::{Embedding, EmbeddingName, MOST_DIMENSIONS},
    mcp::{Mcp, McpCommand},
    oidc::{Oidc, Preset},
    problem::{Origin, Problem},
    providers::{Provider, ProviderKind, ProviderModel},
    routes::{DEFAULT as DEFAULT_ROUTE, ModelRoute},
    secret::Secret,
};

/// The whole configuration, defaults filled in.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Everything the appliance keeps lies under here.
    pub data_dir: PathBuf,
    /// The web server.
    pub server: Server,
    /// Where PostgreSQL is.
    pub database: Database,
    /// How the appliance's keys are protected.
    pub vault: Vault,
    /// What is logged and how.
    pub log: Log,
    /// Sign-in.
    pub accounts: Accounts,
    /// Organisations.
    pub tenants: Tenants,
    /// Other people's pages that one may sign in through, by name.
    #[serde(default)]
    pub oidc: BTreeMap<String, Oidc>,
    /// Documents.
    pub knowledge: Knowledge,
    /// Embedding models.
    pub embedding: Embedding,
    /// Chat models.
    pub models: Models,
    /// Runs of agents.
    pub agents: Agents,
    /// Further servers of chat models, by name.
    #[serde(default)]
    pub providers: BTreeMap<String, Provider>,
    /// Servers of other people's tools.
    pub mcp: Mcp,
    /// What models may be spent on.
    pub budgets: Budgets,
    /// The audit log.
    pub audit: Audit,
    /// What may be reached outside.
    pub egress: Egress,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address and port of the console: `127.0.0.1:8480`. Port 0 lets the system choose.
    pub listen: String,
    /// The address under which people reach it, for links and cookies: `https://aegis.example.org`. Empty: as `listen`.
    pub public_url: String,
}

/// `[database]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Whose PostgreSQL it is.
    pub mode: DatabaseMode,
    /// For `external`: `postgres://user:password@host:port/database` of a role that may create roles and schemas.
    pub url: Option<Secret>,
    /// For `system`: the directory of `postgres` and `initdb`.
    pub bin_dir: Option<PathBuf>,
    /// The user that PostgreSQL runs as when the appliance is started by root. Empty: `aegis`, `postgres` or `nobody`,
    /// the first that there is.
    pub user: String,
    /// Connections of the control pool.
    pub control_connections: u32,
    /// Connections of one tenant's pool.
    pub tenant_connections: u32,
    /// Tenants' pools that may be open at once; the one unused longest is closed for a new one.
    pub open_tenants: u32,
}

/// Whose PostgreSQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseMode {
    /// The one in this binary.
    Embedded,
    /// Binaries of this machine, supervised by the appliance.
    System,
    /// A server somewhere else, by URL.
    External,
}

/// `[vault]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// Opens the key file, where it is protected by a passphrase.
    pub passphrase: Option<Secret>,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `info`, or directives as `aegis=debug,tower_http=info`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[accounts]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// A session ends after this many hours without a request.
    pub session_idle_hours: u32,
    /// A session ends after this many days whatever happens.
    pub session_days: u32,
    /// Password hashes computed at once; one costs some 20 MiB and a tenth of a second.
    pub concurrent_hashes: u32,
}

/// `[audit]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Entries older than so many days are removed once a day, for a signed checkpoint. 0: they are kept for ever.
    pub retention_days: u32,
}

/// `[tenants]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tenants {
    /// Days in which a deleted organisation can be taken back.
    pub deletion_grace_days: u32,
}

/// `[agents]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Agents {
    /// The most rounds of a run.
    pub max_steps: u32,
    /// Minutes that a run may take, without waiting for people.
    pub max_minutes: u32,
    /// The most tokens of a run.
    pub max_tokens: u32,
    /// Hours in which somebody can allow what an agent has asked leave for.
    pub approval_hours: u32,
}

/// `[knowledge]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Knowledge {
    /// The largest file accepted, in MiB.
    pub max_file_mib: u64,
    /// Address space of the process that reads a file, in MiB.
    pub extract_memory_mib: u64,
    /// Seconds of CPU that reading a file may take.
    pub extract_cpu_seconds: u64,
    /// The most tokens of a passage, counted by the embedding model.
    pub passage_tokens: u32,
    /// Documents ingested at once.
    pub workers: u32,
    /// Where collections have folders that they are filled from, `<tenant>/<collection>`; none when it is empty.
    pub watch_folder: PathBuf,
    /// How often they are looked into, in seconds.
    pub watch_seconds: u64,
    /// The route of chat models that puts what agents find into a better order; none when it is empty.
    pub rerank_route: String,
    /// Days that a version is kept after a newer one took its place; 0: for ever.
    pub keep_versions_days: u32,
}

/// `[models]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// Which targets are asked, in order, by the route `default`: `ollama`, `ollama/<model>`, `builtin`,
    /// `<provider>/<model>`. Quoting the knowledge base always comes last.
    pub chain: Vec<String>,
    /// `[models.routes.<name>]`
    #[serde(default)]
    pub routes: BTreeMap<String, ModelRoute>,
    /// `[models.ollama]`
    pub ollama: Ollama,
    /// `[models.builtin]`
    pub builtin: Builtin,
}

/// `[budgets]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// What prices are in: `USD`.
    pub currency: String,
    /// What one organisation may spend in a month, unless the operator gives it another bound. 0: no bound.
    pub money_per_month: f64,
    /// Tokens of models that cost something which one organisation may use in a month. 0: no bound.
    pub paid_tokens_per_month: u64,
    /// When so many percent of a budget are used, the audit log and the page of usage say so.
    pub warn_percent: u8,
}

/// `[models.ollama]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ollama {
    /// The server's address.
    pub url: String,
    /// The chat model.
    pub model: String,
    /// The most context it is given, in tokens: memory grows with it.
    pub max_context: u32,
    /// Seconds that a cold model may take to load.
    pub load_timeout_seconds: u64,
    /// Seconds between two pieces of an answer.
    pub idle_timeout_seconds: u64,
    /// Minutes that the server keeps a model in memory after an answer; 0 unloads it at once.
    pub keep_alive_minutes: u64,
    /// Answers that are asked of the server at once; others wait here. 0: as many as come.
    pub parallel: u32,
}

/// `[models.builtin]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Builtin {
    /// A GGUF file of a chat model. Empty: the first `*.gguf` in `models/` of the data directory, if there is one.
    pub file: Option<PathBuf>,
    /// The most context, in tokens.
    pub max_context: u32,
    /// Threads; 0 for one fewer than the machine has cores.
    pub threads: u32,
    /// Seconds without a question after which the model is unloaded.
    pub unload_seconds: u64,
}
