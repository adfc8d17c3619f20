//! Budgets on a real database: what is let through when many ask at once, what is counted, and the page of it.
//!
//! `AEGIS_TEST_PICTURES=directory cargo test --test it the_page_of_usage` also keeps what the page looks like.

use std::{env, path::Path, sync::Arc, time::Duration};

use aegis::{
    audit::{self, Actor},
    config::{self, Config},
    db::TenantDb,
    http::context::Peer,
    models::{
        budget::{Budgets, Limit, MonthUsage, Scope},
        chat::ModelError,
        meter::{Planned, Price, Reservation, Usage},
    },
    support::ids::RunId,
};
use chrono::TimeDelta;
use serde_json::json;

use crate::{
    accounts::house::{ADA, House, PASSWORD},
    browser_driver::Browser,
    harness::TestDb,
};

/// A dollar for a thousand tokens, so that sums are easily read.
const DEAR: Price = Price::PerMillion { input: 1000.0, output: 1000.0 };

fn settings() -> config::Budgets {
    let mut settings = Config::load(None, Some(Path::new("/nowhere"))).unwrap().budgets;
    settings.paid_tokens_per_month = 0;
    settings
}

fn tokens(prompt_tokens: u32, completion_tokens: u32) -> Usage {
    Usage { prompt_tokens, completion_tokens }
}

struct Purse {
    budgets: Budgets,
    tenant: TenantDb,
    db: TestDb,
}

impl Purse {
    async fn with(settings: config::Budgets) -> Self {
        let db = TestDb::new().await;
        let (_, tenant) = db.tenant("acme").await;
        Self { budgets: Budgets::new(&settings, db.shared_clock()), tenant, db }
    }

    async fn bound(&self, scope: &str, tokens: Option<i64>, micros: Option<i64>) {
        let limit = Some(Limit { tokens, micros });
        self.budgets.set(&self.tenant, &scope.parse().unwrap(), limit, Actor::Operator).await.unwrap();
    }

    async fn reserve(&self, agent: &str, price: Price, at_most: Usage) -> Result<Box<dyn Reservation>, ModelError> {
        let meter = self.budgets.meter(&self.tenant, agent, RunId::generate());
        meter.reserve(&Planned { model: "cloud/large", price, at_most }).await
    }

    async fn refusal(&self, agent: &str, price: Price, at_most: Usage) -> String {
        match self.reserve(agent, price, at_most).await {
            Err(ModelError::OverBudget { message }) => message,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it was let through"),
        }
    }

