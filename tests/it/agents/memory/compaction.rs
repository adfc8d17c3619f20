//! Long conversations: what is remembered of them, what stands for them, and what becomes of that when something is forgotten
//! or deleted.

use std::time::Duration;

use aegis::{
    agents::{
        RunEvent,
        memory::{FactSource, Memory},
        replay::{Answers, Recording},
    },
    audit::{self, Actor, Entry},
    support::{Kind, ids::ConversationId},
};
use serde_json::json;

use super::{LEAVE, Office, Script, comparable};

const SUMMARY: &str = "They planned the move to Oslo; the budget is 40,000 and the van is still to be booked.";
const FACT: &str = "Ada moves to Oslo in March.";

fn long(number: usize) -> String {
    format!("Question {number}: {}", "and so on with more words ".repeat(250))
}

fn condensed() -> Script {
    let facts = json!([
        {"about": "person", "kind": "fact", "text": FACT},
        {"about": "organisation", "kind": "decision", "text": "The Oslo office opens in April."},
    ]);
    Script::say(&json!({"summary": SUMMARY, "facts": facts}).to_string())
}

impl Office {
    /// Talks until the conversation takes more than its share, which is so after three questions, and is condensed, which
    /// `script` does.
    async fn talks_long(&self, script: Script) -> ConversationId {
        self.ollama.script_when(&["You condense the older part"], script);
        let before = self.condensings().await.len();
        let mut conversation = None;
        for number in 0..3 {
            self.ollama.script_when(&[&format!("Question {number}:")], Script::say("Yes, as planned."));
            conversation = Some(self.says(&long(number), conversation).await.0);
            self.db.clock.advance(chrono::Duration::minutes(1));
        }
        assert_eq!(self.condensed(before + 1).await.len(), before + 1);
        conversation.unwrap()
    }

    /// The log's entries of condensing, the newest first.
    async fn condensings(&self) -> Vec<Entry> {
        let filter = audit::Filter { action: Some("conversation.compacted".to_owned()), ..audit::Filter::default() };
        audit::find(&self.tenant, &filter, None, 50).await.unwrap().entries
    }

