//! What a month's calls came to: by day, by agent, by model, and how the budgets stand.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chrono::{DateTime, Datelike as _, Months, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Limit, Scope,
    store::{DayRow, MonthRow, month_of},
};
use crate::support::{Error, Result};

/// A calendar month, in UTC: `2026-11`, and `November 2026` with `{:#}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(NaiveDate);

impl Month {
    /// The month of a moment.
    pub fn of(moment: DateTime<Utc>) -> Self {
        Self(month_of(moment))
    }

    /// Its first day.
    pub fn first(self) -> NaiveDate {
        self.0
    }

    /// The month after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add_months(Months::new(1)).unwrap_or(self.0))
    }

    /// The month before.
    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.checked_sub_months(Months::new(1)).unwrap_or(self.0))
    }

    /// How many days it has.
    pub fn days(self) -> u32 {
        u32::try_from((self.next().0 - self.0).num_days()).unwrap_or(31)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if f.alternate() { "%B %Y" } else { "%Y-%m" };
        write!(f, "{}", self.0.format(form))
    }
}

impl FromStr for Month {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("A month is written as 2026-11");
        let (year, month) =
            text.split_once('-').filter(|parts| parts.0.len() == 4 && parts.1.len() == 2).ok_or_else(wrong)?;
        let (year, month) = (year.parse().map_err(|_| wrong())?, month.parse().map_err(|_| wrong())?);
        NaiveDate::from_ymd_opt(year, month, 1).filter(|day| day.year() >= 2000).map(Self).ok_or_else(wrong)
    }
}

/// Calls added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Counted {
    /// Calls of models.
    pub calls: i64,
    /// Of these, calls that cost something the configuration has no price for.
    pub unpriced: i64,
    /// Tokens of prompts.
    pub prompt_tokens: i64,
    /// Tokens of answers.
    pub completion_tokens: i64,
    /// Of all tokens, those of models on machines of one's own.
    pub local_tokens: i64,
    /// What it cost, in millionths of the currency.
    pub micros: i64,
}

impl Counted {
    /// Of prompts and answers.
    pub fn tokens(&self) -> i64 {
        self.prompt_tokens + self.completion_tokens
    }

    fn add(&mut self, row: &DayRow) {
        self.calls += row.calls;
        self.unpriced += row.unpriced;
        self.prompt_tokens += row.prompt_tokens;
        self.completion_tokens += row.completion_tokens;
        self.local_tokens += if row.local { row.prompt_tokens + row.completion_tokens } else { 0 };
        self.micros += row.micros;
    }
}

/// What one agent used of one model on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DayUsage {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// The agent.
    pub agent: String,
    /// The model.
    pub model: String,
    /// The calls.
    #[serde(flatten)]
    pub counted: Counted,
}

/// A budget and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bound {
    /// `organisation`, `agent:luna`.
    pub scope: String,
    /// The least of the bounds that hold for it.
    pub limit: Limit,
    /// What the owners have set, if they have.
    pub own: Option<Limit>,
    /// Tokens used.
    pub tokens: i64,
    /// Spent, in millionths of the currency.
    pub micros: i64,
    /// Tokens set aside for calls that go on.
    pub reserved_tokens: i64,
    /// Set aside for calls that go on.
    pub reserved_micros: i64,
}

/// A month's calls and what they came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MonthUsage {
    /// `2026-11`
    pub month: String,
    /// What costs are in.
    pub currency: String,
    /// All of it.
    pub total: Counted,
    /// By agent, what used most first.
    pub agents: Vec<Named>,
    /// By model, what was used most first.
    pub models: Vec<Named>,
    /// By day, agent and model.
    pub days: Vec<DayUsage>,
    /// The budgets, the organisation's first.
    pub budgets: Vec<Bound>,
}

/// Calls added up under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Named {
    /// The agent's or the model's.
    pub name: String,
    /// The calls.
    #[serde(flatten)]
    pub counted: Counted,
}

