//! Routes: which chain is gone along, what is tried again, what a budget has to say, and who answered and why.

use std::{sync::Arc, time::Duration};

use aegis::{
    config::Config,
    egress::Egress,
    models::{
        Router,
        chat::{ChatEvent, ChatModel, FinishReason, ModelError},
        meter::{Price, Usage},
        router::{Part, Retry, Route, Target},
        router_with_engine,
    },
};

use super::{
    Stopped, all, ask,
    scripted::{Answer, Book, End, Scripted},
    text_of,
};
use crate::ollama_stand_in::{Script, StandIn};

fn target(model: &Arc<Scripted>) -> Arc<Target> {
    Arc::new(Target::of(model.clone()))
}

/// One route with retries whose pauses are too short to wait for.
fn route(name: &str, chain: &[&Arc<Target>]) -> Route {
    let mut route = Route::new(name, chain.iter().map(|target| (*target).clone()).collect());
    route.retry = Retry { times: 2, first: Duration::from_millis(1), longest: Duration::from_millis(5) };
    route
}

fn overflow() -> ModelError {
    ModelError::ContextOverflow { tokens: 9000, limit: 8192 }
}

fn broken() -> ModelError {
    ModelError::Server { message: "boom".to_owned() }
}

#[tokio::test]
async fn a_route_is_chosen_by_its_name_and_one_that_is_unknown_is_the_default() {
    let (usual, quick) = (Scripted::new("usual", []), Scripted::new("quick", []));
    let chains = vec![route("default", &[&target(&usual)]), route("quick", &[&target(&quick)])];
    let router = Router::with_routes(chains, Stopped::new().shared());
    for (asked_for, expected) in [(None, "usual"), (Some("quick"), "quick"), (Some("nosuch"), "usual")] {
        let answering = router.route(asked_for).chat(|_| ask("Hello?")).await.unwrap();
        assert_eq!(answering.model, expected);
        let named = if expected == "quick" { "quick" } else { "default" };
        assert_eq!((answering.why.route.as_str(), answering.why.position), (named, 1));
        assert_eq!(text_of(&all(answering.stream).await.0), expected);
    }
}

#[tokio::test]
async fn the_configuration_makes_routes_whose_targets_are_shared() {
    let (first, second) = (StandIn::start().await, StandIn::start().await);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("aegis.toml");
    let text = format!(
        "[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = \"{}\"\n\
         [models.routes.other]\nchain = [\"second/llama3.2\", \"ollama/llama3.2\"]\ncontext = [\"ollama\"]\nretries = 0\n\
         [providers.second]\nkind = \"ollama\"\nurl = \"{}\"\n",
        first.url(),
        second.url()
    );
    std::fs::write(&file, text).unwrap();
    let config = Config::load_from(Some(&file), [], Some(directory.path())).unwrap();
    let egress = Egress::new(&config).unwrap();
    let router = router_with_engine(&config, &egress, Stopped::new().shared(), "/nonexistent".as_ref()).unwrap();
    assert_eq!(router.routes().map(|route| route.name.as_str()).collect::<Vec<_>>(), ["default", "other"]);
    assert_eq!(router.status().await.len(), 2, "ollama and ollama/llama3.2 are one target");

    second.script([Script::say("From the second.")]);
    let other = router.route(Some("other"));
    assert_eq!(other.chat(|_| ask("Hello?")).await.unwrap().model, "second/llama3.2");
    second.script([Script::refuse(500, "boom")]);
    let answering = other.chat(|_| ask("Hello?")).await.unwrap();
    assert_eq!(
        (answering.model.as_str(), answering.why.to_string().as_str()),
        ("ollama/llama3.2", "number 2 of route other")
    );
    assert_eq!(router.chat(|_| ask("Hello?")).await.unwrap().model, "ollama/llama3.2");
}

#[tokio::test]
async fn the_same_target_is_asked_again_before_the_next_and_what_it_thought_before_is_void() {
    let first = Scripted::new(
        "first",
        [Answer::default().think("lost").fail(broken()), Answer::default().think("kept").text("Here.").done()],
    );
    let second = Scripted::new("second", []);
    let router =
        Router::with_routes(vec![route("default", &[&target(&first), &target(&second)])], Stopped::new().shared());
    let answering = router.chat(|_| ask("Hello?")).await.unwrap();
    assert_eq!((answering.model.as_str(), answering.attempts.len(), second.asked()), ("first", 1, 0));
    let (events, error) = all(answering.stream).await;
    assert!(error.is_none());
    assert_eq!(events[0], ChatEvent::Thinking("kept".to_owned()), "{events:?}");
    assert_eq!(text_of(&events), "Here.");
}

