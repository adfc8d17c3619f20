//! The staff, from the command line.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, open};
use crate::{
    agents::{
        memory::Subject,
        staff::{Draft, Member, Reason},
    },
    app::wiring::App,
    audit::Actor,
    support::Error,
};

/// An agent that is brought along.
#[derive(Deserialize)]
pub(super) struct Brought {
    draft: Draft,
    /// What it remembers.
    #[serde(default)]
    memory: String,
}

/// `GET /tenants/{slug}/agents`
pub(super) async fn list_agents(State(app): State<App>, Path(slug): Path<String>) -> Answer<Json<Vec<Value>>> {
    let db = open(&app, &slug).await?;
    let members = app.agents.staff().members(&db).await?;
    Ok(Json(members.iter().map(told).collect::<Result<_, _>>()?))
}

/// `GET /tenants/{slug}/agents/{agent}`
pub(super) async fn show_agent(
    State(app): State<App>,
    Path((slug, agent)): Path<(String, String)>,
) -> Answer<Json<Value>> {
    let db = open(&app, &slug).await?;
    Ok(Json(told(&app.agents.staff().member(&db, &agent).await?)?))
}

/// `POST /tenants/{slug}/agents`: adds an agent that was somebody else's.
pub(super) async fn import_agent(
    State(app): State<App>,
    Path(slug): Path<String>,
    Json(Brought { draft, memory }): Json<Brought>,
) -> Answer<Json<Value>> {
    let db = open(&app, &slug).await?;
    let member = app.agents.staff().add(&db, &draft.id(), &draft, Reason::Imported, Actor::Operator).await?;
    let mut told = told(&member)?;
    if !memory.trim().is_empty() {
        let subject = Subject::Agent(member.profile.info.id.clone());
        told["remembers"] = json!(app.memory.import(&db, &subject, &memory, Actor::Operator).await?);
    }
    Ok(Json(told))
}

fn told(member: &Member) -> Result<Value, Error> {
    let mut told = serde_json::to_value(Draft::of(&member.profile)).map_err(Error::internal)?;
    told["id"] = json!(member.profile.info.id);
    told["version"] = json!(member.profile.version);
    told["enabled"] = json!(member.enabled);
    told["built_in"] = json!(member.built_in);
    told["changed"] = json!(member.changed);
    Ok(told)
}
