//! The tools that agents may call, by name.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

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
pub(super) struct Tools {
    tools: BTreeMap<String, Arc<dyn Tool>>,
    /// What calls came to, by their ids: in a replay, no tool is called.
    recorded: Option<Arc<HashMap<String, Result<ToolOutput, String>>>>,
}

impl Tools {
    pub(super) fn new(tools: Vec<Arc<dyn Tool>>) -> Self {
        Self { tools: tools.into_iter().map(|tool| (tool.spec().name, tool)).collect(), recorded: None }
    }

    /// The same tools, which give back what calls came to earlier and do nothing.
    pub(super) fn recorded(&self, results: HashMap<String, Result<ToolOutput, String>>) -> Self {
        Self { tools: self.tools.clone(), recorded: Some(Arc::new(results)) }
    }

    /// What models are told about them.
    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        self.tools.values().map(|tool| tool.spec()).collect()
    }

    /// The name that a tool is registered under, for the name that a model gave: some write `knowledge_search`.
    pub(super) fn canonical_name(&self, name: &str) -> String {
        let dotted = name.trim().replace(['_', '/', ':'], ".");
        let found =
            self.tools.keys().find(|known| *known == name || known.replace('_', ".").eq_ignore_ascii_case(&dotted));
        found.cloned().unwrap_or_else(|| name.to_owned())
    }

    /// Checks the arguments and calls the tool.
    ///
    /// # Errors
    /// What went wrong, for the model to read. A fault of ours is logged and told without detail.
    pub(super) async fn call(
        &self,
        context: &ToolContext,
        id: &str,
        name: &str,
        arguments: Value,
    ) -> Result<ToolOutput, String> {
        if let Some(recorded) = &self.recorded {
            let result = recorded.get(id).cloned();
            return result.unwrap_or_else(|| Err("the recording has no result of this call".to_owned()));
        }
        let Some(tool) = self.tools.get(name) else {
            let known: Vec<_> = self.tools.keys().map(|name| format!("`{name}`")).collect();
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
