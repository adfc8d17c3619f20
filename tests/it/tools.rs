//! The calculator and the clock, as agents call them: with the real sandbox and the real rules of time zones.

use std::time::{Duration, Instant};

use aegis::{
    agents::{
        tool::{Effects, Tool, ToolContext},
        tools::{Calculator, ClockTool, sandbox::Sandbox},
    },
    audit::Actor,
    db::TenantDb,
    support::{Kind, ids::RunId},
};
use serde_json::json;

use crate::{appliance::AEGIS, harness::TestDb};

/// A call that nobody but the operator asked for.
pub fn context(db: TenantDb) -> ToolContext {
    ToolContext {
        conversation: None,
        db,
        run: RunId::generate(),
        agent: "sage".to_owned(),
        user: None,
        actor: Actor::Operator,
        depth: 0,
        idempotency_key: String::new(),
        has_read: Vec::new(),
    }
}

#[tokio::test]
async fn a_calculation_is_exact_and_says_what_was_calculated() {
    let test = TestDb::new().await;
    let context = context(test.tenant("acme").await.1);
    let calculator = Calculator::new(Sandbox::new(AEGIS.into()));
    assert_eq!(calculator.effects(), Effects::None);
    let output = calculator.call(&context, json!({"expression": " 19% of 1250.10 "})).await.unwrap();
    assert_eq!(output.content, json!({"expression": "19% of 1250.10", "result": "237.519"}));
    let error = calculator.call(&context, json!({"expression": "12 kg + 3 metres"})).await.unwrap_err();
    assert!(error.message().starts_with("this cannot be worked out: "), "{error}");
}

#[tokio::test]
async fn a_hostile_expression_ends_with_an_error_and_takes_nothing_with_it() {
    let test = TestDb::new().await;
    let context = context(test.tenant("acme").await.1);
    let calculator = Calculator::new(Sandbox::new(AEGIS.into()));
    let nested = format!("{}1{}", "(".repeat(249), ")".repeat(249));
    let roots = "sqrt ".repeat(90) + "2";
    for expression in [
        "9^9^9^9",
        "9^9^9",
        "(9^9^9)!",
        "1000000!",
        "10^(10^12)",
        "2^(2^40)",
        "1 << 100000000000",
        "1/3^1000000 to exact",
        "pi to 100000000 dp",
        "1/7 to 1000000000 dp",
        "3^99999999 mod 7",
        "1e1000000000",
        "10^-1000000000",
        "0.1^999999999",
        "sqrt(10^10000000)",
        "sin(10^1000000)",
        "1e999999999 to base 2",
        "100000 nCr 50000",
        "10000000d10000000",
        "999999999999999999999999999 to roman",
        nested.as_str(),
        roots.as_str(),
    ] {
        let began = Instant::now();
        let told = calculator.call(&context, json!({"expression": expression})).await;
        let took = began.elapsed();
        let shown = told.as_ref().map_or_else(|error| error.message().to_owned(), |output| output.summary.clone());
        println!("{:>6} ms  {:<30.30}  {shown:.90}", took.as_millis(), expression);
        assert!(took < Duration::from_secs(15), "{expression} took {took:?}");
        match told {
            Ok(output) => assert!(output.content.to_string().len() < 2_000, "{expression}: {output:?}"),
            Err(error) => assert_eq!(error.kind(), Kind::Invalid, "{expression}: {error}"),
        }
    }
    let after = calculator.call(&context, json!({"expression": "6 * 7"})).await.unwrap();
    assert_eq!(after.summary, "42");
}

#[tokio::test]
async fn the_time_is_told_in_any_zone_with_its_daylight_saving() {
    let test = TestDb::new().await;
    let context = context(test.tenant("acme").await.1);
    let clock = ClockTool::new(test.shared_clock());
    for (zone, now, offset) in [
        ("UTC", "2026-05-01 12:00", "+00:00"),
        ("Europe/Berlin", "2026-05-01 14:00", "+02:00"),
        ("America/St_Johns", "2026-05-01 09:30", "-02:30"),
        ("Pacific/Kiritimati", "2026-05-02 02:00", "+14:00"),
        ("-03:30", "2026-05-01 08:30", "-03:30"),
    ] {
        let told = clock.call(&context, json!({"zone": zone})).await.unwrap().content;
        assert_eq!((told["now"].as_str(), told["utc_offset"].as_str()), (Some(now), Some(offset)), "{zone}");
    }
    for zone in ["Mars/Olympus", "FOO+3", "EST5EDT4,M3.2.0", "'; DROP TABLE messages; --", "../../etc/passwd", ""] {
        let error = clock.call(&context, json!({"zone": zone})).await.unwrap_err();
        assert!(error.kind() == Kind::Invalid && error.message().contains("Europe/Berlin"), "{zone}: {error}");
    }
}

#[tokio::test]
async fn days_are_counted_from_today_or_from_a_day_that_is_given() {
    let test = TestDb::new().await;
    let context = context(test.tenant("acme").await.1);
    let clock = ClockTool::new(test.shared_clock());
    let told = clock.call(&context, json!({"add_days": 30, "add_working_days": 10})).await.unwrap().content;
    assert_eq!(told["day"], json!({"date": "2026-05-01", "weekday": "Friday", "iso_week": "2026-W18"}));
    assert_eq!(told["after_days"]["date"], "2026-05-31");
    assert_eq!(told["after_working_days"], json!({"date": "2026-05-15", "weekday": "Friday", "iso_week": "2026-W20"}));
    let until = json!({"date": "2026-12-24", "until": "2027-01-07"});
    let output = clock.call(&context, until).await.unwrap();
    assert_eq!(output.content["until"]["working_days"], 10);
    assert_eq!(output.summary, "14 days, 10 working days until 2027-01-07");
    assert!(clock.call(&context, json!({"until": "9999-12-31"})).await.is_err());
}
