//! Conversations: what was asked and answered, kept for the person and, within limits, for the model.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{citations::Citation, event::ToolCallSummary, lexical, markdown, marks};
use crate::{
    models::{
        chat::{Message, Speaker},
        meter::Cost,
    },
    support::{
        Error, Kind, Result,
        ids::{ConversationId, MessageId, RunId, UserId},
    },
};

/// The most characters of a question.
const QUESTION_CHARACTERS: usize = 8_000;
/// The most characters of a title.
const TITLE_CHARACTERS: usize = 60;

/// A conversation in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConversationSummary {
    /// The conversation.
    pub id: ConversationId,
    /// Its first question, shortened.
    pub title: String,
    /// The agent that it began with.
    pub agent: String,
    /// When the newest message was written.
    pub updated_at: DateTime<Utc>,
}

/// A conversation with its messages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conversation {
    /// The conversation.
    pub id: ConversationId,
    /// Whose it is; `None` for one from the command line.
    pub user: Option<UserId>,
    /// Its first question, shortened.
    pub title: String,
    /// The agent that it began with.
    pub agent: String,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When the newest message was written.
    pub updated_at: DateTime<Utc>,
    /// What was said, oldest first.
    pub messages: Vec<StoredMessage>,
}

/// Whose words a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The person's.
    User,
    /// The agent's.
    Agent,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// It is whole.
    Complete,
    /// It was stopped; the text is what there was until then.
    Stopped,
    /// It failed; the text is what there was until then.
    Failed,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredMessage {
    /// The message.
    pub id: MessageId,
    /// Whose words it has.
    pub author: Author,
    /// The agent that wrote it, or was asked.
    pub agent: Option<String>,
    /// What became of it.
    pub state: MessageState,
    /// Markdown with marks for an agent's, plain text for a person's.
    pub text: String,
    /// What the marks mean, by number.
    pub citations: Vec<Citation>,
    /// The calls of tools that led to it.
    pub tool_calls: Vec<ToolCallSummary>,
    /// The model that wrote it.
    pub model: Option<String>,
    /// Whether it consists of quotations because no model was usable.
    pub quoting: bool,
    /// Why it was stopped or failed, in a sentence.
    pub problem: Option<String>,
    /// The run that it belongs to.
    pub run: RunId,
    /// How long the run took; 0 for a question.
    pub duration_ms: u64,
    /// Tokens of all prompts of the run.
    pub prompt_tokens: u32,
    /// Tokens that the model wrote.
    pub completion_tokens: u32,
    /// What the calls of models cost; none for a question, and where nobody had counted yet.
    pub cost: Option<Cost>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
}

impl StoredMessage {
    /// The text as HTML that may stand in a page.
    pub fn html(&self) -> String {
        match self.author {
            Author::User => markdown::render_plain(&self.text),
            Author::Agent => markdown::render(&self.text, &self.citations),
        }
    }
}

/// A question as it is asked.
///
/// # Errors
/// `Invalid` without a question, `TooLarge` for a very long one.
pub(super) fn checked_question(question: &str) -> Result<String> {
    let question = question.replace('\0', "").trim().to_owned();
    if question.is_empty() {
        return Err(Error::invalid("there is no question"));
    }
    if question.chars().count() > QUESTION_CHARACTERS {
        let message = format!("the question is longer than {QUESTION_CHARACTERS} characters");
        return Err(Error::new(Kind::TooLarge, message).remedy("put the long part into a document and ask about it"));
    }
    Ok(question)
}

/// A title out of the first question.
pub(super) fn title(question: &str) -> String {
    let line = question.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((end, _)) = line.char_indices().nth(TITLE_CHARACTERS) else { return line };
    let cut = &line[..end];
    let cut = cut.rfind(' ').filter(|space| *space > end / 2).map_or(cut, |space| &cut[..space]);
    format!("{}…", cut.trim_end_matches([',', ';', ':', '.', ' ']))
}

/// The messages as a model reads them: questions with their answers, marks taken out, since their numbers mean other
/// passages now. A question that got no answer is left out, and so are quotations: the model did not say them.
pub(super) fn history(messages: &[StoredMessage]) -> Vec<Message> {
    let mut history = Vec::new();
    for pair in messages.windows(2) {
        let [question, answer] = pair else { continue };
        if question.author == Author::User
            && answer.author == Author::Agent
            && !answer.quoting
            && !answer.text.trim().is_empty()
        {
            history.push(Message::new(Speaker::User, question.text.clone()));
            history.push(Message::new(Speaker::Assistant, marks::without_marks(&answer.text)));
        }
    }
    history
}

/// The newest pairs of question and answer that have so many bytes together, or the newest alone.
pub(super) fn within(mut history: Vec<Message>, bytes: usize) -> Vec<Message> {
    let mut total = 0;
    let kept = history.rchunks(2).take_while(|pair| {
        total += pair.iter().map(|message| message.text.len()).sum::<usize>();
        total <= bytes
    });
    let kept = (kept.count() * 2).max(2).min(history.len());
    history.split_off(history.len() - kept)
}

