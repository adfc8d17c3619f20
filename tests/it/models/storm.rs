//! The router in any weather: random chains, random failures at random moments, cooldowns, budgets. Whatever happens there
//! is exactly one complete answer or one clear error, nothing is said twice or left out, and every reservation has ended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aegis::models::{
    Router,
    chat::{ChatEvent, FinishReason, ModelError},
    meter::Price,
    router::{Dice, Part, Retry, Route, Target},
};
use futures::StreamExt;
use proptest::prelude::*;

use super::{
    Stopped, ask,
    scripted::{Answer, Book, End, Scripted},
};

/// One thing that a model does when it is asked.
#[derive(Debug, Clone)]
struct Turn {
    /// Before anything else.
    thinks: bool,
    /// Blank text, which nobody sees.
    blank: bool,
    /// Words that it says.
    words: usize,
    end: Ending,
}

#[derive(Debug, Clone)]
enum Ending {
    Done,
    Refused,
    Fails(u8, u16),
    /// Nothing more comes, and no word of it.
    Stops,
    /// It does not even begin.
    Declines(u8, u16),
}

#[derive(Debug, Clone)]
struct Weather {
    /// What each target does each time; after that it answers.
    targets: Vec<Vec<Turn>>,
    /// Whether a target costs nothing.
    free: Vec<bool>,
    chain: Vec<usize>,
    context: Vec<usize>,
    refusal: Vec<usize>,
    retries: u32,
    /// Whether there is money left.
    budget: bool,
    /// How many seconds pass before each question.
    pauses: Vec<i64>,
    seed: u64,
}

fn error(kind: u8, wait: u16) -> ModelError {
    let retry_after = (!wait.is_multiple_of(3)).then(|| Duration::from_micros(u64::from(wait) * 10));
    match kind % 11 {
        0 => ModelError::NotRunning { address: "http://127.0.0.1:9".to_owned() },
        1 => ModelError::RateLimited { retry_after },
        2 => ModelError::Overloaded { retry_after },
        3 => ModelError::ContextOverflow { tokens: 9000, limit: 8192 },
        4 => ModelError::Refused { reason: "no".to_owned() },
        5 => ModelError::Unauthorized,
        6 => ModelError::TimedOut { after: Duration::from_secs(1) },
        7 => ModelError::Network { message: "cut".to_owned() },
        8 => ModelError::NoTools { model: "m".to_owned() },
        9 => ModelError::ModelMissing { model: "m".to_owned(), remedy: "ollama pull m".to_owned() },
        _ => ModelError::Server { message: "boom".to_owned() },
    }
}

fn turns() -> impl Strategy<Value = Turn> {
    let ending = prop_oneof![
        3 => Just(Ending::Done),
        1 => Just(Ending::Refused),
        1 => Just(Ending::Stops),
        4 => (any::<u8>(), any::<u16>()).prop_map(|(kind, wait)| Ending::Fails(kind, wait)),
        4 => (any::<u8>(), any::<u16>()).prop_map(|(kind, wait)| Ending::Declines(kind, wait)),
    ];
    (any::<bool>(), any::<bool>(), 0..4_usize, ending).prop_map(|(thinks, blank, words, end)| Turn {
        thinks,
        blank,
        words,
        end,
    })
}

fn weather() -> impl Strategy<Value = Weather> {
    let of = |most: usize| proptest::collection::vec(0..4_usize, 0..most);
    (
        proptest::collection::vec(proptest::collection::vec(turns(), 0..6), 4),
        proptest::collection::vec(any::<bool>(), 4),
        of(5),
        (of(3), of(3)),
        0..4_u32,
        any::<bool>(),
        proptest::collection::vec(0..40_i64, 1..5),
        any::<u64>(),
    )
        .prop_map(|(targets, free, chain, (context, refusal), retries, budget, pauses, seed)| Weather {
            targets,
            free,
            chain,
            context,
            refusal,
            retries,
            budget,
            pauses,
            seed,
        })
}

/// What the model `name` says at its `turn`: every piece is unlike any other.
fn words(name: &str, turn: usize, turn_of: &Turn) -> Vec<String> {
    let blank = turn_of.blank.then(|| " ".to_owned());
    blank.into_iter().chain((0..turn_of.words).map(|word| format!("{name}.{turn}.{word} "))).collect()
}

fn answer(name: &str, turn: usize, turn_of: &Turn) -> Answer {
    if let Ending::Declines(kind, wait) = turn_of.end {
        return Answer::refuse(error(kind, wait));
    }
    let mut answer = Answer::default();
    if turn_of.thinks {
        answer = answer.think(&format!("{name}.{turn}.thought"));
    }
    answer.events.extend(words(name, turn, turn_of).into_iter().map(|word| Ok(ChatEvent::Text(word))));
    match turn_of.end {
        Ending::Done => answer.done(),
        Ending::Refused => answer.done_because(FinishReason::Refused),
        Ending::Fails(kind, wait) => answer.fail(error(kind, wait)),
        Ending::Stops | Ending::Declines(..) => answer,
    }
}

