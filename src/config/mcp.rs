//! `[mcp]`: servers of other people's tools.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The settings of a command, as `config.example.toml` explains them.
pub(super) const SETTINGS: [&str; 4] = ["program", "arguments", "environment", "memory_mib"];

/// `[mcp]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mcp {
    /// How long one call of a tool may take, in seconds.
    pub call_seconds: u64,
    /// Servers in the own network that may be added, by their addresses; those on the internet stand in `[egress]`.
    pub addresses: Vec<String>,
    /// `[mcp.commands.<name>]`: programs that an organisation may use as servers. None unless the operator names them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commands: BTreeMap<String, McpCommand>,
}

/// `[mcp.commands.<name>]`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct McpCommand {
    /// The program, with its whole path. Never empty in a configuration that was accepted.
    pub program: String,
    /// What it is started with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Its environment, beside a search path; it sees nothing of the appliance's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The most address space, in MiB. 0: no bound; runtimes that reserve much more than they use want that.
    pub memory_mib: u64,
}
