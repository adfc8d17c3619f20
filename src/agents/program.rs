//! What a program that asks an agent brings along: tools of its own, what they gave back, and how the answer is to be.
//! The agent's own tools stay beside them. A call of a program's tool is not made here: it ends the run, and the program
//! comes back with what the tool said.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{fence, schema};
use crate::models::chat::{ChatRequest, Message, Speaker, ToolCall, ToolSpec};

/// What a program brings along.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Program {
    /// The tools that it has.
    pub tools: Vec<ToolSpec>,
    /// What happened after the question: calls of its tools, and what they gave back.
    pub turns: Vec<Message>,
    /// Whether it takes one call at a time.
    pub one_call: bool,
    /// JSON Schema that the answer must fit; none for free text.
    pub schema: Option<Value>,
    /// Randomness; the agent's own unless told.
    pub temperature: Option<f32>,
    /// The most tokens of an answer, if it is less than the agent's own bound.
    pub max_tokens: Option<u32>,
}

/// A call of a program's tool, which the program is to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProgramCall {
    /// The call, by which its result is known again.
    pub id: String,
    /// The tool, as the program calls it.
    pub name: String,
    /// What it is called with, as the model wrote it.
    #[schema(value_type = Object)]
    pub arguments: Value,
}

impl Program {
    /// Whether it brings nothing along.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The agent's tools and its own; of two with the same name, its own.
    pub(super) fn offer(&self, own: Vec<ToolSpec>) -> Vec<ToolSpec> {
        let own = own.into_iter().filter(|spec| self.tool(&spec.name).is_none());
        own.chain(self.tools.iter().cloned()).collect()
    }

    /// Its tool of that name. Providers do not agree on which characters a name may have, hence the tolerance.
    pub(super) fn tool(&self, name: &str) -> Option<&ToolSpec> {
        let plain = |name: &str| name.trim().replace(['.', '-', '/', ':'], "_").to_ascii_lowercase();
        let same = |spec: &&ToolSpec| spec.name == name;
        self.tools.iter().find(same).or_else(|| self.tools.iter().find(|spec| plain(&spec.name) == plain(name)))
    }

    /// What happened after the question, as a model reads it: what the program's tools gave back was written by others.
    pub(super) fn turns(&self) -> Vec<Message> {
        let fenced = |turn: &Message| match (turn.speaker, &turn.tool_name) {
            (Speaker::Tool, Some(tool)) => Message { text: fence::result(tool, &turn.text), ..turn.clone() },
            _ => turn.clone(),
        };
        self.turns.iter().map(fenced).collect()
    }

    /// What it brings along that others wrote: what its tools gave back.
    pub(super) fn has_read(&self) -> Vec<String> {
        let mut tools: Vec<_> = self.turns.iter().filter_map(|turn| turn.tool_name.clone()).collect();
        tools.sort_unstable();
        tools.dedup();
        tools.into_iter().map(|tool| format!("{tool} (the asking program's)")).collect()
    }

    /// Makes a request what the program wants of it. Where tools are offered the model must be free to call them, so the
    /// schema is for the requests without.
    pub(super) fn shape(&self, request: &mut ChatRequest) {
        if self.temperature.is_some() {
            request.temperature = self.temperature;
        }
        if let Some(most) = self.max_tokens {
            request.max_tokens = Some(request.max_tokens.map_or(most, |bound| bound.min(most)));
        }
        if request.tools.is_empty() && self.schema.is_some() {
            request.schema.clone_from(&self.schema);
        }
    }

    /// Those of `calls` that the program is to make.
    pub(super) fn take(&self, calls: &[ToolCall]) -> Vec<ProgramCall> {
        let most = if self.one_call { 1 } else { usize::MAX };
        let taken = calls.iter().filter_map(|call| {
            let tool = self.tool(&call.name)?;
            Some(ProgramCall { id: call.id.clone(), name: tool.name.clone(), arguments: call.arguments.clone() })
        });
        taken.take(most).collect()
    }

    /// Whether an answer may be given like this.
    pub(super) fn accepts(&self, text: &str) -> bool {
        self.schema.is_none() || self.structured(text).is_some()
    }

    /// The answer without the fence that some models put round JSON, when it fits the schema.
    pub(super) fn structured(&self, text: &str) -> Option<String> {
        let schema = self.schema.as_ref()?;
        let text = text.trim();
        let inside = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
        let text = inside.map_or(text, |inside| inside.trim_start_matches(|c: char| c.is_ascii_alphabetic()).trim());
        let value: Value = serde_json::from_str(text).ok()?;
        // The check puts small things right, which here would change what was said.
        let checked = schema::check(schema, value.clone()).ok()?;
        (checked == value && value.is_object()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(name: &str) -> ToolSpec {
        ToolSpec { name: name.to_owned(), description: String::new(), parameters: json!({"type": "object"}) }
    }

    fn call(name: &str) -> ToolCall {
        ToolCall { id: format!("of-{name}"), name: name.to_owned(), arguments: json!({}) }
    }

    #[test]
    fn a_programs_tool_goes_before_one_of_the_agents_with_the_same_name() {
        let program = Program { tools: vec![spec("knowledge_search"), spec("weather")], ..Program::default() };
        let names: Vec<_> =
            program.offer(vec![spec("knowledge.search"), spec("time")]).into_iter().map(|spec| spec.name).collect();
        assert_eq!(names, ["time", "knowledge_search", "weather"]);
    }

    #[test]
    fn only_its_own_calls_are_the_programs_and_one_when_it_wants_one() {
        let mut program = Program { tools: vec![spec("get-weather"), spec("b")], ..Program::default() };
        let calls = [call("get_weather"), call("knowledge.search"), call("b")];
        let names = |program: &Program| program.take(&calls).into_iter().map(|call| call.name).collect::<Vec<_>>();
        assert_eq!(names(&program), ["get-weather", "b"]);
        program.one_call = true;
        assert_eq!(names(&program), ["get-weather"]);
    }

    #[test]
    fn an_answer_that_must_fit_a_schema_is_taken_out_of_its_fence_and_checked() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        let program = Program { schema: Some(schema), ..Program::default() };
        for good in ["{\"n\": 1}", "```json\n{\"n\": 1}\n```", " {\"n\": 1}\n"] {
            assert_eq!(program.structured(good).as_deref(), Some("{\"n\": 1}"));
        }
        for bad in ["{\"n\": \"1\"}", "one", "{}", "[1]", "```json\n{\"n\": 1}"] {
            assert!(!program.accepts(bad), "{bad}");
        }
        assert!(Program::default().accepts("anything"));
    }
}