/// Not random, and never the same twice in a row.
fn dice(seed: u64) -> Dice {
    let state = AtomicU64::new(seed | 1);
    Arc::new(move || {
        let next = state.load(Ordering::Relaxed).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.store(next, Ordering::Relaxed);
        f64::from(u32::try_from(next >> 33).unwrap_or(0)) / f64::from(u32::MAX)
    })
}

async fn goes_through(weather: &Weather) -> Result<(), TestCaseError> {
    let names: Vec<String> = (0..4).map(|place| format!("target{place}")).collect();
    let models: Vec<Arc<Scripted>> = weather
        .targets
        .iter()
        .enumerate()
        .map(|(place, turns)| {
            Scripted::new(&names[place], turns.iter().enumerate().map(|(turn, of)| answer(&names[place], turn, of)))
        })
        .collect();
    let targets: Vec<Arc<Target>> = models
        .iter()
        .zip(&weather.free)
        .map(|(model, free)| {
            let price = if *free { Price::Free } else { Price::PerMillion { input: 1.0, output: 1.0 } };
            Arc::new(Target::new(model.clone(), price))
        })
        .collect();
    let of = |places: &[usize]| places.iter().map(|place| targets[*place].clone()).collect::<Vec<_>>();
    let mut route = Route::new("default", of(&weather.chain));
    (route.context, route.refusal) = (of(&weather.context), of(&weather.refusal));
    route.retry =
        Retry { times: weather.retries, first: Duration::from_micros(50), longest: Duration::from_millis(300) };
    let (clock, book) = (Stopped::new(), Book::allowing(weather.budget));
    let router = Router::with_routes(vec![route], clock.shared()).with_dice(dice(weather.seed)).metered(book.clone());

    for pause in &weather.pauses {
        clock.advance(*pause);
        let asked_before: Vec<usize> = models.iter().map(|model| model.asked()).collect();
        let mut watched = Vec::new();
        let asked = router.chat_watched(|_| ask("Hello?"), |model, event| watched.push((model.to_owned(), event)));
        match asked.await {
            Err(nobody) => {
                // A clear error: it names everybody who was in the way, or the chain is empty.
                prop_assert_eq!(nobody.attempts.is_empty(), weather.chain.is_empty(), "{}", nobody);
                prop_assert!(!nobody.to_string().is_empty());
                for place in &weather.chain {
                    prop_assert!(nobody.attempts.iter().any(|tried| tried.model == names[*place]), "{}", nobody);
                }
            }
            Ok(answering) => {
                let place = names.iter().position(|name| *name == answering.model).expect("one of them");
                let listed = match answering.why.part {
                    Part::Chain => &weather.chain,
                    Part::Context => &weather.context,
                    Part::Refusal => &weather.refusal,
                };
                prop_assert_eq!(listed[answering.why.position - 1], place);
                prop_assert_eq!(answering.price == Price::Free, weather.free[place]);
                prop_assert!(weather.budget || weather.free[place], "nothing is spent that is not there");
                // Whatever turn of the script it was, its text is that turn's, from its first word to its last.
                let turn = models[place].asked() - 1;
                let (mut text, mut end, mut after_the_end) = (Vec::new(), None, 0);
                let mut stream = answering.stream;
                while let Some(event) = stream.next().await {
                    after_the_end += usize::from(end.is_some());
                    match event {
                        Ok(ChatEvent::Text(word)) => text.push(word),
                        Ok(ChatEvent::Done(finish)) => end = Some(Ok(finish)),
                        Ok(other) => prop_assert!(false, "{:?} after the first word", other),
                        Err(error) => end = Some(Err(error)),
                    }
                }
                prop_assert_eq!(after_the_end, 0, "the end is the end");
                let Some(end) = end else { return Err(TestCaseError::fail("an answer without an end")) };
                if let Some(of) = weather.targets[place].get(turn) {
                    prop_assert_eq!(&text, &words(&names[place], turn, of));
                    prop_assert_eq!(end.is_ok(), matches!(of.end, Ending::Done | Ending::Refused));
                    prop_assert!(end.is_ok() || of.words > 0, "a failure before the first word was passed on");
                } else {
                    prop_assert_eq!(text.concat(), names[place].clone());
                }
            }
        }
        // Nobody is asked more often than the retries allow, and once more where a model turned out to have no tools.
        for (model, before) in models.iter().zip(asked_before) {
            let asked = model.asked() - before;
            prop_assert!(asked <= 2 * (usize::try_from(weather.retries).unwrap() + 1), "asked {} times", asked);
        }
        for (model, event) in &watched {
            if let ChatEvent::Thinking(thought) = event {
                prop_assert!(thought.starts_with(model.as_str()), "{} is said to have thought {}", model, thought);
            }
        }
    }
    let kept = book.kept();
    prop_assert!(kept.iter().all(|kept| kept.end != End::Open), "{:?}", kept);
    prop_assert_eq!(kept.len(), models.iter().map(|model| model.asked()).sum::<usize>(), "each call was reserved");
    Ok(())
}

#[test]
fn whatever_fails_and_when_there_is_one_answer_or_one_error_and_every_word_of_it_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner.run(&weather(), |weather| runtime.block_on(goes_through(&weather))).unwrap();
}
