//! What keeps remembered text out of the audit log: the log is for good, and what is remembered can be forgotten.
//!
//! An entry has a mark where the text stood. A replay puts back what is still known, goes through the run, and veils its
//! entries the same way; so it comes out the same whether or not something was forgotten meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use super::store;
use crate::{
    agents::{record::lock, replay::Recording},
    db::TenantDb,
    models::chat::ToolCall,
    support::{
        Result,
        ids::{ConversationId, MemoryId, MessageId},
    },
};

/// The tool whose arguments have the text of a fact.
pub(in crate::agents) const REMEMBER: &str = "memory.remember";
/// The tool whose result has the texts of facts.
pub(super) const RECALL: &str = "memory.recall";

/// The mark of a fact.
pub(in crate::agents) fn of_fact(id: MemoryId) -> String {
    format!("⟦memory {id}⟧")
}

/// The mark of what a call wants to have remembered.
fn of_call(call: &str) -> String {
    format!("⟦memory of call {}⟧", call.replace(['⟦', '⟧'], ""))
}

/// The mark of a summary.
pub(in crate::agents) fn of_summary(conversation: ConversationId, until: MessageId) -> String {
    format!("⟦summary {conversation} {until}⟧")
}

/// What stands where a fact was forgotten.
pub(super) fn forgotten(id: MemoryId) -> String {
    of_fact(id)
}

/// The texts of one run that stay out of its log, each with its mark.
#[derive(Debug, Clone, Default)]
pub(in crate::agents) struct Veil(Arc<Mutex<Vec<(String, String)>>>);

impl Veil {
    /// From now on `mark` stands for `text`.
    pub(in crate::agents) fn hide(&self, text: &str, mark: String) {
        let mut hidden = lock(&self.0);
        let is_mark = text.starts_with('⟦') && text.ends_with('⟧');
        if is_mark || text.trim().is_empty() || hidden.iter().any(|(known, _)| known == text) {
            return;
        }
        hidden.push((text.to_owned(), mark));
        // The longest first, in case one contains another.
        hidden.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    }

    /// Hides what calls want to have remembered.
    pub(in crate::agents) fn hide_calls(&self, calls: &[ToolCall]) {
        for call in calls.iter().filter(|call| call.name == REMEMBER) {
            self.hide_argument(&call.id, &call.arguments);
        }
    }

    /// Hides what a call wants, or was given instead, to have remembered.
    pub(in crate::agents) fn hide_argument(&self, call: &str, arguments: &Value) {
        if let Some(text) = arguments["text"].as_str() {
            self.hide(text, of_call(call));
        }
    }

    /// Hides the facts that a recall has given back, each in a line of its own.
    pub(in crate::agents) fn hide_result(&self, tool: &str, content: &Value) {
        if tool != RECALL {
            return;
        }
        for (id, text) in content.as_str().unwrap_or_default().lines().filter_map(in_line) {
            self.hide(text, of_fact(id));
        }
    }

    /// `value` with marks in place of what is hidden.
    pub(in crate::agents) fn over(&self, mut value: Value) -> Value {
        let hidden = lock(&self.0);
        if !hidden.is_empty() {
            change(&mut value, &|text| {
                for (hidden, mark) in &*hidden {
                    if let Some(veiled) = replaced(text, hidden, mark) {
                        *text = veiled;
                    }
                }
            });
        }
        value
    }
}

/// The line of a recall's result that tells a fact.
pub(super) fn line(id: MemoryId, text: &str) -> String {
    format!("- {text} (id {id})")
}

fn in_line(line: &str) -> Option<(MemoryId, &str)> {
    let (text, id) = line.strip_prefix("- ")?.strip_suffix(')')?.rsplit_once(" (id ")?;
    Some((id.parse().ok()?, text))
}

/// The facts that marks in `text` stand for.
pub(in crate::agents) fn marked(text: &str) -> Vec<MemoryId> {
    text.split("⟦memory ").skip(1).filter_map(|rest| rest.split_once('⟧')?.0.parse().ok()).collect()
}

