//! The book in which calls are set aside and counted. Calls of one organisation that come at the same time are entered
//! together, one after the other: each sees what the one before it took, and one transaction serves them all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::{
    Limit, Scope,
    store::{self, Changes, Counter, DayRow, NewReserved, Reserved, month_of},
};
use crate::{
    db::TenantDb,
    models::meter::Usage,
    support::{
        Error, Result,
        together::{Batch, Together},
    },
};

/// What a call would take out of a month.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) id: Uuid,
    pub(super) agent: String,
    pub(super) model: String,
    pub(super) tokens: i64,
    /// None where the price is not known.
    pub(super) micros: Option<i64>,
    pub(super) now: DateTime<Utc>,
    /// What holds where the operator has set nothing for the organisation.
    pub(super) usual: Limit,
}

/// How a bound stood when a call was judged by it.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// Empty for the whole organisation.
    pub(super) agent: String,
    /// Used and set aside until then.
    pub(super) tokens: i64,
    pub(super) micros: i64,
    pub(super) most: Limit,
    pub(super) tokens_fit: bool,
    pub(super) micros_fit: bool,
}

/// A call that has ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    /// What was set aside for it, if it costs something.
    pub(super) id: Option<Uuid>,
    /// What it took out of the month; it may be nothing.
    pub(super) tokens: i64,
    pub(super) micros: i64,
    /// For the report; none for a call that came to nothing.
    pub(super) used: Option<Used>,
}

/// A call in the report.
#[derive(Debug, Clone)]
pub(super) struct Used {
    pub(super) agent: String,
    pub(super) model: String,
    pub(super) local: bool,
    pub(super) usage: Usage,
    /// None where the price is not known.
    pub(super) micros: Option<i64>,
    pub(super) now: DateTime<Utc>,
    pub(super) usual: Limit,
    /// From so many percent of a bound on, it is nearly used up.
    pub(super) percent: u8,
}

/// What became of a call that has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Whether it was settled now and not before.
    pub(super) now: bool,
    /// The bounds that are nearly used up since then: agents, the empty one for the organisation.
    pub(super) near: Vec<String>,
}

/// Sets aside what a call may come to, if both bounds allow it. Returns how they stood, the organisation's first.
pub(super) async fn reserve(db: &TenantDb, wanted: Wanted) -> Result<Vec<Judged>> {
    match enter(db, Entry::Reserve(wanted)).await? {
        Told::Judged(judged) => Ok(judged),
        Told::Settled(_) => Err(Error::internal("a reservation was told of a settlement")),
    }
}

/// Turns what was set aside into what was used, and counts it.
pub(super) async fn settle(db: &TenantDb, ended: Ended) -> Result<Settled> {
    match enter(db, Entry::End(ended)).await? {
        Told::Settled(settled) => Ok(settled),
        Told::Judged(_) => Err(Error::internal("a settlement was told of a reservation")),
    }
}

async fn enter(db: &TenantDb, entry: Entry) -> Result<Told> {
    let together: Arc<Together<Ledger>> = db.beside().kept();
    let stopped = || Err(Error::unavailable("the appliance stopped before a budget was looked at"));
    together.hand_over(entry, Ledger(db.clone())).await.unwrap_or_else(stopped)
}

#[derive(Debug, Clone)]
enum Entry {
    Reserve(Wanted),
    End(Ended),
}

enum Told {
    Judged(Vec<Judged>),
    Settled(Settled),
}

struct Ledger(TenantDb);

impl Batch for Ledger {
    type Item = Entry;
    type Told = Result<Told>;
    const MOST: usize = 128;

    async fn work(&self, batch: Vec<Entry>) -> Vec<Result<Told>> {
        match self.enter(&batch).await {
            Ok(told) => told.into_iter().map(Ok).collect(),
            Err(error) => error.for_each(batch.len()).map(Err).collect(),
        }
    }
}

