//! Budgets: what models may be spent on, by organisation, agent and month, and what they were used for.
//!
//! A call that costs something is let through by [`ledger`], which sets aside the most that it can come to in one
//! step with the look at what is left; afterwards what it really took is counted and the rest given back. A call that is
//! cut off counts with its prompt and what had come of the answer. What a process that was killed had set aside counts as
//! used after an hour, since nobody knows better. Local models are counted and never stopped.

pub mod http;
mod ledger;
mod meter;
mod report;
mod store;

use std::{fmt, str::FromStr, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::meter::Meter;
use crate::{
    audit::{self, Action, Actor, NewEntry},
    config,
    db::TenantDb,
    support::{Error, Result, clock::SharedClock, ids::RunId},
};
use ledger::Ended;
use meter::TenantMeter;
pub use report::{Bound, Counted, Month, MonthUsage};

/// How long something may stay set aside; no call takes as long.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::hours(1);

/// Whose spending is bounded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The organisation's, by the operator; in place of `[budgets]`.
    Appliance,
    /// The organisation's, by its owners.
    Organisation,
    /// One agent's, by the owners.
    Agent(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Appliance => f.write_str("appliance"),
            Self::Organisation => f.write_str("organisation"),
            Self::Agent(agent) => write!(f, "agent:{agent}"),
        }
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = |agent: &&str| {
            !agent.is_empty()
                && agent.len() <= 64
                && agent.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        match (text, text.strip_prefix("agent:").filter(named)) {
            ("appliance", _) => Ok(Self::Appliance),
            ("organisation", _) => Ok(Self::Organisation),
            (_, Some(agent)) => Ok(Self::Agent(agent.to_owned())),
            _ => Err(Error::invalid("A budget is the organisation's or an agent's")
                .remedy("write `organisation`, or `agent:` and the agent's short name")),
        }
    }
}

/// What may be spent in a month on models that cost something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Limit {
    /// Tokens of prompts and answers together; none for no bound.
    #[schema(minimum = 0)]
    pub tokens: Option<i64>,
    /// Millionths of the currency; none for no bound.
    #[schema(minimum = 0)]
    pub micros: Option<i64>,
}

impl Limit {
    fn checked(self) -> Result<Self> {
        // Far below what a sum of them could overflow.
        const MOST: i64 = 1_000_000_000_000_000;
        let fits = |number: Option<i64>| number.is_none_or(|number| (0..=MOST).contains(&number));
        if fits(self.tokens) && fits(self.micros) {
            Ok(self)
        } else {
            Err(Error::invalid("A budget is a number from 0 to a thousand million"))
        }
    }
}

/// The use cases of budgets. Cheap to clone.
#[derive(Clone)]
pub struct Budgets {
    config: Arc<config::Budgets>,
    clock: SharedClock,
}

impl Budgets {
    /// Budgets with these bounds where nothing else is set.
    pub fn new(config: &config::Budgets, clock: SharedClock) -> Self {
        Self { config: Arc::new(config.clone()), clock }
    }

    /// What has a say in the calls of one agent, in one run where there is one.
    pub fn meter(&self, db: &TenantDb, agent: &str, run: impl Into<Option<RunId>>) -> Arc<dyn Meter> {
        Arc::new(TenantMeter { budgets: self.clone(), db: db.clone(), agent: agent.to_owned(), run: run.into() })
    }

    /// What prices are in.
    pub fn currency(&self) -> &str {
        &self.config.currency
    }

    /// Sets a bound, or takes it away.
    ///
    /// # Errors
    /// `Invalid` when it is no bound that can be held.
    pub async fn set(&self, db: &TenantDb, scope: &Scope, limit: Option<Limit>, by: Actor) -> Result<()> {
        let limit = limit.map(Limit::checked).transpose()?;
        let before = store::set_limit(db, scope, limit, self.clock.now()).await?;
        let detail = json!({ "before": before, "after": limit, "currency": self.config.currency });
        self.record(db, by, Action::BudgetChanged, scope, None, detail).await
    }

    /// What a month's calls were and what they came to.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn usage(&self, db: &TenantDb, month: Month) -> Result<MonthUsage> {
        self.count_forgotten(db).await?;
        let (days, counters, limits) =
            tokio::try_join!(store::days(db, month.first()), store::month(db, month.first()), store::limits_of(db))?;
        Ok(report::report(month, &self.config.currency, self.usual(), &days, &counters, &limits))
    }

    /// The month in which we are.
    pub fn this_month(&self) -> Month {
        Month::of(self.clock.now())
    }

    /// What holds for an organisation that the operator has set nothing for.
    fn usual(&self) -> Limit {
        let config::Budgets { money_per_month, paid_tokens_per_month, .. } = *self.config;
        #[expect(clippy::cast_possible_truncation, reason = "a float that does not fit becomes the largest")]
        let micros = (money_per_month * 1e6).round() as i64;
        let tokens = i64::try_from(paid_tokens_per_month).unwrap_or(i64::MAX);
        Limit { tokens: (tokens > 0).then_some(tokens), micros: (micros > 0).then_some(micros) }
    }

    /// Counts as used what was set aside by calls that nobody ended.
    async fn count_forgotten(&self, db: &TenantDb) -> Result<()> {
        for (id, tokens, micros) in store::forgotten(db, self.clock.now() - FORGOTTEN_AFTER).await? {
            let ended = Ended { id: Some(id), tokens, micros, used: None };
            if ledger::settle(db, ended).await?.now {
                tracing::warn!(tenant = %db.tenant(), tokens, micros, "a call of a model was never ended; it counts as used");
            }
        }
        Ok(())
    }

    /// Tells, once a month, that a budget is nearly used up.
    async fn warn(&self, db: &TenantDb, near: Vec<String>, run: Option<RunId>, now: DateTime<Utc>) -> Result<()> {
        let percent = self.config.warn_percent;
        for near in near {
            let scope = if near.is_empty() { Scope::Organisation } else { Scope::Agent(near) };
            tracing::warn!(tenant = %db.tenant(), budget = %scope, percent, "a budget is nearly used up");
            let detail = json!({ "percent": percent, "month": Month::of(now).to_string() });
            self.record(db, Actor::System, Action::BudgetNearlyUsed, &scope, run, detail).await?;
        }
        Ok(())
    }

    async fn record(
        &self,
        db: &TenantDb,
        actor: Actor,
        action: Action,
        scope: &Scope,
        run: Option<RunId>,
        detail: serde_json::Value,
    ) -> Result<()> {
        let entry = NewEntry { actor, action, run, subject: Some(scope.to_string()), detail };
        audit::append(db, &*self.clock, entry).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_read_back_and_nothing_else_is_one() {
        for scope in [Scope::Appliance, Scope::Organisation, Scope::Agent("luna".to_owned())] {
            assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
        }
        for wrong in ["", "agent:", "agent:Luna", "agent:a b", "tenant", "agent:é"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_that_could_not_be_added_up_is_refused() {
        assert!(Limit { tokens: Some(0), micros: None }.checked().is_ok());
        for wrong in [-1, i64::MAX] {
            assert!(Limit { tokens: Some(wrong), micros: None }.checked().is_err());
            assert!(Limit { tokens: None, micros: Some(wrong) }.checked().is_err());
        }
    }
}
