//! Audit logs, as the operator at the command line uses them.

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, App, Refused, find_tenant};
use crate::{
    agents::replay::Answers,
    audit::{self, Actor, Entry, Log, Verification},
    runs::search::{self, Search},
    support::{Error, Result, ids::RunId},
    tenants::Tenant,
};

/// What the appliance's own log is called here.
const APPLIANCE: &str = "appliance";

/// `appliance`, or `tenant:` and a slug.
async fn find_log(app: &App, name: &str) -> Result<(Log, Option<Tenant>)> {
    match name.strip_prefix("tenant:") {
        Some(slug) => {
            let tenant = find_tenant(app, slug).await?;
            Ok(((&app.tenants.open(&tenant).await?).into(), Some(tenant)))
        }
        None if name == APPLIANCE => Ok((Log::of_appliance(&app.databases), None)),
        None => Err(Error::not_found("the log")),
    }
}

/// `GET /audit/logs/{log}/verify`
pub(super) async fn verify_log(State(app): State<App>, Path(log): Path<String>) -> Answer {
    let found = audit::verify(find_log(&app, &log).await?.0).await?;
    Ok(Json(described(&log, &found)?))
}

/// All logs, one after the other.
pub(super) async fn verify_all(State(app): State<App>) -> Answer {
    let mut logs = vec![described(APPLIANCE, &audit::verify(Log::of_appliance(&app.databases)).await?)?];
    for tenant in app.tenants.list().await? {
        let db = app.databases.tenant(&tenant.id).await?;
        logs.push(described(&format!("tenant:{}", tenant.slug), &audit::verify(&db).await?)?);
    }
    let intact = logs.iter().all(|log| log["intact"] == true);
    Ok(Json(json!({ "intact": intact, "logs": logs })))
}

fn described(log: &str, found: &Verification) -> Result<Value> {
    let mut described = serde_json::to_value(found).map_err(Error::internal)?;
    described["log"] = json!(log);
    described["intact"] = json!(found.broken.is_none());
    Ok(described)
}

/// `GET /audit/logs/{log}/entries`
pub(super) async fn list_entries(
    State(app): State<App>,
    Path(log): Path<String>,
    Query(search): Query<Search>,
) -> Answer {
    let (log, tenant) = find_log(&app, &log).await?;
    let people = match &tenant {
        Some(tenant) => app.runs.names(&tenant.id, &[]).await?,
        None => Vec::new(),
    };
    let found = audit::find(&log, &search.filter(&people)?, search.below()?, search.limit()?).await?;
    let entries: Vec<Value> = found
        .entries
        .iter()
        .map(|entry| {
            let mut described = serde_json::to_value(entry).map_err(Error::internal)?;
            described["outcome"] = json!(entry.outcome());
            described["by"] = json!(who(entry, &people));
            Ok(described)
        })
        .collect::<Result<_>>()?;
    Ok(Json(json!({ "entries": entries, "older": found.older })))
}

/// The actor in a word, for a table.
fn who(entry: &Entry, people: &[(crate::support::ids::UserId, String)]) -> String {
    match &entry.actor {
        Actor::User { id } => {
            people.iter().find(|(known, _)| known == id).map_or_else(|| format!("user:{id}"), |(_, name)| name.clone())
        }
        Actor::Agent { name } => format!("agent:{name}"),
        Actor::Operator => "operator".to_owned(),
        Actor::System => "system".to_owned(),
    }
}

/// Of one run only.
#[derive(Deserialize)]
pub(super) struct OfRun {
    run: Option<RunId>,
}

/// `GET /audit/logs/{log}/export`
pub(super) async fn export_log(
    State(app): State<App>,
    Path(log): Path<String>,
    Query(of): Query<OfRun>,
) -> Answer<Response> {
    let (log, _) = find_log(&app, &log).await?;
    let body = match of.run {
        Some(run) => Body::from(audit::export_run(&log, run).await?),
        None => Body::from_stream(audit::export(&log)),
    };
    app.runs.note_export(&log, Actor::Operator, of.run).await?;
    Ok(body.into_response())
}

/// Up to when a log is shortened.
#[derive(Deserialize)]
pub(super) struct Prune {
    before: String,
}

/// `POST /audit/logs/{log}/prune`
pub(super) async fn prune_log(State(app): State<App>, Path(log): Path<String>, Json(prune): Json<Prune>) -> Answer {
    let (log, _) = find_log(&app, &log).await?;
    let before = search::moment(&prune.before, false)?;
    if before > app.clock.now() {
        return Err(Refused::from(Error::invalid("that day is still to come: everything would be removed")));
    }
    let pruned = app.runs.prune(&log, Actor::Operator, before).await?;
    Ok(Json(json!({ "removed": pruned.as_ref().map_or(0, |pruned| pruned.removed), "checkpoint": pruned })))
}

/// Whose log.
#[derive(Deserialize)]
pub(super) struct OfTenant {
    tenant: Option<String>,
}

/// `GET /audit/runs/{run}`
pub(super) async fn show_run(State(app): State<App>, Path(run): Path<RunId>, Query(of): Query<OfTenant>) -> Answer {
    let (_, entries) = find_run(&app, run, of.tenant.as_deref()).await?;
    Ok(Json(serde_json::to_value(&entries).map_err(Error::internal)?))
}

/// How a run is gone through again.
#[derive(Deserialize)]
pub(super) struct Replay {
    tenant: Option<String>,
    recorded: bool,
}

/// `POST /audit/runs/{run}/replay`
pub(super) async fn replay_run(State(app): State<App>, Path(run): Path<RunId>, Json(replay): Json<Replay>) -> Answer {
    let (tenant, _) = find_run(&app, run, replay.tenant.as_deref()).await?;
    let db = app.tenants.open(&tenant).await?;
    let answers = if replay.recorded { Answers::Recorded } else { Answers::AskedAgain };
    let replayed = app.runs.replay(&db, run, answers, Actor::Operator).await?;
    Ok(Json(serde_json::to_value(&replayed).map_err(Error::internal)?))
}

/// The run's entries, and whose they are.
async fn find_run(app: &App, run: RunId, tenant: Option<&str>) -> Result<(Tenant, Vec<Entry>)> {
    let tenants = match tenant {
        Some(slug) => vec![find_tenant(app, slug).await?],
        None => app.tenants.list().await?,
    };
    for tenant in tenants {
        let db = app.databases.tenant(&tenant.id).await?;
        let entries = audit::of_run(&db, run).await?;
        if !entries.is_empty() {
            return Ok((tenant, entries));
        }
    }
    Err(Error::not_found("the run"))
}