/// What stood where the marks of a recording are.
pub(in crate::agents) async fn known(db: &TenantDb, recording: &Recording) -> Result<Known> {
    let mut known = Known::default();
    if let Some(run) = recording.run {
        for (id, call, text) in store::texts(db, &recording.facts(), run, recording.until).await? {
            known.fact(id, call.as_deref(), &text);
        }
    }
    Ok(known)
}

/// What stood where the marks are, as far as it is still known.
#[derive(Debug, Default)]
pub(in crate::agents) struct Known(HashMap<String, String>);

impl Known {
    fn fact(&mut self, id: MemoryId, call: Option<&str>, text: &str) {
        self.0.insert(of_fact(id), text.to_owned());
        if let Some(call) = call {
            self.0.insert(of_call(call), text.to_owned());
        }
    }

    /// The text of a mark.
    pub(in crate::agents) fn text(&self, mark: &str) -> Option<&str> {
        self.0.get(mark).map(String::as_str)
    }

    /// Puts the texts back.
    pub(in crate::agents) fn put_back(&self, value: &mut Value) {
        change(value, &|text| self.put_back_into(text));
    }

    /// Puts the texts back.
    pub(in crate::agents) fn put_back_into(&self, text: &mut String) {
        if text.contains('⟦') {
            for (mark, known) in &self.0 {
                *text = text.replace(mark, known);
            }
        }
    }
}

fn change(value: &mut Value, with: &impl Fn(&mut String)) {
    match value {
        Value::String(text) => with(text),
        Value::Array(items) => items.iter_mut().for_each(|item| change(item, with)),
        Value::Object(fields) => fields.values_mut().for_each(|field| change(field, with)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `text` with `mark` wherever `hidden` stands by itself; nothing when it stands nowhere.
fn replaced(text: &str, hidden: &str, mark: &str) -> Option<String> {
    let mut out = String::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(hidden).map(|at| from + at) {
        let end = at + hidden.len();
        let within = |before: Option<char>, after: Option<char>| {
            before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric)
        };
        let in_a_word = within(text[..at].chars().next_back(), hidden.chars().next())
            || within(hidden.chars().next_back(), text[end..].chars().next());
        out.push_str(&text[from..at]);
        out.push_str(if in_a_word { hidden } else { mark });
        from = end;
    }
    (from > 0).then(|| out + &text[from..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_hidden_stands_in_no_string_and_can_be_put_back() {
        let veil = Veil::default();
        let id = MemoryId::generate();
        veil.hide("Ada likes tea", of_fact(id));
        veil.hide("Ada likes tea with milk", of_call("7"));
        let entry = json!({"a": ["- Ada likes tea\n- Ada likes tea with milk.", 7], "b": {"c": "Ada likes teapots"}});
        let veiled = veil.over(entry.clone());
        assert_eq!(veiled["a"][0], format!("- ⟦memory {id}⟧\n- ⟦memory of call 7⟧."));
        assert_eq!(veiled["b"]["c"], "Ada likes teapots", "a word is not torn");
        assert_eq!(marked(veiled["a"][0].as_str().unwrap()), [id]);

        let mut known = Known::default();
        known.fact(id, None, "Ada likes tea");
        known.fact(MemoryId::generate(), Some("7"), "Ada likes tea with milk");
        let mut back = veiled.clone();
        known.put_back(&mut back);
        assert_eq!(back, entry);
        veil.hide(&of_fact(id), of_call("8"));
        assert_eq!(veil.over(veiled.clone()), veiled, "a mark is not marked again");
    }

    #[test]
    fn the_lines_of_a_recall_tell_their_facts() {
        let (veil, id) = (Veil::default(), MemoryId::generate());
        let content = json!(format!("Noted:\n{}\nThat is all.", line(id, "Invoices (paper) go to Bo")));
        veil.hide_result(RECALL, &content);
        assert_eq!(veil.over(json!("Invoices (paper) go to Bo")), json!(of_fact(id)));
    }
}
