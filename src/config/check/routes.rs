//! Chains of models: targets that are none, twice the same, lists that are empty.

use super::Checks;
use crate::config::{Config, problem::meant, routes};

/// Targets that need no provider.
const OWN: [&str; 2] = ["ollama", "builtin"];

impl Checks<'_> {
    pub(super) fn routes(&mut self, config: &Config) {
        self.targets(config, "models.chain", &config.models.chain);
        for (name, route) in &config.models.routes {
            let key = |setting: &str| format!("models.routes.{name}.{setting}");
            let lists = [("chain", &route.chain), ("context", &route.context), ("refusal", &route.refusal)];
            for (setting, targets) in lists {
                self.targets(config, &key(setting), targets);
            }
            let is_default = name == routes::DEFAULT;
            if is_default && self.given.contains_key(&key("chain")) {
                self.refuse(
                    &key("chain"),
                    "is the chain of the route that is always there",
                    Some("write models.chain"),
                );
            } else if !is_default && route.chain.is_empty() {
                // What is missing is told at a setting that is there.
                let given =
                    routes::SETTINGS.into_iter().map(key).find(|key| self.given.contains_key(key)).unwrap_or_default();
                let suggestion = "name its targets in order: chain = [\"ollama\"]";
                self.refuse_because_of(&given, &key("chain"), "names no target", Some(suggestion));
            }
            self.within(&key("retries"), route.retries(), 0, 10);
            self.within(&key("longest_wait_seconds"), route.longest_wait_seconds(), 1, 300);
        }
    }

    /// A setting that names a route, or none.
    pub(super) fn route(&mut self, config: &Config, key: &str, name: &str) {
        if name.is_empty() || name == routes::DEFAULT || config.models.routes.contains_key(name) {
            return;
        }
        let known = config.models.routes.keys().map(String::as_str).chain([routes::DEFAULT]);
        let suggestion = match meant(name, known) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("write a section [models.routes.{name}], or \"default\""),
        };
        self.refuse(key, format!("there is no route \"{name}\""), Some(&suggestion));
    }

    fn targets(&mut self, config: &Config, key: &str, targets: &[String]) {
        for (place, target) in targets.iter().enumerate() {
            if let Some((message, suggestion)) = problem(config, target) {
                self.refuse(key, message, Some(&suggestion));
            } else if targets[..place].contains(target) {
                self.refuse(key, format!("names \"{target}\" twice"), None);
            }
        }
    }
}

/// Why `target` is none, and what was meant.
fn problem(config: &Config, target: &str) -> Option<(String, String)> {
    let providers = || config.providers.keys().map(String::as_str);
    match target.split_once('/') {
        None if OWN.contains(&target) => None,
        None if config.providers.contains_key(target) => Some((
            format!("\"{target}\" is a provider, and a target is one of its models"),
            format!("write \"{target}/<model>\""),
        )),
        None => {
            let suggestion = if let Some(meant) = meant(target, OWN) {
                format!("did you mean \"{meant}\"?")
            } else {
                let more = providers().map(|name| format!(", {name}/<model>"));
                format!("there are: {}{}", OWN.join(", "), more.collect::<String>())
            };
            Some((format!("there is no target \"{target}\""), suggestion))
        }
        Some(("builtin", _)) => Some((
            format!("there is no target \"{target}\""),
            "the built-in engine has one model: \"builtin\"".to_owned(),
        )),
        Some((provider, model)) if provider == "ollama" || config.providers.contains_key(provider) => model
            .trim()
            .is_empty()
            .then(|| (format!("\"{target}\" names no model"), format!("write \"{provider}/<model>\""))),
        Some((provider, model)) => {
            let suggestion = match meant(provider, providers().chain(["ollama"])) {
                Some(meant) => format!("did you mean \"{meant}/{model}\"?"),
                None => format!("write a section [providers.{provider}]"),
            };
            Some((format!("\"{target}\" is of a provider that there is not"), suggestion))
        }
    }
}
