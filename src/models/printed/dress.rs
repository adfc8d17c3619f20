//! The dresses in which models print calls of tools: where one begins, and where it ends.
//!
//! | dress | whose |
//! |---|---|
//! | `<tool_call>{…}</tool_call>` | Hermes, Qwen 2.5 and 3; with `<function=…>` in it Qwen3-Coder |
//! | `<function=name>{…}</function>` | Llama 3.1 and 3.2 |
//! | `<function_call>`, `<tool_calls>`, `<tools>` | fine-tunes of many sorts; small Qwens repeat the tag of the prompt |
//! | `[TOOL_CALLS][{…}]`, `[TOOL_CALLS]name[ARGS]{…}` | Mistral |
//! | `<\|python_tag\|>{…}` | Llama 3.x |
//! | `<\|tool_call\|>[{…}]`, `functools[{…}]` | Granite, Phi-4 |
//! | `<｜tool▁calls▁begin｜>…` | DeepSeek |
//! | `Action: name` / `Action Input: {…}`, ```` Action: ```json [{"tool_name": …}] ```` | ReAct prompts, Command-R |
//! | `[name(key="value")]` | Llama 3.2 and 4, "pythonic" |
//! | a fence with any language, or JSON that begins a line | all of them, now and then |

use crate::models::{chat::ToolSpec, names};

/// The longest text that is held back as a possible call. Beyond it, it is an answer that looks like one.
pub(super) const LONGEST: usize = 16 * 1024;

const PAIRS: [(&str, &str); 8] = [
    ("<tool_call>", "</tool_call>"),
    ("<tool_calls>", "</tool_calls>"),
    ("<function_call>", "</function_call>"),
    ("<function=", "</function>"),
    ("<tools>", "</tools>"),
    ("<|tool_call_start|>", "<|tool_call_end|>"),
    ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
    ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
];
const TO_THE_END: [&str; 4] = ["[TOOL_CALLS]", "<|python_tag|>", "<|tool_call|>", "functools["];
const ACTION: &str = "Action:";
const FENCE: &str = "```";

/// How a possible call is dressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dress {
    /// Between this and that.
    Pair(&'static str, &'static str),
    /// From this to the end of the answer.
    ToTheEnd(&'static str),
    Fence,
    Json,
    Action,
    Pythonic,
}

/// Whether a dress begins at some place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    No,
    /// What follows will tell.
    Perhaps,
    Yes(Dress),
}

/// Whether a dress begins where `text` begins.
pub(super) fn seen(text: &str, line_start: bool, tools: &[ToolSpec]) -> Seen {
    let pairs = PAIRS.iter().map(|&(opening, closing)| (opening, Dress::Pair(opening, closing)));
    let to_the_end = TO_THE_END.iter().map(|&opening| (opening, Dress::ToTheEnd(opening)));
    let mut perhaps = false;
    for (opening, dress) in pairs.chain(to_the_end) {
        if text.starts_with(opening) {
            return Seen::Yes(dress);
        }
        perhaps |= opening.starts_with(text);
    }
    let other = if line_start { at_line_start(text, tools) } else { Seen::No };
    if perhaps && other == Seen::No { Seen::Perhaps } else { other }
}

fn at_line_start(text: &str, tools: &[ToolSpec]) -> Seen {
    for opening in [ACTION, FENCE] {
        if opening.starts_with(text) {
            return Seen::Perhaps;
        }
    }
    if let Some(after) = text.strip_prefix(ACTION) {
        return action(after.trim_start_matches([' ', '\t']), tools);
    }
    if let Some(after) = text.strip_prefix(FENCE) {
        let language = after.find(|sign: char| !(sign.is_ascii_alphanumeric() || matches!(sign, '_' | '+' | '-')));
        return match language {
            None if after.len() > 20 => Seen::No,
            None => Seen::Perhaps,
            Some(end) => match after[end..].trim_start().chars().next() {
                None => Seen::Perhaps,
                Some('<') => Seen::Yes(Dress::Fence),
                Some(_) => match json(after[end..].trim_start(), tools) {
                    Seen::Yes(_) => Seen::Yes(Dress::Fence),
                    other => other,
                },
            },
        };
    }
    json(text, tools)
}

