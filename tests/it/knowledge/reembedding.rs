//! Documents on their way from one embedding model to another, searched all the while, cut off wherever it hurts.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aegis::{
    audit::Actor,
    config::Config,
    jobs::{Attempt, Failure, Handler as _},
    knowledge::{
        Knowledge, Reader,
        embedding::{
            Embedding, Status,
            jobs::{Reembed, Reembedder, resume},
        },
    },
    models::{
        budget::{Budgets, Limit, Scope},
        embedding::{EmbeddingModel, EmbeddingModels},
        meter::Price,
    },
    support::{Error, Kind},
};

use super::moving::{Move, Words, add, finds, knowledge, sections, with, without_words};

#[tokio::test]
async fn documents_are_searched_by_the_old_vectors_until_all_have_new_ones() {
    let case = Move::new().await;
    case.ingest("a.md", sections(0..50)).await;
    case.ingest("b.md", sections(50..100)).await;
    without_words(&case.db).await;
    case.start().await;
    assert_eq!(case.log().await[0], ("reembedding.started".to_owned(), serde_json::json!({"from": "test/old"})));

    // In the middle of it somebody searches, and somebody adds a document.
    let (knowledge, db, new) = (case.knowledge.clone(), case.db.clone(), case.new.clone());
    case.new.before(3, async move {
        let state = knowledge.embedding().state(&db).await.unwrap();
        let change = state.unfinished().unwrap();
        assert_eq!((state.active.as_str(), change.status), ("test/old", Status::Running));
        assert_eq!((change.progress.done, change.progress.total), (64, 100));
        assert!(finds(&knowledge, &db, 7).await && finds(&knowledge, &db, 77).await);
        assert_eq!(new.questions.load(Ordering::SeqCst), 0, "questions are for the old one");
        let id = add(&knowledge, &db, "c.md", sections(100..110)).await;
        knowledge.ingest(&db, id).await.unwrap();
        without_words(&db).await;
        assert!(finds(&knowledge, &db, 105).await, "it is found at once");
    });
    case.work().await.unwrap();
    let state = case.embedding().state(&case.db).await.unwrap();
    assert_eq!((state.active.as_str(), state.unfinished()), ("test/new", None));
    assert_eq!(case.vectors().await, [("test/new".to_owned(), 110)], "the old ones are gone");
    assert_eq!(case.indexes().await, ["passage_vectors_480_idx"], "and their index, and those of nobody");
    assert_eq!((case.old.read(), case.new.read()), (110, 110), "the new document got both");
    for section in [0, 7, 77, 99, 105] {
        assert!(case.finds(section).await, "{section}");
    }
    assert!(case.new.questions.load(Ordering::SeqCst) >= 5, "questions are for the new one now");
    let actions: Vec<String> = case.log().await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, ["reembedding.started", "reembedding.finished"]);
    assert_eq!(state.chosen.as_deref(), Some("test/new"), "somebody has chosen it");
}

#[tokio::test]
async fn cut_off_anywhere_it_goes_on_and_nothing_is_lost_or_double() {
    let case = Move::new().await;
    case.ingest("a.md", sections(0..100)).await;
    without_words(&case.db).await;
    case.start().await;
    let (mut cuts, mut seen) = (0, std::collections::BTreeSet::new());
    // Each time it gets a little further, from before its first statement to after its last.
    for milliseconds in 0_u64.. {
        let done = tokio::time::timeout(Duration::from_millis(milliseconds * 2), case.work()).await;
        let state = case.embedding().state(&case.db).await.unwrap();
        let vectors = case.vectors().await;
        let of_active = vectors.iter().find(|(model, _)| *model == state.active).map(|(_, count)| *count);
        assert_eq!(of_active, Some(100), "cut off after {milliseconds}·2 ms: {vectors:?} {state:?}");
        assert!(case.finds(42).await, "cut off after {milliseconds}·2 ms");
        seen.insert((state.active.clone(), vectors.len()));
        match done {
            Ok(done) => {
                done.unwrap();
                break;
            }
            Err(_) => cuts += 1,
        }
    }
    println!("cut off {cuts} times; seen: {seen:?}; embedded {} texts for 100 passages", case.new.read());
    assert!(cuts > 3);
    case.work().await.unwrap();
    assert_eq!(case.vectors().await, [("test/new".to_owned(), 100)]);
    assert_eq!(case.indexes().await, ["passage_vectors_480_idx"]);
    // What is lost with a cut is the batch that was under way.
    assert!(case.new.read() <= 100 + cuts * 32, "{}", case.new.read());
    let finished = case.log().await.into_iter().filter(|(action, _)| action == "reembedding.finished").count();
    assert!(finished <= 1);
}

