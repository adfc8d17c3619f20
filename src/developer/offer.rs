//! What a program brings along with a question: its own tools, the form of the answer, its bounds.

use serde_json::{Value, json};

use super::Problem;
use crate::{agents::Program, models::chat::ToolSpec};

/// The most tools of a program.
const TOOLS: usize = 64;
/// The most bytes of all its tools and of its schema together.
const BYTES: usize = 128 << 10;

/// What both APIs say of it, each in its own fields.
#[derive(Debug, Default)]
pub(super) struct Offer<'a> {
    pub(super) tools: &'a [Value],
    pub(super) tool_choice: Option<&'a Value>,
    pub(super) parallel: Option<bool>,
    pub(super) format: Option<&'a Value>,
    pub(super) temperature: Option<f32>,
    pub(super) max_tokens: Option<(u32, &'static str)>,
}

/// What the run is given, and what the agent is told in words because models are not held to it.
pub(super) fn read(offer: &Offer<'_>) -> Result<(Program, Option<String>), Problem> {
    let tools = offer.tools.iter().map(tool).collect::<Result<Vec<_>, _>>()?;
    if tools.len() > TOOLS {
        return Err(Problem::of("tools", format!("at most {TOOLS} tools can be brought along")));
    }
    let size: usize = tools.iter().map(|tool| tool.parameters.to_string().len() + tool.description.len()).sum();
    let schema = offer.format.map(schema).transpose()?.flatten();
    if size + schema.as_ref().map_or(0, |schema| schema.to_string().len()) > BYTES {
        return Err(Problem::of("tools", format!("tools and schema together are larger than {} KiB", BYTES >> 10)));
    }
    if offer.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
        return Err(Problem::of("temperature", "`temperature` must be between 0 and 2"));
    }
    if let Some((0, param)) = offer.max_tokens {
        return Err(Problem::of(param, format!("`{param}` must be at least 1")));
    }
    let (tools, words) = chosen(offer.tool_choice, tools)?;
    let program = Program {
        tools,
        turns: Vec::new(),
        one_call: offer.parallel == Some(false),
        schema,
        temperature: offer.temperature,
        max_tokens: offer.max_tokens.map(|(most, _)| most),
    };
    Ok((program, words))
}

/// `{type: function, function: {name, …}}` of the one API, `{type: function, name, …}` of the other.
fn tool(value: &Value) -> Result<ToolSpec, Problem> {
    if value["type"] != "function" {
        return Err(Problem::unsupported("tools", "only tools of the type `function` are taken here"));
    }
    let function = value.get("function").unwrap_or(value);
    let name = function["name"].as_str().unwrap_or_default();
    let proper = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(proper) {
        return Err(Problem::of("tools", "a tool's name has 1 to 64 letters, digits, _ or -"));
    }
    let mut parameters = match function.get("parameters") {
        None | Some(Value::Null) => json!({}),
        Some(schema @ Value::Object(_)) => schema.clone(),
        Some(_) => return Err(Problem::of("tools", "a tool's parameters must be a JSON Schema")),
    };
    // Providers insist on both.
    for (field, usual) in [("type", json!("object")), ("properties", json!({}))] {
        if parameters.get(field).is_none() {
            parameters[field] = usual;
        }
    }
    if parameters["type"] != "object" || !parameters["properties"].is_object() {
        return Err(Problem::of("tools", "a tool's parameters must be the JSON Schema of an object"));
    }
    let description = function["description"].as_str().unwrap_or_default().to_owned();
    Ok(ToolSpec { name: name.to_owned(), description, parameters })
}

/// The tools that may be called, and words for the agent where one has to be.
fn chosen(choice: Option<&Value>, tools: Vec<ToolSpec>) -> Result<(Vec<ToolSpec>, Option<String>), Problem> {
    let wrong = || Problem::of("tool_choice", "`tool_choice` must be auto, none, required, or name one of the tools");
    match choice {
        None | Some(Value::Null) => Ok((tools, None)),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Ok((tools, None)),
            "none" => Ok((Vec::new(), None)),
            "required" if !tools.is_empty() => {
                let names: Vec<_> = tools.iter().map(|tool| format!("`{}`", tool.name)).collect();
                let words = format!("Do not answer before you have called one of these tools: {}.", names.join(", "));
                Ok((tools, Some(words)))
            }
            _ => Err(wrong()),
        },
        Some(named) => {
            let name = named["function"]["name"].as_str().or_else(|| named["name"].as_str()).ok_or_else(wrong)?;
            let tool = tools.into_iter().find(|tool| tool.name == name).ok_or_else(wrong)?;
            let words = format!("Do not answer before you have called the tool `{}`.", tool.name);
            Ok((vec![tool], Some(words)))
        }
    }
}

/// The schema of the answer: of `response_format` of the one API, `text.format` of the other.
fn schema(format: &Value) -> Result<Option<Value>, Problem> {
    let wrong = |message: &str| Problem::of("response_format", message);
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(json!({"type": "object"}))),
        Some("json_schema") => {
            let schema = format.get("json_schema").unwrap_or(format).get("schema").unwrap_or(&Value::Null);
            if schema["type"] == "object" {
                Ok(Some(schema.clone()))
            } else {
                Err(wrong("the schema of an answer must be that of an object"))
            }
        }
        None if format.is_null() => Ok(None),
        _ => Err(wrong("the format must be text, json_object or json_schema")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> Vec<Value> {
        vec![
            json!({"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}),
            json!({"type": "function", "name": "time"}),
        ]
    }

    fn choose(choice: &Value) -> Result<(Vec<String>, Option<String>), Problem> {
        let tools = tools();
        let (program, words) = read(&Offer { tools: &tools, tool_choice: Some(choice), ..Offer::default() })?;
        Ok((program.tools.into_iter().map(|tool| tool.name).collect(), words))
    }

    #[test]
    fn a_choice_leaves_the_tools_that_it_names() {
        assert_eq!(choose(&json!("auto")).unwrap().0, ["weather", "time"]);
        assert!(choose(&json!("none")).unwrap().0.is_empty());
        assert!(choose(&json!("required")).unwrap().1.unwrap().contains("`time`"));
        let (named, words) = choose(&json!({"type": "function", "function": {"name": "time"}})).unwrap();
        assert!(named == ["time"] && words.unwrap().contains("`time`"));
        for wrong in [json!("always"), json!({"name": "other"}), json!(3)] {
            assert_eq!(choose(&wrong).unwrap_err().param, Some("tool_choice"));
        }
    }

    #[test]
    fn what_cannot_be_held_to_is_refused_by_its_field() {
        let refused = |offer: &Offer<'_>| read(offer).unwrap_err().param;
        for tool in [json!({"type": "web_search"}), json!({"type": "function", "name": "a b"}), json!(1)] {
            assert_eq!(refused(&Offer { tools: &[tool], ..Offer::default() }), Some("tools"));
        }
        for format in [
            json!({"type": "json_schema"}),
            json!({"type": "grammar"}),
            json!({"type": "json_schema", "json_schema": {"schema": {"type": "array"}}}),
        ] {
            assert_eq!(refused(&Offer { format: Some(&format), ..Offer::default() }), Some("response_format"));
        }
        assert_eq!(refused(&Offer { temperature: Some(3.0), ..Offer::default() }), Some("temperature"));
        assert_eq!(refused(&Offer { max_tokens: Some((0, "max_tokens")), ..Offer::default() }), Some("max_tokens"));
        let large = json!({"type": "function", "name": "a", "description": "x".repeat(BYTES)});
        assert_eq!(refused(&Offer { tools: &[large], ..Offer::default() }), Some("tools"));
    }
}
