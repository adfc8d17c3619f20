//! The audit log's pages, which are links and forms alone, and its API.

mod api;
mod chart;
mod panel;
mod view;

use std::collections::HashMap;

use askama::Template;
use axum::{
    extract::State,
    response::{Redirect, Response},
};
use serde::Deserialize;

pub use self::api::{AuditApi, export_entries, list_entries, list_run, verify_log};
use self::{
    chart::{Row, Tick},
    panel::Panel,
    view::{Listed, Names, Option_},
};
use super::{Runs, Seal, search::Search, timeline::TimeLine};
use crate::{
    accounts::http::InTenant,
    agents::markdown,
    audit::{self, Actor, Entry},
    http::{
        self,
        context::RequestContext,
        extract::{Form, Path, Query},
        format,
        frame::{Frame, Section},
    },
    support::{
        Error, Result,
        ids::{RunId, UserId},
    },
};

/// What the handlers need.
#[derive(Clone)]
pub struct RunsState {
    /// The use cases.
    pub runs: Runs,
}

/// The log, newest first.
#[derive(Template)]
#[template(path = "audit.html", config = "web/askama.toml")]
struct AuditPage {
    frame: Frame,
    seal: Option<view::SealView>,
    search: Search,
    /// Whether something is looked for.
    searching: bool,
    actors: Vec<Option_>,
    actions: Vec<Option_>,
    entries: Vec<Listed>,
    /// The page of older entries.
    older: Option<String>,
    /// Whether these are not the newest.
    further: bool,
    /// The first page of what is looked for.
    newest: String,
}

/// One entry.
#[derive(Template)]
#[template(path = "audit_entry.html", config = "web/askama.toml")]
struct EntryPage {
    frame: Frame,
    panel: Panel,
    seq: i64,
    at: String,
    when: String,
    who: String,
    run: Option<RunId>,
    previous: String,
    hash: String,
    altered: bool,
    newer: bool,
}

/// A run's time line.
#[derive(Template)]
#[template(path = "run.html", config = "web/askama.toml")]
struct RunPage {
    frame: Frame,
    run: RunId,
    line: TimeLine,
    /// Safe HTML.
    answer: String,
    facts: Vec<String>,
    rows: Vec<Row>,
    ticks: Vec<Tick>,
    panel: Option<Panel>,
    who: String,
    altered: Vec<i64>,
}

/// `?entry=`
#[derive(Deserialize)]
pub struct Chosen {
    entry: Option<i64>,
}

/// A form without fields of its own.
#[derive(Deserialize)]
pub struct Nothing {}

/// `GET /audit`
pub async fn show_audit(
    State(state): State<RunsState>,
    context: RequestContext,
    tenant: InTenant,
    Query(search): Query<Search>,
) -> Result<Response> {
    let people = state.runs.names(&tenant.signed_in.tenant.id, &[]).await?;
    let filter = search.filter(&people)?;
    let found = audit::find(&tenant.db, &filter, search.below()?, search.limit()?).await?;
    let names = names(&state, &tenant, &found.entries).await?;
    let now = state.runs.now();
    http::page(&AuditPage {
        frame: tenant.signed_in.frame(&context, "Audit", Section::Audit),
        seal: state.runs.seal(&tenant.db).await?.map(|seal| view::seal(&seal, now)),
        searching: !filter.is_empty(),
        actors: view::actors(&people, &search.actor),
        actions: view::actions(&search.action),
        entries: found.entries.iter().map(|entry| view::listed(entry, &names, now)).collect(),
        older: found.older.map(|below| view::address(&search, Some(below))),
        further: search.below()?.is_some(),
        newest: view::address(&search, None),
        search,
    })
}

/// `POST /audit/verify`: the log is walked along, and what was found stands above it.
pub async fn verify_by_form(
    State(state): State<RunsState>,
    tenant: InTenant,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Redirect> {
    state.runs.verify(&tenant.db, tenant.signed_in.actor()).await?;
    Ok(Redirect::to("/audit"))
}

/// `GET /audit/entries/{seq}`
pub async fn show_entry(
    State(state): State<RunsState>,
    context: RequestContext,
    tenant: InTenant,
    Path(seq): Path<i64>,
) -> Result<Response> {
    let entry = audit::entry(&tenant.db, seq).await?.ok_or_else(|| Error::not_found("the entry"))?;
    let names = names(&state, &tenant, std::slice::from_ref(&entry)).await?;
    let last = audit::extent(&tenant.db).await?.map_or(0, |(_, last)| last);
    http::page(&EntryPage {
        frame: tenant.signed_in.frame(&context, format!("Entry {seq}"), Section::Audit),
        seq,
        at: format::machine(entry.at),
        when: view::moment(entry.at),
        who: names.of(&entry.actor),
        run: entry.run,
        previous: entry.previous.clone(),
        hash: entry.hash.clone(),
        altered: entry.altered,
        newer: seq < last,
        panel: panel::of(&entry),
    })
}

/// `GET /audit/runs/{run}`: the run as a time line, with one step of it in the panel.
pub async fn show_run(
    State(state): State<RunsState>,
    context: RequestContext,
    tenant: InTenant,
    Path(run): Path<RunId>,
    Query(chosen): Query<Chosen>,
) -> Result<Response> {
    let entries = audit::of_run(&tenant.db, run).await?;
    let line = TimeLine::read(&entries)?;
    let names = names(&state, &tenant, &entries).await?;
    // Unless told otherwise, the model that answered: that is what most people come for.
    let usual = line.bars.iter().rfind(|bar| bar.kind == super::timeline::Kind::Model).or(line.bars.first());
    let shown = chosen.entry.or(usual.map(|bar| bar.seq));
    let panel = entries.iter().find(|entry| Some(entry.seq) == shown).map(panel::of);
    http::page(&RunPage {
        frame: tenant.signed_in.frame(&context, "Run", Section::Audit),
        run,
        answer: markdown::render(&line.answer, &line.citations),
        facts: view::run_facts(&line, state.runs.now()),
        rows: chart::rows(&line, shown),
        ticks: chart::ticks(line.duration_ms),
        panel,
        who: entries.first().map_or_else(String::new, |entry| names.of(&entry.actor)),
        altered: entries.iter().filter(|entry| entry.altered).map(|entry| entry.seq).collect(),
        line,
    })
}

/// The names of everybody who stands in these entries.
async fn names(state: &RunsState, tenant: &InTenant, entries: &[Entry]) -> Result<Names> {
    let mut users: Vec<UserId> = entries
        .iter()
        .filter_map(|entry| match &entry.actor {
            Actor::User { id } => Some(*id),
            _ => None,
        })
        .collect();
    users.extend(entries.iter().filter_map(|entry| entry.subject.as_deref()?.parse::<UserId>().ok()));
    let names = state.runs.names(&tenant.signed_in.tenant.id, &users).await?;
    Ok(Names(names.into_iter().collect::<HashMap<_, _>>()))
}
