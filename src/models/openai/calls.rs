//! Calls of tools that come in fragments, several at once.
//!
//! OpenAI gives every fragment the index of its call, and id and name with the first. Others leave out the index, give all
//! calls the same one, repeat the name in every fragment, leave out ids, or send arguments as an object.

use serde_json::{Map, Value};

use crate::{
    models::{
        chat::{ModelError, ToolCall, ToolSpec},
        names,
        wire::server,
    },
    support::ids::CallId,
};

/// The most calls in one answer.
const MOST_CALLS: usize = 128;
/// The longest arguments of one call.
const LONGEST_ARGUMENTS: usize = 1024 * 1024;

/// The calls of one answer, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Fragments>);

#[derive(Debug, Default)]
struct Fragments {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Calls {
    /// Takes one element of `delta.tool_calls`.
    pub(super) fn take(&mut self, fragment: &Value) -> Result<(), ModelError> {
        let index = fragment["index"].as_u64();
        let id = fragment["id"].as_str().unwrap_or_default();
        let function = &fragment["function"];
        let name = function["name"].as_str().unwrap_or_default();
        let place = self.place(index, id, name);
        if place == self.0.len() {
            if self.0.len() == MOST_CALLS {
                return Err(server("it calls too many tools at once"));
            }
            self.0.push(Fragments { index, ..Fragments::default() });
        }
        let call = &mut self.0[place];
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        if call.name.is_empty() {
            name.clone_into(&mut call.name);
        }
        match &function["arguments"] {
            Value::String(text) => call.arguments.push_str(text),
            Value::Null => {}
            // Whole at once.
            arguments => call.arguments = arguments.to_string(),
        }
        if call.arguments.len() > LONGEST_ARGUMENTS {
            return Err(server("the arguments of a tool are too long"));
        }
        Ok(())
    }

    /// Which call a fragment belongs to; one behind the last for a new call.
    fn place(&self, index: Option<u64>, id: &str, name: &str) -> usize {
        let new = self.0.len();
        let begins = |call: &Fragments| !id.is_empty() && !call.id.is_empty() && id != call.id && !name.is_empty();
        if index.is_some() {
            // The latest of this index: one with another id and a name is the next call all the same.
            let same = self.0.iter().rposition(|call| call.index == index);
            let by_id = || self.0.iter().rposition(|call| !id.is_empty() && call.id == id && call.index == index);
            return by_id().or_else(|| same.filter(|&at| !begins(&self.0[at]))).unwrap_or(new);
        }
        if !id.is_empty() {
            return self.0.iter().rposition(|call| call.id == id).unwrap_or(new);
        }
        if name.is_empty() && new > 0 { new - 1 } else { new }
    }

    /// The calls, complete. `cut` when the answer ended at its limit: a call that is not whole is left out then.
    pub(super) fn finish(&mut self, tools: &[ToolSpec], cut: bool) -> Vec<ToolCall> {
        let named = std::mem::take(&mut self.0).into_iter().filter(|call| !call.name.is_empty());
        let whole = named.filter_map(|call| {
            let text = call.arguments.trim();
            let arguments = match serde_json::from_str::<Value>(text) {
                Ok(arguments) => names::arguments(arguments),
                Err(_) if text.is_empty() => Value::Object(Map::new()),
                Err(_) if cut => return None,
                // The model is told what is wrong with them, as with any other arguments that do not fit.
                Err(_) => Value::String(call.arguments),
            };
            let id = if call.id.is_empty() { CallId::generate().to_string() } else { call.id };
            let name = names::restored(&call.name, tools).unwrap_or(call.name);
            Some(ToolCall { id, name, arguments })
        });
        whole.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn calls(fragments: &[Value]) -> Vec<(String, String, Value)> {
        let mut calls = Calls::default();
        for fragment in fragments {
            calls.take(fragment).expect("few and short");
        }
        calls.finish(&[], false).into_iter().map(|call| (call.id, call.name, call.arguments)).collect()
    }

    fn two() -> Vec<(String, String, Value)> {
        [("a", "one", json!({"x": 1})), ("b", "two", json!({"y": 2}))]
            .map(|(id, name, value)| (id.to_owned(), name.to_owned(), value))
            .into()
    }

    #[test]
    fn fragments_find_their_call_however_they_are_marked() {
        let fragment = |index: Value, id: Value, name: Value, arguments: &str| json!({ "index": index, "id": id, "function": { "name": name, "arguments": arguments } });
        let null = || Value::Null;
        for (way, fragments) in [
            (
                "interleaved by index",
                vec![
                    fragment(json!(0), json!("a"), json!("one"), ""),
                    fragment(json!(1), json!("b"), json!("two"), "{\"y\""),
                    fragment(json!(0), null(), null(), "{\"x\":"),
                    fragment(json!(1), null(), null(), ":2}"),
                    fragment(json!(0), null(), null(), "1}"),
                ],
            ),
            (
                "one index for all",
                vec![
                    fragment(json!(0), json!("a"), json!("one"), "{\"x\":1}"),
                    fragment(json!(0), json!("b"), json!("two"), "{\"y\":"),
                    fragment(json!(0), json!("b"), json!("two"), "2}"),
                ],
            ),
            (
                "no index",
                vec![
                    fragment(null(), json!("a"), json!("one"), "{\"x\":"),
                    fragment(null(), null(), null(), "1}"),
                    fragment(null(), json!("b"), json!("two"), "{\"y\":2}"),
                ],
            ),
            (
                "name and empty id in every fragment",
                vec![
                    fragment(json!(0), json!("a"), json!("one"), "{\"x\":"),
                    fragment(json!(0), json!(""), json!("one"), "1}"),
                    fragment(json!(1), json!("b"), json!("two"), "{\"y\":2}"),
                ],
            ),
        ] {
            assert_eq!(calls(&fragments), two(), "{way}");
        }
    }

    #[test]
    fn calls_without_ids_get_some_and_arguments_may_be_an_object_or_missing() {
        let got = calls(&[
            json!({ "index": 0, "function": { "name": "one", "arguments": { "x": 1 } } }),
            json!({ "index": 1, "function": { "name": "two" } }),
        ]);
        assert_eq!((&got[0].2, &got[1].2), (&json!({"x": 1}), &json!({})));
        assert!(!got[0].0.is_empty() && got[0].0 != got[1].0);
    }

    #[test]
    fn a_call_that_the_limit_cut_off_is_left_out() {
        let mut calls = Calls::default();
        calls.take(&json!({ "index": 0, "id": "a", "function": { "name": "one", "arguments": "{}" } })).unwrap();
        calls
            .take(&json!({ "index": 1, "id": "b", "function": { "name": "two", "arguments": "{\"y\": \"hal" } }))
            .unwrap();
        assert_eq!(calls.finish(&[], true).len(), 1);
    }
}