impl Ledger {
    async fn enter(&self, batch: &[Entry]) -> Result<Vec<Told>> {
        let mut days = Days::default();
        for entry in batch {
            if let Entry::End(Ended { used: Some(used), .. }) = entry {
                days.add(used);
            }
        }
        let days = days.0.into_values().collect::<Vec<_>>();
        if batch.iter().all(Entry::is_free) {
            store::count(&self.0, &days).await?;
            return Ok(batch.iter().map(|_| Told::Settled(Settled::default())).collect());
        }
        let mut changes = Changes::begin(&self.0).await?;
        let ids: Vec<_> = batch.iter().filter_map(Entry::reservation).collect();
        let released = if ids.is_empty() { Vec::new() } else { changes.release(&ids).await? };
        let concerned: BTreeSet<_> = batch.iter().flat_map(|entry| entry.counters(&released)).collect();
        let counters = changes.lock(&concerned).await?;
        let mut month = Months { counters, limits: changes.limits().await?, released, new: Vec::new() };
        let told = batch.iter().map(|entry| month.enter(entry)).collect();
        changes.write(&month.counters.iter().collect::<Vec<_>>(), &month.new).await?;
        if !days.is_empty() {
            changes.count(&days).await?;
        }
        changes.commit().await?;
        Ok(told)
    }
}

impl Entry {
    /// Whether it concerns no bound.
    fn is_free(&self) -> bool {
        matches!(self, Self::End(Ended { id: None, .. }))
    }

    fn reservation(&self) -> Option<Uuid> {
        match self {
            Self::Reserve(_) => None,
            Self::End(ended) => ended.id,
        }
    }

    /// The counters that it changes or is judged by.
    fn counters(&self, released: &[Reserved]) -> Vec<(NaiveDate, String)> {
        let both = |month: NaiveDate, agent: &str| [(month, String::new()), (month, agent.to_owned())];
        match self {
            Self::Reserve(wanted) => both(month_of(wanted.now), &wanted.agent).into(),
            Self::End(ended) => {
                let before = released.iter().find(|released| Some(released.id) == ended.id);
                let before = before.into_iter().flat_map(|released| both(released.month, &released.agent));
                let now = ended.used.as_ref().filter(|used| !used.local);
                before.chain(now.into_iter().flat_map(|used| both(month_of(used.now), &used.agent))).collect()
            }
        }
    }
}

/// The counters that are locked, and the bounds.
struct Months {
    counters: Vec<Counter>,
    limits: Vec<(Scope, Limit)>,
    released: Vec<Reserved>,
    new: Vec<NewReserved>,
}

impl Months {
    fn enter(&mut self, entry: &Entry) -> Told {
        match entry {
            Entry::Reserve(wanted) => Told::Judged(self.reserve(wanted)),
            Entry::End(ended) => Told::Settled(self.end(ended)),
        }
    }

    fn reserve(&mut self, wanted: &Wanted) -> Vec<Judged> {
        let month = month_of(wanted.now);
        let judge = |agent: &str| {
            let most = self.most(agent, wanted.usual);
            let counter = self.counter(month, agent);
            let tokens = counter.map_or(0, |counter| counter.tokens + counter.reserved_tokens);
            let micros = counter.map_or(0, |counter| counter.micros + counter.reserved_micros);
            Judged {
                agent: agent.to_owned(),
                tokens,
                micros,
                most,
                tokens_fit: most.tokens.is_none_or(|most| tokens + wanted.tokens <= most),
                micros_fit: most.micros.is_none_or(|most| wanted.micros.is_some_and(|more| micros + more <= most)),
            }
        };
        let judged = vec![judge(""), judge(&wanted.agent)];
        if judged.iter().all(|judged| judged.tokens_fit && judged.micros_fit) {
            let micros = wanted.micros.unwrap_or_default();
            for counter in self.both(month, &wanted.agent) {
                counter.reserved_tokens += wanted.tokens;
                counter.reserved_micros += micros;
            }
            let (agent, tokens) = (wanted.agent.clone(), wanted.tokens);
            let reserved = Reserved { id: wanted.id, month, agent, tokens, micros };
            self.new.push(NewReserved { reserved, model: wanted.model.clone(), at: wanted.now });
        }
        judged
    }

