//! Conversations: whose they are, what they keep, and what a follow-up question takes from them.

use aegis::{
    agents::{Ask, Author, RunEvent, Thread},
    support::{
        Kind,
        ids::{ConversationId, UserId},
    },
};

use super::{LEAVE, NOTICE, Office};
use crate::ollama_stand_in::Script;

async fn asked(office: &Office, question: &str, conversation: Option<ConversationId>) -> ConversationId {
    let events = office.events(Ask { thread: Thread::from(conversation), ..office.question(question) }).await;
    assert!(matches!(events.last(), Some(RunEvent::Finished(_))), "{events:?}");
    let RunEvent::Started { conversation: Some(conversation), .. } = events[0] else { panic!("{events:?}") };
    office.db.clock.advance(chrono::Duration::minutes(1));
    conversation
}

#[tokio::test]
async fn a_conversation_keeps_questions_and_answers_and_belongs_to_its_person() {
    let office = Office::with(&[LEAVE]).await;
    let conversation = asked(&office, "How long is\n\nparental *leave*?", None).await;
    let other = asked(&office, "Something else?", None).await;
    asked(&office, "In how many parts?", Some(conversation)).await;

    let list = office.agents.conversations(&office.tenant, office.user).await.unwrap();
    let titles: Vec<_> = list.iter().map(|summary| (summary.id, summary.title.as_str())).collect();
    assert_eq!(titles, [(conversation, "How long is parental *leave*?"), (other, "Something else?")], "newest first");

    let kept = office.agents.conversation(&office.tenant, office.user, conversation).await.unwrap().unwrap();
    let authors: Vec<_> = kept.messages.iter().map(|message| message.author).collect();
    assert_eq!(authors, [Author::User, Author::Agent, Author::User, Author::Agent]);
    assert_eq!(kept.messages[0].html(), "<p>How long is</p>\n<p>parental *leave*?</p>\n");
    assert!(kept.messages[1].html().contains("class=\"cite\""), "{}", kept.messages[1].html());
    assert_eq!(kept.messages[1].model.as_deref(), Some("ollama/llama3.2"));
    assert_eq!(kept.messages[0].run, kept.messages[1].run);

    let stranger = UserId::generate();
    assert!(office.agents.conversations(&office.tenant, stranger).await.unwrap().is_empty());
    assert_eq!(office.agents.conversation(&office.tenant, stranger, conversation).await.unwrap(), None);
    let ask = Ask { thread: Thread::Of(conversation), user: Some(stranger), ..office.question("Tell me more.") };
    assert_eq!(office.agents.ask(&office.tenant, ask).await.err().unwrap().kind(), Kind::NotFound);
    let ask = Ask { thread: Thread::Of(conversation), user: None, ..office.question("Tell me more.") };
    assert_eq!(office.agents.ask(&office.tenant, ask).await.err().unwrap().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_follow_up_takes_the_conversation_along_without_its_old_marks() {
    let office = Office::with(&[LEAVE]).await;
    let conversation = asked(&office, "How long is parental leave?", None).await;
    office.ollama.script([Script::say("In two.")]);
    asked(&office, "In how many parts?", Some(conversation)).await;
    let (prompt, _) = office.chat(2);
    assert!(
        prompt.contains("How long is parental leave?\n---\nParental leave is sixteen weeks.\n---\nIn how many parts?"),
        "{prompt}"
    );
}

#[tokio::test]
async fn a_follow_up_that_leans_back_is_searched_for_with_the_question_before_it() {
    let office = Office::with(&[LEAVE, NOTICE]).await;
    let refusal = || Script::refuse(400, "registry.ollama.ai/library/llama3.2:latest does not support tools");
    office.ollama.script([refusal(), Script::say("Sixteen weeks [1]."), refusal(), Script::say("Yes [1].")]);
    let conversation = asked(&office, "How long is parental leave?", None).await;
    asked(&office, "Is it paid?", Some(conversation)).await;
    assert_eq!(office.shelf.queries(), ["How long is parental leave?", "How long is parental leave? Is it paid?"]);
}

#[tokio::test]
async fn a_long_conversation_is_cut_from_its_beginning_and_the_log_says_so() {
    let office = Office::with(&[LEAVE]).await;
    let long = |number: usize| format!("Question {number}: {}", "and so on with more words ".repeat(250));
    let mut conversation = None;
    for number in 0..8 {
        office.ollama.script([Script::say("Yes.")]);
        conversation = Some(asked(&office, &long(number), conversation).await);
    }
    office.ollama.script([Script::say("Sixteen weeks.")]);
    let mut ask = office.question("How long is leave?");
    ask.thread = Thread::from(conversation);
    let events = office.events(ask).await;
    let RunEvent::Started { run, .. } = events[0] else { panic!("{events:?}") };
    let entries = office.audit(run).await;
    let dropped = entries[1].detail["history_dropped"].as_u64().unwrap();
    assert!((2..16).contains(&dropped), "{dropped}");
    let (prompt, _) = office.chat(8);
    assert!(prompt.contains("Question 7:") && !prompt.contains("Question 0:"));
}

#[tokio::test]
async fn questions_that_are_none_are_refused() {
    let office = Office::with(&[LEAVE]).await;
    let refused = |ask: Ask| async { office.agents.ask(&office.tenant, ask).await.err().unwrap().kind() };
    assert_eq!(refused(office.question(" \0 ")).await, Kind::Invalid);
    assert_eq!(refused(office.question(&"x".repeat(8001))).await, Kind::TooLarge);
    assert_eq!(refused(Ask { agent: "zeus".to_owned(), ..office.question("Hello?") }).await, Kind::NotFound);
    let unknown = Ask { thread: Thread::Of(ConversationId::generate()), ..office.question("Hello?") };
    assert_eq!(refused(unknown).await, Kind::NotFound);
    assert_eq!(office.agents.agents(&office.tenant).await.unwrap()[0].name, "Atlas");
}