#[tokio::test]
async fn two_workers_make_it_once() {
    let case = Move::new().await;
    case.ingest("a.md", sections(0..80)).await;
    case.start().await;
    let (one, two) = tokio::join!(case.work(), case.work());
    one.unwrap();
    two.unwrap();
    // The first may have been overtaken in its last step.
    case.work().await.unwrap();
    assert_eq!(case.vectors().await, [("test/new".to_owned(), 80)]);
    assert_eq!(case.log().await.len(), 2, "started and finished once");
}

#[tokio::test]
async fn it_waits_for_a_model_server_that_is_away_says_so_and_goes_on() {
    let case = Move::new().await;
    case.ingest("a.md", sections(0..80)).await;
    without_words(&case.db).await;
    case.start().await;
    case.new.calls_left.store(1, Ordering::SeqCst);
    let Err(Failure::Retry(error)) = case.work().await else { panic!("it is tried again") };
    assert_eq!(error.kind(), Kind::Unavailable);
    let state = case.embedding().state(&case.db).await.unwrap();
    let change = state.unfinished().unwrap();
    assert_eq!((change.status, change.progress.done), (Status::Waiting, 32));
    assert!(change.reason.as_deref().is_some_and(|reason| reason.contains("new.example:1 does not answer")));
    assert!(case.finds(42).await, "documents are searched all the same");
    case.new.calls_left.store(usize::MAX, Ordering::SeqCst);
    case.work().await.unwrap();
    assert_eq!(case.new.read(), 80, "what was made before stays");
    assert_eq!(case.vectors().await, [("test/new".to_owned(), 80)]);
}

#[tokio::test]
async fn stopped_in_the_middle_the_old_model_stays_even_after_the_next_start() {
    let case = Move::new().await;
    case.ingest("a.md", sections(0..80)).await;
    case.start().await;
    let (knowledge, db) = (case.knowledge.clone(), case.db.clone());
    case.new.before(2, async move {
        knowledge.embedding().cancel(&db, Actor::Operator).await.unwrap();
    });
    case.work().await.unwrap();
    case.work().await.unwrap();
    assert_eq!(case.vectors().await, [("test/old".to_owned(), 80)], "what was made of the new ones is gone");
    assert_eq!(case.indexes().await, ["passage_vectors_320_idx"]);
    let state = case.embedding().state(&case.db).await.unwrap();
    assert_eq!((state.active.as_str(), state.change.unwrap().status), ("test/old", Status::Cancelled));
    let error = case.embedding().cancel(&case.db, Actor::Operator).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    // The configuration wants another model by now; but somebody has said that this one stays.
    let wanting = knowledge_wanting_new(&case);
    assert_eq!(resume(wanting.embedding(), &case.test.tenants()).await.unwrap(), 0);
    let actions: Vec<String> = case.log().await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, ["reembedding.started", "reembedding.cancelled"]);
}

fn knowledge_wanting_new(case: &Move) -> Knowledge {
    knowledge(&case.test, &[case.new.clone(), case.old.clone()])
}

#[tokio::test]
async fn a_start_with_another_configuration_moves_those_who_have_not_chosen() {
    let case = Move::new().await;
    case.ingest("a.md", sections(0..20)).await;
    let wanting = knowledge_wanting_new(&case);
    assert_eq!(resume(wanting.embedding(), &case.test.tenants()).await.unwrap(), 1);
    let state = wanting.embedding().state(&case.db).await.unwrap();
    assert_eq!((state.active.as_str(), state.chosen.as_deref()), ("test/old", None));
    assert_eq!(state.unfinished().map(|change| change.model.as_str()), Some("test/new"));
    // Back again before it is done: nothing but what was begun is lost.
    assert_eq!(resume(case.embedding(), &case.test.tenants()).await.unwrap(), 1);
    case.work().await.unwrap();
    assert_eq!(case.vectors().await, [("test/old".to_owned(), 20)]);
    assert_eq!(resume(case.embedding(), &case.test.tenants()).await.unwrap(), 0, "now all is well");
    // And on, to the end.
    assert_eq!(resume(wanting.embedding(), &case.test.tenants()).await.unwrap(), 1);
    assert_eq!(resume(wanting.embedding(), &case.test.tenants()).await.unwrap(), 1, "it is not finished");
    case.work().await.unwrap();
    assert_eq!(case.vectors().await, [("test/new".to_owned(), 20)]);
}

