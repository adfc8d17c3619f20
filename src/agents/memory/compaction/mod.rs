//! Long conversations. When one takes more than its share of what its model reads, the older messages are condensed once an
//! answer is complete: first what matters is remembered, then a summary stands for them. The messages stay for people; when
//! it fails, the model is given the newest messages that fit, as before.

pub(super) mod store;

use std::time::Instant;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    FactKind, FactSource, Memory, NewFact, Origin, Outcome, Subject,
    fact::About,
    notes::Recollection,
    veil::{self, Veil},
};
use crate::{
    agents::{
        Agents, Author, MESSAGES, StoredMessage, fence,
        journal::store as runs,
        prompt::Mode,
        record::{Recorder, elapsed_ms},
        run::Job,
        schema, store as conversations,
    },
    audit::{Action, Actor},
    db::TenantDb,
    http::error::is_of_the_server,
    models::{
        chat::{ChatEvent, ChatRequest, Message, Speaker},
        router::Router,
        tokens,
    },
    support::{
        Error, Result,
        ids::{ConversationId, MemoryId, MessageId},
    },
};

/// The most characters of a summary.
const SUMMARY_CHARACTERS: usize = 2_400;
/// The most facts that are taken from a conversation at once.
const FACTS: usize = 8;
/// What stands round a summary in a prompt, in tokens.
const AROUND: usize = 120;
/// The most tokens of the answer: summary and facts.
const ANSWER_TOKENS: u32 = 1_400;

/// Where a conversation was condensed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    /// The last message that the summary stands for.
    pub until: MessageId,
    /// How many messages it stands for.
    pub messages: u32,
    /// What stands for them; nothing once something in it was forgotten.
    pub summary: Option<String>,
    /// What the summary costs in a prompt.
    pub tokens: u32,
    /// When it was made.
    pub made_at: DateTime<Utc>,
}

/// The cut in a conversation that a run begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::agents) struct Cut {
    conversation: ConversationId,
    pub(in crate::agents) until: MessageId,
    tokens: usize,
    /// Kept nowhere but in the table, where it can be forgotten.
    #[serde(skip)]
    summary: Option<String>,
}

impl Cut {
    /// What it costs in a prompt.
    pub(super) fn cost(&self) -> usize {
        if self.tokens == 0 { 0 } else { self.tokens + AROUND }
    }

    /// As a prompt tells it.
    pub(super) fn told(&self) -> String {
        let mark = veil::of_summary(self.conversation, self.until);
        let summary = self.summary.as_deref().unwrap_or(&mark);
        include_str!("../../prompts/condensed.md").trim().replace("{summary}", summary)
    }

    /// Keeps the summary out of the log.
    pub(super) fn hide(&self, veil: &Veil) {
        if let Some(summary) = &self.summary {
            veil.hide(summary, veil::of_summary(self.conversation, self.until));
        }
    }
}

/// The last cut in a conversation.
pub(in crate::agents) async fn last_cut(db: &TenantDb, conversation: ConversationId) -> Result<Option<Cut>> {
    let last = store::all(db, conversation).await?.pop();
    Ok(last.map(|Compaction { until, summary, tokens, .. }| Cut {
        conversation,
        until,
        // A summary that was forgotten is told in no way.
        tokens: if summary.is_some() { usize::try_from(tokens).unwrap_or(usize::MAX) } else { 0 },
        summary,
    }))
}

/// The same cut with its summary, for a run that goes on or is gone through again.
pub(in crate::agents) async fn read_again(db: &TenantDb, cut: Option<Cut>) -> Result<Option<Cut>> {
    let Some(cut) = cut else { return Ok(None) };
    let known = store::all(db, cut.conversation).await?.into_iter().find(|known| known.until == cut.until);
    Ok(Some(Cut { summary: known.and_then(|known| known.summary), ..cut }))
}

/// The messages that come after a cut.
pub(in crate::agents) fn after<'m>(messages: &'m [StoredMessage], cut: Option<&Cut>) -> &'m [StoredMessage] {
    let from = cut.map_or(0, |cut| messages.partition_point(|message| message.id <= cut.until));
    &messages[from..]
}

