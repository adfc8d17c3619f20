//! The tools that agents may call, by name.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;

use super::{
    journal::Outcome,
    schema,
    soul::Offered,
    tool::{Tool, ToolContext, ToolOutput, ToolSource},
};
use crate::{models::chat::ToolSpec, support::Kind};

/// The tools that agents may call.
#[derive(Clone, Default)]
pub(super) struct Tools {
    by_name: BTreeMap<String, Arc<dyn Tool>>,
    /// Where a tenant's own tools come from.
    sources: Arc<[Arc<dyn ToolSource>]>,
    /// What calls came to, by their ids: in a replay, no tool is called.
    recorded: Option<Arc<HashMap<String, Outcome>>>,
}

impl Tools {
    pub(super) fn new(tools: Vec<Arc<dyn Tool>>, sources: Vec<Arc<dyn ToolSource>>) -> Self {
        let tools = tools.into_iter().map(|tool| (tool.spec().name, tool)).collect();
        Self { by_name: tools, sources: sources.into(), recorded: None }
    }

    /// What a run in this context may call: of the appliance's tools those that its agent is offered, and the tenant's
    /// own, which say themselves whose they are. A source that cannot be asked is left out, and logged.
    pub(super) async fn for_run(&self, context: &ToolContext, choice: &Offered) -> Self {
        let mut offered = self.clone();
        offered.by_name.retain(|name, _| choice.contains(name));
        if self.recorded.is_some() {
            return offered;
        }
        for source in self.sources.iter() {
            match source.tools(context).await {
                Ok(tools) => offered.by_name.extend(tools.into_iter().map(|tool| (tool.spec().name, tool))),
                Err(error) => {
                    tracing::warn!(tenant = %context.db.tenant(), %error, "a source of tools cannot be asked");
                }
            }
        }
        offered
    }

    /// The same tools, which give back what calls came to earlier and do nothing.
    pub(super) fn recorded(&self, results: HashMap<String, Outcome>) -> Self {
        Self { by_name: self.by_name.clone(), sources: self.sources.clone(), recorded: Some(Arc::new(results)) }
    }

    /// What models are told about them.
    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        self.by_name.values().map(|tool| tool.spec()).collect()
    }

    /// The name that a tool is registered under, for the name that a model gave: some write `knowledge_search`.
    pub(super) fn canonical_name(&self, name: &str) -> String {
        let dotted = name.trim().replace(['_', '/', ':'], ".");
        let found =
            self.by_name.keys().find(|known| *known == name || known.replace('_', ".").eq_ignore_ascii_case(&dotted));
        found.cloned().unwrap_or_else(|| name.to_owned())
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<dyn Tool>> {
        self.by_name.values()
    }

    /// The tool of that name.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.by_name.get(name)
    }

    /// What a call came to when the run was recorded; `None` unless this is a replay.
    pub(super) fn replayed(&self, id: &str) -> Option<Outcome> {
        let recorded = self.recorded.as_ref()?;
        let lost = || Outcome::failed("the recording has no result of this call");
        Some(recorded.get(id).cloned().unwrap_or_else(lost))
    }

    /// The tool of that name, and the arguments as it will be given them.
    ///
    /// # Errors
    /// What is wrong with them, for the model to read.
    pub(super) fn prepare(&self, name: &str, arguments: Value) -> Result<(Arc<dyn Tool>, Value), String> {
        let Some(tool) = self.by_name.get(name) else {
            let known: Vec<_> = self.by_name.keys().map(|name| format!("`{name}`")).collect();
            return Err(format!("there is no tool `{name}`; there are {}", known.join(", ")));
        };
        let arguments = schema::check(&tool.spec().parameters, arguments)?;
        Ok((tool.clone(), arguments))
    }
}

/// Calls a tool with arguments that have been checked.
///
/// # Errors
/// What went wrong, for the model to read. A fault of ours is logged and told without detail.
pub(super) async fn call(tool: &dyn Tool, context: &ToolContext, arguments: Value) -> Result<ToolOutput, String> {
    match tokio::time::timeout(tool.patience(), tool.call(context, arguments)).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => {
            if matches!(error.kind(), Kind::Internal | Kind::Unavailable) {
                tracing::error!(tool = tool.spec().name, run = %context.run, error = ?error, "a tool failed");
            }
            Err(error.message().to_owned())
        }
        Err(_) => {
            Err(format!("`{}` took longer than {} s and was stopped", tool.spec().name, tool.patience().as_secs()))
        }
    }
}