#[tokio::test]
async fn a_document_that_is_being_embedded_when_the_model_changes_ends_with_the_new_one() {
    let case = Move::new().await;
    case.ingest("a.md", sections(0..10)).await;
    let id = case.add("b.md", sections(10..60)).await;
    case.old.calls_left.store(1, Ordering::SeqCst);
    assert!(case.knowledge.ingest(&case.db, id).await.is_err(), "the old model goes away in the middle");
    case.start().await;
    case.work().await.unwrap();
    assert_eq!(case.vectors().await, [("test/new".to_owned(), 60)]);
    case.knowledge.ingest(&case.db, id).await.unwrap();
    let document = case.knowledge.open(&case.db, Reader::everything()).document(id).await.unwrap().unwrap();
    assert_eq!(document.progress, (50, 50));
    assert_eq!(case.new.read(), 60, "what the job has made is not made again");
    without_words(&case.db).await;
    assert!(case.finds(33).await);
}

#[tokio::test]
async fn a_switch_in_the_middle_of_a_document_takes_the_document_along() {
    let case = Arc::new(Move::new().await);
    case.ingest("a.md", sections(0..10)).await;
    let id = case.add("b.md", sections(10..60)).await;
    let calls = case.old.calls.load(Ordering::SeqCst);
    // After the second batch of the document, with the third under way.
    let inside = Arc::downgrade(&case);
    case.old.before(calls + 3, async move {
        let case = inside.upgrade().unwrap();
        // Two levels of tasks: what runs here must not be polled by the model's own caller alone.
        tokio::spawn(async move {
            case.start().await;
            case.work().await.unwrap();
        })
        .await
        .unwrap();
    });
    case.knowledge.ingest(&case.db, id).await.unwrap();
    assert_eq!(case.vectors().await, [("test/new".to_owned(), 60)], "no vector of the old model is left behind");
    without_words(&case.db).await;
    assert!(case.finds(12).await && case.finds(59).await);
}

#[tokio::test]
async fn the_same_text_is_embedded_once_and_forgotten_with_its_last_passage() {
    let case = Move::new().await;
    let first = case.ingest("a.md", sections(0..40)).await;
    assert_eq!(case.old.read(), 40);
    let changed = format!("{}# Section 40\n\nSomething new.\n\n", sections(0..40));
    let second = case.ingest("a.md", changed).await;
    assert_eq!(case.old.read(), 41, "a new version costs what is new in it");
    let old = case.knowledge.open(&case.db, Reader::everything()).document(first).await.unwrap().unwrap();
    assert_eq!(old.status, aegis::knowledge::Status::Superseded, "the old version is searched no more");
    without_words(&case.db).await;
    assert!(case.finds(39).await, "by a vector that was taken over");
    case.knowledge.open(&case.db, Reader::everything()).remove(second, Actor::Operator).await.unwrap();
    assert!(case.vectors().await.is_empty(), "nothing is kept of what is deleted");
    case.ingest("a.md", sections(0..3)).await;
    assert_eq!(case.old.read(), 44, "and so it is made again");
}

#[tokio::test]
async fn a_change_of_the_model_embeds_the_same_text_once() {
    let case = Move::new().await;
    case.ingest("2025/a.md", sections(0..40)).await;
    case.ingest("2026/a.md", format!("{}# Section 40\n\nSomething new.\n\n", sections(0..40))).await;
    case.start().await;
    case.work().await.unwrap();
    assert_eq!(case.vectors().await, [("test/new".to_owned(), 81)]);
    // Where both copies are in one batch the model reads both.
    assert!(case.new.read() < 41 + 32, "{}", case.new.read());
}

