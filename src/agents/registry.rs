//! The tools that agents may call, by name.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    schema,
    tool::{Tool, ToolContext, ToolOutput},
};
use crate::{models::chat::ToolSpec, support::Kind};

/// How long one call may take.
const CALL_LIMIT: Duration = Duration::from_mins(1);

/// The tools that agents may call.
#[derive(Clone, Default)]
pub(super) struct Tools(BTreeMap<String, Arc<dyn Tool>>);

impl Tools {
    pub(super) fn new(tools: Vec<Arc<dyn Tool>>) -> Self {
        Self(tools.into_iter().map(|tool| (tool.spec().name, tool)).collect())
    }

    /// What models are told about them.
    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        self.0.values().map(|tool| tool.spec()).collect()
    }

    /// The name that a tool is registered under, for the name that a model gave: some write `knowledge_search`.
    pub(super) fn canonical_name(&self, name: &str) -> String {
        let dotted = name.trim().replace(['_', '/', ':'], ".");
        let found = self.0.keys().find(|known| *known == name || known.replace('_', ".").eq_ignore_ascii_case(&dotted));
        found.cloned().unwrap_or_else(|| name.to_owned())
    }

    /// Checks the arguments and calls the tool.
    ///
    /// # Errors
    /// What went wrong, for the model to read. A fault of ours is logged and told without detail.
    pub(super) async fn call(&self, context: &ToolContext, name: &str, arguments: Value) -> Result<ToolOutput, String> {
        let Some(tool) = self.0.get(name) else {
            let known: Vec<_> = self.0.keys().map(|name| format!("`{name}`")).collect();
            return Err(format!("there is no tool `{name}`; there are {}", known.join(", ")));
        };
        if tool.has_side_effects() {
            // Approval is not built yet, and with nobody to ask the answer is no.
            return Err(format!("`{name}` changes things outside this run, which nobody has allowed"));
        }
        let arguments = schema::check(&tool.spec().parameters, arguments)?;
        match tokio::time::timeout(CALL_LIMIT, tool.call(context, arguments)).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => {
                if matches!(error.kind(), Kind::Internal | Kind::Unavailable) {
                    tracing::error!(tool = name, run = %context.run, error = ?error, "a tool failed");
                }
                Err(error.message().to_owned())
            }
            Err(_) => Err(format!("`{name}` took longer than {} s and was stopped", CALL_LIMIT.as_secs())),
        }
    }
}