/// What a model makes of the older messages.
#[derive(Deserialize)]
struct Condensed {
    summary: String,
    facts: Vec<Learned>,
}

#[derive(Deserialize)]
struct Learned {
    about: About,
    #[serde(default)]
    kind: FactKind,
    text: String,
}

/// What is to be condensed, and for whom.
struct Work<'a> {
    memory: &'a Memory,
    job: &'a Job,
    conversation: ConversationId,
    cut: Option<Cut>,
    messages: &'a [StoredMessage],
}

impl Agents {
    /// Where a conversation was condensed, in order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn compactions(&self, db: &TenantDb, conversation: ConversationId) -> Result<Vec<Compaction>> {
        store::all(db, conversation).await
    }

    /// Condenses the conversation of a run that has just answered, if it has become too long.
    pub(in crate::agents) async fn condense(&self, job: &Job) {
        let Some(Recollection::Live(memory)) = &self.shared.memory else { return };
        let (Some(asks), None) = (job.asks, job.over) else { return };
        if self.is_closing() || !memory.begin_condensing(asks.conversation) {
            return;
        }
        if let Err(error) = self.condense_one(memory, job, asks.conversation).await {
            tracing::error!(conversation = %asks.conversation, error = ?error, "a long conversation could not be condensed");
        }
        memory.end_condensing(asks.conversation);
    }

    async fn condense_one(&self, memory: &Memory, job: &Job, id: ConversationId) -> Result<()> {
        let db = &job.recorder.db;
        let Some(known) = conversations::conversation(db, job.user, id, MESSAGES).await? else { return Ok(()) };
        let answer = known.messages.last().filter(|last| last.author == Author::Agent && !last.quoting);
        let Some(name) = answer.and_then(|answer| answer.model.clone()) else { return Ok(()) };
        let router = self.shared.router.route(job.profile.route.as_deref());
        let Some(model) = router.model(&name) else { return Ok(()) };
        let Ok(capabilities) = model.capabilities().await else { return Ok(()) };
        if Mode::of(capabilities) == Mode::Small {
            return Ok(());
        }
        let cut = last_cut(db, id).await?;
        let fresh = after(&known.messages, cut.as_ref());
        let Some(count) = older(fresh, capabilities.context_tokens as usize) else { return Ok(()) };
        let router = match &self.shared.budgets {
            Some(budgets) => router.metered(budgets.meter(db, &job.recorder.agent, job.recorder.run)),
            None => router,
        };
        let work = Work { memory, job, conversation: id, cut, messages: &fresh[..count] };
        let condensing = tokio::time::timeout(self.shared.limits.patience, work.condense(&router));
        let (started, recorder) = (Instant::now(), &job.recorder);
        let mut detail = match condensing.await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => json!({"outcome": "failed", "error": error.message(), "messages": count}),
            Err(_) => json!({"outcome": "failed", "error": "it took too long", "messages": count}),
        };
        detail["duration_ms"] = json!(elapsed_ms(started));
        // Under a veil of its own: what the run knew has nothing to do with it.
        let recorder = Recorder { veil: Veil::default(), ..recorder.clone() };
        recorder.note(Action::ConversationCompacted, Some(&id.to_string()), detail).await
    }
}

