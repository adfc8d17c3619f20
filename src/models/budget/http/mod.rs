//! The page of usage: what models were used for, what that cost, and the budgets. It works without script.

mod api;
mod chart;

use std::sync::Arc;

use askama::Template;
use async_trait::async_trait;
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

pub use api::{UsageApi, set_budget, show_usage_as_json};
use chart::{Chart, Measure};

use super::{Bound, Budgets, Counted, Limit, Month, MonthUsage, Scope};
use crate::{
    accounts::{Permission, http::InTenant},
    db::TenantDb,
    http::{
        self,
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::{Form, Query},
        format,
        frame::{Frame, Section},
    },
    support::{Error, Kind, Result},
};

/// What the handlers of usage need.
#[derive(Clone)]
pub struct UsageState {
    /// The use cases.
    pub budgets: Budgets,
    /// Who the agents are.
    pub staff: Arc<dyn Staff>,
}

/// The agents' names. They are told in `app`; models do not know agents.
#[async_trait]
pub trait Staff: Send + Sync + 'static {
    /// Ids and names, in the order in which they are shown.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn names(&self, db: &TenantDb) -> Result<Vec<(String, String)>>;
}

/// A month's usage, and the form to set a budget.
#[derive(Template)]
#[template(path = "usage.html", config = "web/askama.toml")]
struct UsagePage {
    frame: Frame,
    month: String,
    title: String,
    before: String,
    /// Empty when it lies in the future.
    next: String,
    figures: [Figure; 4],
    unpriced: i64,
    /// `cost` or `tokens`.
    by: &'static str,
    chart: Option<Chart>,
    agents: Vec<RowView>,
    models: Vec<RowView>,
    days: Vec<DayView>,
    budgets: Vec<BudgetView>,
    currency: String,
    may_set: bool,
    scopes: Vec<(String, String)>,
    form: BudgetForm,
    error: Option<String>,
}

struct Figure {
    label: &'static str,
    value: String,
    note: String,
}

struct RowView {
    name: String,
    calls: String,
    tokens: String,
    cost: String,
    /// Of the largest, in percent.
    share: i64,
}

struct DayView {
    day: String,
    agent: String,
    model: String,
    calls: String,
    tokens: String,
    cost: String,
}

struct BudgetView {
    scope: String,
    name: String,
    /// One line for money, one for tokens, as far as they are bounded.
    bars: Vec<Bar>,
    /// Whether the owners have set it, so that they can take it away.
    own: bool,
}

struct Bar {
    used: i64,
    most: i64,
    text: String,
    class: &'static str,
}

/// `?month=2026-11&by=tokens`
#[derive(Debug, Default, Deserialize)]
pub struct Shown {
    #[serde(default)]
    month: String,
    #[serde(default)]
    by: String,
}

/// The form of a budget. Both empty: it is taken away.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct BudgetForm {
    scope: String,
    #[serde(default)]
    money: String,
    #[serde(default)]
    tokens: String,
}

/// `GET /usage`
pub async fn show_usage(
    State(state): State<UsageState>,
    context: RequestContext,
    tenant: InTenant,
    Query(shown): Query<Shown>,
) -> Result<Response> {
    http::page(&usage_page(&state, &context, &tenant, &shown, BudgetForm::default(), None).await?)
}

/// `POST /usage/budgets`
pub async fn set_budget_by_form(
    State(state): State<UsageState>,
    context: RequestContext,
    tenant: InTenant,
    Form(form): Form<BudgetForm>,
) -> Result<Response> {
    let set = async {
        let scope = owners_scope(&form.scope)?;
        let limit = Limit { micros: amount(&form.money)?, tokens: number(&form.tokens)? };
        let limit = (limit != Limit::default()).then_some(limit);
        state.budgets.set(&tenant.db, &scope, limit, tenant.signed_in.actor()).await
    };
    match set.await {
        Ok(()) => Ok(Redirect::to("/usage").into_response()),
        Err(error) if matches!(error.kind(), Kind::Internal | Kind::Unavailable) => Err(error),
        Err(error) => {
            let told = Some(in_sentences(&error));
            let page = usage_page(&state, &context, &tenant, &Shown::default(), form, told).await?;
            Ok(form_refused(&error, http::page(&page)?))
        }
    }
}

