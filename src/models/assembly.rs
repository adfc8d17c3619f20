//! From the configuration to routes: every target is opened once, however many chains it stands in, so that what is
//! learned of it in one holds in all.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use super::{
    Router, gguf,
    meter::Price,
    provider,
    router::{Retry, Route, Target, TargetStatus},
};
use crate::{
    config::{Config, DEFAULT_ROUTE, ModelRoute},
    egress::Egress,
    support::{Error, Result, clock::SharedClock},
};

/// What is opened already, and what is not there.
struct Targets<'c> {
    config: &'c Config,
    egress: &'c Egress,
    engine: &'c Path,
    opened: BTreeMap<String, Option<Arc<Target>>>,
    absent: Vec<TargetStatus>,
}

/// All routes of the configuration, the default one first. `engine` is the binary that runs the built-in engine.
pub(super) fn router(config: &Config, egress: &Egress, clock: SharedClock, engine: &Path) -> Result<Router> {
    let mut targets = Targets { config, egress, engine, opened: BTreeMap::new(), absent: Vec::new() };
    let models = &config.models;
    let plain = ModelRoute::default();
    let default = models.routes.get(DEFAULT_ROUTE).unwrap_or(&plain);
    let mut routes = vec![targets.route(DEFAULT_ROUTE, &models.chain, default)?];
    for (name, route) in models.routes.iter().filter(|(name, _)| *name != DEFAULT_ROUTE) {
        routes.push(targets.route(name, &route.chain, route)?);
    }
    Ok(Router::with_routes(routes, clock).with_absent(targets.absent))
}

impl Targets<'_> {
    fn route(&mut self, name: &str, chain: &[String], settings: &ModelRoute) -> Result<Route> {
        let mut route = Route::new(name, self.all(chain)?);
        route.context = self.all(&settings.context)?;
        route.refusal = self.all(&settings.refusal)?;
        route.retry = Retry::new(settings.retries(), Duration::from_secs(settings.longest_wait_seconds()));
        Ok(route)
    }

    /// Those that are there.
    fn all(&mut self, names: &[String]) -> Result<Vec<Arc<Target>>> {
        let mut targets = Vec::new();
        for name in names {
            targets.extend(self.one(name)?);
        }
        Ok(targets)
    }

    fn one(&mut self, name: &str) -> Result<Option<Arc<Target>>> {
        let own = format!("ollama/{}", self.config.models.ollama.model);
        let name = if name == "ollama" { own.as_str() } else { name };
        if let Some(opened) = self.opened.get(name) {
            return Ok(opened.clone());
        }
        let opened = if name == "builtin" { self.builtin() } else { Some(self.of_provider(name)?) };
        self.opened.insert(name.to_owned(), opened.clone());
        Ok(opened)
    }

    fn builtin(&mut self) -> Option<Arc<Target>> {
        let Config { models, data_dir, .. } = self.config;
        let Some(file) = gguf::discover(&models.builtin, data_dir) else {
            self.absent.push(no_model_file(data_dir));
            return None;
        };
        let model = gguf::Gguf::new(self.engine.to_owned(), file, &models.builtin);
        Some(Arc::new(Target::new(Arc::new(model), Price::Free)))
    }

    fn of_provider(&self, name: &str) -> Result<Arc<Target>> {
        let (provider, model) = name.split_once('/').ok_or_else(|| {
            Error::invalid(format!("`{name}` is no chat model"))
                .remedy("use `ollama`, `builtin` or `<provider>/<model>`")
        })?;
        let opened = provider::open(provider, self.config, model, self.egress)?;
        Ok(Arc::new(Target::new(opened, provider::price(provider, self.config, model))))
    }
}

fn no_model_file(data_dir: &Path) -> TargetStatus {
    TargetStatus {
        model: "builtin".to_owned(),
        ok: false,
        problem: Some("there is no model file for the built-in engine".to_owned()),
        remedy: Some(format!(
            "put a chat model's .gguf file into {} and restart, or take `builtin` out of `models.chain`",
            data_dir.join("models").display()
        )),
        capabilities: None,
        price: Price::Free,
        cooling_seconds: None,
    }
}
