//! A connection to a server: opened when it is first needed, and closed with whoever holds it.

use std::{path::PathBuf, time::Duration};

use rmcp::{
    RoleClient, ServiceError, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResult, ClientConfig, ContentBlock, Implementation, JsonObject, ProtocolVersion,
    },
    service::RunningService,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    child::{self, Group},
    outward,
};
use crate::{
    config::McpCommand,
    egress::{Egress, Url, header::HeaderMap},
    support::{Error, Result},
};

/// How long a server may take to begin, and to say what it offers.
const BEGINNING: Duration = Duration::from_secs(30);
/// The most bytes that a server may say in one message.
const MESSAGE: usize = 4 << 20;
/// The most tools of a server.
const TOOLS: usize = 128;
/// The most characters of what a tool says of itself, and the most bytes of its schema.
const DESCRIPTION: usize = 2_000;
const SCHEMA: usize = 32 << 10;
/// The most characters of a result that a model reads.
const RESULT: usize = 40_000;

/// Where a server is.
pub(super) enum Place {
    /// Behind an address; the headers have the secrets in them.
    Http { egress: Egress, url: Url, headers: HeaderMap },
    /// A program that the operator allows, started by `starter`, which is this binary.
    Command { starter: PathBuf, command: McpCommand },
}

/// An open connection.
pub(super) struct Connection {
    service: RunningService<RoleClient, ClientConfig>,
    /// Ends the server's processes with the connection.
    _group: Option<Group>,
}

/// A tool as its server describes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) parameters: Value,
    /// SHA-256 of all that was said of it.
    pub(super) fingerprint: String,
}

impl Connection {
    /// Opens it.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached, does not begin in time, or does not speak MCP.
    pub(super) async fn open(place: Place) -> Result<Self> {
        let mut info = ClientConfig::new(
            rmcp::model::ClientCapabilities::default(),
            Implementation::new("aegis", env!("CARGO_PKG_VERSION")),
        );
        info.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
        let opening = async {
            Ok(match place {
                Place::Http { egress, url, headers } => {
                    let service =
                        info.serve(outward::open(egress, url, headers)).await.map_err(|e| no_beginning(&e))?;
                    Self { service, _group: None }
                }
                Place::Command { starter, command } => {
                    let (group, output, input) = child::start(&starter, &command, MESSAGE)?;
                    let service = info.serve((output, input)).await.map_err(|e| no_beginning(&e))?;
                    Self { service, _group: Some(group) }
                }
            })
        };
        tokio::time::timeout(BEGINNING, opening).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// What the server offers, as far as it can be used. Of what cannot, why.
    pub(super) async fn tools(&self) -> Result<(Vec<Described>, Vec<String>)> {
        let listing = tokio::time::timeout(BEGINNING, self.service.list_all_tools()).await;
        let listed = listing.map_err(|_| too_slow())?.map_err(|error| failed(&error))?;
        let (mut tools, mut refused) = (Vec::new(), Vec::new());
        for tool in listed.iter().take(TOOLS) {
            match described(tool) {
                Ok(tool) => tools.push(tool),
                Err(why) => refused.push(why),
            }
        }
        if listed.len() > TOOLS {
            refused.push(format!("there are {} tools; only the first {TOOLS} are taken", listed.len()));
        }
        Ok((tools, refused))
    }

    /// Calls a tool: what it gave back as text, and whether it says that it failed.
    pub(super) async fn call(&self, tool: &str, arguments: JsonObject, patience: Duration) -> Result<(String, bool)> {
        let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let calling = tokio::time::timeout(patience, self.service.call_tool(request)).await;
        let result = calling.map_err(|_| too_slow())?.map_err(|error| failed(&error))?;
        Ok((text(&result), result.is_error == Some(true)))
    }

    /// Whether the server has gone.
    pub(super) fn is_closed(&self) -> bool {
        self.service.is_closed()
    }
}

/// A tool that can be offered to models, or why it cannot.
fn described(tool: &rmcp::model::Tool) -> Result<Described, String> {
    let name = tool.name.to_string();
    let proper = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(proper) {
        let shown: String = name.chars().take(40).collect();
        return Err(format!("`{}` is no name that models can call", shown.escape_debug()));
    }
    let parameters = Value::Object((*tool.input_schema).clone());
    let schema = parameters.to_string();
    if schema.len() > SCHEMA || parameters["type"] != "object" {
        return Err(format!("the schema of `{name}` is none of an object, or larger than {} KiB", SCHEMA >> 10));
    }
    let whole = tool.description.as_deref().unwrap_or_default();
    // Control characters have no business in a prompt.
    let description: String =
        whole.chars().filter(|c| !c.is_control() || *c == '\n').take(DESCRIPTION).collect::<String>().trim().to_owned();
    let said = serde_json::json!([name, whole, parameters]).to_string();
    let fingerprint = Sha256::digest(said.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        use std::fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Ok(Described { name, description, parameters, fingerprint })
}

fn text(result: &CallToolResult) -> String {
    let mut text = String::new();
    for block in &result.content {
        match block {
            ContentBlock::Text(piece) => text.push_str(&piece.text),
            ContentBlock::Image(_) => text.push_str("[an image, which is not read here]"),
            ContentBlock::Audio(_) => text.push_str("[a recording, which is not read here]"),
            _ => text.push_str("[a resource, which is not read here]"),
        }
        text.push('\n');
    }
    if text.trim().is_empty()
        && let Some(value) = &result.structured_content
    {
        text = value.to_string();
    }
    match text.char_indices().nth(RESULT) {
        Some((end, _)) => format!("{}\n[cut off here: the server gave back more]", &text[..end]),
        None => text.trim_end().to_owned(),
    }
}

fn no_beginning(error: &dyn std::fmt::Display) -> Error {
    Error::unavailable(format!("The server does not answer as MCP servers do: {error}"))
}

fn too_slow() -> Error {
    Error::unavailable("The server did not answer in time, and the call was given up")
}

fn failed(error: &ServiceError) -> Error {
    match error {
        ServiceError::TransportClosed => Error::unavailable("The server ended before it answered"),
        other => Error::unavailable(format!("The server failed: {other}")),
    }
}