impl Work<'_> {
    async fn condense(&self, router: &Router) -> Result<Value> {
        let (db, run) = (&self.job.recorder.db, self.job.recorder.run);
        let request = self.request();
        let answering = router.chat(|_| request.clone()).await.map_err(|none| Error::unavailable(none.to_string()))?;
        let (model, mut stream, mut text, mut used) = (answering.model, answering.stream, String::new(), None);
        while let Some(event) = stream.next().await {
            match event.map_err(|error| Error::unavailable(error.to_string()))? {
                ChatEvent::Text(piece) => text.push_str(&piece),
                ChatEvent::Done(finish) => used = Some(finish),
                ChatEvent::Loading | ChatEvent::Thinking(_) | ChatEvent::ToolCall(_) => {}
            }
        }
        let Condensed { summary, facts } = understand(&text)?;
        let has_read = runs::read_before(db, self.conversation).await?;
        let remembered = self.remember(facts, &has_read).await?;
        let until = self.messages.last().map_or_else(MessageId::generate, |message| message.id);
        let before = self.cut.as_ref().filter(|cut| cut.summary.is_some());
        let earlier = store::all(db, self.conversation).await?.last().map_or(0, |last| last.messages);
        let compaction = Compaction {
            until,
            messages: earlier + u32::try_from(self.messages.len()).unwrap_or(u32::MAX),
            tokens: u32::try_from(tokens::estimate(&summary)).unwrap_or(u32::MAX),
            summary: Some(summary),
            made_at: self.job.recorder.clock.now(),
        };
        let before = before.map(|cut| cut.until);
        if !store::insert(db, self.conversation, &compaction, before, &remembered, (run, &model)).await? {
            return Err(Error::conflict("the conversation was deleted, or something of it forgotten, meanwhile"));
        }
        Ok(json!({
            "until": until, "messages": self.messages.len(), "facts": remembered, "model": model,
            "tokens_before": self.messages.iter().map(cost).sum::<usize>(), "tokens_after": compaction.tokens,
            "prompt_tokens": used.as_ref().map(|finish| finish.prompt_tokens),
            "completion_tokens": used.as_ref().map(|finish| finish.completion_tokens), "has_read": has_read,
        }))
    }

    fn request(&self) -> ChatRequest {
        let said = self.messages.iter().filter(|message| !message.text.trim().is_empty()).map(|message| {
            let who = if message.author == Author::User { "the person" } else { "the agent" };
            fence::words(who, &message.text)
        });
        let before = self.cut.as_ref().and_then(|cut| cut.summary.as_ref());
        let before = before.map(|summary| format!("<summary>\n{summary}\n</summary>"));
        let material: Vec<String> = before.into_iter().chain(said).collect();
        ChatRequest {
            messages: vec![
                Message::new(Speaker::System, include_str!("../../prompts/condense.md").trim()),
                Message::new(Speaker::User, material.join("\n")),
            ],
            tools: Vec::new(),
            max_tokens: Some(ANSWER_TOKENS),
            temperature: Some(0.0),
            schema: Some(answer_schema()),
        }
    }

    async fn remember(&self, facts: Vec<Learned>, has_read: &[String]) -> Result<Vec<MemoryId>> {
        let mut remembered = Vec::new();
        for Learned { about, kind, text } in facts.into_iter().take(FACTS) {
            let recorder = &self.job.recorder;
            let subject = match (about, self.job.user) {
                (About::Agent, _) => Subject::Agent(recorder.agent.clone()),
                (About::Person, Some(user)) => Subject::Person(user),
                (About::Person, None) => continue,
                (About::Organisation, _) => Subject::Organisation,
            };
            let origin = Origin {
                run: Some(recorder.run),
                call: None,
                conversation: Some(self.conversation),
                learned_from: self.job.user,
                has_read: has_read.to_vec(),
            };
            let by = Actor::Agent { name: recorder.agent.clone() };
            let new = NewFact { subject, text, kind, source: FactSource::Compaction, origin, by };
            match self.memory.remember(&recorder.db, new).await {
                Ok((fact, Outcome::Added | Outcome::Changed)) => remembered.push(fact.id),
                Ok((_, Outcome::Known)) => {}
                // What is too long, or finds no room, is not remembered; the summary has it.
                Err(error) if !is_of_the_server(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(remembered)
    }
}

/// How many of these messages are condensed, the oldest first: none as long as they take no more than three eighths of the
/// context. An eighth of it stays as it was said, the last question and answer in any case; and no more is condensed at once
/// than the model can read. It is cut after an answer.
fn older(messages: &[StoredMessage], context: usize) -> Option<usize> {
    if messages.iter().map(cost).sum::<usize>() <= context * 3 / 8 {
        return None;
    }
    let mut kept = 0;
    let newest = messages.iter().rev().take_while(|message| {
        kept += cost(message);
        kept <= context / 8
    });
    let newest = newest.count().max(2);
    let mut read = 0;
    let readable = messages.iter().take_while(|message| {
        read += cost(message);
        read <= context / 2
    });
    let most = readable.count().min(messages.len().saturating_sub(newest));
    (1..=most).rev().find(|count| messages[count - 1].author == Author::Agent)
}

fn cost(message: &StoredMessage) -> usize {
    tokens::estimate(&message.text) + 8
}

fn answer_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "summary": {"type": "string", "minLength": 1},
            "facts": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "about": {"type": "string", "enum": ["person", "agent", "organisation"]},
                        "kind": {"type": "string", "enum": ["fact", "preference", "decision", "task"]},
                        "text": {"type": "string"},
                    },
                    "required": ["about", "kind", "text"],
                },
            },
        },
        "required": ["summary", "facts"],
    })
}

