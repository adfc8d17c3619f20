//! Models that print what should have come apart: `<think>` blocks, and tool calls as text. This sorts a
//! stream of text into text, thoughts and calls. Small models and models without a proper template do this
//! everywhere; the built-in engine, which has only text, relies on it.
//!
//! What is found does not depend on where the pieces of the stream end, and what is no call is passed on as it came.

mod calls;
mod dress;
mod tolerant;

use super::chat::{ChatEvent, ToolSpec};
use calls::Reading;
use dress::{Dress, LONGEST, Seen};

const THOUGHTS: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];

/// Signs that a dress or a thought begins with.
const BEGINNINGS: [u8; 6] = [b'<', b'[', b'{', b'`', b'A', b'f'];

/// Sorts the text of one answer. Give it the pieces as they come and [`Sorter::finish`] at the end.
pub(super) struct Sorter {
    tools: Vec<ToolSpec>,
    state: State,
    /// Text that is not decided yet.
    held: String,
    /// Whether `held` begins a line.
    line_start: bool,
    calls: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but blanks so far, or since a thought or a call.
    Start,
    /// Ordinary text; a tag may follow.
    Text,
    /// Until this tag.
    InThought(&'static str),
    InCall(Dress),
    /// A call was meant that cannot be read: the rest of the answer stays with it.
    Broken,
}

impl Sorter {
    /// `tools` are those that were offered: only a call of one of them is a call.
    pub(super) fn new(tools: &[ToolSpec]) -> Self {
        Self { tools: tools.to_vec(), state: State::Start, held: String::new(), line_start: true, calls: 0 }
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
        let (mut events, broken) = self.end();
        text(broken.unwrap_or_default(), &mut events);
        events
    }

    /// As [`Sorter::finish`]; a call that was meant and cannot be read is given back apart, for the model to be asked again.
    pub(super) fn end(&mut self) -> (Vec<ChatEvent>, Option<String>) {
        let mut events = Vec::new();
        let mut held = std::mem::take(&mut self.held);
        match self.state {
            State::InThought(_) => thought(held, &mut events),
            State::Start | State::Text => text(held, &mut events),
            State::Broken => return (events, Some(held)),
            // A call whose end is missing because the model stopped there.
            State::InCall(dress) => match calls::read(&held, dress, &self.tools) {
                Reading::Calls(found) => self.found(found, &mut events),
                Reading::Broken => return (events, Some(held)),
                // There may be others in it.
                Reading::Text => {
                    self.held = held.split_off(dress.opening());
                    text(held, &mut events);
                    (self.state, self.line_start) = (State::Text, false);
                    while self.step(&mut events) {}
                    let (rest, broken) = self.end();
                    events.extend(rest);
                    return (events, broken);
                }
            },
        }
        (events, None)
    }

    /// How many calls were found.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// Decides as much as it can; true when there may be more to decide.
    fn step(&mut self, events: &mut Vec<ChatEvent>) -> bool {
        match self.state {
            State::Broken => false,
            State::Start => {
                self.held.drain(..self.held.len() - self.held.trim_start().len());
                if self.held.is_empty() {
                    return false;
                }
                (self.state, self.line_start) = (State::Text, true);
                true
            }
            State::Text => self.look_for_a_beginning(events),
            State::InThought(closing) => {
                let Some(end) = self.held.find(closing) else {
                    let keep = partial_tag(&self.held, closing);
                    thought(self.held.drain(..self.held.len() - keep).collect(), events);
                    return false;
                };
                thought(self.held[..end].to_owned(), events);
                self.held.drain(..end + closing.len());
                self.state = State::Start;
                true
            }
            State::InCall(dress) => self.look_for_the_end(dress, events),
        }
    }

    fn look_for_a_beginning(&mut self, events: &mut Vec<ChatEvent>) -> bool {
        let bytes = self.held.as_bytes();
        for at in (0..bytes.len()).filter(|&at| BEGINNINGS.contains(&bytes[at])) {
            let line_start = if at == 0 { self.line_start } else { bytes[at - 1] == b'\n' };
            let rest = &self.held[at..];
            if let Some((opening, closing)) = THOUGHTS.into_iter().find(|(opening, _)| rest.starts_with(opening)) {
                self.pass_on(at, events);
                self.held.drain(..opening.len());
                self.state = State::InThought(closing);
                return true;
            }
            let thought = THOUGHTS.iter().any(|(opening, _)| opening.starts_with(rest));
            let call = if self.tools.is_empty() { Seen::No } else { dress::seen(rest, line_start, &self.tools) };
            match call {
                Seen::No if !thought => {}
                Seen::No | Seen::Perhaps => {
                    self.pass_on(at, events);
                    return false;
                }
                Seen::Yes(dress) => {
                    self.pass_on(at, events);
                    self.state = State::InCall(dress);
                    return true;
                }
            }
        }
        self.pass_on(self.held.len(), events);
        false
    }

    fn look_for_the_end(&mut self, dress: Dress, events: &mut Vec<ChatEvent>) -> bool {
        let mut window = self.held.len().min(LONGEST);
        while !self.held.is_char_boundary(window) {
            window -= 1;
        }
        let Some(length) = dress.length(&self.held[..window]) else {
            if self.held.len() < LONGEST {
                return false;
            }
            self.pass_on(dress.opening(), events);
            self.state = State::Text;
            return true;
        };
        match calls::read(&self.held[..length], dress, &self.tools) {
            Reading::Calls(found) => {
                self.held.drain(..length);
                self.state = State::Start;
                self.found(found, events);
            }
            Reading::Broken => {
                self.state = State::Broken;
                return false;
            }
            Reading::Text => {
                // JSON and fences are answers of their own; within tags there may be others.
                let whole = !dress.is_meant();
                self.pass_on(if whole { length } else { dress.opening() }, events);
                self.state = State::Text;
            }
        }
        true
    }

    fn found(&mut self, found: Vec<super::chat::ToolCall>, events: &mut Vec<ChatEvent>) {
        self.calls += found.len();
        events.extend(found.into_iter().map(ChatEvent::ToolCall));
    }

    /// The first bytes of what is held are text.
    fn pass_on(&mut self, bytes: usize, events: &mut Vec<ChatEvent>) {
        if let Some(last) = self.held[..bytes].bytes().last() {
            self.line_start = last == b'\n';
        }
        text(self.held.drain(..bytes).collect(), events);
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
mod tests;
