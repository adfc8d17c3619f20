//! Whether a replay came out as the run did: step by step, field by field, up to the first difference.

use serde::Serialize;
use serde_json::Value;

use crate::agents::replay::{Recording, Step};

/// What differs each time, or was not gone through again: measures of time, identifiers of the conversation, who was asked in
/// vain before the model that answered, where in which chain that stood, what it cost.
const PASSING: [&str; 8] =
    ["duration_ms", "first_piece_ms", "asked_ms", "attempts", "why", "price", "cost", "conversation"];
/// A replayed failure is told in other words than the model server's own.
const WORDS: [&str; 2] = ["error", "problem"];
/// Characters that are shown of a text before the place where it differs, and from there.
const AROUND: usize = 60;

/// The first thing that came out otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Which step of the run, from 1; the question itself is none.
    pub step: usize,
    /// What was done in it, then and now: `model.called`; `nothing` beyond the end.
    pub action: String,
    /// Where in the entry: `request.messages[2].text`.
    pub field: String,
    /// What was recorded there.
    pub recorded: String,
    /// What came out now.
    pub now: String,
}

/// Compares a run with its replay.
pub fn first_difference(recording: &Recording, now: &[Step]) -> Option<Difference> {
    let compared = if recording.cut_off { now.len().min(recording.steps.len()) } else { now.len() };
    let (then, now) = (&recording.steps[..], &now[..compared]);
    for (index, (then, now)) in then.iter().zip(now).enumerate() {
        let step = index + 1;
        let difference = |(field, recorded, now): (String, String, String)| Difference {
            step,
            action: then.action.clone(),
            field,
            recorded,
            now,
        };
        if then.action != now.action {
            return Some(difference(("action".to_owned(), then.action.clone(), now.action.clone())));
        }
        if then.subject != now.subject {
            let told = |subject: &Option<String>| subject.clone().unwrap_or_else(|| "nothing".to_owned());
            return Some(difference(("subject".to_owned(), told(&then.subject), told(&now.subject))));
        }
        if let Some(found) = differ(String::new(), &then.detail, &now.detail) {
            return Some(difference(found));
        }
    }
    let (more, recorded, happened) = match then.len().cmp(&now.len()) {
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => (&then[now.len()], then[now.len()].action.as_str(), "nothing"),
        std::cmp::Ordering::Less => (&now[then.len()], "nothing", now[then.len()].action.as_str()),
    };
    Some(Difference {
        step: then.len().min(now.len()) + 1,
        action: more.action.clone(),
        field: "action".to_owned(),
        recorded: recorded.to_owned(),
        now: happened.to_owned(),
    })
}

/// Where two values differ first, with what is there in each.
fn differ(path: String, then: &Value, now: &Value) -> Option<(String, String, String)> {
    match (then, now) {
        (Value::Object(left), Value::Object(right)) => {
            let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
            names.sort_unstable();
            names.dedup();
            let passing = |name: &str| path.is_empty() && (PASSING.contains(&name) || WORDS.contains(&name));
            names.into_iter().filter(|name| !passing(name)).find_map(|name| {
                let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                differ(inner, left.get(name).unwrap_or(&Value::Null), right.get(name).unwrap_or(&Value::Null))
            })
        }
        (Value::Array(left), Value::Array(right)) => (0..left.len().max(right.len())).find_map(|index| {
            let of = |list: &[Value]| list.get(index).cloned().unwrap_or_default();
            differ(format!("{path}[{index}]"), &of(left), &of(right))
        }),
        (Value::String(left), Value::String(right)) if left != right => {
            let same = left.chars().zip(right.chars()).take_while(|(a, b)| a == b).count();
            Some((path, around(left, same), around(right, same)))
        }
        (left, right) if left != right => Some((path, around(&told(left), 0), around(&told(right), 0))),
        _ => None,
    }
}

fn told(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text round the character at which it differs from another.
fn around(text: &str, at: usize) -> String {
    let (from, length) = (at.saturating_sub(AROUND), text.chars().count());
    let piece: String = text.chars().skip(from).take(2 * AROUND).collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if from + 2 * AROUND < length { "…" } else { "" };
    format!("{before}{piece}{after}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let then = json!({"duration_ms": 1, "request": {"messages": [{"text": "a"}, {"text": "sixteen weeks"}]}});
        let now = json!({"duration_ms": 2, "request": {"messages": [{"text": "a"}, {"text": "sixty weeks"}]}});
        let found = differ(String::new(), &then, &now).unwrap();
        assert_eq!(found, ("request.messages[1].text".into(), "sixteen weeks".into(), "sixty weeks".into()));
        assert_eq!(differ(String::new(), &then, &then), None);
        let longer = differ(String::new(), &json!({"list": [1]}), &json!({"list": [1, 2]})).unwrap();
        assert_eq!(longer, ("list[1]".into(), "nothing".into(), "2".into()));
    }

    #[test]
    fn of_long_texts_the_neighbourhood_of_the_difference_is_shown() {
        let (a, b) = (format!("{}X{}", "s".repeat(500), "t".repeat(500)), format!("{}Y", "s".repeat(500)));
        let (_, then, now) = differ(String::new(), &json!({"text": a}), &json!({"text": b})).unwrap();
        assert!(then.starts_with("…s") && then.contains("sX") && then.ends_with('…'), "{then}");
        assert!(now.ends_with("sY"), "{now}");
    }
}
