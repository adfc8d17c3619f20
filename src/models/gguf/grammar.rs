//! The grammar that holds tool calls: as soon as the model opens `<tool_call>`, it can write nothing but the
//! call of an offered tool whose arguments fit the schema.

use llama_cpp_2::json_schema_to_grammar;
use serde_json::json;

use crate::models::{chat::ToolSpec, names};

/// What opens a call; from here on the grammar holds.
pub(super) const TRIGGER: &str = "<tool_call>";

/// The grammar in llama.cpp's notation, with the rule `root`. llama.cpp's own converter turns the schemas
/// into rules.
///
/// # Errors
/// What is wrong with a schema.
pub(super) fn of(tools: &[ToolSpec]) -> Result<String, String> {
    let calls: Vec<String> = tools.iter().map(call).collect();
    let schema = if let [call] = &calls[..] { call.clone() } else { format!(r#"{{"anyOf":[{}]}}"#, calls.join(",")) };
    let rules = json_schema_to_grammar(&schema).map_err(|error| format!("a tool's schema cannot be held: {error}"))?;
    let mut renamed = false;
    let mut grammar: Vec<String> = Vec::new();
    for line in rules.lines() {
        match line.strip_prefix("root ::=") {
            Some(rule) => {
                renamed = true;
                grammar.push(format!("call ::={rule}"));
            }
            None => grammar.push(line.to_owned()),
        }
    }
    if !renamed {
        return Err("the grammar of the tools has no root".to_owned());
    }
    grammar.push(r"blank ::= [ \t\n]{0,4}".to_owned());
    grammar.push(r#"block ::= "<tool_call>" blank call blank "</tool_call>""#.to_owned());
    grammar.push("root ::= block (blank block){0,3}".to_owned());
    Ok(grammar.join("\n"))
}

/// The whole call as a schema, written out because the order of its keys is the order in the answer: `name`
/// comes first, since the arguments depend on it.
fn call(tool: &ToolSpec) -> String {
    let (name, arguments) = (json!(names::on_the_wire(&tool.name)), &tool.parameters);
    format!(
        r#"{{"type":"object","properties":{{"name":{{"const":{name}}},"arguments":{arguments}}},"required":["name","arguments"],"additionalProperties":false}}"#
    )
}
