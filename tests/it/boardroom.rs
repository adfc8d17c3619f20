//! Meetings of agents: how they are held, stopped, interrupted and written down.

mod pages;
mod whole;

use std::{sync::Arc, time::Duration};

use aegis::{
    agents::{
        Agents,
        tool::{Retriever, Source, ToolContext},
    },
    audit,
    boardroom::{
        Boardroom, Call, Contributed, Meeting, MeetingEvent, Round, State,
        job::{HoldMeeting, Usher},
        markdown,
    },
    config,
    db::TenantDb,
    egress::Egress,
    jobs::{Jobs, Settings},
    models::{
        Router,
        ollama::{OllamaChat, Server},
    },
    support::{
        Kind, Result,
        ids::{DocumentId, MeetingId, PassageId, UserId},
    },
};
use async_trait::async_trait;
use futures::StreamExt as _;

use crate::{
    harness::TestDb,
    ollama_stand_in::{Model, Script, StandIn},
};

const QUESTION: &str = "Should parental leave be twenty weeks?";
/// Words by which the stand-in knows who is asked for what.
const POSITION: &str = "State your position";
const ANSWER: &str = "Answer them, in at most";
const OUTCOME: &str = "\
## Answer
Twenty weeks from next year [1].

## Agreement
- The law asks for sixteen [1]

## Dissent
- Orion: would stay at sixteen — the budget of this year is spent [2]

## Confidence
medium: nobody has asked the staff yet.

## Next actions
- Nova: ask the staff — by 1 June
- The owner: decide
";

struct Table {
    tenant: TenantDb,
    ollama: StandIn,
    agents: Agents,
    boardroom: Boardroom,
    jobs: Jobs,
    user: UserId,
    db: TestDb,
}

/// Two passages, whatever is asked.
struct Shelf([Source; 2]);

#[async_trait]
impl Retriever for Shelf {
    async fn retrieve(&self, _: &ToolContext, _: &str, _: usize) -> Result<Vec<Source>> {
        Ok(self.0.to_vec())
    }
}

impl Table {
    async fn set() -> Self {
        let db = TestDb::new().await;
        let (_, tenant) = db.tenant("acme").await;
        let ollama = StandIn::start().await;
        // Without tools: each is given the passages, and answers at once.
        let name = "llama3.2:latest".to_owned();
        ollama.model(Model {
            name,
            capabilities: vec!["completion"],
            parameters: 3_212_749_888,
            context_length: 131_072,
        });
        let config = config::Ollama {
            url: ollama.url(),
            model: "llama3.2".to_owned(),
            max_context: 16_384,
            load_timeout_seconds: 60,
            idle_timeout_seconds: 60,
            keep_alive_minutes: 30,
            parallel: 1,
        };
        let egress = Egress::allowing([("models.ollama.url", config.url.as_str())]).unwrap();
        let chat = OllamaChat::new(Server::new(&config, egress).unwrap(), &config);
        let router = Router::new(vec![Arc::new(chat)], db.shared_clock());
        let source = |title: &str, text: &str| Source {
            passage: PassageId::generate(),
            document: DocumentId::generate(),
            title: title.to_owned(),
            locator: "page 1".to_owned(),
            text: text.to_owned(),
            score: 1.0,
        };
        let shelf = Shelf([
            source("Law", "Parental leave is sixteen weeks."),
            source("Budget", "The budget for leave is spent."),
        ]);
        let agents = Agents::new(router, Arc::new(shelf), Vec::new(), Vec::new(), db.shared_clock());
        let quick = Settings {
            heartbeat: Duration::from_millis(500),
            missed_heartbeats: 4,
            poll: Duration::from_millis(20),
            backoff: Duration::from_millis(20),
        };
        let jobs = Jobs::new(&db.databases, quick);
        let boardroom = Boardroom::new(agents.clone(), jobs.queue::<HoldMeeting>(), db.shared_clock());
        jobs.work(2, Usher::new(db.databases.clone(), boardroom.clone()));
        Self { tenant, ollama, agents, boardroom, jobs, user: UserId::generate(), db }
    }