/// `GET /usage.csv`
pub async fn download_usage(
    State(state): State<UsageState>,
    tenant: InTenant,
    Query(shown): Query<Shown>,
) -> Result<Response> {
    let usage = state.budgets.usage(&tenant.db, month(&state, &shown)?).await?;
    let mut table = csv::Writer::from_writer(Vec::new());
    let head =
        ["day", "agent", "model", "calls", "prompt_tokens", "completion_tokens", "local_tokens", "cost", "currency"];
    table.write_record(head).map_err(Error::internal)?;
    for day in &usage.days {
        let Counted { calls, prompt_tokens, completion_tokens, local_tokens, micros, unpriced } = day.counted;
        // Not known is not nothing.
        let cost = if unpriced > 0 && micros == 0 {
            String::new()
        } else {
            format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
        };
        let numbers = [calls, prompt_tokens, completion_tokens, local_tokens].map(|number| number.to_string());
        let [calls, prompt, completion, local] = numbers;
        let row = [
            day.day.to_string(),
            plain(&day.agent),
            plain(&day.model),
            calls,
            prompt,
            completion,
            local,
            cost,
            usage.currency.clone(),
        ];
        table.write_record(row).map_err(Error::internal)?;
    }
    let body = table.into_inner().map_err(|error| Error::internal(error.into_error()))?;
    let name = format!("attachment; filename=\"{}-usage-{}.csv\"", tenant.signed_in.tenant.slug, usage.month);
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)], body)
        .into_response())
}

/// A spreadsheet takes what begins so for a formula.
fn plain(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn month(state: &UsageState, shown: &Shown) -> Result<Month> {
    if shown.month.is_empty() { Ok(state.budgets.this_month()) } else { shown.month.parse() }
}

/// The operator's bound is not the owners' to set.
fn owners_scope(text: &str) -> Result<Scope> {
    match text.trim().parse()? {
        Scope::Appliance => Err(Error::invalid("The operator's budget is set with `aegis budget set`")),
        scope => Ok(scope),
    }
}

fn amount(text: &str) -> Result<Option<i64>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Error::invalid("The amount is not a number").remedy("Write it as 50 or 12.50");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || whole.len() > 9 || part.len() > 6 {
        return Err(wrong());
    }
    let micros = |text: &str| text.parse::<i64>().map_err(|_| wrong());
    Ok(Some(micros(whole)? * 1_000_000 + micros(&format!("{part:0<6}"))?))
}

fn number(text: &str) -> Result<Option<i64>> {
    let text: String = text.chars().filter(|sign| !matches!(sign, ' ' | ',' | '_')).collect();
    if text.is_empty() {
        return Ok(None);
    }
    let number =
        text.parse().map_err(|_| Error::invalid("The tokens are not a number").remedy("Write them as 2000000"))?;
    Ok(Some(number))
}

async fn usage_page(
    state: &UsageState,
    context: &RequestContext,
    tenant: &InTenant,
    shown: &Shown,
    form: BudgetForm,
    error: Option<String>,
) -> Result<UsagePage> {
    let month = month(state, shown)?;
    let usage = state.budgets.usage(&tenant.db, month).await?;
    let staff = state.staff.names(&tenant.db).await?;
    let called =
        |id: &str| staff.iter().find(|(known, _)| known == id).map_or_else(|| id.to_owned(), |(_, name)| name.clone());
    let measure = match shown.by.as_str() {
        "tokens" => Measure::Tokens,
        "cost" => Measure::Cost,
        _ if usage.total.micros > 0 => Measure::Cost,
        _ => Measure::Tokens,
    };
    let mut scopes = vec![(Scope::Organisation.to_string(), "The organisation".to_owned())];
    scopes.extend(staff.iter().map(|(id, name)| (Scope::Agent(id.clone()).to_string(), name.clone())));
    let next = month.next();
    Ok(UsagePage {
        frame: tenant.signed_in.frame(context, "Usage", Section::Usage),
        month: month.to_string(),
        title: format!("{month:#}"),
        before: month.before().to_string(),
        next: if next > state.budgets.this_month() { String::new() } else { next.to_string() },
        figures: figures(&usage),
        unpriced: usage.total.unpriced,
        by: if measure == Measure::Cost { "cost" } else { "tokens" },
        chart: chart::chart(month, &usage, measure),
        agents: rows(usage.agents.iter().map(|named| (called(&named.name), named.counted)), &usage.currency),
        models: rows(usage.models.iter().map(|named| (named.name.clone(), named.counted)), &usage.currency),
        days: usage
            .days
            .iter()
            .rev()
            .map(|day| DayView {
                day: day.day.format("%-d %B").to_string(),
                agent: called(&day.agent),
                model: day.model.clone(),
                calls: format::grouped(day.counted.calls),
                tokens: format::grouped(day.counted.tokens()),
                cost: cost(&day.counted, &usage.currency),
            })
            .collect(),
        budgets: usage.budgets.iter().map(|bound| budget(bound, &called, &usage.currency)).collect(),
        currency: usage.currency,
        may_set: tenant.signed_in.may(Permission::SettingsManage),
        scopes,
        form,
        error,
    })
}