#[tokio::test]
async fn only_what_is_offered_can_be_chosen_and_only_one_change_goes_on() {
    let case = Move::new().await;
    case.ingest("a.md", sections(0..3)).await;
    let embedding = case.embedding();
    let error = embedding.choose(&case.db, Some("openai/dear"), Actor::Operator).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.remedy_text().is_some_and(|remedy| remedy.contains("test/old, test/new")), "{error:?}");
    embedding.choose(&case.db, Some("test/new"), Actor::Operator).await.unwrap();
    embedding.choose(&case.db, Some("test/new"), Actor::Operator).await.unwrap();
    let error = embedding.choose(&case.db, Some("test/old"), Actor::Operator).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "first it is stopped");
    case.work().await.unwrap();
    let state = embedding.choose(&case.db, Some("test/new"), Actor::Operator).await.unwrap();
    assert!(state.unfinished().is_none(), "it is the active one already");
    assert_eq!(case.log().await.len(), 2);
}

#[tokio::test]
async fn a_change_that_cannot_be_is_given_up_and_says_why() {
    let case = Move::new().await;
    case.ingest("a.md", sections(0..3)).await;
    case.start().await;
    let alone = knowledge(&case.test, std::slice::from_ref(&case.old));
    let worker = Reembedder::new(case.test.databases.clone(), alone.embedding().clone());
    worker.run(Reembed { tenant: case.db.tenant().clone() }, Attempt { number: 1, of: 5 }).await.unwrap();
    let change = case.embedding().state(&case.db).await.unwrap().change.unwrap();
    assert_eq!(change.status, Status::Failed);
    assert_eq!(change.reason.as_deref(), Some("there is no embedding model \"test/new\""));
    assert_eq!(case.log().await[1].1["outcome"], "failed");

    case.start().await;
    let reason = Error::unavailable("the server was away for a month");
    worker.given_up(Reembed { tenant: case.db.tenant().clone() }, &reason).await;
    let change = case.embedding().state(&case.db).await.unwrap().change.unwrap();
    assert_eq!((change.status, change.reason.as_deref()), (Status::Failed, Some("the server was away for a month")));
}

#[tokio::test]
async fn an_active_model_that_the_configuration_has_no_more_leaves_the_words() {
    let case = Move::new().await;
    case.ingest("a.md", sections(0..3)).await;
    let other = knowledge(&case.test, std::slice::from_ref(&case.new));
    assert!(finds(&other, &case.db, 2).await, "by its word");
    let state = other.embedding().state(&case.db).await.unwrap();
    assert!(state.problem.is_some_and(|problem| problem.contains("test/old is no longer in the configuration")));
}

#[tokio::test]
async fn what_a_model_costs_is_paid_from_the_organisations_budget() {
    let price = Price::PerMillion { input: 1.0, output: 0.0 };
    let case = Move::between(Words::new("old", 320), Words::dear("new", 480, price)).await;
    case.ingest("a.md", sections(0..40)).await;
    let settings = Config::load(None, Some(Path::new("/nowhere"))).unwrap().budgets;
    let budgets = Budgets::new(&settings, case.test.shared_clock());
    let models = vec![case.old.clone() as Arc<dyn EmbeddingModel>, case.new.clone()];
    let embedding = Embedding::new(EmbeddingModels::given(models).unwrap(), case.test.shared_clock());
    let paid = with(&case.test, embedding.with_budgets(budgets.clone()));
    let worker = Reembedder::new(case.test.databases.clone(), paid.embedding().clone()).with_grace(Duration::ZERO);
    let job = || Reembed { tenant: case.db.tenant().clone() };

    let nothing = Limit { tokens: Some(0), micros: None };
    budgets.set(&case.db, &Scope::Organisation, Some(nothing), Actor::Operator).await.unwrap();
    case.start().await;
    assert!(worker.run(job(), Attempt { number: 1, of: 5 }).await.is_err());
    let change = case.embedding().state(&case.db).await.unwrap().change.unwrap();
    assert_eq!((change.status, case.new.read()), (Status::Waiting, 0), "nothing is asked");
    assert!(change.reason.is_some_and(|reason| reason.contains("budget")), "and it says what it waits for");

    budgets.set(&case.db, &Scope::Organisation, None, Actor::Operator).await.unwrap();
    worker.run(job(), Attempt { number: 2, of: 5 }).await.unwrap();
    let usage = budgets.usage(&case.db, budgets.this_month()).await.unwrap();
    assert_eq!(usage.agents[0].name, "knowledge");
    assert_eq!(usage.agents[0].counted.prompt_tokens, 400, "as the provider counted them");
    assert_eq!(usage.total.micros, 400);
}
