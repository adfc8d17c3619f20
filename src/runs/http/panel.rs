//! One entry in the panel: the facts, then what was asked and what came of it, whole.

use serde::Deserialize as _;
use serde_json::Value;

use crate::{
    audit::{Action, Entry},
    http::format,
    models::{meter::Cost, router::Choice},
    support::text::without_headings,
};

/// What the panel shows.
pub(super) struct Panel {
    pub(super) seq: i64,
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) facts: Vec<(&'static str, String)>,
    /// Why it was not done.
    pub(super) problem: Option<String>,
    pub(super) passages: Vec<Passage>,
    pub(super) blocks: Vec<Block>,
}

/// A passage that was found.
pub(super) struct Passage {
    pub(super) number: String,
    pub(super) document: String,
    pub(super) locator: String,
    pub(super) score: String,
    pub(super) text: String,
    pub(super) href: String,
}

/// A piece of text as it was.
pub(super) struct Block {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) open: bool,
}

/// What the panel beside the bars says of an entry.
pub(super) fn of(entry: &Entry) -> Panel {
    let mut panel = Panel {
        seq: entry.seq,
        title: entry.action.clone(),
        subtitle: meaning(&entry.action),
        facts: Vec::new(),
        problem: entry.reason().map(str::to_owned),
        passages: passages(&entry.detail["passages"]),
        blocks: Vec::new(),
    };
    if let Some(duration) = entry.duration_ms() {
        panel.facts.push(("Took", format::duration(duration)));
    }
    let is = |action: Action| entry.action == action.name();
    if is(Action::ModelCalled) || is(Action::ModelFailed) {
        panel.model(entry);
    } else if is(Action::ToolCalled) {
        panel.tool(entry);
    } else if is(Action::KnowledgeSearched) {
        "Search".clone_into(&mut panel.title);
        panel.block("Query", &entry.detail["query"], true);
    } else {
        if let Some(subject) = &entry.subject {
            panel.facts.push(("Subject", subject.clone()));
        }
        panel.block("Detail", &entry.detail, true);
    }
    panel
}

impl Panel {
    fn model(&mut self, entry: &Entry) {
        let detail = &entry.detail;
        "Model".clone_into(&mut self.title);
        if let Some(model) = &entry.subject {
            self.facts.insert(0, ("Model", model.clone()));
        }
        let mode = match detail["mode"].as_str() {
            Some("tools") => "searches by itself, with tools",
            Some("reading") => "reads what was found for it",
            Some("small") => "small: a short prompt, few passages",
            _ => "",
        };
        self.fact("Used as", mode);
        if let Some(first) = detail["first_piece_ms"].as_u64() {
            self.fact("First word", &format::duration(first));
        }
        let finish = &detail["finish"];
        if let (Some(prompt), Some(answer)) = (finish["prompt_tokens"].as_u64(), finish["completion_tokens"].as_u64()) {
            self.fact("Tokens", &format!("{prompt} read, {answer} written"));
            if let Ok(Some(cost)) = Option::<Cost>::deserialize(&detail["cost"]) {
                self.fact("Cost", &cost.to_string());
            }
        }
        if let Some(temperature) = detail["request"]["temperature"].as_f64() {
            let temperature = (temperature * 100.0).round() / 100.0;
            let told =
                if temperature == 0.0 { "0: always the likeliest word".to_owned() } else { temperature.to_string() };
            self.fact("Temperature", &told);
        }
        if let Ok(why) = serde_json::from_value::<Choice>(detail["why"].clone()) {
            self.fact("Chosen as", &why.to_string());
        }
        for attempt in detail["attempts"].as_array().into_iter().flatten() {
            let (model, error) = (attempt["model"].as_str(), attempt["error"].as_str());
            self.facts.push(("Asked in vain", format!("{}: {}", model.unwrap_or("?"), error.unwrap_or("?"))));
        }
        let calls = detail["tool_calls"].as_array().map_or(&[][..], Vec::as_slice);
        if detail["text"].as_str().is_some_and(|text| !text.is_empty()) {
            self.block("It said", &detail["text"], true);
        }
        for call in calls {
            self.block(&format!("It called {}", call["name"].as_str().unwrap_or("a tool")), &call["arguments"], true);
        }
        if detail["thinking"].as_str().is_some_and(|text| !text.is_empty()) {
            self.block("It thought", &detail["thinking"], false);
        }
        let messages = detail["request"]["messages"].as_array().map_or(&[][..], Vec::as_slice);
        for (index, message) in messages.iter().enumerate() {
            let speaker = match message["speaker"].as_str() {
                Some("system") => "It was told",
                Some("user") => "It was asked",
                Some("assistant") => "It had said",
                Some("tool") => "A tool had answered",
                _ => "Message",
            };
            let text = match (message["text"].as_str(), message.get("tool_calls")) {
                (Some(""), Some(calls)) => pretty(calls),
                (text, _) => text.unwrap_or_default().to_owned(),
            };
            self.blocks.push(Block { title: speaker.to_owned(), text, open: index + 1 == messages.len() });
        }
        if detail["request"]["tools"].as_array().is_some_and(|tools| !tools.is_empty()) {
            self.block("Tools that it might call", &detail["request"]["tools"], false);
        }
    }

    fn tool(&mut self, entry: &Entry) {
        "Tool".clone_into(&mut self.title);
        self.facts.insert(0, ("Tool", entry.subject.clone().unwrap_or_default()));
        self.block("Called with", &entry.detail["arguments"], true);
        if entry.detail.get("content").is_some() {
            self.block("It gave back", &entry.detail["content"], self.passages.is_empty());
        }
    }

    fn fact(&mut self, name: &'static str, value: &str) {
        if !value.is_empty() {
            self.facts.push((name, value.to_owned()));
        }
    }

    fn block(&mut self, title: &str, value: &Value, open: bool) {
        self.blocks.push(Block { title: title.to_owned(), text: pretty(value), open });
    }
}

fn passages(list: &Value) -> Vec<Passage> {
    let text = |passage: &Value, field: &str| passage[field].as_str().unwrap_or_default().to_owned();
    let passage = |passage: &Value| Passage {
        number: passage["number"].to_string(),
        document: text(passage, "document"),
        locator: text(passage, "locator"),
        score: passage["score"].as_f64().map(|score| format!("{score:.3}")).unwrap_or_default(),
        // The locator stands above it.
        text: without_headings(&text(passage, "text")).to_owned(),
        href: format!(
            "/knowledge/{}?passage={id}#passage-{id}",
            text(passage, "document_id"),
            id = text(passage, "passage_id")
        ),
    };
    list.as_array().into_iter().flatten().map(passage).collect()
}

fn pretty(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

fn meaning(action: &str) -> String {
    Action::ALL
        .iter()
        .find(|known| known.name() == action)
        .map(|known| format!("{}.", super::view::capital(known.meaning())))
        .unwrap_or_default()
}
