//! What agents may use of a tenant's servers, as tools. A run's tools share one connection to each server, which is opened
//! with the first call and ends with the run.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Server, ServerTool, Servers, connection::Connection, store};
use crate::{
    agents::tool::{Effects, Tool, ToolContext, ToolOutput, ToolSource},
    models::chat::ToolSpec,
    support::{Error, Result},
};

/// The tools of a tenant's servers.
pub struct McpTools(Servers);

/// A tool of a server, in one run.
struct McpTool {
    servers: Servers,
    server: Arc<Shared>,
    tool: ServerTool,
}

/// A server, in one run.
struct Shared {
    server: Server,
    connection: Mutex<Option<Open>>,
}

/// An open connection, and what the server says of its tools now.
struct Open {
    connection: Arc<Connection>,
    fingerprints: HashMap<String, String>,
}

impl McpTools {
    /// Those of `servers`.
    pub fn new(servers: Servers) -> Self {
        Self(servers)
    }
}

#[async_trait]
impl ToolSource for McpTools {
    async fn tools(&self, context: &ToolContext) -> Result<Vec<Arc<dyn Tool>>> {
        let mut tools: Vec<Arc<dyn Tool>> = Vec::new();
        for server in store::all(&context.db).await? {
            let usable = |tool: &&ServerTool| !tool.changed && tool.agents.contains(&context.agent);
            let chosen: Vec<ServerTool> = server.tools.iter().filter(usable).cloned().collect();
            let shared = Arc::new(Shared { server, connection: Mutex::new(None) });
            for tool in chosen {
                tools.push(Arc::new(McpTool { servers: self.0.clone(), server: shared.clone(), tool }));
            }
        }
        Ok(tools)
    }
}

#[async_trait]
impl Tool for McpTool {
    fn spec(&self) -> ToolSpec {
        let ServerTool { name, description, parameters, .. } = &self.tool;
        ToolSpec {
            name: format!("{}__{name}", self.server.server.name),
            description: description.clone(),
            parameters: parameters.clone(),
        }
    }

    fn effects(&self) -> Effects {
        // Even to read, words go to a server that is not ours.
        if self.tool.read_only { Effects::None } else { Effects::Outside }
    }

    fn returns_untrusted_text(&self) -> bool {
        true
    }

    fn knows_repetitions(&self) -> bool {
        self.tool.read_only
    }

    fn patience(&self) -> Duration {
        // A little longer than the call itself, whose own end has the better words.
        self.servers.patience() + Duration::from_secs(35)
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput> {
        let connection = self.connection(context).await?;
        let Value::Object(arguments) = arguments else {
            return Err(Error::invalid("the arguments must be an object"));
        };
        let (text, failed) = connection.call(&self.tool.name, arguments, self.servers.patience()).await?;
        if failed {
            return Err(Error::invalid(format!("the server says that it failed: {text}")));
        }
        let summary = format!("{} characters from {}", text.chars().count(), self.server.server.name);
        Ok(ToolOutput { summary, content: json!(text), sources: Vec::new() })
    }
}

impl McpTool {
    /// The run's connection, opened again when the server has gone meanwhile.
    async fn connection(&self, context: &ToolContext) -> Result<Arc<Connection>> {
        let Shared { server, connection } = &*self.server;
        let mut open = connection.lock().await;
        if open.as_ref().is_none_or(|open| open.connection.is_closed()) {
            let connection = self.servers.connect(&context.db, server, context.actor.clone()).await?;
            let fingerprints =
                connection.tools().await?.0.into_iter().map(|tool| (tool.name, tool.fingerprint)).collect();
            *open = Some(Open { connection: Arc::new(connection), fingerprints });
        }
        let Some(open) = open.as_ref() else { return Err(Error::unavailable("the server is not connected")) };
        match open.fingerprints.get(&self.tool.name) {
            Some(fingerprint) if *fingerprint == self.tool.fingerprint => Ok(open.connection.clone()),
            said => {
                store::changed(&context.db, &server.name, &self.tool.name).await?;
                let detail = json!({"tool": self.tool.name, "run": context.run, "gone": said.is_none()});
                self.servers.note_changed(&context.db, &server.name, detail).await?;
                Err(Error::conflict(
                    "the server describes this tool otherwise than when it was allowed, so it was not called",
                )
                .remedy("somebody with the right to manage agents has to look at it first"))
            }
        }
    }
}