    async fn usage(&self) -> MonthUsage {
        self.budgets.usage(&self.tenant, self.budgets.this_month()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_calls_at_once_exactly_as_many_are_let_through_as_the_budget_allows() {
    let purse = Arc::new(Purse::with(settings()).await);
    purse.bound("organisation", Some(1_000), None).await;
    purse.bound("agent:luna", Some(300), None).await;
    let agents = ["atlas", "luna", "nova"];
    let asked = (0..60).map(|number| {
        let purse = purse.clone();
        tokio::spawn(async move { (agents[number % 3], purse.reserve(agents[number % 3], DEAR, tokens(60, 40)).await) })
    });
    let (mut let_through, mut of_luna) = (Vec::new(), 0);
    for asked in asked.collect::<Vec<_>>() {
        let (agent, answer) = asked.await.unwrap();
        match answer {
            Ok(reservation) => {
                of_luna += usize::from(agent == "luna");
                let_through.push(reservation);
            }
            Err(error) => assert!(matches!(error, ModelError::OverBudget { .. }), "{error}"),
        }
    }
    assert_eq!(let_through.len(), 10, "a hundred tokens each, of a thousand");
    assert!(of_luna <= 3, "{of_luna}");
    // They take less than was set aside, and the rest is there for others.
    for reservation in let_through {
        reservation.settle(Some(tokens(30, 20))).await;
    }
    let usage = purse.usage().await;
    assert_eq!((usage.total.tokens(), usage.total.micros, usage.total.calls), (500, 500_000, 10));
    let whole = &usage.budgets[0];
    assert_eq!((whole.tokens, whole.reserved_tokens, whole.reserved_micros), (500, 0, 0));
    let mut more = 0;
    while let Ok(reservation) = purse.reserve("atlas", DEAR, tokens(60, 40)).await {
        reservation.settle(Some(tokens(60, 40))).await;
        more += 1;
    }
    assert_eq!(more, 5);
}

#[tokio::test]
async fn a_refusal_says_which_budget_it_is_how_it_stands_and_when_it_is_new() {
    let purse = Purse::with(settings()).await;
    purse.bound("agent:luna", None, Some(2_000_000)).await;
    purse.reserve("luna", DEAR, tokens(1_000, 500)).await.unwrap().settle(Some(tokens(1_000, 500))).await;
    assert_eq!(
        purse.refusal("luna", DEAR, tokens(600, 0)).await,
        "the budget of luna for May 2026 does not allow the call: 1.50 USD of 2.00 USD are spent or set aside, and this \
         call may cost 0.60 USD; it is new on 1 June"
    );
    assert!(purse.reserve("atlas", DEAR, tokens(600, 0)).await.is_ok(), "another agent's budget is its own");
    assert!(purse.refusal("luna", Price::Unknown, tokens(1, 1)).await.contains("has no price for cloud/large"));
    assert!(purse.reserve("luna", Price::Free, tokens(u32::MAX, 0)).await.is_ok(), "one's own machine costs nothing");

    purse.bound("organisation", Some(1_000), None).await;
    let message = purse.refusal("atlas", Price::Unknown, tokens(0, 1)).await;
    assert!(message.starts_with("the organisation's budget for May 2026 does not allow the call: 2,1"), "{message}");
    purse.db.clock.advance(TimeDelta::days(31));
    assert!(purse.reserve("luna", DEAR, tokens(600, 0)).await.is_ok(), "a new month");
}

#[tokio::test]
async fn the_operators_bound_holds_beside_the_owners_and_in_place_of_the_configured_one() {
    let purse = Purse::with(config::Budgets { money_per_month: 1.0, ..settings() }).await;
    assert!(purse.refusal("atlas", DEAR, tokens(1_001, 0)).await.contains("0.00 USD of 1.00 USD"));
    purse.bound("organisation", None, Some(9_000_000)).await;
    assert!(purse.refusal("atlas", DEAR, tokens(1_001, 0)).await.contains("of 1.00 USD"), "owners set less, not more");
    purse.bound("appliance", None, Some(5_000_000)).await;
    assert!(purse.reserve("atlas", DEAR, tokens(4_000, 0)).await.is_ok());
    assert!(purse.refusal("atlas", DEAR, tokens(1_001, 0)).await.contains("4.00 USD of 5.00 USD"));
    let no_bound = purse.budgets.set(&purse.tenant, &Scope::Appliance, Some(Limit::default()), Actor::Operator);
    no_bound.await.unwrap();
    assert!(purse.refusal("atlas", DEAR, tokens(9_000, 0)).await.contains("of 9.00 USD"), "the owners' own is left");
}

#[tokio::test]
async fn what_is_cut_off_counts_with_what_had_come_and_what_a_crash_left_counts_after_an_hour() {
    let purse = Purse::with(settings()).await;
    let mut cut_off = purse.reserve("atlas", DEAR, tokens(100, 1_000)).await.unwrap();
    cut_off.received(90);
    drop(cut_off);
    let refused = purse.reserve("atlas", DEAR, tokens(70, 7)).await.unwrap();
    refused.settle(None).await;
    let mut usage = purse.usage().await;
    for _ in 0..1000 {
        if usage.budgets[0].reserved_tokens == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        usage = purse.usage().await;
    }
    assert_eq!((usage.total.prompt_tokens, usage.total.completion_tokens, usage.total.calls), (100, 30, 1));

    std::mem::forget(purse.reserve("atlas", DEAR, tokens(10, 10)).await.unwrap());
    assert_eq!(purse.usage().await.budgets[0].reserved_tokens, 20);
    purse.db.clock.advance(TimeDelta::minutes(61));
    let whole = &purse.usage().await.budgets[0];
    assert_eq!((whole.tokens, whole.reserved_tokens, whole.micros), (150, 0, 150_000));
}

#[tokio::test]
async fn a_budget_warns_once_a_month_and_again_when_it_was_changed() {
    let purse = Purse::with(settings()).await;
    let warnings = async || {
        let found = audit::find(&purse.tenant, &audit::Filter::default(), None, 100).await.unwrap();
        found.entries.iter().filter(|entry| entry.action == "budget.nearly_used").count()
    };
    purse.bound("organisation", Some(1_000), None).await;
    for (used, warned) in [(790, 0), (10, 1), (100, 1)] {
        purse.reserve("atlas", DEAR, tokens(used, 0)).await.unwrap().settle(Some(tokens(used, 0))).await;
        assert_eq!(warnings().await, warned, "{used}");
    }
    purse.bound("organisation", Some(1_100), None).await;
    purse.reserve("atlas", DEAR, tokens(1, 0)).await.unwrap().settle(Some(tokens(1, 0))).await;
    assert_eq!(warnings().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_usage_shows_a_month_sets_budgets_and_fits_every_screen() {
    let house = House::new().await;
    let tenant = house.app.tenants.open(&house.acme).await.unwrap();
    // May, up to the 28th.
    house.db.clock.advance(TimeDelta::hours(-9));
    for day in 1..=28_u32 {
        for (agent, model, price, scale) in [
            ("atlas", "ollama/llama3.2", Price::Free, 9),
            ("luna", "ollama/qwen3:8b", Price::Free, 4),
            ("nova", "groq/llama-3.3-70b-versatile", Price::PerMillion { input: 0.59, output: 0.79 }, 6),
            ("penny", "anthropic/claude-sonnet", Price::PerMillion { input: 3.0, output: 15.0 }, 2),
            ("orion", "openai/gpt-large", Price::Unknown, 1),
        ] {
            if (day * 7 + scale) % 5 == 0 || day % 7 == 3 {
                continue;
            }
            let used = tokens(1_000 * scale * (3 + day % 4), 150 * scale * (2 + day % 5));
            let meter = house.app.budgets.meter(&tenant, agent, RunId::generate());
            let reservation = meter.reserve(&Planned { model, price, at_most: used }).await.unwrap();
            reservation.settle(Some(used)).await;
        }
        if day < 28 {
            house.db.clock.advance(TimeDelta::days(1));
        }
    }
    let limit = Some(Limit { tokens: None, micros: Some(2_500_000) });
    house.app.budgets.set(&tenant, &"agent:penny".parse().unwrap(), limit, Actor::Operator).await.unwrap();

    let mut ada = house.signed_in(ADA).await;
    let csv = ada.get("/usage.csv?month=2026-05").await.body;
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines[0], "day,agent,model,calls,prompt_tokens,completion_tokens,local_tokens,cost,currency");
    assert!(lines.iter().any(|line| line.starts_with("2026-05-01,atlas,ollama/llama3.2,1,")), "{csv}");
    assert!(
        lines.iter().any(|line| line.contains("openai/gpt-large") && line.ends_with(",,USD")),
        "not known is empty"
    );
    let usage: MonthUsage = serde_json::from_str(&ada.get("/api/usage?month=2026-05").await.body).unwrap();
    assert_eq!(usage.days.len(), lines.len() - 1);
    assert!(usage.total.micros > 0 && usage.total.local_tokens > 0 && usage.total.unpriced > 0, "{:?}", usage.total);
    assert_eq!(ada.get("/usage?month=2026-5").await.status, 400);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = house.router.clone().layer(axum::Extension(Peer("127.0.0.1".parse().unwrap())));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let browser = Browser::start().await;
    browser.open(&format!("{url}/usage")).await;
    browser.type_into("[name=email]", ADA).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}\u{E007}")).await;
    browser.find(".rail [aria-current][href='/usage']").await;
    browser.see("main", "May 2026").await;

    browser.type_into("[name=money]", "12.5x").await;
    browser.click(".panel .primary").await;
    browser.see("[role=alert]", "not a number").await;
    browser.run("document.querySelector('[name=money]').value = ''", vec![]).await;
    browser.type_into("[name=money]", "12.50").await;
    browser.click(".panel .primary").await;
    browser.see(".budget", "of 12.50 USD").await;

    for width in [360, 768, 1440] {
        browser.resize(width, 900);
        for colours in ["light", "dark"] {
            browser.prefer(colours);
            browser.open(&format!("{url}/usage?month=2026-05")).await;
            let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
            assert_eq!(beyond, json!(0), "{width} px");
            assert_eq!(browser.barriers().await, Vec::<String>::new(), "{width} px, {colours}");
            if let Ok(directory) = env::var("AEGIS_TEST_PICTURES") {
                tokio::time::sleep(Duration::from_millis(250)).await;
                browser.picture(&Path::new(&directory).join(format!("usage-{width}-{colours}.png")));
            }
        }
    }
    serving.abort();
}