    fn end(&mut self, ended: &Ended) -> Settled {
        let mut settled = Settled::default();
        let place = self.released.iter().position(|released| Some(released.id) == ended.id);
        if let Some(released) = place.map(|place| self.released.swap_remove(place)) {
            settled.now = true;
            for counter in self.both(released.month, &released.agent) {
                counter.tokens += ended.tokens;
                counter.micros += ended.micros;
                counter.reserved_tokens -= released.tokens;
                counter.reserved_micros -= released.micros;
            }
        }
        if let Some(used) = ended.used.as_ref().filter(|used| !used.local) {
            settled.near = self.newly_near(used);
        }
        settled
    }

    /// Marks those of the organisation and the agent whose use has just come near a bound, and says which.
    fn newly_near(&mut self, used: &Used) -> Vec<String> {
        let percent = i64::from(used.percent);
        let is_near = |used: i64, most: Option<i64>| most.is_some_and(|most| used * 100 >= most * percent);
        let bounds = ["", &used.agent].map(|agent| (agent.to_owned(), self.most(agent, used.usual)));
        let mut near = Vec::new();
        for counter in self.both(month_of(used.now), &used.agent).filter(|counter| !counter.warned) {
            let Some((_, most)) = bounds.iter().find(|(agent, _)| *agent == counter.agent) else { continue };
            if is_near(counter.tokens, most.tokens) || is_near(counter.micros, most.micros) {
                counter.warned = true;
                near.push(counter.agent.clone());
            }
        }
        near
    }

    /// The bound of an agent, or of the organisation: the operator's, or what is usual; the owners' where that is less.
    fn most(&self, agent: &str, usual: Limit) -> Limit {
        let set = |scope: &Scope| self.limits.iter().find(|(of, _)| of == scope).map(|(_, limit)| *limit);
        if !agent.is_empty() {
            return set(&Scope::Agent(agent.to_owned())).unwrap_or_default();
        }
        let (operator, owners) =
            (set(&Scope::Appliance).unwrap_or(usual), set(&Scope::Organisation).unwrap_or_default());
        let less = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
        Limit { tokens: less(operator.tokens, owners.tokens), micros: less(operator.micros, owners.micros) }
    }

    fn counter(&self, month: NaiveDate, agent: &str) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.month == month && counter.agent == agent)
    }

    /// The organisation's counter and the agent's.
    fn both<'a>(&'a mut self, month: NaiveDate, agent: &'a str) -> impl Iterator<Item = &'a mut Counter> {
        let concerned = move |counter: &&mut Counter| {
            counter.month == month && (counter.agent.is_empty() || counter.agent == agent)
        };
        self.counters.iter_mut().filter(concerned)
    }
}

/// Calls by day, agent, model and place.
#[derive(Default)]
struct Days(BTreeMap<(NaiveDate, String, String, bool), DayRow>);

impl Days {
    fn add(&mut self, used: &Used) {
        let day = used.now.date_naive();
        let key = (day, used.agent.clone(), used.model.clone(), used.local);
        let row = self.0.entry(key).or_insert_with(|| DayRow {
            day,
            agent: used.agent.clone(),
            model: used.model.clone(),
            local: used.local,
            calls: 0,
            unpriced: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            micros: 0,
        });
        row.calls += 1;
        row.unpriced += i64::from(used.micros.is_none());
        row.prompt_tokens += i64::from(used.usage.prompt_tokens);
        row.completion_tokens += i64::from(used.usage.completion_tokens);
        row.micros += used.micros.unwrap_or_default();
    }
}