    fn says(&self, member: &str, part: &str, script: Script) {
        self.ollama.script_when(&[&format!("You, {member}, "), part], script);
    }

    fn calling(&self, agents: &[&str], chair: &str) -> Call {
        let agents = agents.iter().map(|agent| (*agent).to_owned()).collect();
        Call { question: QUESTION.to_owned(), agents, chair: chair.to_owned(), shared: false, user: Some(self.user) }
    }

    async fn call(&self, agents: &[&str]) -> MeetingId {
        self.boardroom.call(&self.tenant, self.calling(agents, agents[0])).await.unwrap()
    }

    async fn over(&self, id: MeetingId) -> Meeting {
        for _ in 0..600 {
            let meeting = self.boardroom.meeting(&self.tenant, Some(self.user), id).await.unwrap();
            if meeting.state != State::Running {
                return meeting;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the meeting does not end");
    }

    /// The actions that the log has of a meeting; the whole log must be sound.
    async fn actions(&self, id: MeetingId) -> Vec<String> {
        assert_eq!(audit::verify(&self.tenant).await.unwrap().broken, None);
        let entries: Vec<(String,)> =
            sqlx::query_as("SELECT action FROM audit_entries WHERE subject = $1 ORDER BY seq")
                .bind(id.to_string())
                .fetch_all(self.tenant.pool())
                .await
                .unwrap();
        entries.into_iter().map(|(action,)| action).collect()
    }

    async fn close(self) {
        self.jobs.shutdown(Duration::from_secs(10)).await;
        drop(self.db);
    }
}

fn said<'m>(meeting: &'m Meeting, round: Round, agent: &str) -> (Contributed, &'m str) {
    let contribution =
        meeting.contribution(round, agent).unwrap_or_else(|| panic!("{agent} in {round:?}: {meeting:#?}"));
    (contribution.state, contribution.text.as_str())
}

#[tokio::test]
async fn positions_and_answers_come_to_an_outcome_that_keeps_the_dissent() {
    let table = Table::set().await;
    for (member, position) in
        [("Nova", "Twenty [1]."), ("Atlas", "Twenty, too."), ("Orion", "Sixteen; there is no money [2].")]
    {
        table.says(member, POSITION, Script::say(position));
        table.says(member, ANSWER, Script::say(&format!("{member} has heard the others [1].")));
    }
    table.says("Atlas", "chair a meeting", Script::say(OUTCOME));
    let id = table.call(&["atlas", "nova", "orion"]).await;
    let meeting = table.over(id).await;
    assert_eq!((meeting.state, meeting.problem.as_deref()), (State::Finished, None));
    assert_eq!(said(&meeting, Round::Positions, "orion"), (Contributed::Complete, "Sixteen; there is no money [1]."));
    let runs: std::collections::HashSet<_> = meeting.contributions.iter().filter_map(|said| said.run).collect();
    assert_eq!((meeting.contributions.len(), runs.len()), (7, 7), "each in a run of its own");
    for run in runs {
        assert!(!audit::of_run(&table.tenant, run).await.unwrap().is_empty());
    }
    let [nova, owner] = &meeting.actions[..] else { panic!("{:?}", meeting.actions) };
    assert_eq!(
        (nova.agent.as_deref(), nova.what.as_str(), nova.due.as_str()),
        (Some("nova"), "ask the staff", "by 1 June")
    );
    assert_eq!((owner.agent.as_deref(), owner.owner.as_str()), (None, "The owner"));
    let again = table.boardroom.meeting(&table.tenant, Some(table.user), id).await.unwrap();
    assert_eq!(again.actions, meeting.actions, "their ids stay");
    insta::assert_snapshot!("a_meetings_record", markdown(&meeting));

    let texts = |part: &str| {
        let chats = table.ollama.chats().into_iter().map(|chat| chat["messages"].to_string());
        chats.filter(|chat| chat.contains(part)).collect::<Vec<_>>()
    };
    let answering = texts(ANSWER).into_iter().find(|chat| chat.contains("You, Nova, ")).unwrap();
    assert!(
        answering.contains(r#"<words of=\"Orion, position\">\nSixteen; there is no money (Budget, page 1)."#),
        "{answering}"
    );
    assert!(!answering.contains("Nova, position"), "nobody is told their own words as a colleague's");
    assert_eq!(
        table.actions(id).await,
        [&["meeting.started"][..], &["meeting.contributed"; 7], &["meeting.finished"]].concat()
    );
    table.close().await;
}

#[tokio::test]
async fn a_member_who_fails_is_noted_and_the_meeting_goes_on_and_so_it_does_without_its_chair() {
    let table = Table::set().await;
    table.says("Orion", POSITION, Script::say("I would rather").then_error("the model has crashed"));
    table.says("Atlas", "chair a meeting", Script::say("So we").then_error("the model has crashed"));
    table.says("Nova", "chair a meeting", Script::say(OUTCOME));
    let meeting = table.over(table.call(&["atlas", "nova", "orion"]).await).await;
    assert_eq!(meeting.state, State::Finished, "{meeting:#?}");
    assert_eq!(said(&meeting, Round::Positions, "orion"), (Contributed::Failed, "I would rather"));
    assert!(meeting.contribution(Round::Positions, "orion").unwrap().problem.as_deref().unwrap().contains("crashed"));
    assert!(meeting.contribution(Round::Answers, "orion").is_none());
    assert_eq!(
        meeting.problem.as_deref(),
        Some("Orion could not take part; Nova wrote the outcome, because Atlas could not")
    );
    table.close().await;
}

#[tokio::test]
async fn when_all_fail_there_is_no_outcome_and_each_says_why() {
    let table = Table::set().await;
    for member in ["Atlas", "Nova"] {
        table.says(member, POSITION, Script::say("I").then_error("the model has crashed"));
    }
    let id = table.call(&["atlas", "nova"]).await;
    let meeting = table.over(id).await;
    assert_eq!((meeting.state, meeting.contributions.len()), (State::Failed, 2));
    assert!(meeting.problem.unwrap().starts_with("no member could state a position"));
    assert_eq!(table.actions(id).await.last().unwrap(), "meeting.finished");
    table.close().await;
}

#[tokio::test]
async fn a_model_that_keeps_to_no_form_leaves_an_answer_and_nothing_made_up() {
    let table = Table::set().await;
    let meeting = table.over(table.call(&["atlas", "nova"]).await).await;
    assert_eq!(meeting.state, State::Finished);
    let outcome = meeting.synthesis.unwrap();
    assert!(!outcome.formed && outcome.answer.contains("sixteen weeks") && outcome.agreement.is_empty(), "{outcome:?}");
    assert!(meeting.problem.unwrap().contains("did not keep to the form"));
    assert!(meeting.actions.is_empty());
    table.close().await;
}

#[tokio::test]
async fn a_meeting_is_watched_from_any_moment_and_stops_with_what_there_is() {
    let table = Table::set().await;
    table.says("Atlas", POSITION, Script::say("Twenty weeks, because").then_hang());
    table.says("Nova", POSITION, Script::say("Sixteen."));
    let id = table.call(&["atlas", "nova"]).await;
    while table.boardroom.said(&table.tenant, id, Round::Positions, "atlas") != "Twenty weeks, because" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stranger = Some(UserId::generate());
    assert_eq!(table.boardroom.stop(&table.tenant, stranger, id).await.unwrap_err().kind(), Kind::NotFound);
    let watching = table.boardroom.watch(&table.tenant, Some(table.user), id).await.unwrap();
    table.boardroom.stop(&table.tenant, Some(table.user), id).await.unwrap();
    let events: Vec<_> = tokio::time::timeout(Duration::from_secs(10), watching.collect()).await.unwrap();
    let first = MeetingEvent::Said {
        round: Round::Positions,
        agent: "atlas".to_owned(),
        from: 0,
        text: "Twenty weeks, because".to_owned(),
    };
    assert!(events.contains(&first) && events.last() == Some(&MeetingEvent::Ended), "{events:?}");
    let meeting = table.over(id).await;
    assert_eq!(meeting.state, State::Stopped);
    assert_eq!(said(&meeting, Round::Positions, "atlas"), (Contributed::Stopped, "Twenty weeks, because"));
    assert_eq!(table.boardroom.stop(&table.tenant, Some(table.user), id).await.unwrap_err().kind(), Kind::Conflict);
    table.close().await;
}

#[tokio::test]
async fn a_meeting_of_an_organisation_out_of_service_waits_and_goes_on_where_it_was() {
    let table = Table::set().await;
    table.says("Atlas", POSITION, Script::say("Twenty weeks, because").then_hang());
    table.says("Nova", POSITION, Script::say("Sixteen."));
    let id = table.call(&["atlas", "nova"]).await;
    // Atlas is in the middle of it, and Nova has not begun or is done.
    loop {
        let meeting = table.boardroom.meeting(&table.tenant, Some(table.user), id).await.unwrap();
        let spoke = meeting.contribution(Round::Positions, "nova").is_some();
        let asked = table.ollama.chats().iter().any(|chat| chat["messages"].to_string().contains("You, Nova, "));
        if asked == spoke && !table.boardroom.said(&table.tenant, id, Round::Positions, "atlas").is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // As when it is suspended: the meeting first, then the runs.
    table.boardroom.suspend(table.tenant.tenant());
    table.agents.stop_all_of(table.tenant.tenant()).await;
    let meeting = table.over(id).await;
    assert_eq!(meeting.state, State::Finished, "{meeting:#?}");
    assert_eq!(said(&meeting, Round::Positions, "nova"), (Contributed::Complete, "Sixteen [1]."));
    assert_eq!(said(&meeting, Round::Positions, "atlas").0, Contributed::Complete, "it was asked again");
    table.close().await;
}

#[tokio::test]
async fn who_may_sit_in_a_meeting_and_who_may_read_it() {
    let table = Table::set().await;
    for (agents, chair, kind) in [
        (&["atlas"][..], "atlas", Kind::Invalid),
        (&["atlas", "Atlas "], "atlas", Kind::Invalid),
        (&["atlas", "nobody"], "atlas", Kind::NotFound),
        (&["atlas", "nova"], "orion", Kind::Invalid),
        (&["a", "b", "c", "d", "e", "f", "g", "h"], "a", Kind::Invalid),
    ] {
        let refused = table.boardroom.call(&table.tenant, table.calling(agents, chair)).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{agents:?}: {refused}");
    }
    for question in [String::new(), " \0 ".to_owned(), "x".repeat(4_001)] {
        let call = Call { question, ..table.calling(&["atlas", "nova"], "atlas") };
        assert!(table.boardroom.call(&table.tenant, call).await.is_err());
    }
    let id = table.call(&["atlas", "nova"]).await;
    table.over(id).await;
    let (mine, stranger) = (Some(table.user), Some(UserId::generate()));
    assert_eq!(table.boardroom.meeting(&table.tenant, stranger, id).await.unwrap_err().kind(), Kind::NotFound);
    assert!(table.boardroom.share(&table.tenant, stranger, id, true).await.is_err());
    table.boardroom.share(&table.tenant, mine, id, true).await.unwrap();
    assert_eq!(table.boardroom.meeting(&table.tenant, stranger, id).await.unwrap().id, id);
    assert!(!table.boardroom.meetings(&table.tenant, stranger).await.unwrap()[0].own);
    assert!(table.boardroom.delete(&table.tenant, stranger, id).await.is_err());
    table.boardroom.delete(&table.tenant, mine, id).await.unwrap();
    assert!(table.boardroom.meetings(&table.tenant, mine).await.unwrap().is_empty());
    assert_eq!(table.actions(id).await.last().unwrap(), "meeting.deleted");
    table.close().await;
}
