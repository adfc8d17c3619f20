//! What the chat page shows, made of conversations.

use chrono::{DateTime, Utc};

use crate::{
    agents::{
        Author, Citation, Conversation, ConversationSummary, MessageState, StoredMessage, ToolCallSummary,
        approvals::http::view::Card, memory::Compaction, soul::AgentInfo,
    },
    http::format,
    support::{ids::ConversationId, text::without_headings},
};

/// A conversation in the list at the left.
pub(super) struct Listed {
    /// The conversation.
    pub(super) id: ConversationId,
    /// Its first question, shortened.
    pub(super) title: String,
    /// When it was last written to.
    pub(super) when: String,
    /// Whether it is the one shown.
    pub(super) current: bool,
}

/// An agent as the chat shows it.
#[derive(Clone)]
pub(super) struct Colleague {
    /// How it is addressed.
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
    /// Its post.
    pub(super) title: String,
    /// Its mark in the sprite.
    pub(super) mark: &'static str,
    /// The class that gives its hue.
    pub(super) hue: String,
    /// Whether it is the one that is asked.
    pub(super) current: bool,
}

impl Colleague {
    fn of(info: &AgentInfo) -> Self {
        Self {
            id: info.id.clone(),
            name: info.name.clone(),
            title: info.title.clone(),
            mark: info.mark(),
            hue: info.hue_class(),
            current: false,
        }
    }

    /// One that is not among the staff any more.
    fn gone(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            title: String::new(),
            mark: "agent-other",
            hue: String::new(),
            current: false,
        }
    }
}

/// Who can be asked, and who is unless the person chooses: `preferred`, or the first.
pub(super) fn picker(enabled: &[AgentInfo], preferred: &str) -> (Vec<Colleague>, Colleague) {
    let chosen = enabled.iter().position(|info| info.id == preferred).unwrap_or(0);
    let mut agents: Vec<_> = enabled.iter().map(Colleague::of).collect();
    if let Some(agent) = agents.get_mut(chosen) {
        agent.current = true;
    }
    let agent = agents.get(chosen).cloned().unwrap_or_else(|| Colleague::gone(preferred));
    (agents, agent)
}

/// A question with its answer.
pub(super) struct Turn {
    /// The run's id, which names the turn within the page.
    pub(super) id: String,
    /// What was asked.
    pub(super) question: String,
    /// Who answers it.
    pub(super) agent: Colleague,
    /// What came of it; `None` while the run goes on.
    pub(super) answer: Option<AnswerView>,
    /// What it waits for.
    pub(super) cards: Vec<Card>,
    /// What stands for everything up to here, for models.
    pub(super) cut: Option<CutView>,
}

/// Where a conversation was condensed.
pub(super) struct CutView {
    /// How much of it, in words.
    pub(super) line: String,
    /// What stands for it; nothing once something in it was forgotten.
    pub(super) summary: Option<String>,
}

/// An answer as the page shows it.
pub(super) struct AnswerView {
    /// When it was written, for machines.
    pub(super) at: String,
    /// The same for people.
    pub(super) when: String,
    /// The tool calls in one line; empty for none.
    pub(super) steps_line: String,
    /// Each tool call in a line.
    pub(super) steps: Vec<String>,
    /// Whether it consists of quotations.
    pub(super) quoting: bool,
    /// Why it is not whole.
    pub(super) problem: Option<String>,
    /// Safe HTML.
    pub(super) html: String,
    /// What its marks mean.
    pub(super) citations: Vec<Citation>,
    /// Model, duration, tokens.
    pub(super) facts: Vec<String>,
}

/// A question that the empty page proposes.
pub(super) struct Example {
    /// The question.
    pub(super) text: String,
    /// The page with the question already written.
    pub(super) href: String,
}

pub(super) fn list(
    summaries: Vec<ConversationSummary>,
    current: Option<ConversationId>,
    now: DateTime<Utc>,
) -> Vec<Listed> {
    let listed = |summary: ConversationSummary| Listed {
        id: summary.id,
        title: summary.title,
        when: format::ago(now, summary.updated_at),
        current: Some(summary.id) == current,
    };
    summaries.into_iter().map(listed).collect()
}

/// The conversation in turns: each question with the answer of the same run.
pub(super) fn turns(conversation: &Conversation, staff: &[AgentInfo], now: DateTime<Utc>) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let who = |id: &str| staff.iter().find(|info| info.id == id).map_or_else(|| Colleague::gone(id), Colleague::of);
    let by = |message: &StoredMessage| who(message.agent.as_deref().unwrap_or(&conversation.agent));
    for message in &conversation.messages {
        match (message.author, turns.last_mut()) {
            (Author::User, _) => {
                let (id, agent, question) = (message.run.to_string(), by(message), message.text.clone());
                turns.push(Turn { id, question, agent, answer: None, cards: Vec::new(), cut: None });
            }
            (Author::Agent, Some(turn)) if turn.answer.is_none() => {
                turn.agent = by(message);
                turn.answer = Some(answer(message, now));
            }
            // The newest messages only are loaded: the question may lie before them.
            (Author::Agent, _) => turns.push(Turn {
                id: message.run.to_string(),
                question: "…".to_owned(),
                agent: by(message),
                answer: Some(answer(message, now)),
                cards: Vec::new(),
                cut: None,
            }),
        }
    }
    turns
}

