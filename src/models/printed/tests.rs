//! Answers as models print them, sorted.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn sorted(pieces: &[&str], with_tools: bool) -> (String, String, Vec<(String, serde_json::Value)>) {
    let tool = search_tool();
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
    let pieces = ["<thi", "nk>Hm, 1 < 2", "</think>\n\n", r#"{"name":"knowledge_search","arguments":{"query":"x"}}"#];
    assert_eq!(sorted(&pieces, true), (String::new(), "Hm, 1 < 2".to_owned(), search("x")));
    assert_eq!(sorted(&["<think>a</think>b"], false), ("b".to_owned(), "a".to_owned(), Vec::new()));
}

#[test]
fn plain_text_is_passed_on_at_once() {
    let mut sorter = Sorter::new(&[]);
    assert_eq!(sorter.push("The answer is "), vec![ChatEvent::Text("The answer is ".to_owned())]);
    assert_eq!(sorter.push("4 < 5"), vec![ChatEvent::Text("4 < 5".to_owned())]);
}

fn search_tool() -> ToolSpec {
    ToolSpec {
        name: "knowledge.search".to_owned(),
        description: String::new(),
        parameters: json!({"type": "object", "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}}}),
    }
}

#[test]
fn calls_of_every_family_of_models_are_found_after_prose_too() {
    let call = r#"{"name": "knowledge_search", "arguments": {"query": "leave"}}"#;
    for printed in [
        format!("```tool_code\n{call}\n```"),
        format!("```python\n{call}```"),
        format!("<function_call>{call}</function_call>"),
        format!("<tools>\n{call}\n</tools>"),
        format!("```xml\n<tool_call>{call}</tool_call>\n```"),
        format!("[TOOL_CALLS][{call}]"),
        r#"[TOOL_CALLS]knowledge_search[ARGS]{"query": "leave"}"#.to_owned(),
        format!("<|python_tag|>{call}<|eom_id|>"),
        format!("<|tool_call|>[{call}]<|/tool_call|>"),
        format!("functools[{call}]"),
        r#"<function=knowledge_search>{"query": "leave"}</function>"#.to_owned(),
        "<tool_call>\n<function=knowledge_search>\n<parameter=query>\nleave\n</parameter>\n</function>\n</tool_call>".to_owned(),
        "Action: knowledge_search\nAction Input: {\"query\": \"leave\"}".to_owned(),
        "Action: ```json\n[{\"tool_name\": \"knowledge_search\", \"parameters\": {\"query\": \"leave\"}}]\n```".to_owned(),
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>knowledge_search\n```json\n{\"query\": \"leave\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>".to_owned(),
        "[knowledge_search(query=\"leave\")]".to_owned(),
        r#"{"knowledge_search": {"query": "leave"}}"#.to_owned(),
        r#"{"tool_calls": [{"type": "function", "function": {"name": "knowledge_search", "arguments": "{\"query\": \"leave\"}"}}]}"#.to_owned(),
        "{'name': 'knowledge_search', 'arguments': {'query': 'leave',}}".to_owned(),
        "<tool_call>{name: \"knowledge_search\", arguments: {query: \"leave\"}</tool_call>".to_owned(),
        "{\"name\": \"knowledge_search\", \"arguments\": {\"query\": \"leave\"}".to_owned(),
    ] {
        assert_eq!(sorted(&[&printed], true), (String::new(), String::new(), search("leave")), "{printed}");
        let after_prose = format!("I will look.\n{printed}");
        assert_eq!(sorted(&[&after_prose], true), ("I will look.\n".to_owned(), String::new(), search("leave")), "{after_prose}");
    }
}

#[test]
fn several_calls_in_one_answer_are_several() {
    let call = |query: &str| format!(r#"{{"name": "knowledge_search", "arguments": {{"query": "{query}"}}}}"#);
    let both: Vec<_> = [search("a"), search("b")].concat();
    for printed in [
        format!("<tool_call>{}</tool_call>\n<tool_call>{}</tool_call>", call("a"), call("b")),
        format!("<tool_call>{}\n{}</tool_call>", call("a"), call("b")),
        format!("{}\n{}", call("a"), call("b")),
        format!("[{}, {}]", call("a"), call("b")),
        format!("```json\n{}\n```\n\n```json\n{}\n```", call("a"), call("b")),
        "[knowledge_search(query=\"a\"), knowledge_search(query='b')]".to_owned(),
        r#"<function=knowledge_search>{"query": "a"}</function><function=knowledge_search>{"query": "b"}</function>"#
            .to_owned(),
    ] {
        assert_eq!(sorted(&[&printed], true).2, both, "{printed}");
    }
}

#[test]
fn a_call_that_was_meant_and_cannot_be_read_is_given_back_apart() {
    for (said, broken) in [
        ("", "<tool_call>{\"name\": \"knowledge_search\", \"arguments\": {\"query\": \"how lo"),
        ("I look.\n", "<tool_call>knowledge_search for leave</tool_call> And so on."),
        ("", "{\"name\": \"knowledge_search\", \"arguments\": {\"query\": leave: \"x\"}} "),
    ] {
        let mut sorter = Sorter::new(&[search_tool()]);
        let mut events = sorter.push(&format!("{said}{broken}"));
        let (rest, apart) = sorter.end();
        events.extend(rest);
        let text: String =
            events.iter().map(|event| if let ChatEvent::Text(text) = event { text.as_str() } else { "" }).collect();
        assert_eq!((text.as_str(), apart.as_deref()), (said, Some(broken)));
        assert_eq!(sorted(&[said, broken], true).0, format!("{said}{broken}"), "nobody asks: it is text");
    }
}

/// The text, thoughts and calls, with neighbours of a kind put together.
fn events(pieces: &[&str]) -> Vec<(u8, String)> {
    let mut sorter = Sorter::new(&[search_tool()]);
    let mut events: Vec<ChatEvent> = pieces.iter().flat_map(|piece| sorter.push(piece)).collect();
    events.extend(sorter.finish());
    let mut merged: Vec<(u8, String)> = Vec::new();
    for event in events {
        let (kind, text) = match event {
            ChatEvent::Text(text) => (0, text),
            ChatEvent::Thinking(text) => (1, text),
            ChatEvent::ToolCall(call) => (2, format!("{} {}", call.name, call.arguments)),
            other => panic!("unexpected {other:?}"),
        };
        match merged.last_mut().filter(|(last, _)| *last == kind && kind != 2) {
            Some((_, before)) => before.push_str(&text),
            None => merged.push((kind, text)),
        }
    }
    merged
}

/// Parts of answers, many of which begin something and do not end it.
fn part() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "Sixteen weeks. ",
        "ü世界 ",
        "\n",
        "\n\n",
        "  ",
        "[1] ",
        "Action: ",
        "Action: rest.\n",
        "A ",
        "f",
        "func",
        "functools",
        "<",
        "<b>",
        "<t",
        "<tool_call>",
        "</tool_call>",
        "<tools>",
        "</tools>",
        "<function=",
        "</function>",
        "[TOOL_CALLS]",
        "```",
        "```json\n",
        "```rust\nfn main() {}\n```\n",
        "`x`",
        "{",
        "}",
        "[",
        "]",
        "{\"a\": 1}",
        "{\"a\": [1, {\"b\": \"}\"}]}\n",
        "[{\"a\": 1}]",
        "\"",
        "'",
        ":",
        ",",
        "<|python_tag|>",
        "{\"name\": \"rm\", \"arguments\": {}}",
    ])
}

fn call_or_thought() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "<think>",
        "</think>",
        "<thinking>hm</thinking>",
        "knowledge_search",
        "<function=knowledge_search>{\"query\": \"x\"}</function>",
        "{\"name\": \"knowledge_search\", \"arguments\": {\"query\": \"x\"}}",
        "<tool_call>{\"name\": \"knowledge_search\"}</tool_call>",
        "{'name': 'knowledge_search', 'arguments': {'query': 'x'}}\n",
        "Action: knowledge_search\nAction Input: {\"query\": \"x\"}\n",
        "[knowledge_search(query=\"x\")]",
    ])
}

proptest! {
    #[test]
    fn wherever_an_answer_is_split_its_events_are_the_same(
        parts in proptest::collection::vec(prop_oneof![3 => part(), 1 => call_or_thought()], 0..12),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
    ) {
        let answer = parts.concat();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(answer.len() + 1)).filter(|&at| answer.is_char_boundary(at)).collect();
        places.extend([0, answer.len()]);
        places.sort_unstable();
        let pieces: Vec<&str> = places.windows(2).map(|pair| &answer[pair[0]..pair[1]]).collect();
        let signs: Vec<String> = answer.chars().map(String::from).collect();
        let whole = events(&[&answer]);
        prop_assert_eq!(&events(&pieces), &whole, "{:?} in {:?}", answer, pieces);
        prop_assert_eq!(&events(&signs.iter().map(String::as_str).collect::<Vec<_>>()), &whole, "{:?} sign by sign", answer);
    }

    #[test]
    fn text_that_is_no_call_is_passed_on_as_it_came(parts in proptest::collection::vec(part(), 0..16)) {
        let answer = parts.concat();
        let said: String = events(&[&answer]).into_iter().map(|(_, text)| text).collect();
        prop_assert_eq!(said, answer.trim_start());
    }
}