/// The answer, whatever stands round its JSON.
fn understand(text: &str) -> Result<Condensed> {
    let unfit = |why: String| Error::unavailable(format!("the model's answer does not fit: {why}"));
    let json = text.find('{').zip(text.rfind('}')).filter(|(from, to)| from < to);
    let (from, to) = json.ok_or_else(|| unfit("there is no JSON in it".to_owned()))?;
    let value: Value = serde_json::from_str(&text[from..=to]).map_err(|error| unfit(error.to_string()))?;
    let value = schema::check(&answer_schema(), value).map_err(unfit)?;
    let mut condensed: Condensed = serde_json::from_value(value).map_err(|error| unfit(error.to_string()))?;
    let summary = fence::bare(&condensed.summary.replace('\0', ""));
    condensed.summary = summary.chars().take(SUMMARY_CHARACTERS).collect();
    if condensed.summary.is_empty() {
        return Err(unfit("the summary is empty".to_owned()));
    }
    Ok(condensed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agents::MessageState, support::ids::RunId};

    fn said(author: Author, words: usize) -> StoredMessage {
        StoredMessage {
            id: MessageId::generate(),
            author,
            agent: None,
            state: MessageState::Complete,
            text: "word ".repeat(words),
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
    fn a_conversation_is_condensed_beyond_its_share_and_is_cut_after_an_answer() {
        let talk = |pairs: usize| -> Vec<_> {
            (0..pairs).flat_map(|_| [said(Author::User, 50), said(Author::Agent, 100)]).collect()
        };
        assert_eq!(older(&talk(3), 8192), None);
        let long = talk(12);
        let count = older(&long, 8192).unwrap();
        assert!(count.is_multiple_of(2) && (12..24).contains(&count), "{count}");
        assert!(long[count..].iter().map(cost).sum::<usize>() <= 8192 / 8);
        let readable = older(&long, 4096).unwrap();
        assert!(long[..readable].iter().map(cost).sum::<usize>() <= 2048 && readable >= 2, "{readable}");
        assert_eq!(older(&[said(Author::User, 9000), said(Author::Agent, 9000)], 8192), None, "the last pair stays");
        assert_eq!(older(&[], 8192), None);
    }

    #[test]
    fn an_answer_is_understood_whatever_stands_round_it_and_refused_when_it_does_not_fit() {
        let text = "Here:\n```json\n{\"summary\": \"They spoke\\nof leave.\", \"facts\": [{\"about\": \"person\", \"kind\": \
                    \"fact\", \"text\": \"Ada works in Oslo.\"}]}\n```";
        let condensed = understand(text).unwrap();
        assert_eq!(condensed.summary, "They spoke of leave.");
        assert_eq!((condensed.facts.len(), condensed.facts[0].about), (1, About::Person));
        for unfit in ["", "Sorry.", "{\"summary\": \"\", \"facts\": []}", "{\"facts\": []}", "{\"summary\": 7}", "}{"] {
            assert!(understand(unfit).is_err(), "{unfit}");
        }
    }
}