/// An object or a list of objects, as far as it can be seen. An answer may begin with the citation `[1]`.
fn json(text: &str, tools: &[ToolSpec]) -> Seen {
    let Some(first) = text.chars().next() else { return Seen::Perhaps };
    let rest = text[first.len_utf8()..].trim_start();
    let second = rest.chars().next();
    match (first, second) {
        ('{' | '[', None) => Seen::Perhaps,
        ('{', Some(sign)) if matches!(sign, '"' | '\'' | '_') || sign.is_ascii_alphabetic() => Seen::Yes(Dress::Json),
        ('[', Some('{')) => Seen::Yes(Dress::Json),
        ('[', Some(_)) => named(rest, "(", tools, Dress::Pythonic),
        _ => Seen::No,
    }
}

fn action(after: &str, tools: &[ToolSpec]) -> Seen {
    match after.chars().next() {
        None => Seen::Perhaps,
        Some('{' | '[' | '`') => Seen::Yes(Dress::Action),
        Some(_) => named(after, "", tools, Dress::Action),
    }
}

/// The name of an offered tool, and `then`.
fn named(text: &str, then: &str, tools: &[ToolSpec], dress: Dress) -> Seen {
    let mut seen = Seen::No;
    for name in tools.iter().flat_map(|tool| [tool.name.clone(), names::on_the_wire(&tool.name)]) {
        let whole = format!("{name}{then}");
        if text.starts_with(&whole) {
            return Seen::Yes(dress);
        }
        if whole.starts_with(text) {
            seen = Seen::Perhaps;
        }
    }
    seen
}

impl Dress {
    /// How many bytes of `held`, which begins with the dress, it takes; none while its end is not there.
    pub(super) fn length(self, held: &str) -> Option<usize> {
        match self {
            Self::Pair(opening, closing) => {
                let end = held[opening.len()..].find(closing)? + opening.len() + closing.len();
                Some(end)
            }
            Self::ToTheEnd(_) => None,
            Self::Fence => fence_end(held),
            Self::Json | Self::Pythonic => balanced(held),
            Self::Action => {
                let after = ACTION.len() + held[ACTION.len()..].find(|sign: char| !matches!(sign, ' ' | '\t'))?;
                if held[after..].starts_with(FENCE) {
                    return Some(after + fence_end(&held[after..])?);
                }
                if FENCE.starts_with(&held[after..]) {
                    return None;
                }
                let start = after + held[after..].find(['{', '['])?;
                Some(start + balanced(&held[start..])?)
            }
        }
    }

    /// Whether it is a call by its dress alone, so that the model meant one even if it cannot be read.
    pub(super) fn is_meant(self) -> bool {
        matches!(self, Self::Pair(..) | Self::ToTheEnd(_) | Self::Action)
    }

    /// How much of the text is passed on when it turns out to be none.
    pub(super) fn opening(self) -> usize {
        match self {
            Self::Pair(opening, _) | Self::ToTheEnd(opening) => opening.len(),
            Self::Action => ACTION.len(),
            Self::Fence => FENCE.len(),
            Self::Json | Self::Pythonic => 1,
        }
    }
}

fn fence_end(held: &str) -> Option<usize> {
    held[FENCE.len()..].find(FENCE).map(|end| end + 2 * FENCE.len())
}

/// Where the bracket closes that `text` begins with. Texts in single quotes count where the first key has them.
fn balanced(text: &str) -> Option<usize> {
    let single = text[1..].trim_start_matches(['{', '[', ' ', '\n', '\r', '\t']).starts_with('\'');
    let quote = if single { b'\'' } else { b'"' };
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_text {
            in_text = escaped || byte != quote;
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            byte if byte == quote => in_text = true,
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
