//! Everything at a glance: routes, targets, what the servers keep, what is being fetched.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Catalogue, Pull, in_our_words};
use crate::models::{
    meter::Price,
    ollama::Kept,
    router::{Route, Target, TargetStatus},
};

/// Models as the operator sees them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = ModelsOverview)]
pub struct Overview {
    /// Routes by name.
    pub routes: Vec<RouteRow>,
    /// Every target once: those of the default route first.
    pub targets: Vec<TargetRow>,
    /// The Ollama servers, with what they keep.
    pub servers: Vec<ServerRow>,
    /// What is being fetched, and what was last.
    pub pulls: Vec<Pull>,
}

/// A route.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RouteRow {
    /// `default`
    pub name: String,
    /// Its targets, in order.
    pub chain: Vec<String>,
    /// Those for prompts that are too long.
    pub context: Vec<String>,
    /// Those for refused content.
    pub refusal: Vec<String>,
    /// How often the same target is asked again.
    pub retries: u32,
}

/// A target of some route.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TargetRow {
    /// `ollama/llama3.2`
    pub model: String,
    /// `ok`; `cooling` while it is left alone after a failure; `missing` when it cannot be asked.
    pub state: String,
    /// For how many seconds more it is left alone.
    pub cooling_seconds: Option<i64>,
    /// What is wrong.
    pub problem: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// The most tokens that prompt and answer may have together.
    pub context_tokens: Option<u32>,
    /// What it can do: `tools`, `thinking`, `schema`; `small` for one that is given little at a time.
    pub abilities: Vec<String>,
    /// Whether a call costs nothing.
    pub free: bool,
    /// The price of a million tokens of the prompt, where it is known.
    pub input_price: Option<f64>,
    /// The price of a million tokens of the answer, where it is known.
    pub output_price: Option<f64>,
}

/// An Ollama server.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServerRow {
    /// The provider's name: `ollama`.
    pub name: String,
    /// Where it is, without credentials.
    pub address: String,
    /// Why its models cannot be told.
    pub problem: Option<String>,
    /// What it keeps.
    pub models: Vec<StoredModel>,
}

/// A model on a server's disk.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StoredModel {
    /// `llama3.2:latest`
    pub name: String,
    /// Bytes on the disk.
    pub bytes: u64,
    /// `llama`
    pub family: String,
    /// `3.2B`
    pub parameters: String,
    /// `Q4_K_M`
    pub quantization: String,
    /// Bytes of memory while it is loaded.
    pub loaded_bytes: Option<u64>,
    /// When it is unloaded if nobody asks it.
    pub unloads_at: Option<DateTime<Utc>>,
}

impl Catalogue {
    /// Everything at a glance. Asks every server.
    pub async fn overview(&self) -> Overview {
        let servers = self.servers.iter().map(|(name, server)| async move {
            let (models, problem) = match server.kept().await {
                Ok(kept) => (kept.into_iter().map(StoredModel::from).collect(), None),
                Err(error) => (Vec::new(), Some(in_our_words(&error).to_string())),
            };
            ServerRow { name: name.clone(), address: server.address(), problem, models }
        });
        let (targets, servers) = tokio::join!(self.router.status(), futures::future::join_all(servers));
        Overview {
            routes: self.router.routes().map(RouteRow::from).collect(),
            targets: targets.into_iter().map(TargetRow::from).collect(),
            servers,
            pulls: self.pulls(),
        }
    }
}

impl From<&Route> for RouteRow {
    fn from(route: &Route) -> Self {
        let names = |targets: &[std::sync::Arc<Target>]| targets.iter().map(|target| target.name()).collect();
        Self {
            name: route.name.clone(),
            chain: names(&route.chain),
            context: names(&route.context),
            refusal: names(&route.refusal),
            retries: route.retry.times,
        }
    }
}

impl From<TargetStatus> for TargetRow {
    fn from(status: TargetStatus) -> Self {
        let state = match (status.ok, status.cooling_seconds) {
            (true, None) => "ok",
            (_, Some(_)) => "cooling",
            (false, None) => "missing",
        };
        let can = status.capabilities;
        let ability = |has: bool, name: &str| has.then(|| name.to_owned());
        let abilities = can.iter().flat_map(|can| {
            [
                ability(can.tools, "tools"),
                ability(can.thinking, "thinking"),
                ability(can.structured, "schema"),
                ability(can.small, "small"),
            ]
        });
        let (input_price, output_price) = match status.price {
            Price::PerMillion { input, output } => (Some(input), Some(output)),
            Price::Free | Price::Unknown => (None, None),
        };
        Self {
            abilities: abilities.flatten().collect(),
            model: status.model,
            state: state.to_owned(),
            cooling_seconds: status.cooling_seconds,
            problem: status.problem,
            remedy: status.remedy,
            context_tokens: can.map(|can| can.context_tokens),
            free: status.price == Price::Free,
            input_price,
            output_price,
        }
    }
}

impl TargetRow {
    /// What it costs, in words.
    pub fn price(&self) -> String {
        match (self.free, self.input_price, self.output_price) {
            (true, _, _) => "free".to_owned(),
            (_, Some(input), Some(output)) => format!("{input} / {output}"),
            _ => "unknown".to_owned(),
        }
    }
}

impl From<Kept> for StoredModel {
    fn from(kept: Kept) -> Self {
        let Kept { name, bytes, family, parameters, quantization, loaded_bytes, unloads_at } = kept;
        Self { name, bytes, family, parameters, quantization, loaded_bytes, unloads_at }
    }
}
