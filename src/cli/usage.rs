//! `aegis usage` and `aegis budget …`

use std::process::ExitCode;

use anyhow::ensure;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::{Client, encode},
    output::{Output, table},
};
use crate::{
    http::format::{grouped, money},
    models::budget::{Bound, MonthUsage},
};

/// `aegis usage`
#[derive(Debug, Args)]
pub struct Usage {
    /// The tenant's slug.
    #[arg(long)]
    tenant: String,
    /// Which month, as 2026-11; the one in which we are unless told.
    #[arg(long)]
    month: Option<String>,
}

impl Usage {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        let month = self.month.map_or_else(String::new, |month| format!("?month={}", encode(&month)));
        let usage: MonthUsage = client.get(&format!("/tenants/{}/usage{month}", encode(&self.tenant))).await?;
        output.result(&usage, |usage| {
            let rows: Vec<_> = usage
                .days
                .iter()
                .map(|day| {
                    let cost = money(day.counted.micros, &usage.currency);
                    let (calls, tokens) = (grouped(day.counted.calls), grouped(day.counted.tokens()));
                    vec![day.day.to_string(), day.agent.clone(), day.model.clone(), calls, tokens, cost]
                })
                .collect();
            format!("{}\n\n{}", table(&["DAY", "AGENT", "MODEL", "CALLS", "TOKENS", "COST"], &rows), budgets(usage))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `aegis budget`
#[derive(Debug, Subcommand)]
pub enum Budget {
    /// Bound what a tenant may spend in a month on models that cost something, in place of `[budgets]`.
    Set {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// Bound this agent only.
        #[arg(long)]
        agent: Option<String>,
        /// The amount, in the configured currency; left out: no bound in money.
        #[arg(long)]
        money: Option<f64>,
        /// Tokens of prompts and answers; left out: no bound in tokens.
        #[arg(long)]
        tokens: Option<i64>,
    },
    /// Take the bound away; `[budgets]` holds again.
    Clear {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// This agent's bound only.
        #[arg(long)]
        agent: Option<String>,
    },
}

impl Budget {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        let (tenant, agent, limit) = match self {
            Self::Set { tenant, agent, money, tokens } => {
                let micros = money.map(micros).transpose()?;
                (tenant, agent, json!({ "tokens": tokens, "micros": micros }))
            }
            Self::Clear { tenant, agent } => (tenant, agent, Value::Null),
        };
        let body = json!({ "agent": agent, "limit": limit });
        let usage: MonthUsage = client.post(&format!("/tenants/{}/budget", encode(&tenant)), &body).await?;
        output.result(&usage, budgets)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn micros(amount: f64) -> anyhow::Result<i64> {
    ensure!((0.0..=1e9).contains(&amount), "the amount is a number from 0 to 1000000000");
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    Ok((amount * 1e6).round() as i64)
}

/// How the budgets stand.
fn budgets(usage: &MonthUsage) -> String {
    let of = |used: String, most: Option<String>| {
        most.map_or_else(|| format!("{used}, no bound"), |most| format!("{used} of {most}"))
    };
    let row = |bound: &Bound| {
        let tokens = of(grouped(bound.tokens), bound.limit.tokens.map(grouped));
        let spent =
            of(money(bound.micros, &usage.currency), bound.limit.micros.map(|most| money(most, &usage.currency)));
        vec![bound.scope.clone(), tokens, spent]
    };
    table(&["BUDGET", "TOKENS THAT COST", "SPENT"], &usage.budgets.iter().map(row).collect::<Vec<_>>())
}