#[tokio::test]
async fn a_wait_that_is_too_long_moves_on_at_once_and_a_short_one_is_waited_for() {
    let limited = |milliseconds| ModelError::RateLimited { retry_after: Some(Duration::from_millis(milliseconds)) };
    let first = Scripted::new("first", [Answer::refuse(limited(4)), Answer::say("Waited.")]);
    let second = Scripted::new("second", []);
    let clock = Stopped::new();
    let router = Router::with_routes(vec![route("default", &[&target(&first), &target(&second)])], clock.shared());
    let answering = router.chat(|_| ask("Hello?")).await.unwrap();
    assert_eq!((answering.model.as_str(), answering.attempts.len()), ("first", 1));

    first.then(Answer::refuse(limited(40_000)));
    let answering = router.chat(|_| ask("Hello?")).await.unwrap();
    assert_eq!((answering.model.as_str(), answering.why.position, first.asked()), ("second", 2, 3));
    // And it is left alone for as long as it asked for.
    clock.advance(39);
    let answering = router.chat(|_| ask("Hello?")).await.unwrap();
    assert!(answering.attempts[0].error.contains("asked again in 1 s"), "{:?}", answering.attempts);
    clock.advance(2);
    assert_eq!(router.chat(|_| ask("Hello?")).await.unwrap().model, "first");
}

#[tokio::test]
async fn long_prompts_and_refused_content_have_chains_of_their_own() {
    let [first, second, long, lenient] = ["first", "second", "long", "lenient"].map(|name| Scripted::new(name, []));
    let mut only = route("default", &[&target(&first), &target(&second)]);
    only.context = vec![target(&long)];
    only.refusal = vec![target(&lenient)];
    let router = Router::with_routes(vec![only], Stopped::new().shared());

    first.then(Answer::refuse(overflow()));
    let answering = router.chat(|_| ask("Hello?")).await.unwrap();
    assert_eq!((answering.model.as_str(), answering.why.part), ("long", Part::Context));

    // In the middle of the way there, the content is refused; the provider says so in its last word only.
    first.then(Answer::refuse(overflow()));
    long.then(Answer::default().think("No.").done_because(FinishReason::Refused));
    let answering = router.chat(|_| ask("Hello?")).await.unwrap();
    assert_eq!((answering.model.as_str(), answering.why.part), ("lenient", Part::Refusal));

    // When those lists are exhausted, the rest of the ordinary one is still there, and nobody is asked twice.
    first.then(Answer::refuse(overflow()));
    long.then(Answer::refuse(overflow()));
    let answering = router.chat(|_| ask("Hello?")).await.unwrap();
    assert_eq!((answering.model.as_str(), answering.why.part, answering.why.position), ("second", Part::Chain, 2));
    assert_eq!((first.asked(), long.asked()), (3, 3));
}

#[tokio::test]
async fn a_target_that_failed_for_one_route_is_left_alone_by_the_other_and_then_tried_by_one_question_only() {
    let (shared, spare) = (Scripted::new("shared", []), Scripted::new("spare", []));
    let (shared_target, spare_target) = (target(&shared), target(&spare));
    let chains = vec![route("default", &[&shared_target]), route("other", &[&shared_target, &spare_target])];
    let clock = Stopped::new();
    let router = Router::with_routes(chains, clock.shared());
    shared.then(Answer::refuse(ModelError::NotRunning { address: "http://127.0.0.1:9".to_owned() }));
    router.chat(|_| ask("Hello?")).await.err().unwrap();
    let other = router.route(Some("other"));
    assert_eq!(other.chat(|_| ask("Hello?")).await.unwrap().model, "spare");
    assert_eq!(shared.asked(), 1);

    clock.advance(16);
    let (one, two) = tokio::join!(other.chat(|_| ask("Hello?")), other.chat(|_| ask("Hello?")));
    let mut models = [one.unwrap().model, two.unwrap().model];
    models.sort_unstable();
    assert_eq!((models, shared.asked()), (["shared".to_owned(), "spare".to_owned()], 2));
    assert_eq!(other.chat(|_| ask("Hello?")).await.unwrap().model, "shared", "it is well again");
}

