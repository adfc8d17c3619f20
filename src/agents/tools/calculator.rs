//! `calculator.evaluate`: exact arithmetic, units and percentages, worked out in the sandbox.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    first,
    sandbox::{Made, Sandbox, Work},
    understand,
};
use crate::{
    agents::tool::{Tool, ToolContext, ToolOutput},
    models::chat::ToolSpec,
    support::{Error, Result},
};

/// The longest expression, in characters.
const EXPRESSION: usize = 500;
/// The longest result, in characters.
const RESULT: usize = 1_000;
/// How long it is worked on before it is given up in good order.
const PATIENCE: Duration = Duration::from_millis(500);

/// `calculator.evaluate`
#[derive(Debug, Clone)]
pub struct Calculator(Sandbox);

impl Calculator {
    /// A calculator that works in this sandbox.
    pub fn new(sandbox: Sandbox) -> Self {
        Self(sandbox)
    }
}

#[derive(Deserialize)]
struct Arguments {
    expression: String,
}

#[async_trait]
impl Tool for Calculator {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "calculator.evaluate".to_owned(),
            description:
                "Works out an expression exactly: numbers, fractions, percentages (`19% of 1250`, `1250 + 19%`), \
                          powers, roots, units (`3.5 hours to minutes`, `12 kg / 4`). Use it for every calculation \
                          beyond the simplest, instead of doing it in your head."
                    .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "expression": {
                        "type": "string", "minLength": 1, "maxLength": EXPRESSION,
                        "description": "The expression, such as `(1250 * 12) * 1.19` or `16 weeks to days`"
                    }
                },
                "required": ["expression"],
                "additionalProperties": false
            }),
        }
    }

    async fn call(&self, _: &ToolContext, arguments: Value) -> Result<ToolOutput> {
        let Arguments { expression } = understand(arguments)?;
        let expression = expression.trim().to_owned();
        check(&expression).map_err(Error::invalid)?;
        let Made::Text(result) = self.0.run(Work::Calculate { expression: expression.clone() }).await? else {
            return Err(Error::internal("the sandbox gave something else than a result"));
        };
        let summary = first(&result, 60).0.to_owned();
        let content = json!({ "expression": expression, "result": result });
        Ok(ToolOutput { summary, content, sources: Vec::new() })
    }
}

/// Only arithmetic is taken: functions that call themselves have no end.
fn check(expression: &str) -> Result<(), String> {
    if expression.is_empty() {
        return Err("there is no expression; write one such as `1250 * 1.19`".to_owned());
    }
    if first(expression, EXPRESSION).1 {
        return Err(format!("the expression is longer than {EXPRESSION} characters; work it out in parts"));
    }
    if expression.contains(['\\', 'λ', ':', '=', '@', '"', '\'', ';']) {
        return Err("write plain arithmetic, without names, functions of your own, dates or texts".to_owned());
    }
    Ok(())
}

struct Deadline(Instant);

impl fend_core::Interrupt for Deadline {
    fn should_interrupt(&self) -> bool {
        self.0.elapsed() > PATIENCE
    }
}

/// Works it out in this process, which may not survive it: only the sandbox's child calls this.
///
/// # Errors
/// Why there is no result, in a sentence.
pub(super) fn evaluate(expression: &str) -> Result<String, String> {
    check(expression)?;
    let deadline = Deadline(Instant::now());
    let mut context = fend_core::Context::new();
    let result = fend_core::evaluate_with_interrupt(expression, &mut context, &deadline);
    if deadline.0.elapsed() > PATIENCE {
        return Err("the calculation takes too long: it was stopped, ask for something smaller".to_owned());
    }
    let result = result.map_err(|message| format!("this cannot be worked out: {}", first(&message, 300).0))?;
    let text = result.get_main_result();
    if text.is_empty() {
        return Err("the expression has no value; write one such as `1250 * 1.19`".to_owned());
    }
    let (shown, cut) = first(text, RESULT);
    if cut {
        Err(format!("the result has more than {RESULT} characters, it begins {}", first(shown, 60).0))
    } else {
        Ok(shown.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_units_and_percentages_are_known() {
        for (expression, result) in [
            ("0.1 + 0.2", "0.3"),
            ("1250 * 1.19", "1487.5"),
            ("19% of 1250", "237.5"),
            ("16 weeks to days", "112 days"),
            ("2^100", "1267650600228229401496703205376"),
            ("3.5 hours to minutes", "210 minutes"),
            ("(1/3) * 3", "1"),
        ] {
            assert_eq!(evaluate(expression).as_deref(), Ok(result), "{expression}");
        }
    }

    #[test]
    fn what_is_no_arithmetic_is_refused_before_it_is_tried() {
        for expression in ["", "(\\x. x x) (\\x. x x)", "f = x: f x", "x => x", "@2026-01-01", "\"a\" * 1000000000"] {
            assert!(check(expression).is_err(), "{expression}");
        }
        assert!(check(&"1+".repeat(300)).is_err());
        assert!(evaluate("1 / 0").unwrap_err().starts_with("this cannot be worked out: "));
    }
}
