//! What a call of a model may cost, and who has a say in whether it is made: the router asks a [`Meter`] before each
//! call, and tells it afterwards what was used.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chat::ModelError;
use crate::http::format;

/// What a model costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Price {
    /// Nothing: it runs on a machine of one's own.
    Free,
    /// So much for a million tokens of the prompt and of the answer, in the currency of `[budgets]`.
    PerMillion {
        /// Of the prompt.
        input: f64,
        /// Of the answer.
        output: f64,
    },
    /// It costs something, and the configuration does not say how much.
    Unknown,
}

impl Price {
    /// What so many tokens cost, in millionths of the currency, rounded up. None where the price is not known.
    pub fn micros(self, usage: Usage) -> Option<i64> {
        match self {
            Self::Free => Some(0),
            Self::PerMillion { input, output } => {
                let cost = f64::from(usage.prompt_tokens) * input + f64::from(usage.completion_tokens) * output;
                // A price for a million tokens in units is the price of one token in millionths.
                #[expect(clippy::cast_possible_truncation, reason = "a float that does not fit becomes the largest")]
                Some(cost.max(0.0).ceil() as i64)
            }
            Self::Unknown => None,
        }
    }
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: u32,
    /// Of the answer.
    pub completion_tokens: u32,
}

/// What calls have cost together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cost {
    /// In millionths of the currency; none where the price of one of them is not known.
    pub micros: Option<i64>,
    /// `USD`
    pub currency: String,
}

impl Default for Cost {
    /// Nothing yet.
    fn default() -> Self {
        Self { micros: Some(0), currency: String::new() }
    }
}

impl Cost {
    /// Adds a call; one whose price is not known makes the sum unknown.
    pub fn add(&mut self, micros: Option<i64>, currency: &str) {
        self.micros = self.micros.zip(micros).map(|(one, other)| one.saturating_add(other));
        currency.clone_into(&mut self.currency);
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.micros {
            Some(0) => f.write_str("no cost"),
            Some(micros) => f.write_str(&format::money(micros, &self.currency)),
            None => f.write_str("cost not known"),
        }
    }
}

/// A call that is about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// The model: `groq/llama-3.3-70b-versatile`.
    pub model: &'a str,
    /// What it costs.
    pub price: Price,
    /// The most that it can come to: the prompt's tokens estimated from above, and the longest answer that is allowed.
    pub at_most: Usage,
}

/// Has a say in whether a call is made, in the name of one tenant, agent and run.
#[async_trait]
pub trait Meter: Send + Sync {
    /// Sets aside what the call may come to, in one step with the look at what is left.
    ///
    /// # Errors
    /// `OverBudget` when too little is left; `Server` when the database does not answer: then nothing is called.
    async fn reserve(&self, planned: &Planned<'_>) -> Result<Box<dyn Reservation>, ModelError>;
}

/// What was set aside for one call. When it is dropped without being settled, because the call was cut off, it counts as
/// used up to what is known.
#[async_trait]
pub trait Reservation: Send {
    /// The call has used so much; `None` when it never reached the provider. The rest is given back.
    async fn settle(self: Box<Self>, used: Option<Usage>);

    /// So many bytes of the answer have come by now, for the case that it is cut off.
    fn received(&mut self, bytes: usize);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_for_a_million_tokens_and_rounds_up() {
        let price = Price::PerMillion { input: 0.59, output: 0.79 };
        let usage = Usage { prompt_tokens: 1_000_000, completion_tokens: 1_000_000 };
        assert_eq!(price.micros(usage), Some(1_380_000));
        assert_eq!(price.micros(Usage { prompt_tokens: 1, completion_tokens: 0 }), Some(1));
        assert_eq!(Price::Free.micros(usage), Some(0));
        assert_eq!(Price::Unknown.micros(usage), None);
    }

    #[test]
    fn what_is_not_known_makes_the_sum_unknown() {
        let mut cost = Cost::default();
        assert_eq!(cost.to_string(), "no cost");
        cost.add(Some(4_200), "EUR");
        cost.add(Some(0), "EUR");
        assert_eq!(cost.to_string(), "0.0042 EUR");
        cost.add(None, "EUR");
        cost.add(Some(1), "EUR");
        assert_eq!(cost.to_string(), "cost not known");
    }
}
