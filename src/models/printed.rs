//! Models that print what should have come apart: `<think>` blocks, and tool calls as text. This sorts a
//! stream of text into text, thoughts and calls. Small models and models without a proper template do this
//! everywhere; the built-in engine, which has only text, relies on it.

mod calls;

use super::chat::{ChatEvent, ToolSpec};

const CALL: (&str, &str) = ("<tool_call>", "</tool_call>");
const THOUGHT: (&str, &str) = ("<think>", "</think>");

/// The longest text that is held back as a possible call. Beyond it, it is an answer that looks like JSON.
const LONGEST_CALL: usize = 16 * 1024;

/// Sorts the text of one answer. Give it the pieces as they come and [`Sorter::finish`] at the end.
pub(super) struct Sorter {
    tools: Vec<ToolSpec>,
    state: State,
    /// Text that is not decided yet.
    held: String,
    calls: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but blanks so far.
    Start,
    /// The whole answer may be a call: it began with a brace or a fence.
    MaybeCall,
    /// Ordinary text; a tag may follow.
    Text,
    InCall,
    InThought,
}

impl Sorter {
    /// `tools` are those that were offered: only a call of one of them is a call.
    pub(super) fn new(tools: &[ToolSpec]) -> Self {
        Self { tools: tools.to_vec(), state: State::Start, held: String::new(), calls: 0 }
    }

    /// Takes the next piece and gives back what is decided by it.
    pub(super) fn push(&mut self, piece: &str) -> Vec<ChatEvent> {
        self.held.push_str(piece);
        let mut events = Vec::new();
        while self.step(&mut events) {}
        events
    }

    /// The answer is over: what is still held back is decided now.
    pub(super) fn finish(&mut self) -> Vec<ChatEvent> {
        let mut events = Vec::new();
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::InThought => thought(held, &mut events),
            // A call whose end tag is missing because the model stopped there.
            State::InCall => self.call_or_text(&held, &format!("{}{held}", CALL.0), &mut events),
            State::MaybeCall => self.call_or_text(&held, &held, &mut events),
            State::Start | State::Text => text(held, &mut events),
        }
        events
    }

    /// How many calls were found.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// Decides as much as it can; true when there may be more to decide.
    fn step(&mut self, events: &mut Vec<ChatEvent>) -> bool {
        match self.state {
            State::Start => self.look_at_the_start(),
            State::MaybeCall => {
                let goes_on = self.held.len() <= LONGEST_CALL && calls::may_be_whole_call(&self.held);
                if !goes_on {
                    self.state = State::Text;
                }
                !goes_on
            }
            State::Text => self.look_for_a_tag(events),
            State::InThought => {
                let Some(end) = self.held.find(THOUGHT.1) else {
                    let keep = partial_tag(&self.held, THOUGHT.1);
                    thought(self.held.drain(..self.held.len() - keep).collect(), events);
                    return false;
                };
                thought(self.held[..end].to_owned(), events);
                self.held.drain(..end + THOUGHT.1.len());
                self.state = State::Start;
                true
            }
            State::InCall => {
                let Some(end) = self.held.find(CALL.1) else { return false };
                let inside = self.held[..end].to_owned();
                self.held.drain(..end + CALL.1.len());
                self.state = State::Text;
                self.call_or_text(&inside, &format!("{}{inside}{}", CALL.0, CALL.1), events);
                true
            }
        }
    }

    fn look_at_the_start(&mut self) -> bool {
        self.held.drain(..self.held.len() - self.held.trim_start().len());
        let Some(first) = self.held.chars().next() else { return false };
        let looks_like_call = matches!(first, '{' | '[' | '`') && !self.tools.is_empty();
        self.state = if looks_like_call { State::MaybeCall } else { State::Text };
        true
    }

    fn look_for_a_tag(&mut self, events: &mut Vec<ChatEvent>) -> bool {
        let found = [(CALL, State::InCall), (THOUGHT, State::InThought)]
            .into_iter()
            .filter(|(tag, _)| *tag != CALL || !self.tools.is_empty())
            .filter_map(|(tag, state)| Some((self.held.find(tag.0)?, tag.0.len(), state)))
            .min_by_key(|(at, ..)| *at);
        if let Some((at, length, state)) = found {
            text(self.held[..at].to_owned(), events);
            self.held.drain(..at + length);
            self.state = state;
            return true;
        }
        let keep = partial_tag(&self.held, CALL.0).max(partial_tag(&self.held, THOUGHT.0));
        text(self.held.drain(..self.held.len() - keep).collect(), events);
        false
    }

    fn call_or_text(&mut self, inside: &str, otherwise: &str, events: &mut Vec<ChatEvent>) {
        let found = calls::parse(inside, &self.tools);
        if found.is_empty() {
            text(otherwise.to_owned(), events);
        }
        self.calls += found.len();
        events.extend(found.into_iter().map(ChatEvent::ToolCall));
    }
}