fn figures(usage: &MonthUsage) -> [Figure; 4] {
    let total = &usage.total;
    let local = if total.tokens() == 0 { 0 } else { total.local_tokens * 100 / total.tokens() };
    [
        Figure {
            label: "Cost",
            value: format::money(total.micros, &usage.currency),
            note: "models of your own cost nothing".to_owned(),
        },
        Figure {
            label: "Tokens",
            value: format::grouped(total.tokens()),
            note: format!(
                "{} read, {} written",
                format::grouped(total.prompt_tokens),
                format::grouped(total.completion_tokens)
            ),
        },
        Figure {
            label: "Calls of models",
            value: format::grouped(total.calls),
            note: format::count(i64::try_from(usage.models.len()).unwrap_or_default(), "model"),
        },
        Figure { label: "On your own machines", value: format!("{local} %"), note: "of all tokens".to_owned() },
    ]
}

fn rows(named: impl Iterator<Item = (String, Counted)>, currency: &str) -> Vec<RowView> {
    let named: Vec<_> = named.collect();
    let largest = named.iter().map(|(_, counted)| counted.tokens()).max().unwrap_or_default().max(1);
    named
        .into_iter()
        .map(|(name, counted)| RowView {
            name,
            calls: format::grouped(counted.calls),
            tokens: format::grouped(counted.tokens()),
            cost: cost(&counted, currency),
            share: counted.tokens() * 100 / largest,
        })
        .collect()
}

fn cost(counted: &Counted, currency: &str) -> String {
    match (counted.micros, counted.unpriced) {
        (0, 0) => "nothing".to_owned(),
        (0, _) => "not known".to_owned(),
        (micros, 0) => format::money(micros, currency),
        (micros, _) => format!("{} and more", format::money(micros, currency)),
    }
}

fn budget(bound: &Bound, called: &impl Fn(&str) -> String, currency: &str) -> BudgetView {
    let bar = |used: i64, reserved: i64, most: i64, told: &dyn Fn(i64) -> String| Bar {
        used: used + reserved,
        most: most.max(1),
        text: format!(
            "{} of {}{}",
            told(used),
            told(most),
            if reserved > 0 { format!(", {} set aside", told(reserved)) } else { String::new() }
        ),
        class: if used + reserved >= most {
            "over"
        } else if (used + reserved) * 5 >= most * 4 {
            "near"
        } else {
            ""
        },
    };
    let money = |amount| format::money(amount, currency);
    let tokens = |amount| format::count(amount, "token");
    let bars = [
        bound.limit.micros.map(|most| bar(bound.micros, bound.reserved_micros, most, &money)),
        bound.limit.tokens.map(|most| bar(bound.tokens, bound.reserved_tokens, most, &tokens)),
    ];
    BudgetView {
        name: bound.scope.strip_prefix("agent:").map_or_else(|| "The organisation".to_owned(), called),
        scope: bound.scope.clone(),
        bars: bars.into_iter().flatten().collect(),
        own: bound.own.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them_and_nothing_else_is() {
        assert_eq!(amount(" 12.5 ").unwrap(), Some(12_500_000));
        assert_eq!((amount("").unwrap(), amount("0").unwrap()), (None, Some(0)));
        for wrong in ["-1", "1e3", "1.2.3", "abc", ".", "1,5", "12345678901", "1.1234567"] {
            assert!(amount(wrong).is_err(), "{wrong}");
        }
        assert_eq!(number("2 000,000").unwrap(), Some(2_000_000));
        assert!(number("-").is_err() && number("99999999999999999999").is_err());
    }

    #[test]
    fn a_name_that_a_spreadsheet_would_compute_is_made_plain() {
        assert_eq!(plain("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(plain("ollama/llama3.2"), "ollama/llama3.2");
    }
}
