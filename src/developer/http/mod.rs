//! The developer API: `/v1`, as OpenAI's clients speak it.

mod completions;
mod embeddings;
mod mcp;
mod models;
mod responses;
mod stream;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::Value;
use utoipa::OpenApi;

pub use completions::complete_chat;
pub use embeddings::embed;
pub use mcp::serve_mcp;
pub use models::{list_models, show_model};
pub use responses::create_response;

use super::{
    Lanes, Problem,
    conversation::Exchange,
    lanes::Lane,
    offer::{self, Offer},
};
use crate::{
    accounts::http::InTenant,
    agents::{Agents, Answer, Ask, Run, RunEvent, Thread},
    http::openai::Particulars,
    knowledge::Knowledge,
    models::embedding::EmbeddingModel,
    support::{Error, Kind, clock::SharedClock},
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(
        models::list_models,
        models::show_model,
        completions::complete_chat,
        responses::create_response,
        embeddings::embed
    ),
    tags((name = "openai", description = "Agents and vectors for programs that speak to OpenAI"))
)]
pub struct DeveloperApi;

/// What the handlers need.
#[derive(Clone)]
pub struct DeveloperState {
    /// Who answers.
    pub agents: Agents,
    /// What other programs may search.
    pub knowledge: Knowledge,
    /// What makes vectors.
    pub embedding: Arc<dyn EmbeddingModel>,
    /// How many answers are being waited for.
    pub lanes: Lanes,
    /// The time.
    pub clock: SharedClock,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.error.into_response();
        response.extensions_mut().insert(Particulars { param: self.param, code: self.code });
        response
    }
}

/// A run that a program waits for. Dropping it stops the run.
struct Waiting {
    run: Run,
    lane: Lane,
    /// Whether the answer must fit a schema.
    structured: bool,
}

/// Asks the agent that `model` names.
async fn ask(
    state: &DeveloperState,
    tenant: &InTenant,
    model: &str,
    exchange: Exchange,
    offer: &Offer<'_>,
    thread: Option<Thread>,
) -> Result<Waiting, Problem> {
    let agent = agent(state, tenant, model).await?;
    let (mut program, words) = offer::read(offer)?;
    program.turns = exchange.turns;
    let lane = state.lanes.enter(tenant.db.tenant(), tenant.signed_in.user.id)?;
    let told: Vec<String> = exchange.instructions.into_iter().chain(words).collect();
    let structured = program.schema.is_some();
    let ask = Ask {
        thread: thread.unwrap_or(Thread::Apart { history: exchange.history }),
        instructions: (!told.is_empty()).then(|| told.join("\n\n")),
        program,
        ..Ask::new(agent, exchange.question, tenant.signed_in.actor())
    };
    let run = state.agents.ask(&tenant.db, ask).await?;
    Ok(Waiting { run, lane, structured })
}

/// The agent's id; `agent:atlas` is `atlas`.
async fn agent(state: &DeveloperState, tenant: &InTenant, model: &str) -> Result<String, Problem> {
    let id = model.strip_prefix("agent:").unwrap_or(model);
    match state.agents.profile(&tenant.db, id).await {
        Ok(profile) => Ok(profile.info.id),
        Err(error) if error.kind() == Kind::NotFound => Err(Problem::no_model(model)),
        Err(error) => Err(error.into()),
    }
}

impl Waiting {
    /// The whole answer.
    async fn answer(mut self) -> Result<Answer, Problem> {
        while let Some(event) = self.run.events.next().await {
            match event {
                RunEvent::Finished(answer) => return Ok(answer),
                RunEvent::Failed { message, remedy } => return Err(failed(message, remedy).into()),
                _ => {}
            }
        }
        Err(Error::internal("the run ended without saying how").into())
    }
}

fn failed(message: String, remedy: Option<String>) -> Error {
    let error = Error::unavailable(message);
    match remedy {
        Some(remedy) => error.remedy(remedy),
        None => error,
    }
}

/// An answer that had to fit a schema and does not is none: what the program is told instead.
fn refusal(answer: &Answer) -> Option<String> {
    let fits = serde_json::from_str::<Value>(&answer.answer).is_ok_and(|value| value.is_object());
    let why = "The model gave no answer that fits the schema.";
    (!fits || answer.quoting).then(|| why.to_owned())
}