fn text(text: String, events: &mut Vec<ChatEvent>) {
    if !text.is_empty() {
        events.push(ChatEvent::Text(text));
    }
}

fn thought(text: String, events: &mut Vec<ChatEvent>) {
    if !text.is_empty() {
        events.push(ChatEvent::Thinking(text));
    }
}

/// How many bytes at the end of `text` are the beginning of `tag`.
fn partial_tag(text: &str, tag: &str) -> usize {
    (1..tag.len()).rev().find(|&length| text.ends_with(&tag[..length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sorted(pieces: &[&str], with_tools: bool) -> (String, String, Vec<(String, serde_json::Value)>) {
        let tool = ToolSpec {
            name: "knowledge.search".to_owned(),
            description: String::new(),
            parameters: json!({"type": "object"}),
        };
        let mut sorter = Sorter::new(if with_tools { std::slice::from_ref(&tool) } else { &[] });
        let mut events: Vec<ChatEvent> = pieces.iter().flat_map(|piece| sorter.push(piece)).collect();
        events.extend(sorter.finish());
        let (mut text, mut thoughts, mut calls) = (String::new(), String::new(), Vec::new());
        for event in events {
            match event {
                ChatEvent::Text(piece) => text.push_str(&piece),
                ChatEvent::Thinking(piece) => thoughts.push_str(&piece),
                ChatEvent::ToolCall(call) => calls.push((call.name, call.arguments)),
                other => panic!("unexpected {other:?}"),
            }
        }
        (text, thoughts, calls)
    }

    fn search(query: &str) -> Vec<(String, serde_json::Value)> {
        vec![("knowledge.search".to_owned(), json!({"query": query}))]
    }

    #[test]
    fn a_call_is_found_in_every_dress_that_models_give_it() {
        let body = r#"{"name": "knowledge_search", "arguments": {"query": "leave"}}"#;
        for printed in [
            body.to_owned(),
            format!("```json\n{body}\n```"),
            format!("<tool_call>\n{body}\n</tool_call>"),
            format!("<tool_call>{body}"),
            format!("[{body}]"),
            r#"{"name": "knowledge.search", "parameters": {"query": "leave"}}"#.to_owned(),
            r#"{"type": "function", "function": {"name": "knowledge_search", "arguments": "{\"query\": \"leave\"}"}}"#
                .to_owned(),
        ] {
            assert_eq!(sorted(&[&printed], true), (String::new(), String::new(), search("leave")), "{printed}");
        }
    }

    #[test]
    fn a_tag_that_comes_in_pieces_after_text_is_found() {
        let pieces = [
            "Let me look. <to",
            "ol_call>{\"name\":\"knowledge_search\",",
            "\"arguments\":{\"query\":\"x\"}}</tool",
            "_call>",
        ];
        assert_eq!(sorted(&pieces, true), ("Let me look. ".to_owned(), String::new(), search("x")));
    }

    #[test]
    fn json_that_is_no_call_of_an_offered_tool_stays_text() {
        for answer in
            [r#"{"name": "rm", "arguments": {}}"#, r#"{"price": 3}"#, "```json\n{}\n```", "`code` is short", "{oops"]
        {
            assert_eq!(sorted(&[answer], true).0, answer);
        }
        let call = r#"{"name": "knowledge_search", "arguments": {}}"#;
        assert_eq!(sorted(&[call], false).0, call, "without tools nothing is a call");
    }

    #[test]
    fn thoughts_are_kept_apart_and_a_call_may_follow_them() {
        let pieces =
            ["<thi", "nk>Hm, 1 < 2", "</think>\n\n", r#"{"name":"knowledge_search","arguments":{"query":"x"}}"#];
        assert_eq!(sorted(&pieces, true), (String::new(), "Hm, 1 < 2".to_owned(), search("x")));
        assert_eq!(sorted(&["<think>a</think>b"], false), ("b".to_owned(), "a".to_owned(), Vec::new()));
    }

    #[test]
    fn plain_text_is_passed_on_at_once() {
        let mut sorter = Sorter::new(&[]);
        assert_eq!(sorter.push("The answer is "), vec![ChatEvent::Text("The answer is ".to_owned())]);
        assert_eq!(sorter.push("4 < 5"), vec![ChatEvent::Text("4 < 5".to_owned())]);
    }
}