#[tokio::test]
async fn a_question_that_is_given_up_while_it_tries_a_target_leaves_the_way_free_for_the_next() {
    let lone = Scripted::new("lone", [Answer::refuse(ModelError::Unauthorized)]);
    let clock = Stopped::new();
    let router = Router::with_routes(vec![route("default", &[&target(&lone)])], clock.shared());
    router.chat(|_| ask("Hello?")).await.err().unwrap();
    clock.advance(61);
    // The first turn of the future asks the model; then the person goes away.
    assert!(futures::FutureExt::now_or_never(router.chat(|_| ask("Hello?"))).is_none());
    assert_eq!(router.chat(|_| ask("Hello?")).await.unwrap().model, "lone");
}

#[tokio::test]
async fn the_meter_is_asked_before_each_call_and_told_what_it_came_to() {
    let cloud = Scripted::new(
        "cloud",
        [Answer::refuse(broken()), Answer::default().think("Hm").fail(broken()), Answer::say("Four words of it.")],
    );
    let price = Price::PerMillion { input: 1.0, output: 2.0 };
    let target = Arc::new(Target::new(cloud, price));
    let book = Book::allowing(true);
    let router = Router::with_routes(vec![route("default", &[&target])], Stopped::new().shared()).metered(book.clone());
    let request = |_: &_| aegis::models::chat::ChatRequest { max_tokens: Some(77), ..ask("Hello?") };
    let answering = router.chat(request).await.unwrap();
    assert_eq!(answering.price, price);
    assert_eq!(book.kept().len(), 3);
    assert_eq!(all(answering.stream).await.0.len(), 5);
    let kept = book.kept();
    let ends: Vec<_> = kept.iter().map(|kept| (kept.received, kept.end.clone())).collect();
    let used = Usage { prompt_tokens: 10, completion_tokens: 5 };
    assert_eq!(ends, [(0, End::Settled(None)), (2, End::Dropped), (17, End::Settled(Some(used)))]);
    assert!(kept.iter().all(|kept| kept.at_most.completion_tokens == 77 && kept.at_most.prompt_tokens >= 10));
}

#[tokio::test]
async fn a_target_over_budget_is_passed_by_for_one_that_costs_nothing_and_is_not_left_alone_for_it() {
    let (cloud, local) = (Scripted::new("cloud", []), Scripted::local("local"));
    let router = Router::new(vec![cloud.clone() as Arc<dyn ChatModel>, local], Stopped::new().shared());
    let answering = router.metered(Book::allowing(false)).chat(|_| ask("Hello?")).await.unwrap();
    assert_eq!((answering.model.as_str(), answering.price), ("local", Price::Free));
    assert_eq!(answering.attempts[0].error, "the budget of this month is used up");
    assert_eq!(cloud.asked(), 0);
    assert_eq!(router.chat(|_| ask("Hello?")).await.unwrap().model, "cloud");
}

#[tokio::test]
async fn an_answer_that_is_given_up_is_neither_settled_nor_forgotten() {
    let cloud = Scripted::new("cloud", [Answer::say("one two three")]);
    let book = Book::allowing(true);
    let router = Router::new(vec![cloud], Stopped::new().shared()).metered(book.clone());
    let mut answering = router.chat(|_| ask("Hello?")).await.unwrap();
    futures::StreamExt::next(&mut answering.stream).await.unwrap().unwrap();
    drop(answering);
    let kept = book.kept();
    assert_eq!((kept[0].received, kept[0].end.clone()), (4, End::Dropped));
}

#[tokio::test]
async fn a_server_that_always_breaks_off_is_left_alone_in_the_end() {
    let broken_off = || Answer::default().text("I was ").fail(broken());
    let lone = Scripted::new("lone", (0..3).map(|_| broken_off()));
    let router = Router::with_routes(vec![route("default", &[&target(&lone)])], Stopped::new().shared());
    for _ in 0..3 {
        let answering = router.chat(|_| ask("Hello?")).await.unwrap();
        assert!(all(answering.stream).await.1.is_some());
    }
    let nobody = router.chat(|_| ask("Hello?")).await.err().unwrap();
    assert!(nobody.to_string().contains("asked again in 15 s"), "{nobody}");
}