/// What to search for when the search is made from the question alone, for a model that calls no tools; one that does
/// writes its own query, with the conversation before it.
///
/// A question that leans on the one before it ("and for part-timers?", "how long is it?") finds little by its own words, so
/// the previous question goes with it. It is taken to lean when it has few words that carry meaning, or contains a word
/// that points back. That is a guess from the outside of the words, and where it is wrong the search has some words more.
pub(super) fn search_query(question: &str, previous: Option<&str>) -> String {
    match previous {
        Some(previous) if leans_back(question) => format!("{previous} {question}"),
        _ => question.to_owned(),
    }
}

/// Words that point back, in the languages that documents are most often asked about in. What is an article too, as "das",
/// is left out.
const POINTING: &str = "it its that this these those they them their he him his she her there then former latter same \
    instead else dies diese dieser dieses diesem diesen dafür dazu davon damit dabei darüber dort deren dessen ihnen \
    cela ça celui celle ceux celles leur leurs eso esto ese esa esos esas ellos ellas allí questo questa quello quella \
    loro ciò deze dit hun daar ervan ervoor daarvan daarvoor isso isto esse essa eles elas";
/// Words with which somebody goes on.
const GOING_ON: &str =
    "and but or also und aber oder auch et mais ou aussi y pero también e ma anche en maar ook mas também";

fn leans_back(question: &str) -> bool {
    let is_one_of = |list: &str, word: &str| list.split_ascii_whitespace().any(|one| one == word);
    let words = question.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(str::to_lowercase).collect();
    lexical::content_words(question).len() < 3
        || words.iter().any(|word| is_one_of(POINTING, word))
        || words.first().is_some_and(|word| is_one_of(GOING_ON, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(author: Author, text: &str) -> StoredMessage {
        StoredMessage {
            id: MessageId::generate(),
            author,
            agent: None,
            state: MessageState::Complete,
            text: text.to_owned(),
            citations: Vec::new(),
            tool_calls: Vec::new(),
            model: None,
            quoting: false,
            problem: None,
            run: RunId::generate(),
            duration_ms: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            cost: None,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_title_is_the_first_question_cut_at_a_word() {
        assert_eq!(title("  How long\nis leave? "), "How long is leave?");
        let long = title("What does the travel policy say about trains, planes and cars that are hired abroad?");
        assert_eq!(long, "What does the travel policy say about trains, planes and…");
        assert_eq!(title(&"x".repeat(100)).chars().count(), TITLE_CHARACTERS + 1);
    }

    #[test]
    fn history_has_answered_questions_without_marks_and_quotations() {
        let mut quoted = message(Author::Agent, "> “x” [1]");
        quoted.quoting = true;
        let messages = [
            message(Author::User, "one"),
            message(Author::Agent, "Four weeks [1]."),
            message(Author::User, "never answered"),
            message(Author::User, "two"),
            quoted,
        ];
        let history: Vec<_> = history(&messages).into_iter().map(|message| message.text).collect();
        assert_eq!(history, ["one", "Four weeks."]);
    }

    #[test]
    fn of_a_long_conversation_the_newest_pairs_are_kept() {
        let said = |length: usize| Message::new(Speaker::User, "x".repeat(length));
        let history = vec![said(1), said(1), said(2), said(2), said(3), said(3)];
        let lengths = |bytes| within(history.clone(), bytes).iter().map(|m| m.text.len()).collect::<Vec<_>>();
        assert_eq!(lengths(100), [1, 1, 2, 2, 3, 3]);
        assert_eq!(lengths(10), [2, 2, 3, 3]);
        assert_eq!(lengths(1), [3, 3]);
        assert!(within(Vec::new(), 1).is_empty());
    }

    #[test]
    fn a_question_that_leans_back_takes_the_previous_one_along() {
        let previous = Some("How long is parental leave?");
        for leaning in [
            "And for part-time workers in the Berlin office?",
            "Is it paid?",
            "Who decides?",
            "Und für Teilzeitkräfte im Büro in Berlin?",
            "Wie viele Wochen werden dafür voll bezahlt?",
            "Et pour les stagiaires du bureau de Lyon ?",
            "¿Y para los becarios de la oficina de Madrid?",
        ] {
            assert_eq!(search_query(leaning, previous), format!("How long is parental leave? {leaning}"));
        }
        let own = "What does the travel policy say about hired cars?";
        let german = "Was sagt die Reiserichtlinie über Mietwagen?";
        assert_eq!([search_query(own, previous), search_query(german, previous)], [own, german]);
        assert_eq!(search_query("Is it paid?", None), "Is it paid?");
    }
}