/// Shows where the conversation was condensed, below the last turn that the summary stands for.
pub(super) fn cut(turns: &mut [Turn], conversation: &Conversation, compaction: Compaction) {
    let last = conversation.messages.iter().find(|message| message.id == compaction.until);
    let run = last.map(|message| message.run.to_string());
    if let Some(turn) = turns.iter_mut().find(|turn| Some(&turn.id) == run.as_ref()) {
        let messages = format::count(compaction.messages.into(), "message");
        turn.cut = Some(CutView { line: format!("condensed up to here · {messages}"), summary: compaction.summary });
    }
}

/// Questions that the documents with these titles invite.
pub(super) fn examples(titles: &[String]) -> Vec<Example> {
    const PATTERNS: [(&str, &str); 4] = [
        ("What are the main points of “", "”?"),
        ("What should a newcomer know from “", "”?"),
        ("Which dates and numbers matter in “", "”?"),
        ("What does “", "” ask people to do?"),
    ];
    let example = |((before, after), title): (&(&str, &str), &String)| {
        let text = format!("{before}{}{after}", without_extension(title));
        let href = format!("/chat?ask={}", query_value(&text));
        Example { text, href }
    };
    PATTERNS.iter().zip(titles).map(example).collect()
}

fn answer(message: &StoredMessage, now: DateTime<Utc>) -> AnswerView {
    let problem = match message.state {
        MessageState::Complete => None,
        MessageState::Stopped => Some(message.problem.clone().unwrap_or_else(|| "Stopped before its end.".to_owned())),
        MessageState::Failed => Some(message.problem.clone().unwrap_or_else(|| "The answer failed.".to_owned())),
    };
    AnswerView {
        at: format::machine(message.created_at),
        when: format::ago(now, message.created_at),
        steps_line: steps_line(&message.tool_calls),
        steps: message.tool_calls.iter().map(step).collect(),
        quoting: message.quoting,
        problem,
        html: message.html(),
        citations: message.citations.iter().map(in_panel).collect(),
        facts: facts(message),
    }
}

/// The panel shows the locator above the text, so headings need not be in it.
fn in_panel(citation: &Citation) -> Citation {
    Citation { text: without_headings(&citation.text).to_owned(), ..citation.clone() }
}

fn steps_line(calls: &[ToolCallSummary]) -> String {
    match calls {
        [] => String::new(),
        [call] => step(call),
        calls => {
            let total = calls.iter().map(|call| call.duration_ms).sum();
            let last = calls.last().map(|call| deed(&call.name)).unwrap_or_default();
            format!("{last} · {} steps · {}", calls.len(), format::duration(total))
        }
    }
}

fn step(call: &ToolCallSummary) -> String {
    format!("{} · {} · {}", deed(&call.name), call.summary, format::duration(call.duration_ms))
}

/// A tool's name as what was done with it.
fn deed(tool: &str) -> String {
    match tool {
        "knowledge.search" => "searched knowledge".to_owned(),
        "knowledge.read" => "read a document".to_owned(),
        "time.now" => "looked at the calendar".to_owned(),
        "calculator.evaluate" => "calculated".to_owned(),
        "http.fetch" => "read a web page".to_owned(),
        "memory.remember" => "made a note".to_owned(),
        "memory.recall" => "looked into the notes".to_owned(),
        "memory.forget" => "forgot a note".to_owned(),
        "delegate.ask" => "asked a colleague".to_owned(),
        other => other.replace(['.', '_'], " "),
    }
}

fn facts(message: &StoredMessage) -> Vec<String> {
    let mut facts = Vec::new();
    facts.extend(message.model.clone());
    if message.duration_ms > 0 {
        facts.push(format::duration(message.duration_ms));
    }
    if message.completion_tokens > 0 {
        facts.push(format!("{} + {} tokens", message.prompt_tokens, message.completion_tokens));
        facts.extend(message.cost.as_ref().map(ToString::to_string));
    }
    facts
}

fn without_extension(title: &str) -> &str {
    match title.rsplit_once('.') {
        Some((name, extension)) if !name.is_empty() && extension.len() <= 4 && !extension.contains(' ') => name,
        _ => title,
    }
}

/// Percent-encoded for the part of an address after `?`.
fn query_value(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_names_the_document_without_its_extension() {
        let examples = examples(&["Travel policy.docx".to_owned(), "v1.2 of the plan".to_owned()]);
        assert_eq!(examples[0].text, "What are the main points of “Travel policy”?");
        assert_eq!(examples[1].text, "What should a newcomer know from “v1.2 of the plan”?");
        assert!(examples[0].href.starts_with("/chat?ask=What%20are%20the"), "{}", examples[0].href);
    }

    #[test]
    fn several_steps_are_told_in_one_line() {
        let call =
            |name: &str, duration_ms| ToolCallSummary { name: name.into(), summary: "3 passages".into(), duration_ms };
        assert_eq!(steps_line(&[call("knowledge.search", 240)]), "searched knowledge · 3 passages · 240 ms");
        assert_eq!(
            steps_line(&[call("knowledge.search", 240), call("knowledge.read", 800)]),
            "read a document · 2 steps · 1.0 s"
        );
    }
}
