//! The budget's say in a call: set aside before, settled after.

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    Budgets, Month,
    ledger::{self, Ended, Judged, Used, Wanted},
};
use crate::{
    db::TenantDb,
    http::format,
    models::{
        chat::ModelError,
        meter::{Meter, Planned, Price, Reservation, Usage},
    },
    support::{Result, ids::RunId},
};

/// Bytes of text in a token, for an answer that was cut off before its tokens were counted.
const BYTES_PER_TOKEN: usize = 3;

/// In the name of one tenant, agent and run.
pub(super) struct TenantMeter {
    pub(super) budgets: Budgets,
    pub(super) db: TenantDb,
    pub(super) agent: String,
    pub(super) run: Option<RunId>,
}

/// What was set aside for one call.
struct SetAside {
    call: Option<Call>,
    received: usize,
}

struct Call {
    budgets: Budgets,
    db: TenantDb,
    agent: String,
    run: Option<RunId>,
    model: String,
    price: Price,
    at_most: Usage,
    /// None for a call that costs nothing.
    id: Option<Uuid>,
}

#[async_trait]
impl Meter for TenantMeter {
    async fn reserve(&self, planned: &Planned<'_>) -> std::result::Result<Box<dyn Reservation>, ModelError> {
        let id = match planned.price {
            Price::Free => None,
            Price::PerMillion { .. } | Price::Unknown => Some(self.set_aside(planned).await?),
        };
        let call = Call {
            budgets: self.budgets.clone(),
            db: self.db.clone(),
            agent: self.agent.clone(),
            run: self.run,
            model: planned.model.to_owned(),
            price: planned.price,
            at_most: planned.at_most,
            id,
        };
        Ok(Box::new(SetAside { call: Some(call), received: 0 }))
    }
}

impl TenantMeter {
    async fn set_aside(&self, planned: &Planned<'_>) -> std::result::Result<Uuid, ModelError> {
        let now = self.budgets.clock.now();
        // One's own id, so that nothing is asked back.
        let id = RunId::generate().0;
        let wanted = Wanted {
            id,
            agent: self.agent.clone(),
            model: planned.model.to_owned(),
            tokens: tokens(planned.at_most),
            micros: planned.price.micros(planned.at_most),
            now,
            usual: self.budgets.usual(),
        };
        let judged = ledger::reserve(&self.db, wanted.clone()).await.map_err(|error| {
            tracing::error!(tenant = %self.db.tenant(), %error, "a budget cannot be looked at");
            ModelError::Server { message: "its budget cannot be looked at, so it was not asked".to_owned() }
        })?;
        match judged.iter().find(|judged| !judged.tokens_fit || !judged.micros_fit) {
            Some(judged) => Err(ModelError::OverBudget { message: self.refusal(judged, &wanted) }),
            None => Ok(id),
        }
    }

    /// Which budget it is, how it stands, and when it is new.
    fn refusal(&self, judged: &Judged, wanted: &Wanted) -> String {
        let month = Month::of(wanted.now);
        let whose = if judged.agent.is_empty() {
            format!("the organisation's budget for {month:#}")
        } else {
            format!("the budget of {} for {month:#}", judged.agent)
        };
        let currency = self.budgets.currency();
        let stands = match (judged.tokens_fit, judged.most.tokens, judged.most.micros, wanted.micros) {
            (false, Some(most), _, _) => format!(
                "{} of {} tokens are used or set aside, and this call may take {}",
                format::grouped(judged.tokens),
                format::grouped(most),
                format::grouped(wanted.tokens)
            ),
            (_, _, Some(most), Some(micros)) => format!(
                "{} of {} are spent or set aside, and this call may cost {}",
                format::money(judged.micros, currency),
                format::money(most, currency),
                format::money(micros, currency)
            ),
            _ => {
                return format!(
                    "{whose} is in {currency}, and the configuration has no price for {}, so it is not asked",
                    wanted.model
                );
            }
        };
        format!("{whose} does not allow the call: {stands}; it is new on {}", month.next().first().format("%-d %B"))
    }
}

#[async_trait]
impl Reservation for SetAside {
    async fn settle(mut self: Box<Self>, used: Option<Usage>) {
        if let Some(call) = self.call.take() {
            call.end(used).await;
        }
    }

    fn received(&mut self, bytes: usize) {
        self.received += bytes;
    }
}

impl Drop for SetAside {
    /// Cut off: the provider has read the prompt, and written what has come.
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        let written = u32::try_from(self.received / BYTES_PER_TOKEN).unwrap_or(u32::MAX);
        let completion_tokens = written.min(call.at_most.completion_tokens);
        let used = Usage { prompt_tokens: call.at_most.prompt_tokens, completion_tokens };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(call.end(Some(used)));
        }
    }
}

impl Call {
    /// Counts what was used. What cannot be written down stays set aside, and counts as used later.
    async fn end(self, used: Option<Usage>) {
        if let Err(error) = self.count(used).await {
            tracing::error!(tenant = %self.db.tenant(), model = self.model, %error, "a call could not be counted");
        }
    }

    async fn count(&self, used: Option<Usage>) -> Result<()> {
        let now = self.budgets.clock.now();
        let micros = used.map_or(Some(0), |used| self.price.micros(used));
        let used_tokens = used.map_or(0, tokens);
        let used = used.map(|usage| Used {
            agent: self.agent.clone(),
            model: self.model.clone(),
            local: self.price == Price::Free,
            usage,
            micros,
            now,
            usual: self.budgets.usual(),
            percent: self.budgets.config.warn_percent,
        });
        if self.id.is_none() && used.is_none() {
            return Ok(());
        }
        let ended = Ended { id: self.id, tokens: used_tokens, micros: micros.unwrap_or_default(), used };
        let settled = ledger::settle(&self.db, ended).await?;
        self.budgets.warn(&self.db, settled.near, self.run, now).await
    }
}

fn tokens(usage: Usage) -> i64 {
    i64::from(usage.prompt_tokens) + i64::from(usage.completion_tokens)
}
