//! What the stand-in says without a script: it searches when it can, and cites what it was given.

use serde_json::{Value, json};

use super::Script;

/// The answer to `request`.
pub(super) fn to(request: &Value) -> Script {
    let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let asked = messages.iter().rposition(|message| message["role"] == "user").unwrap_or(0);
    let question = messages.get(asked).and_then(|message| message["content"].as_str()).unwrap_or_default();
    let results: Vec<&str> = messages[asked.min(messages.len())..]
        .iter()
        .filter(|message| message["role"] == "tool")
        .filter_map(|message| message["content"].as_str())
        .collect();
    let tools = request["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let search = tools.iter().filter_map(|tool| tool["function"]["name"].as_str()).find(|name| name.contains("search"));
    if let (Some(search), true) = (search, results.is_empty()) {
        return Script::call(search, &json!({ "query": question }));
    }
    let passage = if results.is_empty() {
        messages.iter().rev().filter_map(|message| message["content"].as_str()).find_map(marked)
    } else {
        results.iter().find_map(|result| from_tool(result))
    };
    match passage {
        Some(passage) => Script::say(&format!("{} [1]", first_sentence(&passage))),
        None => Script::say("I found nothing about that in the documents."),
    }
}

/// The first passage of a tool's result: the first `text` in its JSON, else the text after the mark `[1]`.
fn from_tool(result: &str) -> Option<String> {
    fn first_text(value: &Value) -> Option<String> {
        match value {
            Value::Object(fields) => fields
                .get("text")
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
                .or_else(|| fields.values().find_map(first_text)),
            Value::Array(values) => values.iter().find_map(first_text),
            _ => None,
        }
    }
    serde_json::from_str::<Value>(result).ok().as_ref().and_then(first_text).or_else(|| marked(result))
}

/// The passage that a prompt gives under the mark `[1]`: up to the next mark or an empty line. A heading on
/// the mark's own line is left out when more lines follow.
fn marked(prompt: &str) -> Option<String> {
    if let Some(fenced) = fenced(prompt) {
        return Some(fenced);
    }
    let (_, after) = prompt.split_once("\n[1]").or_else(|| prompt.strip_prefix("[1]").map(|after| ("", after)))?;
    let passage = after.split("\n[2]").next()?.split("\n\n").next()?.trim();
    let (heading, rest) = passage.split_once('\n').unwrap_or(("", passage));
    let text = if rest.trim().is_empty() { heading } else { rest };
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The text of the passage with the number 1 between its fences, as agents give it; for small models, of all.
fn fenced(prompt: &str) -> Option<String> {
    let text = match prompt.split_once("<passage number=\"1\" ") {
        Some((_, after)) => after.split_once(">\n")?.1.split_once("\n</passage>")?.0,
        None => prompt.split_once("\"\"\"\n")?.1.split_once("\n\"\"\"")?.0,
    };
    Some(text.trim().to_owned())
}

fn first_sentence(passage: &str) -> &str {
    let end = passage.find(". ").map_or(passage.len(), |at| at + 1);
    passage[..end].trim()
}