    /// The same, as soon as there are so many.
    async fn condensed(&self, times: usize) -> Vec<Entry> {
        for _ in 0..600 {
            let entries = self.condensings().await;
            if entries.len() >= times {
                return entries;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the conversation was not condensed");
    }
}

async fn facts_of(office: &Office, memory: &Memory) -> Vec<String> {
    let mut facts: Vec<_> =
        memory.list(&office.tenant, office.viewer(), "").await.unwrap().into_iter().map(|fact| fact.text).collect();
    facts.sort();
    facts
}

#[tokio::test]
async fn a_long_conversation_is_remembered_and_condensed_and_goes_on_with_the_summary() {
    let (office, memory) = Office::who_remember(&[LEAVE]).await;
    let conversation = office.talks_long(condensed()).await;
    let entries = office.condensings().await;
    assert_eq!(entries.len(), 1);
    let detail = &entries[0].detail;
    assert_eq!(detail["model"], "ollama/llama3.2", "{detail}");
    assert_eq!(detail["facts"].as_array().map(Vec::len), Some(2), "{detail}");
    assert!(detail["tokens_before"].as_u64() > detail["tokens_after"].as_u64());
    assert_eq!(facts_of(&office, &memory).await, [FACT, "The Oslo office opens in April."]);
    let facts = memory.list(&office.tenant, office.viewer(), "").await.unwrap();
    assert!(facts.iter().all(|f| f.source == FactSource::Compaction && f.conversation == Some(conversation)));

    let kept = office.agents.conversation(&office.tenant, office.user, conversation).await.unwrap().unwrap();
    let cuts = office.agents.compactions(&office.tenant, conversation).await.unwrap();
    assert_eq!(cuts.len(), 1);
    assert_eq!(cuts[0].summary.as_deref(), Some(SUMMARY));
    let cut = kept.messages.iter().position(|message| message.id == cuts[0].until).unwrap() + 1;
    assert!(cut.is_multiple_of(2) && cut < kept.messages.len(), "{cut}: the newest stay, and all are kept");
    assert_eq!(cuts[0].messages as usize, cut);

    office.ollama.script([Script::say("The van.")]);
    let asked = office.ollama.chats().len();
    let (_, run, last) = office.says("What is still open?", Some(conversation)).await;
    assert!(matches!(last, Some(RunEvent::Finished(_))), "{last:?}");
    let prompt = office.chat(asked).0;
    assert!(prompt.contains(&format!("<summary>\n{SUMMARY}\n</summary>")), "{prompt}");
    assert!(!prompt.contains("Question 0:") && prompt.contains(&format!("Question {}:", kept.messages.len() / 2 - 1)));
    assert!(prompt.contains(FACT), "it is reminded, too");

    // The log has neither the summary nor the facts, and a replay comes to the same.
    let entries = office.audit(run).await;
    assert_eq!(office.places_of("the van is still to be booked").await, ["compactions"]);
    assert_eq!(office.places_of(FACT).await, ["memories"]);
    let recording = Recording::read(&entries).unwrap();
    let again = office.agents.replay(&office.tenant, &recording, Answers::Recorded).await.unwrap();
    assert_eq!(comparable(&again.steps), comparable(&recording.steps));

    // One of the facts is forgotten: the summary goes, the cut stays, and a replay is still the same.
    let fact = facts.iter().find(|fact| fact.text == FACT).unwrap();
    memory.forget(&office.tenant, office.viewer(), fact.id).await.unwrap();
    assert_eq!(office.places_of(FACT).await, Vec::<String>::new());
    assert_eq!(office.places_of("the van is still to be booked").await, Vec::<String>::new());
    let cuts = office.agents.compactions(&office.tenant, conversation).await.unwrap();
    assert_eq!((cuts.len(), &cuts[0].summary), (1, &None));
    let again = office.agents.replay(&office.tenant, &recording, Answers::Recorded).await.unwrap();
    assert_eq!(comparable(&again.steps), comparable(&recording.steps));
    office.ollama.script([Script::say("I do not know.")]);
    let asked = office.ollama.chats().len();
    office.says("And what else?", Some(conversation)).await;
    let prompt = office.chat(asked).0;
    assert!(!prompt.contains("<summary>") && !prompt.contains("Question 0:"), "what was forgotten does not come back");
}

#[tokio::test]
async fn when_a_model_cannot_condense_the_conversation_goes_on_as_before_and_the_log_says_why() {
    let (office, memory) = Office::who_remember(&[LEAVE]).await;
    let conversation = office.talks_long(Script::say("I would rather not.")).await;
    let entries = office.condensings().await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].detail["outcome"], "failed");
    assert!(entries[0].detail["error"].as_str().unwrap().contains("no JSON"), "{}", entries[0].detail);
    assert!(office.agents.compactions(&office.tenant, conversation).await.unwrap().is_empty());
    assert_eq!(facts_of(&office, &memory).await, Vec::<String>::new());
    office.ollama.script_when(&["You condense the older part"], condensed());
    office.ollama.script_when(&["Still there?"], Script::say("Yes."));
    office.says("Still there?", Some(conversation)).await;
    assert_eq!(office.condensed(2).await.len(), 2, "the next answer tries again");
    assert_eq!(office.agents.compactions(&office.tenant, conversation).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_conversation_that_is_deleted_and_a_person_who_leaves_take_along_what_came_from_them() {
    let (office, memory) = Office::who_remember(&[LEAVE]).await;
    let conversation = office.talks_long(condensed()).await;
    let db = &office.tenant;
    let stranger = aegis::support::ids::UserId::generate();
    let refused = office.agents.delete_conversation(db, stranger, conversation).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound);
    office.agents.delete_conversation(db, office.user, conversation).await.unwrap();
    assert_eq!(office.agents.conversation(db, office.user, conversation).await.unwrap(), None);
    assert_eq!(facts_of(&office, &memory).await, Vec::<String>::new());
    for text in [FACT, "the van is still to be booked", "The Oslo office opens"] {
        assert_eq!(office.places_of(text).await, Vec::<String>::new(), "{text}");
    }
    let filter = audit::Filter { action: Some("conversation.deleted".to_owned()), ..audit::Filter::default() };
    let deleted = audit::find(db, &filter, None, 5).await.unwrap().entries;
    assert_eq!(deleted[0].detail["memories"], 2);

    let conversation = office.talks_long(condensed()).await;
    assert_eq!(facts_of(&office, &memory).await.len(), 2);
    assert_eq!(memory.forget_person(db, office.user, Actor::System).await.unwrap(), 2);
    assert_eq!(facts_of(&office, &memory).await, Vec::<String>::new());
    assert_eq!(office.agents.compactions(db, conversation).await.unwrap()[0].summary, None);
    assert_eq!(office.places_of("the van is still to be booked").await, Vec::<String>::new());
}