/// Adds up a month's days, and puts its counters beside the bounds.
pub(super) fn report(
    month: Month,
    currency: &str,
    usual: Limit,
    rows: &[DayRow],
    counters: &[MonthRow],
    limits: &[(Scope, Limit)],
) -> MonthUsage {
    let mut total = Counted::default();
    let mut days: BTreeMap<(NaiveDate, &str, &str), Counted> = BTreeMap::new();
    for row in rows {
        total.add(row);
        days.entry((row.day, &row.agent, &row.model)).or_default().add(row);
    }
    let day = |((day, agent, model), counted): ((NaiveDate, &str, &str), Counted)| DayUsage {
        day,
        agent: agent.to_owned(),
        model: model.to_owned(),
        counted,
    };
    MonthUsage {
        month: month.to_string(),
        currency: currency.to_owned(),
        total,
        agents: named(rows, |row| &row.agent),
        models: named(rows, |row| &row.model),
        days: days.into_iter().map(day).collect(),
        budgets: bounds(usual, counters, limits),
    }
}

fn named(rows: &[DayRow], name: impl Fn(&DayRow) -> &String) -> Vec<Named> {
    let mut sums: BTreeMap<&String, Counted> = BTreeMap::new();
    for row in rows {
        sums.entry(name(row)).or_default().add(row);
    }
    let mut sums: Vec<_> = sums.into_iter().map(|(name, counted)| Named { name: name.clone(), counted }).collect();
    sums.sort_by_key(|named| std::cmp::Reverse((named.counted.micros, named.counted.tokens())));
    sums
}

fn bounds(usual: Limit, counters: &[MonthRow], limits: &[(Scope, Limit)]) -> Vec<Bound> {
    let set = |wanted: &Scope| limits.iter().find(|(scope, _)| scope == wanted).map(|(_, limit)| *limit);
    let least = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
    let operator = set(&Scope::Appliance).unwrap_or(usual);
    let own = set(&Scope::Organisation);
    let both = own.map_or(operator, |own| Limit {
        tokens: least(own.tokens, operator.tokens),
        micros: least(own.micros, operator.micros),
    });
    let bound = |scope: &Scope, agent: &str, limit: Limit, own: Option<Limit>| {
        let counter = counters.iter().find(|counter| counter.agent == agent);
        let of = |field: fn(&MonthRow) -> i64| counter.map_or(0, field);
        Bound {
            scope: scope.to_string(),
            limit,
            own,
            tokens: of(|row| row.tokens),
            micros: of(|row| row.micros),
            reserved_tokens: of(|row| row.reserved_tokens),
            reserved_micros: of(|row| row.reserved_micros),
        }
    };
    let agents = limits.iter().filter_map(|(scope, limit)| match scope {
        Scope::Agent(agent) => Some(bound(scope, agent, *limit, Some(*limit))),
        Scope::Appliance | Scope::Organisation => None,
    });
    std::iter::once(bound(&Scope::Organisation, "", both, own)).chain(agents).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_knows_its_neighbours_and_its_names() {
        let november: Month = "2026-11".parse().unwrap();
        assert_eq!((november.to_string(), format!("{november:#}")), ("2026-11".to_owned(), "November 2026".to_owned()));
        assert_eq!(
            (november.before().to_string(), november.next().next().to_string()),
            ("2026-10".into(), "2027-01".into())
        );
        assert_eq!((november.days(), "2028-02".parse::<Month>().unwrap().days()), (30, 29));
        for wrong in ["", "2026", "2026-13", "26-11", "2026-1", "1999-12", "2026-11-01", "+026-11"] {
            assert!(wrong.parse::<Month>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_least_of_the_operators_and_the_owners_bound_holds() {
        let limit = |tokens, micros| Limit { tokens, micros };
        let usual = limit(Some(100), None);
        let holds = |limits: &[(Scope, Limit)]| bounds(usual, &[], limits)[0].limit;
        assert_eq!(holds(&[]), usual);
        assert_eq!(holds(&[(Scope::Organisation, limit(Some(500), Some(9)))]), limit(Some(100), Some(9)));
        assert_eq!(holds(&[(Scope::Appliance, limit(None, Some(7)))]), limit(None, Some(7)));
        let both = [(Scope::Appliance, limit(None, Some(7))), (Scope::Organisation, limit(Some(3), Some(9)))];
        assert_eq!(holds(&both), limit(Some(3), Some(7)));
    }
}
